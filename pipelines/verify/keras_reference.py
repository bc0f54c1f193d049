"""Tokenizes the texts with Keras itself: the reference that all stages are compared with."""

import codecs
import re
from collections.abc import Callable, Iterable

import keras
import numpy as np
import tensorflow as tf

from pipelines.preprocess import transform
from textrecords import spec


class Reference:
    """`keras.layers.TextVectorization` with several sizes, used as in the Keras tutorial.

    Keras has no word lists, `--strip_html` or `--normalize_unicode`: for these it gets the function
    that the records were made with.

    Args:
      options: the flags that the dataset was made with.
    """

    def __init__(self, options: transform.TextOptions):
        self._tokenizer = transform.Tokenizer(options)
        self._options = options
        self._layers = {}

    def adapt(self, max_tokens: int, batches: Iterable[list[bytes]]) -> None:
        """Adds a layer with this size, adapted on batches of texts."""
        self._layers[max_tokens] = keras.layers.TextVectorization(
            max_tokens, standardize=self._standardize, split=self._split, ragged=True
        )
        self._layers[max_tokens].adapt(map(self._clean, batches))

    @property
    def _has_lists(self) -> bool:
        return bool(self._options.stop_words or self._options.replacements)

    @property
    def _standardize(self) -> str | Callable[[tf.Tensor], tf.Tensor]:
        if self._options.strip_html or self._options.normalize_unicode or self._has_lists:
            return self._tokenizer.standardize
        return "lower_and_strip_punctuation"

    @property
    def _split(self) -> str | Callable[[tf.Tensor], tf.RaggedTensor]:
        return self._tokenizer.split if self._has_lists else self._options.split

    def ids(self, texts: list[bytes]) -> dict[int, list[np.ndarray]]:
        """Returns the ids of each text, <int64>[tokens], for each size.

        A review without tokens is one OOV, unlike in Keras.
        """
        cleaned = self._clean(texts)
        oov = np.array([spec.OOV_ID])
        return {
            max_tokens: [
                row[: self._options.max_len] if len(row) else oov for row in rows(layer(cleaned))
            ]
            for max_tokens, layer in self._layers.items()
        }

    def _clean(self, texts: list[bytes]) -> tf.Tensor:
        """Does the cleaning that precedes Keras' own."""
        if callable(self._standardize):  # it does this as well
            return tf.constant(texts)
        cleaned = (text.removeprefix(codecs.BOM_UTF8).replace(b"<br />", b" ") for text in texts)
        if self._options.split == "character":
            cleaned = (re.sub(rb"\r\n?|\n", b" ", text) for text in cleaned)
        return tf.constant(list(cleaned))


def rows(ids: tf.RaggedTensor) -> list[np.ndarray]:
    """Splits <int64>[batch_size, (tokens)] into rows."""
    return np.split(ids.values.numpy(), ids.row_splits.numpy()[1:-1])
