"""The search space."""

import pytest
import tiny_dataset

from model.training import flags, settings
from model.tune import search_space
from textrecords import command_line
from textrecords.dataset import open_dataset
from textrecords.errors import BadInput


def searched(folder, over, *given):
    if not folder.exists():
        tiny_dataset.write(folder, {"train": [("a b c", 0), ("a", 1)]}, max_len=50)
    parser = command_line.ArgumentParser(prog="test")
    network, training = flags.read_settings(flags.parse_args(parser, list(given)))
    return search_space.Space(
        open_dataset(str(folder)), network, training, search_space.parse(over)
    )


def test_lists_ranges_and_switches_are_read_as_train_reads_its_flags():
    assert search_space.parse(
        ["lstm_units=32,64", "dropout=0..0.5", "bidirectional=yes,no", "decay=cosine", "seed=1..3"]
    ) == {
        "lstm_units": search_space.Tried((32, 64), is_range=False),
        "dropout": search_space.Tried((0.0, 0.5), is_range=True),
        "bidirectional": search_space.Tried((True, False), is_range=False),
        "decay": search_space.Tried(("cosine",), is_range=False),
        "seed": search_space.Tried((1, 3), is_range=True),
    }


@pytest.mark.parametrize(
    ("over", "message"),
    [
        (["units=1,2"], "--over units=1,2: model.train has no setting units"),
        (["--dropout=0"], "--over --dropout=0: model.train has no setting --dropout"),
        (["dropout"], "--over dropout: argument --dropout: invalid float value: ''"),
        (["dropout=0..1"], "--over dropout=0..1: argument --dropout: must be at least 0 and less"),
        (["lstm_units=1.5..3"], "argument --lstm_units: invalid int value: '1.5'"),
        (["lstm_units=9..3"], "give a range as two numbers, the smaller one first"),
        (["lstm_units=1..2..3"], "give a range as two numbers"),
        (["pooling=last..max_mean"], "give a range as two numbers"),
        (["pooling=first"], "argument --pooling: invalid choice: 'first'"),
        (["bidirectional=1"], "bidirectional is a switch: give bidirectional=yes,no"),
        (["bidirectional=yes,yes"], "a value is given twice"),
        (["dropout=0,0.1", "dropout=0.2"], "--over: a flag is given twice"),
    ],
)
def test_what_is_not_a_setting_or_not_its_value_is_refused(over, message):
    with pytest.raises(BadInput) as error:
        search_space.parse(over)
    assert message in str(error.value)


def test_only_wide_ranges_are_searched_by_their_logarithm():
    over = search_space.parse(
        ["learning_rate=0.001..0.01", "clipnorm=1..9", "dropout=0..0.5", "seed=1,20"]
    )
    assert [tried.by_logarithm for tried in over.values()] == [True, False, False, False]


def test_lists_have_finitely_many_combinations_and_ranges_do_not(tmp_path):
    assert searched(tmp_path / "r", ["lstm_units=1,2,3", "decay=none,cosine"]).size() == 6
    assert searched(tmp_path / "r", ["lstm_units=1,2,3", "dropout=0..0.1"]).size() == float("inf")


def test_only_the_searched_settings_of_a_trial_change(tmp_path):
    over = ["lstm_units=1,2", "learning_rate=0.1,0.2"]
    of = searched(tmp_path / "r", over, "--lstm_units=9", "--epochs=7", "--max_len=8")
    network, training = of.settings({"lstm_units": 2, "learning_rate": 0.1, "epochs": 99})
    assert (network.lstm_units, network.max_len) == (2, 8)
    assert (training.learning_rate, training.epochs) == (0.1, 7)


@pytest.mark.parametrize(
    ("over", "message"),
    [
        (
            ["pooling=max_mean,last", "chunk_len=50,0"],
            "--over, at pooling=last chunk_len=50: --chunk_len needs --pooling max_mean",
        ),
        (["max_len=10..60"], "--over, at max_len=60: --max_len 60: the records were made with 50"),
        (["choose_threshold=yes,no"], "--over choose_threshold: it's chosen after a training"),
        (["calibrate=yes,no"], "--over calibrate: it's chosen after a training"),
    ],
)
def test_values_that_cannot_be_combined_are_refused_before_any_trial(tmp_path, over, message):
    with pytest.raises(BadInput) as error:
        searched(tmp_path / "r", over, "--max_len=9").check()
    assert message in str(error.value)


def test_of_a_large_grid_no_more_than_a_thousand_combinations_are_checked(tmp_path, monkeypatch):
    names = ("lstm_units", "embedding_dim", "dense_units", "batch_size", "epochs", "patience")
    over = [f"{name}=1,2,3,4,5,6,7,8" for name in names]
    space = searched(tmp_path / "r", over, "--max_len=9")
    seen, configure = [], settings.configure

    def watched(dataset, *given):
        seen.append(given)
        return configure(dataset, *given)

    monkeypatch.setattr(settings, "configure", watched)
    space.check()
    first = seen.copy()
    space.check()
    assert space.size() == 8**6
    assert len(set(first)) > 990
    assert seen == first * 2
    assert len(first) == 1000


def test_a_value_that_fits_nowhere_is_found_in_a_large_grid(tmp_path):
    over = [f"{name}={','.join(map(str, range(1, 41)))}" for name in ("lstm_units", "patience")]
    lengths = ",".join(map(str, range(12, 52)))  # the records were made with 50
    with pytest.raises(BadInput, match="--max_len 51: the records were made with 50"):
        searched(tmp_path / "r", [*over, f"max_len={lengths}"]).check()
