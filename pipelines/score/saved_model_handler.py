"""Runs a SavedModel in Beam's RunInference."""

import collections
from collections.abc import Sequence
from typing import Any

import tensorflow as tf
from apache_beam.ml.inference import base

from textrecords import saved_model

# Texts that this process has scored, for who waits; other processes count for themselves.
SEEN: collections.Counter[str] = collections.Counter()
Row = dict[str, Any]  # `label`, and `score` or `scores`, as the SavedModel gives them


class SavedModel(base.ModelHandler[list[bytes], list[Row], tf.Module]):
    """Scores batches of texts with what `model.training.export` wrote.

    Beam's own handler for TensorFlow loads models by Keras, and Keras 3 loads no SavedModel. Whole
    batches come in, since to hand on single texts would cost more.
    """

    def __init__(self, path: str):
        super().__init__(max_batch_size=1)
        self._path = path

    def load_model(self) -> tf.Module:
        return tf.saved_model.load(self._path)

    def run_inference(
        self, batch: Sequence[list[bytes]], model: tf.Module, inference_args: Any = None
    ) -> list[list[Row]]:
        """Returns a `Row` for each text of each batch."""
        serve = model.signatures["serving_default"]
        scored = [
            [
                {k: v for k, v in row.items() if k != "classes"}
                for row in saved_model.score_batch(serve, texts)
            ]
            for texts in batch
        ]
        SEEN["scored"] += sum(map(len, batch))
        return scored

    def get_num_bytes(self, batch: Sequence[list[bytes]]) -> int:
        return sum(len(text) for texts in batch for text in texts)
