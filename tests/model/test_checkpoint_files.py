"""Checkpoints of a tiny network: what they hold, which are resumed from, and which refused."""

import dataclasses
import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from model.training import checkpoints
from model.training.checkpoints import Checkpoints
from textrecords import json_files, spec
from textrecords.errors import BadInput
from textrecords.manifest import Vocabulary
from textrecords.model_folder import ModelConfig, Network, Training

STEPS = 5  # an epoch
CONFIG = ModelConfig(
    Network(max_len=4), Training(epochs=3), ("neg", "pos"), Vocabulary(spec.VOCABULARY, 9, "0"), "1"
)
NAMED = "{}/.ATTRIBUTES/VARIABLE_VALUE"
# Of a frozen layer, one that is trained, and the optimizer: steps and rate; then the best weights.
SHAPES = {
    **{f"variables/{n}": shape for n, shape in enumerate([(2, 2), (2,), (2, 1), (1,), (), ()])},
    **{f"best/{n}": shape for n, shape in enumerate([(2, 1), (1,)])},
    "state": (),
}
SHAPES = {NAMED.format(name): shape for name, shape in SHAPES.items()}


def config(**training):
    return dataclasses.replace(CONFIG, training=dataclasses.replace(CONFIG.training, **training))


def as_json(of):
    return json.loads(json_files.to_json(of))


def network():
    made = keras.Sequential(
        [keras.Input([2]), keras.layers.Dense(2, trainable=False), keras.layers.Dense(1)]
    )
    made.compile(keras.optimizers.SGD(0.5), "mse")
    return made


def callback(folder, of=CONFIG, *, steps=STEPS, every=0, kept=None):
    """Returns the callback of a training, the step it resumes after, and its network."""
    stopper = keras.callbacks.EarlyStopping("val_loss", restore_best_weights=True)
    saved = Checkpoints(str(folder), of, stopper, steps_per_epoch=steps, every=every)
    model = network()
    saved.set_model(model)
    return saved, saved.restore(model, kept and str(kept)), model


def weights_of(number):
    """Returns weights of the network, all different between variables."""
    shapes = (2, 2), (2,), (2, 1), (1,)
    return [np.full(shape, number + n, np.float32) for n, shape in enumerate(shapes)]


def save(folder, of=CONFIG, *, steps=STEPS, at=(), number=0.5, state=None):
    """Saves checkpoints after these steps, in one training; a state replaces what it would save."""
    saved, _, model = callback(folder, of, steps=steps)
    for step in at:
        saved.on_epoch_begin((step - 1) // steps)
        model.set_weights(weights_of(number + step))
        if state is None:
            saved._save((step - 1) % steps + 1)
        else:
            saved._state.assign(state)
            saved._manager.save(checkpoint_number=step)


def files(folder, *steps):
    names = (f"ckpt-{step}.{kind}" for step in steps for kind in ("data-00000-of-00001", "index"))
    return sorted(["checkpoint", *names])


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_checkpoint_holds_all_that_the_next_step_depends_on(tmp_path):
    saved, step, model = callback(tmp_path)
    assert step == 0
    model.set_weights(weights_of(7))
    saved._stopper.set_model(model)
    saved._stopper.best_weights = weights_of(3)
    saved._stopper.wait, saved._stopper.best, saved._stopper.best_epoch = 2, 0.25, 1
    for variable, value in zip(model.metrics_variables, (6.0, 4.0), strict=True):
        variable.assign(value)
    saved.on_epoch_begin(1)
    saved.on_epoch_end(1, {"loss": np.float32(0.5), "val_loss": 1})
    state, shapes = checkpoints._read(f"{tmp_path}/ckpt-10")
    assert state == {
        "version": 3,
        "config": as_json(CONFIG),
        "history": {"loss": [0.5], "val_loss": [1.0]},
        "metrics": [6.0, 4.0],
        "stopper": {"wait": 2, "best": 0.25, "best_epoch": 1},
    }
    assert [type(value) for values in saved.history.values() for value in values] == [float] * 2
    assert shapes == SHAPES
    reader = tf.train.load_checkpoint(f"{tmp_path}/ckpt-10")
    values = [
        float(reader.get_tensor(name).max()) for name in sorted(SHAPES) if "state" not in name
    ]
    assert values == [5, 6, 7, 8, 9, 10, 0, 0.5]
    assert names(tmp_path) == files(tmp_path, 10)


def test_without_a_validation_split_there_is_no_stopper_to_restore(tmp_path):
    save(tmp_path, at=[5])
    assert checkpoints._read(f"{tmp_path}/ckpt-5")[0]["stopper"] is None
    saved, _, _ = callback(tmp_path)
    saved.on_train_begin()
    assert saved._stopper.best_weights is None


def test_a_training_resumes_with_weights_history_and_the_stopper(tmp_path, capsys):
    saved, _, model = callback(tmp_path, steps=2000)
    saved._stopper.best_weights = weights_of(3)
    saved._stopper.wait, saved._stopper.best, saved._stopper.best_epoch = 2, 0.25, 1
    saved.history = {"loss": [0.5]}
    saved.on_epoch_begin(1)
    model.set_weights(weights_of(7))
    model.optimizer.iterations.assign(3500)
    saved._save(1500)
    assert capsys.readouterr().out == ""
    saved, step, model = callback(tmp_path, steps=2000)
    assert step == 3500
    assert capsys.readouterr().out == "resuming after step 1,500 of epoch 2\n"
    assert (saved._epoch, saved._first_step, saved.history) == (1, 1500, {"loss": [0.5]})
    assert [weight.tolist() for weight in model.get_weights()] == [
        weight.tolist() for weight in weights_of(7)
    ]
    assert int(model.optimizer.iterations) == 3500
    saved.on_train_begin()
    stopper = saved._stopper
    assert (stopper.wait, stopper.best, stopper.best_epoch) == (2, 0.25, 1)
    assert [weight.max() for weight in stopper.best_weights] == [7, 8, 5, 6]


def test_two_checkpoints_are_kept_at_most(tmp_path):
    save(tmp_path, at=[2, 4, 5, 7])
    assert names(tmp_path) == files(tmp_path, 5, 7)


@pytest.mark.parametrize(
    ("every", "saved_after"), [(0, []), (1, [6, 7, 8, 9]), (2, [7, 9]), (3, [8]), (5, [])]
)
def test_within_an_epoch_every_so_many_steps_are_saved_but_not_its_last(
    tmp_path, monkeypatch, every, saved_after
):
    saved, _, model = callback(tmp_path, every=every)
    found = []
    monkeypatch.setattr(
        saved._manager, "save", lambda checkpoint_number: found.append(checkpoint_number)
    )
    saved.on_epoch_begin(1)
    model.stop_training = True
    for batch in range(STEPS):
        saved.on_train_batch_end(batch)
        assert model.stop_training == (batch < STEPS - 1)
    assert model.stop_training is False
    assert found == saved_after


def test_the_first_batch_after_resuming_adds_what_was_measured_before(tmp_path, monkeypatch):
    saved, _, model = callback(tmp_path)
    for variable, value in zip(model.metrics_variables, (6.0, 4.0), strict=True):
        variable.assign(value)
    saved.on_epoch_begin(1)
    saved._save(1)
    saved, _, model = callback(tmp_path, every=2)
    found = []
    monkeypatch.setattr(
        saved._manager, "save", lambda checkpoint_number: found.append(checkpoint_number)
    )
    measured = []
    for batch in range(4):
        for variable in model.metrics_variables:
            variable.assign_add(1.0)
        saved.on_train_batch_end(batch)
        measured.append([float(variable) for variable in model.metrics_variables])
        assert model.stop_training == (batch == 3)  # the epoch's last step
    assert measured == [[7, 5], [8, 6], [9, 7], [10, 8]]
    assert found == [7, 9]
    assert model.stop_training is True
    saved.on_epoch_end(1)
    assert (saved._first_step, model.stop_training, found) == (0, False, [7, 9, 10])
    saved.on_epoch_begin(2)
    saved.on_train_batch_end(0)
    assert [float(variable) for variable in model.metrics_variables] == [10, 8]


def test_metrics_of_another_number_are_never_added(tmp_path):
    save(tmp_path, at=[1])
    saved, _, _ = callback(tmp_path)
    saved._resumed["metrics"].append(1.0)
    with pytest.raises(ValueError, match="is longer than argument 1"):
        saved.on_train_batch_end(0)


def test_an_epoch_ends_with_a_checkpoint_unless_the_training_does(tmp_path):
    saved, _, model = callback(tmp_path)
    saved._first_step = 2
    saved.on_epoch_end(0, {"loss": 1})
    saved.on_epoch_begin(1)
    saved._stopper.stopped_epoch = 1
    saved.on_epoch_end(1, {"loss": 0.5, "val_loss": 2})
    assert saved.history == {"loss": [1.0, 0.5], "val_loss": [2.0]}
    assert (model.stop_training, saved._first_step) == (True, 0)
    assert names(tmp_path) == files(tmp_path, 5)


def test_checkpoints_are_sorted_by_steps_whatever_else_is_there(tmp_path):
    for name in ("ckpt-9.index", "ckpt-10.data-00000-of-00001", "ckpt-10.index", "ckpt-11.data-x"):
        (tmp_path / name).touch()
    for name in ("checkpoint", "ckpt-12", "ckpt-13.index.temp", "a-ckpt-14.index", "ckpt-x.index"):
        (tmp_path / name).touch()
    assert checkpoints._newest_first(str(tmp_path)) == [
        (f"{tmp_path}/ckpt-{step}", step) for step in (11, 10, 9)
    ]
    assert checkpoints._newest_first(f"{tmp_path}/none") == []


def test_the_newest_checkpoint_is_copied_alone(tmp_path):
    save(tmp_path / "a", at=[9, 10])
    (tmp_path / "a/ckpt-10x.index").touch()
    saved, _, _ = callback(tmp_path / "a")
    saved.keep(f"{tmp_path}/b/c")
    copied = ["ckpt-10.data-00000-of-00001", "ckpt-10.index"]
    assert names(tmp_path / "b/c") == copied
    for name in copied:
        assert (tmp_path / "b/c" / name).read_bytes() == (tmp_path / "a" / name).read_bytes()
    callback(tmp_path / "none")[0].keep(f"{tmp_path}/d")
    assert not (tmp_path / "d").exists()


def damage(folder, step, old, new):
    [path] = folder.glob(f"ckpt-{step}.data-*")
    content = path.read_bytes()
    assert content.count(old)
    path.write_bytes(content.replace(old, new))


def test_a_checkpoint_with_any_damage_is_skipped_for_the_one_before(tmp_path, capsys):
    save(tmp_path, at=[4, 5], number=0)
    damage(tmp_path, 5, np.float32(5).tobytes(), np.float32(6).tobytes())
    with pytest.raises(tf.errors.OpError, match="Checksum does not match"):
        checkpoints._read(f"{tmp_path}/ckpt-5")
    _, step, model = callback(tmp_path)
    assert (step, float(model.get_weights()[0][0, 0])) == (4, 4.0)
    said = f"{tmp_path}/ckpt-5 is damaged: skipped\nresuming after step 4 of epoch 1\n"
    assert capsys.readouterr().out == said
    next(tmp_path.glob("ckpt-4.data-*")).unlink()
    assert callback(tmp_path)[1] == 0
    assert capsys.readouterr().out == "".join(
        f"{tmp_path}/ckpt-{step} is damaged: skipped\n" for step in (5, 4)
    )


@pytest.mark.parametrize(
    "error", [tf.errors.DataLossError(None, None, ""), KeyError, IndexError, TypeError, ValueError]
)
def test_whatever_a_damaged_checkpoint_raises_is_reported(monkeypatch, capsys, error):
    def read(path):
        assert path == "a/ckpt-5"
        raise error

    monkeypatch.setattr(checkpoints, "_read", read)
    assert checkpoints._read_or_report("a/ckpt-5") is None
    assert capsys.readouterr().out == "a/ckpt-5 is damaged: skipped\n"
    monkeypatch.setattr(checkpoints, "_read", lambda path: ({"path": path}, {}))
    assert checkpoints._read_or_report("a/ckpt-5") == ({"path": "a/ckpt-5"}, {})
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("state", ["", "{", "\udcff"])
def test_a_state_that_is_no_json_is_damage(tmp_path, capsys, state):
    save(tmp_path, at=[5], state=state.encode("utf-8", "surrogateescape"))
    assert callback(tmp_path)[1] == 0
    assert capsys.readouterr().out == f"{tmp_path}/ckpt-5 is damaged: skipped\n"


@pytest.mark.parametrize(
    ("state", "version"),
    [({}, 0), ({"version": 2}, 2), ({"version": 4, "config": None}, 4), (None, 3)],
)
def test_a_checkpoint_of_another_version_or_network_is_refused(tmp_path, state, version):
    path = f"{tmp_path}/ckpt-5"
    if state is None:  # of this version, but with another variable
        save(tmp_path, at=[5])
        state, shapes = checkpoints._read(path)
        shapes = shapes | {NAMED.format("variables/6"): ()}
        saved, _, _ = callback(tmp_path / "other")
        with pytest.raises(BadInput) as error:
            saved._check_fits(path, state, shapes, 5)
    else:
        save(tmp_path, at=[5], state=json.dumps(state))
        with pytest.raises(BadInput) as error:
            callback(tmp_path)
    assert str(error.value) == (
        f"{path} is from another version of this program (checkpoint version {version}, not 3) or "
        "of a network that has changed since: resume with the version that began the training, or "
        "give --no_resume"
    )


def test_a_checkpoint_without_a_state_is_of_another_network(tmp_path):
    saved, _, _ = callback(tmp_path)
    state = {"version": 3, "config": as_json(CONFIG)}
    saved._check_fits("ckpt-5", state, SHAPES, 5)
    for name in SHAPES:
        for shapes in ({k: v for k, v in SHAPES.items() if k != name}, SHAPES | {name: (9,)}):
            with pytest.raises(BadInput, match=r"^ckpt-5 is from another version of this program"):
                saved._check_fits("ckpt-5", state, shapes, 5)


@pytest.mark.parametrize(
    ("other", "what"),
    [
        (config(seed=1), "with --seed 1"),
        (config(epochs=4, seed=1), "with --epochs 4, --seed 1"),
        (
            dataclasses.replace(config(optimizer="sgd"), network=Network(max_len=4, lstm_units=9)),
            "with --lstm_units 9, --optimizer sgd",
        ),
        (dataclasses.replace(CONFIG, manifest_sha256="2"), "on other records"),
        (dataclasses.replace(CONFIG, classes=("neg", "pos", "odd")), "on other records"),
    ],
)
def test_the_state_of_another_training_is_kept_for_it(tmp_path, other, what):
    save(tmp_path, other, at=[5])
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(BadInput) as error:
        callback(tmp_path)
    assert str(error.value) == (
        f"a training {what} was interrupted here, and {tmp_path} keeps its state: resume that one, "
        "or give --no_resume"
    )
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_flag_of_an_earlier_version_is_named_even_if_its_value_is_none(tmp_path):
    saved, _, _ = callback(tmp_path)
    other = as_json(CONFIG)
    other["network"] |= {"attention": 2, "max_len": None}
    with pytest.raises(BadInput, match=r"^a training with --max_len None, --attention 2 was "):
        saved._check_same(other, 5)


def test_a_training_continues_with_other_epochs_if_its_rate_does_not_decay(tmp_path):
    save(tmp_path, at=[9, 10])
    for epochs in (2, 3, 9):
        assert callback(tmp_path, config(epochs=epochs))[1] == 10
    with pytest.raises(BadInput) as error:
        callback(tmp_path, config(epochs=1))
    assert str(error.value) == (
        "--epochs 1: the training that was interrupted here is past that: give more, or --no_resume"
    )
    save(tmp_path / "decays", config(decay="linear"), at=[5])
    assert callback(tmp_path / "decays", config(decay="linear"))[1] == 5
    with pytest.raises(BadInput) as error:
        callback(tmp_path / "decays", config(decay="linear", epochs=9))
    assert str(error.value) == (
        "--epochs 9: the learning rate decays over all epochs, so the first 3 would have been "
        "different: give --no_resume"
    )


def test_a_finished_training_continues_only_with_more_epochs(tmp_path, capsys):
    kept = tmp_path / "kept"
    save(kept, at=[14, 15])
    for other in (CONFIG, config(epochs=2), config(epochs=4, seed=1)):
        assert callback(tmp_path / "new", other, kept=kept)[1] == 0
    assert capsys.readouterr().out == ""
    saved, step, model = callback(tmp_path / "new", config(epochs=4), kept=kept)
    assert (step, saved._epoch, saved._first_step) == (15, 3, 0)
    assert float(model.get_weights()[0][0, 0]) == 15.5
    assert capsys.readouterr().out == "resuming after step 0 of epoch 4\n"
    assert callback(tmp_path / "new", config(epochs=4))[1] == 0
    save(tmp_path / "decays", config(decay="cosine"), at=[15])
    with pytest.raises(BadInput, match=r"^--epochs 4: the learning rate decays over all epochs"):
        callback(tmp_path / "new", config(decay="cosine", epochs=4), kept=tmp_path / "decays")


def test_an_interrupted_training_goes_before_a_finished_one(tmp_path):
    save(tmp_path / "kept", config(epochs=1), at=[5])
    save(tmp_path / "new", at=[2])
    assert callback(tmp_path / "new", kept=tmp_path / "kept")[1] == 2


def test_a_damaged_checkpoint_of_a_finished_training_is_skipped(tmp_path, capsys):
    save(tmp_path / "kept", config(epochs=1), at=[4, 5], number=0)
    damage(tmp_path / "kept", 5, np.float32(5).tobytes(), np.float32(6).tobytes())
    assert callback(tmp_path / "new", kept=tmp_path / "kept")[1] == 4
    assert capsys.readouterr().out.startswith(f"{tmp_path}/kept/ckpt-5 is damaged: skipped\n")
