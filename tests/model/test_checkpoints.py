"""A training that was stopped goes on, and ends with the weights of one that never stopped."""

import json
import os

import h5py
import pytest
import tiny_dataset
from test_train import reviews

from model import train
from model.network import lstm, n_gram_scores
from model.training import checkpoints, timing
from textrecords import model_folder
from textrecords.errors import BadInput, Failure

STEPS = 5  # an epoch: 40 reviews, 8 a batch
FLAGS = [
    *("--max_tokens=100", "--max_len=4", "--embedding_dim=4", "--lstm_units=4", "--dense_units=4"),
    *("--learning_rate=0.05", "--batch_size=8", "--epochs=4", "--dense_dropout=0.3"),
    *("--checkpoint_every=2", "--patience=2", "--decay=cosine", "--class_weights=balanced"),
]


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("checkpoints") / "records")
    words = ("bad", "good")
    contrary = [(text, 1 - label) for text, label in reviews(words, 12)]
    tiny_dataset.write(
        folder,
        {"train": reviews(words, 40), "validation": contrary, "test": reviews(words, 9)},
    )
    return folder


def run(records, model_dir, *flags):
    train.main(["--records", records, "--model_dir", str(model_dir), *FLAGS, *flags])


def result(model_dir):
    """Returns all weights, and what was measured."""
    weights = {}

    def add(name, item):
        if isinstance(item, h5py.Dataset):
            weights[name] = item[()].tobytes()

    with h5py.File(model_dir / model_folder.WEIGHTS) as file:
        file.visititems(add)
    return weights, json.loads((model_dir / model_folder.METRICS).read_text())


def stop_after(monkeypatch, steps):
    """Has Ctrl-C come after so many steps, once."""
    step = checkpoints.Checkpoints.on_train_batch_end
    left = iter(range(steps - 1, -1, -1))

    def on_train_batch_end(self, batch, logs=None):
        step(self, batch, logs)
        if next(left, None) == 0:
            raise KeyboardInterrupt

    monkeypatch.setattr(checkpoints.Checkpoints, "on_train_batch_end", on_train_batch_end)


@pytest.fixture(scope="module")
def never_stopped(records, tmp_path_factory):
    model_dir = tmp_path_factory.mktemp("never_stopped") / "model"
    run(records, model_dir)
    return result(model_dir)


@pytest.mark.parametrize("stops", [(1,), (5,), (8, 3), (14, 1)])
def test_it_ends_with_the_weights_of_a_training_never_stopped(
    records, tmp_path, monkeypatch, never_stopped, stops, capsys
):
    model_dir = tmp_path / "model"
    for steps in stops:
        with monkeypatch.context() as patch:
            stop_after(patch, steps)
            with pytest.raises(KeyboardInterrupt):
                run(records, model_dir)
        assert os.listdir(tmp_path) == [".model.textrecords-checkpoints"]
    run(records, model_dir)
    weights, metrics = result(model_dir)
    expected_weights, expected = never_stopped
    assert len(weights) == 8 + 17  # with the optimizer's
    assert weights == expected_weights
    assert metrics["best_epoch"] == expected["best_epoch"]
    assert metrics["test"] == expected["test"]
    assert metrics["history"].keys() == expected["history"].keys()
    for name, values in expected["history"].items():
        assert metrics["history"][name] == pytest.approx(values, rel=1e-6)
    assert os.listdir(tmp_path) == ["model"]


def test_n_grams_go_on_as_they_were(records, tmp_path, monkeypatch):
    flags = ["--pooling=max_mean", "--piece_len=2", "--ngram_bits=6", "--bucket_by_length"]
    run(records, tmp_path / "never_stopped", *flags)
    with monkeypatch.context() as patch:
        stop_after(patch, 8)
        with pytest.raises(KeyboardInterrupt):
            run(records, tmp_path / "model", *flags)
    monkeypatch.setattr(n_gram_scores, "adapt", lambda *_: pytest.fail("they were fitted again"))
    run(records, tmp_path / "model", *flags)
    weights, _ = result(tmp_path / "model")
    assert any("n_grams" in name for name in weights)
    assert weights == result(tmp_path / "never_stopped")[0]


def test_it_says_where_it_goes_on(records, tmp_path, monkeypatch, capsys):
    stop_after(monkeypatch, 8)
    with pytest.raises(KeyboardInterrupt):
        run(records, tmp_path / "model")
    run(records, tmp_path / "model")
    assert "going on after step 2 of epoch 2\n" in capsys.readouterr().out


def test_the_epochs_before_a_stop_stay_timed(records, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        stop_after(patch, 8)
        with pytest.raises(KeyboardInterrupt):
            run(records, tmp_path / "model", "--patience=4")
    run(records, tmp_path / "model", "--patience=4")
    timed = timing.read_timing(str(tmp_path / "model" / "logs"))
    # Of the second epoch those steps after the last checkpoint.
    assert {number: epoch.steps for number, epoch in timed.epochs.items()} == {
        1: 5,
        2: 3,
        3: 5,
        4: 5,
    }
    assert all(epoch.validation_seconds > 0 for epoch in timed.epochs.values())


def test_other_flags_or_records_are_refused_until_told_to_start_anew(
    records, tmp_path, monkeypatch, capsys
):
    stop_after(monkeypatch, 3)
    with pytest.raises(KeyboardInterrupt):
        run(records, tmp_path / "model")
    with pytest.raises(BadInput, match=r"with --lstm_units 4, --seed 0 was stopped here"):
        run(records, tmp_path / "model", "--lstm_units=3", "--seed=1")
    tiny_dataset.write(str(tmp_path / "other"), {"train": reviews(("bad", "good"), 40)})
    with pytest.raises(BadInput, match="on other records was stopped here"):
        run(str(tmp_path / "other"), tmp_path / "model")
    run(str(tmp_path / "other"), tmp_path / "model", "--no_resume", "--epochs=1")
    assert sorted(os.listdir(tmp_path)) == ["model", "other"]
    assert "going on" not in capsys.readouterr().out


@pytest.mark.parametrize("damaged", [1, 2])
def test_a_damaged_checkpoint_is_left_out_for_the_one_before(
    records, tmp_path, monkeypatch, never_stopped, damaged, capsys
):
    model_dir = tmp_path / "model"
    with monkeypatch.context() as patch:
        stop_after(patch, 13)
        with pytest.raises(KeyboardInterrupt):
            run(records, model_dir)
    folder = tmp_path / ".model.textrecords-checkpoints"
    files = sorted(folder.glob("ckpt-*.data-*"), key=lambda path: int(path.name.split(".")[0][5:]))
    assert [path.name.split(".")[0] for path in files] == ["ckpt-10", "ckpt-12"]  # older are gone
    for path in files[-damaged:]:
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    run(records, model_dir)
    assert result(model_dir)[0] == never_stopped[0]
    printed = capsys.readouterr().out
    assert printed.count("is damaged, and left out") == damaged
    assert ("going on after step 0 of epoch 3\n" in printed) == (damaged == 1)


def test_a_loss_that_is_no_number_ends_the_training_at_once(records, tmp_path, monkeypatch, capfd):
    build = lstm.build

    def build_broken(*args):
        model = build(*args)
        model.layers[-1].bias.assign([float("nan")])
        return model

    monkeypatch.setattr(lstm, "build", build_broken)
    with pytest.raises(Failure, match=r"no number any more: try a smaller --learning_rate"):
        run(records, tmp_path / "model")
    assert "val_loss" not in capfd.readouterr().out
    assert os.listdir(tmp_path) == []
