"""Scores batches of texts with a SavedModel."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import tensorflow as tf
from apache_beam.utils.shared import Shared

from textrecords import drift, saved_model, spec

Row = dict[str, Any]  # `label`, and `score` or `scores`, as the SavedModel returns them


@dataclasses.dataclass(frozen=True)
class Scorer:
    """A SavedModel of `model.training.export`.

    Attributes:
      path: of the SavedModel.
      model: loaded once per process.
    """

    path: str
    model: Shared = dataclasses.field(default_factory=Shared)

    def score(self, texts: list[bytes]) -> tuple[list[Row], drift.Profile | None]:
        """Returns the rows of texts, and their profile; None if the model is too old for that."""
        load = functools.partial(tf.saved_model.load, self.path)
        signatures = self.model.acquire(load, tag=self.path).signatures
        if saved_model.SCORE_TOKENS not in signatures:
            return _to_rows(signatures["serving_default"](text=tf.constant(texts))), None
        tokens = signatures["tokenize"](text=tf.constant(texts))[spec.TOKENS]
        outputs = signatures[saved_model.SCORE_TOKENS](tokens=tokens)
        of_rows = outputs["score"] if "score" in outputs else tf.reduce_max(outputs["scores"], 1)
        return _to_rows(outputs), drift.Profile.of(tokens.numpy(), of_rows.numpy())


def _to_rows(outputs: Mapping[str, tf.Tensor]) -> list[Row]:
    """Returns the rows without the names of all classes, which are the same in all rows."""
    return [
        {name: value for name, value in row.items() if name != "classes"}
        for row in saved_model.to_rows(outputs)
    ]
