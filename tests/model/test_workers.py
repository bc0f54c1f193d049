"""Training on several workers: fails once Keras supports it."""

import json
import socket
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

WORKER = """
import keras, numpy as np, tensorflow as tf
strategy = tf.distribute.MultiWorkerMirroredStrategy()
with strategy.scope():
    layers = [keras.Input([4], dtype="int32"), keras.layers.Embedding(9, 2), keras.layers.LSTM(2)]
    model = keras.Sequential([*layers, keras.layers.Dense(1, activation="sigmoid")])
    model.compile("adam", "binary_crossentropy")
batches = tf.data.Dataset.from_tensors((np.ones([4, 4], np.int32), np.ones(4))).repeat()
model.fit(batches, steps_per_epoch=2, verbose=0)
"""


def free_ports(number):
    sockets = [socket.socket() for _ in range(number)]
    for each in sockets:
        each.bind(("localhost", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


@pytest.mark.xfail(
    strict=True,
    raises=AssertionError,
    reason="Keras 3.15 makes a tensor of what is spread over workers",
)
def test_keras_trains_on_two_workers():
    cluster = {"worker": [f"localhost:{port}" for port in free_ports(2)]}
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER],
            env={
                "TF_CONFIG": json.dumps(
                    {"cluster": cluster, "task": {"type": "worker", "index": n}}
                )
            },
            stderr=subprocess.PIPE,
            text=True,
        )
        for n in range(2)
    ]
    try:
        errors = [worker.communicate(timeout=120)[1] for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
    failed = [error for error, worker in zip(errors, workers, strict=True) if worker.returncode]
    if failed and not all("PerReplica" in error for error in failed):
        raise RuntimeError(failed[0])
    assert not failed
