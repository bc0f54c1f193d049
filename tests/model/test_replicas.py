"""Training on several GPUs, simulated by logical CPUs in a separate process."""

import json
import pathlib
import subprocess
import sys
import types

import keras
import numpy as np
import pytest
import tensorflow as tf
import tiny_dataset
from test_train import QUICK, reviews

from model import train
from model.training import replicas
from textrecords import atomic, model_folder
from textrecords.errors import BadInput

pytestmark = pytest.mark.slow

# Trains in turn as each name says, and saves the results: all weights, and those of each replica.
SCRIPT = """
import json, sys
import keras, numpy as np, tensorflow as tf
[cpu] = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 3)
from model import evaluate, train
from model.training import fit, flags, replicas, settings
from textrecords import input_pipeline
from textrecords.dataset import open_dataset

evaluate.BATCH_SIZE = 4
replicas.devices = lambda: [f"CPU:{n}" for n in range(3)]
records, runs = sys.argv[1], json.loads(sys.argv[2])


def flat(arrays):
    return np.concatenate([np.ravel(array) for array in arrays])


class Watch(keras.callbacks.Callback):
    def __init__(self, steps):
        super().__init__()
        self.steps = self.left = steps

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt

    def on_train_end(self, logs=None):
        strategy = self.model.distribute_strategy
        values = [strategy.experimental_local_results(v.value) for v in self.model.variables]
        self.replicas = np.stack([flat(part.numpy() for part in each) for each in zip(*values)])


for name, state, steps, argv in runs:
    args = train.parse_args(["--records", records, "--model_dir", "-", *argv])
    dataset = open_dataset(records)
    config = settings.configure(dataset, *flags.read_settings(args))
    watch = Watch(steps)
    try:
        options = fit.FitOptions(
            state, checkpoint_every=args.checkpoint_every, gpus=args.gpus, callbacks=[watch]
        )
        fitted = fit.fit(dataset, config, options)
    except KeyboardInterrupt:
        continue
    weights, steps = flat(fitted.model.get_weights()), steps - watch.left
    np.savez(name, weights=weights, replicas=watch.replicas, steps=steps, **fitted.history)

# How Keras hands batches out.
model = replicas.to_train(config, 1, 3)
strategy = model.distribute_strategy
batches = input_pipeline.shuffled_batches(fitted.rows["train"], 8, seed=0, by_length=True)
shared = iter(strategy.experimental_distribute_dataset(replicas.share_out(batches, model)))
each = [strategy.experimental_local_results(next(shared)[1]) for _ in range(6)]
np.savez("shares", sizes=[[len(labels) for labels in of] for of in each])
"""
TUTORIAL = [*QUICK, "--epochs=8", "--patience=8"]
TUNED = [
    *("--preset=tuned", "--max_len=4", "--chunk_len=2", "--ngram_bits=4", "--embedding_dim=4"),
    *("--lstm_units=4", "--embedding_dropout=0", "--dense_dropout=0", "--batch_size=8"),
    *("--epochs=3", "--checkpoint_every=2", "--clipnorm=0.05", "--class_weights=balanced"),
]
STEPS = 6  # an epoch: 41 reviews, 8 a batch, of which the last has one


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Returns what came out of each training."""
    folder = tmp_path_factory.mktemp("replicas")
    rows = [row for n, row in enumerate(reviews(("bad", "good"), 55)) if n % 4 != 3][:41]
    tiny_dataset.write(folder / "records", {"train": rows, "validation": rows[:5]})
    runs = [
        ("tutorial on 1", "a", 0, TUTORIAL),
        ("tutorial on 2", "b", 0, [*TUTORIAL, "--gpus=2"]),
        ("tutorial on 3", "c", 0, [*TUTORIAL, "--gpus=3"]),
        ("tuned on 1", "d", 0, TUNED),
        ("", "e", 2 * STEPS + 3, [*TUNED, "--gpus=3"]),
        ("tuned on 3 and 2", "e", 0, [*TUNED, "--gpus=2"]),
    ]
    command = [sys.executable, "-c", SCRIPT, "records", json.dumps(runs)]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert not result.returncode, result.stderr
    names = [*(name for name, *_ in runs if name), "shares"]
    return {name: dict(np.load(folder / f"{name}.npz")) for name in names}


@pytest.mark.parametrize("name", ["tutorial on 2", "tutorial on 3", "tuned on 3 and 2"])
def test_gpus_that_share_each_batch_give_the_weights_of_one(trained, name):
    one = trained[f"{name.split()[0]} on 1"]
    np.testing.assert_allclose(trained[name]["weights"], one["weights"], atol=1e-5)


@pytest.mark.parametrize("name", ["tutorial on 2", "tutorial on 3", "tuned on 3 and 2"])
def test_validation_counts_every_row_once(trained, name):
    """It's of five rows, in batches of four and one."""
    one = trained[f"{name.split()[0]} on 1"]
    for metric in ("val_loss", "val_accuracy"):
        np.testing.assert_allclose(trained[name][metric], one[metric], atol=1e-5)


@pytest.mark.parametrize(("name", "replicas"), [("tutorial on 2", 2), ("tutorial on 3", 3)])
def test_all_replicas_have_the_same_weights(trained, name, replicas):
    each = trained[name]["replicas"]
    assert len(each) == replicas
    assert (each == each[0]).all()


@pytest.mark.parametrize("name", ["tutorial on 1", "tutorial on 2", "tutorial on 3"])
def test_an_epoch_has_the_same_steps_on_any_number_of_gpus_and_the_loss_falls(trained, name):
    assert trained[name]["steps"] == 8 * STEPS
    losses = trained[name]["loss"]
    assert losses[-1] < losses[0] / 2


def test_a_training_resumes_with_another_number_of_gpus(trained):
    assert trained["tuned on 3 and 2"]["steps"] == 3 * STEPS - (2 * STEPS + 2)


def test_each_gpu_gets_its_share_of_a_batch_alone(trained):
    assert trained["shares"]["sizes"].tolist() == [*[[3, 3, 3]] * 5, [1, 1, 1]]


@pytest.mark.parametrize("name", model_folder.OPTIMIZERS)
def test_every_optimizer_clips_what_is_summed_and_not_before(name):
    optimizer = replicas._clipping_sums(type(keras.optimizers.get(name)))(0.1, clipnorm=1.0)
    gradients = [tf.constant([3.0, 4.0])]
    assert optimizer._clip_gradients(gradients) is gradients
    variable = keras.Variable([0.0, 0.0])
    [(clipped, _)] = optimizer._all_reduce_sum_gradients([(gradients[0], variable)])
    np.testing.assert_allclose(clipped, [0.6, 0.8], atol=1e-6)


def test_shares_come_out_even_and_every_row_counts_once():
    model = types.SimpleNamespace(distribute_strategy=types.SimpleNamespace(num_replicas_in_sync=4))
    rows = tf.data.Dataset.from_tensors(([[1], [2], [3]], [0, 1, 1]))
    [(tokens, labels, weights)] = replicas.share_out(rows, model).as_numpy_iterator()
    assert tokens.tolist() == [[1], [2], [3], [1]]
    assert labels.tolist() == [0, 1, 1, 0]
    np.testing.assert_allclose(weights, [4 / 3, 4 / 3, 4 / 3, 0])
    weighted = rows.map(lambda tokens, labels: (tokens, labels, [3.0, 6.0, 9.0]))
    [(_, _, weights)] = replicas.share_out(weighted, model).as_numpy_iterator()
    np.testing.assert_allclose(weights, [4, 8, 12, 0])


def test_more_gpus_than_there_are_get_a_clear_error_and_nothing_changes(tmp_path):
    tiny_dataset.write(tmp_path / "records", {"train": reviews(("bad", "good"), 4)})
    where = ["--records", str(tmp_path / "records"), "--model_dir", str(tmp_path / "model")]
    stopped = pathlib.Path(atomic.sibling(str(tmp_path / "model"), model_folder.CHECKPOINTS))
    stopped.mkdir()
    there = len(tf.config.list_logical_devices("GPU"))
    message = f"--gpus {there + 2}: TensorFlow finds {there} on this machine: give at most "
    with pytest.raises(BadInput, match=message):
        train.main([*where, *QUICK, "--no_resume", f"--gpus={there + 2}"])
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["records", stopped.name])


def test_several_workers_are_refused(tmp_path, monkeypatch):
    cluster = {"chief": ["a:1"], "worker": ["b:1", "c:1"], "ps": ["d:1"]}
    tf_config = {"cluster": cluster, "task": {"type": "chief", "index": 0}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(tf_config))
    tiny_dataset.write(tmp_path / "records", {"train": reviews(("bad", "good"), 4)})
    where = ["--records", str(tmp_path / "records"), "--model_dir", str(tmp_path / "model")]
    with pytest.raises(BadInput, match="TF_CONFIG names 3 workers"):
        train.main([*where, *QUICK])
    assert [path.name for path in tmp_path.iterdir()] == ["records"]


def test_a_single_worker_may_train(monkeypatch):
    tf_config = {"cluster": {"chief": ["a:1"]}, "task": {"type": "chief", "index": 0}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(tf_config))
    assert replicas.check(1) is None


@pytest.mark.parametrize("text", ["x", '{"cluster": 3}'])
def test_a_tf_config_that_makes_no_sense_is_refused(monkeypatch, text):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(BadInput, match="TF_CONFIG can't be read"):
        replicas.check(1)
