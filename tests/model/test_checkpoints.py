"""An interrupted training resumes, and ends with the weights of an uninterrupted one."""

import json
import os
import shutil

import h5py
import pytest
import tensorflow as tf
import tiny_dataset
from test_train import reviews

from model import train
from model.network import lstm, n_gram_weights
from model.training import checkpoints, fit, timing
from textrecords import model_folder
from textrecords.errors import BadInput, Failure

pytestmark = pytest.mark.slow

STATE_DIR = ".model.textrecords-checkpoints"
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
    flipped = [(text, 1 - label) for text, label in reviews(words, 12)]
    tiny_dataset.write(
        folder,
        {"train": reviews(words, 40), "validation": flipped, "test": reviews(words, 9)},
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
    """Simulates Ctrl-C after some steps, once."""
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
def test_it_ends_with_the_weights_of_an_uninterrupted_training(
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


def test_n_gram_weights_are_not_fitted_again_on_resuming(records, tmp_path, monkeypatch):
    flags = ["--pooling=max_mean", "--chunk_len=2", "--ngram_bits=6", "--bucket_by_length"]
    run(records, tmp_path / "never_stopped", *flags)
    with monkeypatch.context() as patch:
        stop_after(patch, 8)
        with pytest.raises(KeyboardInterrupt):
            run(records, tmp_path / "model", *flags)
    monkeypatch.setattr(n_gram_weights, "adapt", lambda *_: pytest.fail("they were fitted again"))
    run(records, tmp_path / "model", *flags)
    weights, _ = result(tmp_path / "model")
    assert any("n_gram_weights" in name for name in weights)
    assert weights == result(tmp_path / "never_stopped")[0]


def test_it_reports_where_it_resumes(records, tmp_path, monkeypatch, capsys):
    stop_after(monkeypatch, 8)
    with pytest.raises(KeyboardInterrupt):
        run(records, tmp_path / "model")
    run(records, tmp_path / "model")
    assert "resuming after step 2 of epoch 2\n" in capsys.readouterr().out


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


def test_other_flags_or_records_are_refused_without_no_resume(
    records, tmp_path, monkeypatch, capsys
):
    stop_after(monkeypatch, 3)
    with pytest.raises(KeyboardInterrupt):
        run(records, tmp_path / "model")
    with pytest.raises(BadInput, match=r"with --lstm_units 4, --seed 0 was interrupted here"):
        run(records, tmp_path / "model", "--lstm_units=3", "--seed=1")
    tiny_dataset.write(str(tmp_path / "other"), {"train": reviews(("bad", "good"), 40)})
    with pytest.raises(BadInput, match="on other records was interrupted here"):
        run(str(tmp_path / "other"), tmp_path / "model")
    run(str(tmp_path / "other"), tmp_path / "model", "--no_resume", "--epochs=1")
    assert sorted(os.listdir(tmp_path)) == ["model", "other"]
    assert "going on" not in capsys.readouterr().out


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def zero(path):
    path.write_bytes(bytes(path.stat().st_size))


def empty(path):
    path.write_bytes(b"")


@pytest.fixture(scope="module")
def stopped(records, tmp_path_factory):
    """Returns a folder in which a training of `model` was stopped after 13 steps."""
    folder = tmp_path_factory.mktemp("stopped")
    with pytest.MonkeyPatch.context() as patch:
        stop_after(patch, 13)
        with pytest.raises(KeyboardInterrupt):
            run(records, folder / "model")
    names = {path.name.split(".")[0] for path in (folder / STATE_DIR).glob("ckpt-*")}
    assert names == {"ckpt-10", "ckpt-12"}  # older ones are removed
    return folder


@pytest.mark.parametrize("damaged", [1, 2])
def test_a_damaged_checkpoint_is_skipped_for_the_previous_one(
    records, tmp_path, never_stopped, stopped, damaged, capsys
):
    shutil.copytree(stopped, tmp_path, dirs_exist_ok=True)
    for number in (12, 10)[:damaged]:
        flip_a_bit(*(tmp_path / STATE_DIR).glob(f"ckpt-{number}.data-*"))
    run(records, tmp_path / "model")
    assert result(tmp_path / "model")[0] == never_stopped[0]
    printed = capsys.readouterr().out
    assert printed.count("is damaged: skipped") == damaged
    assert ("resuming after step 0 of epoch 3\n" in printed) == (damaged == 1)


@pytest.mark.parametrize("kind", ["data-*", "index"])
@pytest.mark.parametrize("damage", [flip_a_bit, truncate, zero, empty, os.remove])
def test_every_kind_of_damage_is_found_before_weights_are_changed(
    records, tmp_path, stopped, monkeypatch, damage, kind, capsys
):
    shutil.copytree(stopped, tmp_path, dirs_exist_ok=True)
    damage(*(tmp_path / STATE_DIR).glob(f"ckpt-12.{kind}"))
    restored, restore = [], tf.train.Checkpoint.restore

    def watched(self, path):
        restored.append(os.path.basename(path))
        return restore(self, path)

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(tf.train.Checkpoint, "restore", watched)
    monkeypatch.setattr(fit, "_train_batches", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run(records, tmp_path / "model")
    printed = capsys.readouterr().out
    assert "ckpt-12 is damaged: skipped\n" in printed
    assert "resuming after step 0 of epoch 3\n" in printed
    assert restored == ["ckpt-10"]


def snapshot(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def rewritten(folder, number, change):
    """Rewrites a checkpoint with its variables by name and a changed state."""
    path = str(folder / STATE_DIR / f"ckpt-{number}")
    reader = tf.train.load_checkpoint(path)
    tensors = {
        name: reader.get_tensor(name)
        for name in reader.get_variable_to_shape_map()
        if not name.startswith(checkpoints.OF_TENSORFLOW)
    }
    state = json.loads(tensors.pop(checkpoints.STATE))
    parts = {name: [] for name in ("variables", "best")}
    for name, group in parts.items():
        of = [key for key in tensors if key.startswith(f"{name}/")]
        for key in sorted(of, key=lambda key: int(key.split("/")[1])):
            group.append(tf.Variable(tensors[key]))
    change(state, parts)
    kept = tf.train.Checkpoint(state=tf.Variable(json.dumps(state)), **parts)
    kept.write(path)


OTHERS = {
    "an older version": lambda state, parts: state.pop("version"),
    "a newer version": lambda state, parts: state.update(version=99),
    "an object more": lambda state, parts: parts.update(more=[tf.Variable(1.0)]),
    "a variable less": lambda state, parts: parts["variables"].pop(),
    "another shape": lambda state, parts: parts["best"].__setitem__(0, tf.Variable([1.0])),
}


@pytest.mark.parametrize("other", OTHERS)
def test_a_checkpoint_of_another_version_is_refused_and_left_as_it_was(
    records, tmp_path, stopped, monkeypatch, other
):
    shutil.copytree(stopped, tmp_path, dirs_exist_ok=True)
    rewritten(tmp_path, 12, OTHERS[other])
    before, models = snapshot(tmp_path), []
    restore = checkpoints.Checkpoints.restore

    def watched(self, model, kept):
        models.append((model, model.get_weights()))
        return restore(self, model, kept)

    monkeypatch.setattr(checkpoints.Checkpoints, "restore", watched)
    with pytest.raises(BadInput, match=r"ckpt-12 is from another version .* or give --no_resume"):
        run(records, tmp_path / "model")
    assert snapshot(tmp_path) == before
    [(model, weights)] = models
    for now, then in zip(model.get_weights(), weights, strict=True):
        assert now.tobytes() == then.tobytes()


MORE = ["--decay=none", "--patience=9"]


@pytest.fixture(scope="module")
def four_epochs(records, tmp_path_factory):
    model_dir = tmp_path_factory.mktemp("four_epochs") / "model"
    run(records, model_dir, *MORE)
    return result(model_dir)


@pytest.mark.parametrize("is_finished", [False, True])
def test_more_epochs_end_with_the_weights_of_one_training(
    records, tmp_path, monkeypatch, four_epochs, is_finished
):
    model_dir, few = tmp_path / "model", [*MORE, "--epochs=2"]
    if is_finished:
        run(records, model_dir, *few, "--keep_checkpoint")
        assert sorted(os.listdir(model_dir / "checkpoint")) == [
            "ckpt-10.data-00000-of-00001",
            "ckpt-10.index",
        ]
        assert "  checkpoint/ckpt-10.index\n" in (model_dir / "SHA256SUMS").read_text()
        model_folder.read(str(model_dir))
    else:
        with monkeypatch.context() as patch:
            stop_after(patch, 8)
            with pytest.raises(KeyboardInterrupt):
                run(records, model_dir, *few)
    run(records, model_dir, *MORE)
    weights, metrics = result(model_dir)
    expected_weights, expected = four_epochs
    assert weights == expected_weights
    assert len(metrics["history"]["loss"]) == len(expected["history"]["loss"]) == 4
    assert not (model_dir / "checkpoint").exists()
    model_folder.read(str(model_dir))


def test_more_epochs_are_refused_if_the_rate_decays_over_all_of_them(records, tmp_path, stopped):
    shutil.copytree(stopped, tmp_path, dirs_exist_ok=True)
    before = snapshot(tmp_path)
    with pytest.raises(
        BadInput, match="--epochs 9: the learning rate decays over all epochs, so the first 4 "
    ):
        run(records, tmp_path / "model", "--epochs=9")
    assert snapshot(tmp_path) == before


def test_fewer_epochs_than_are_done_are_refused(records, tmp_path, monkeypatch):
    stop_after(monkeypatch, 8)
    with pytest.raises(KeyboardInterrupt):
        run(records, tmp_path / "model", *MORE)
    with pytest.raises(
        BadInput, match="--epochs 1: the training that was interrupted here is past"
    ):
        run(records, tmp_path / "model", *MORE, "--epochs=1")


def test_a_loss_that_is_not_finite_fails_the_training_at_once(
    records, tmp_path, monkeypatch, capfd
):
    build = lstm.build

    def build_broken(*args):
        model = build(*args)
        model.layers[-1].bias.assign([float("nan")])
        return model

    monkeypatch.setattr(lstm, "build", build_broken)
    with pytest.raises(Failure, match=r"loss isn't finite: try a smaller --learning_rate"):
        run(records, tmp_path / "model")
    assert "val_loss" not in capfd.readouterr().out
    assert os.listdir(tmp_path) == []
