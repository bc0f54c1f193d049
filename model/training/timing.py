"""Measures how long a training takes: each epoch, and the input pipeline alone.

The result is kept in the logs, outside `SHA256SUMS`, since no two runs take the same time.
"""

import dataclasses
import os
import time
from typing import Any

import keras
import tensorflow as tf

from textrecords import input_pipeline, json_files
from textrecords.model_folder import Training

TIMING = "timing.json"  # in the logs


@dataclasses.dataclass(frozen=True)
class Epoch:
    """The steps of an epoch, and the seconds of its training and of its validation."""

    steps: int
    seconds: float
    validation_seconds: float


@dataclasses.dataclass(frozen=True)
class Timing:
    """How long a training took: its epochs by number, and its input pipeline alone."""

    epochs: dict[int, Epoch] = dataclasses.field(default_factory=dict)
    input_seconds: float | None = None  # for all batches of an epoch, without a network


def read_timing(logs_dir: str) -> Timing | None:
    """Returns what `timing.Stopwatch` wrote, or `None` if it can't be read."""
    try:
        return json_files.read(Timing, os.path.join(logs_dir, TIMING))
    except (OSError, ValueError):
        return None


class Stopwatch(keras.callbacks.Callback):
    """Records the seconds of each epoch in `TIMING`.

    Args:
      logs_dir: the folder of the file; a resumed training adds to it.
    """

    def __init__(self, logs_dir: str):
        super().__init__()
        self._logs_dir = logs_dir
        self._timing = read_timing(logs_dir) or Timing()

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._steps, self._validation = 0, 0.0
        self._begun = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self._steps += 1

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._validation -= time.perf_counter()

    def on_test_end(self, logs: dict[str, Any] | None = None) -> None:
        self._validation += time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        seconds = time.perf_counter() - self._begun - self._validation
        measured = Epoch(self._steps, seconds, self._validation)
        self.write(epochs={**self._timing.epochs, epoch + 1: measured})

    def write(self, **changes: Any) -> None:
        """Rewrites the file with changed fields of `Timing`."""
        self._timing = dataclasses.replace(self._timing, **changes)
        json_files.write(os.path.join(self._logs_dir, TIMING), self._timing)


def input_seconds(rows: input_pipeline.Rows, training: Training) -> float:
    """Returns how long it takes to make all batches of an epoch, without a network."""
    batches = input_pipeline.shuffled_batches(
        rows, training.batch_size, seed=training.seed, by_length=training.bucket_by_length
    )
    number = input_pipeline.num_batches(rows, training.batch_size)

    # In a graph, as in `fit`: a Python loop would cost more per batch than the batch itself.
    @tf.function
    def take(iterator: tf.data.Iterator) -> tf.Tensor:
        taken = 0
        for _ in tf.range(number):
            taken += tf.size(next(iterator)[1])
        return taken

    iterator = iter(batches)
    traced = take.get_concrete_function(iterator)
    begun = time.perf_counter()
    traced(iterator)
    return time.perf_counter() - begun
