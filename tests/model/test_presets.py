"""Presets: files of flags, over which flags that are given win."""

import pytest
import tiny_dataset
from test_train import SMALL, read_json

from model import presets, train
from model.training import flags
from textrecords.errors import BadInput

PATHS = ["--records=r", "--model_dir=m"]


def parse(*given):
    return flags.read_settings(train.parse_args([*PATHS, *given]))


def test_without_a_preset_the_network_is_that_of_the_tutorial():
    network, training = parse()
    assert (network.max_tokens, network.max_len, network.embedding_dim) == (1000, None, 128)
    assert (network.lstm_units, network.dense_units, network.bidirectional) == (64, 64, False)
    assert (training.learning_rate, training.batch_size, training.epochs) == (0.001, 32, 10)
    assert parse("--preset=tutorial") == (network, training)


def test_flags_win_over_a_file_and_a_file_over_the_tutorial(tmp_path):
    mine = tmp_path / "mine.txt"
    mine.write_text("--bidirectional --epochs 3 # short\n# --epochs 4\n--max_len=7\n")
    network, training = parse("--no-bidirectional", f"--preset={mine}", "--epochs=2")
    assert (network.bidirectional, network.max_len, network.max_tokens) == (False, 7, 1000)
    assert training.epochs == 2
    assert parse("--preset", str(mine))[1].epochs == 3


def test_settings_written_as_a_preset_are_read_again(tmp_path):
    settings = parse("--preset=tuned", "--bidirectional", "--learning_rate=1e-05", "--epochs=9")
    (tmp_path / "mine.txt").write_text(flags.to_preset(*settings))
    assert parse(f"--preset={tmp_path / 'mine.txt'}") == settings


@pytest.mark.parametrize("name", presets.names())
def test_every_built_in_preset_can_be_used(name):
    assert train.parse_args([*PATHS, "--preset", name]).preset == name


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("--max_len 0", "argument --max_len: must be at least 1"),
        ("--records x", "unrecognized arguments: --records x"),
        ("--epochs", "argument --epochs: expected one argument"),
        ("--epochs '3", "can't be read (No closing quotation): name a file, or tuned or tutorial"),
        (None, "can't be read (No such file or directory): name a file, or tuned or tutorial"),
    ],
)
def test_a_preset_that_cannot_be_used_is_refused(tmp_path, content, message):
    mine = tmp_path / "mine.txt"
    if content:
        mine.write_text(content)
    with pytest.raises(BadInput) as error:
        parse("--preset", str(mine))
    assert str(error.value).startswith(f"--preset {mine}")
    assert message in str(error.value)


@pytest.mark.integration
def test_the_model_folder_records_what_ran(tmp_path):
    tiny_dataset.write(tmp_path / "records", {"train": [("a", 0), ("b", 1)]})
    mine = tmp_path / "mine.txt"
    mine.write_text("\n".join([*SMALL, "--decay linear", "--epochs=1"]))
    where = ["--records", str(tmp_path / "records"), "--model_dir", str(tmp_path / "model")]
    train.main([*where, "--preset", str(mine), "--batch_size=2"])
    settings = read_json(tmp_path, "model", "config.json")
    assert settings["network"]["max_len"] == 4
    assert settings["training"]["decay"] == "linear"
    assert settings["training"]["batch_size"] == 2
