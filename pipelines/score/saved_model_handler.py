"""Runs a SavedModel in Beam's RunInference."""

import collections
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf
from apache_beam.ml.inference import base

from textrecords import drift, saved_model, spec

# Texts that this process has scored, for progress bars; each process has its own count.
SEEN: collections.Counter[str] = collections.Counter()
Row = dict[str, Any]  # `label`, and `score` or `scores`, as the SavedModel returns them
# The rows of a batch of texts, and their profile; None if the model is too old to return ids.
Scored = tuple[list[Row], drift.Profile | None]


class SavedModel(base.ModelHandler[list[bytes], Scored, tf.Module]):
    """Scores batches of texts with a SavedModel of `model.training.export`.

    Beam's own handler for TensorFlow loads models with Keras, and Keras 3 can't load SavedModels.
    The elements are whole batches, since passing single texts would cost more.
    """

    def __init__(self, path: str):
        super().__init__(max_batch_size=1)
        self._path = path

    def load_model(self) -> tf.Module:
        return tf.saved_model.load(self._path)

    def run_inference(
        self, batch: Sequence[list[bytes]], model: tf.Module, inference_args: Any = None
    ) -> list[Scored]:
        """Returns the model's results for each batch of texts."""
        scored = [_score(model.signatures, texts) for texts in batch]
        SEEN["scored"] += sum(map(len, batch))
        return scored

    def get_num_bytes(self, batch: Sequence[list[bytes]]) -> int:
        return sum(len(text) for texts in batch for text in texts)


def _score(signatures: Mapping[str, saved_model.Signature], texts: list[bytes]) -> Scored:
    if saved_model.SCORE_TOKENS not in signatures:
        return _to_rows(signatures["serving_default"](text=tf.constant(texts))), None
    tokens = signatures["tokenize"](text=tf.constant(texts))[spec.TOKENS]
    outputs = signatures[saved_model.SCORE_TOKENS](tokens=tokens)
    scores = outputs["score"] if "score" in outputs else tf.reduce_max(outputs["scores"], axis=1)
    return _to_rows(outputs), drift.Profile.of(tokens.numpy(), scores.numpy())


def _to_rows(outputs: Mapping[str, tf.Tensor]) -> list[Row]:
    """Returns the rows without the names of all classes, which are the same in all rows."""
    return [
        {name: value for name, value in row.items() if name != "classes"}
        for row in saved_model.to_rows(outputs)
    ]
