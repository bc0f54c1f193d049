"""What Keras itself makes of the texts: the reference that all stages are compared with."""

import codecs
from collections.abc import Iterable

import keras
import numpy as np
import tensorflow as tf

from pipelines.preprocess import transform
from textrecords import spec


class Reference:
    """`keras.layers.TextVectorization` of several sizes, used as in the Keras tutorial.

    Args:
      tokenizer: what splits a text if the dataset was made with word lists, which Keras doesn't
        know, else None.
      max_len: how many tokens of a review the records keep; None is all.
    """

    def __init__(self, tokenizer: transform.Tokenizer | None, max_len: int | None):
        self._tokenizer = tokenizer
        self._max_len = max_len
        self._layers = {}

    def adapt(self, max_tokens: int, batches: Iterable[list[bytes]]) -> None:
        """Adds a layer of this size, adapted on batches of texts."""
        self._layers[max_tokens] = keras.layers.TextVectorization(
            max_tokens,
            standardize=None if self._tokenizer else "lower_and_strip_punctuation",
            split=self._tokenizer or "whitespace",
            ragged=True,
        )
        self._layers[max_tokens].adapt(map(self._clean, batches))

    def ids(self, texts: list[bytes]) -> dict[int, list[np.ndarray]]:
        """Returns the ids of each text, <int64>[tokens], for each size.

        A review without tokens is one OOV, as everywhere but in Keras.
        """
        cleaned = self._clean(texts)
        oov = np.array([spec.OOV_ID])
        return {
            max_tokens: [row[: self._max_len] if len(row) else oov for row in rows(layer(cleaned))]
            for max_tokens, layer in self._layers.items()
        }

    def _clean(self, texts: list[bytes]) -> tf.Tensor:
        if self._tokenizer:  # which does the same
            return tf.constant(texts)
        marks = (text.removeprefix(codecs.BOM_UTF8) for text in texts)
        return tf.constant([text.replace(b"<br />", b" ") for text in marks])


def rows(ids: tf.RaggedTensor) -> list[np.ndarray]:
    """Takes <int64>[batch_size, (tokens)] apart."""
    return np.split(ids.values.numpy(), ids.row_splits.numpy()[1:-1])
