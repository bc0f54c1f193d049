"""The graph that cleans texts and looks up their tokens, written by preprocessing."""

import os

import tensorflow as tf

from textrecords import spec
from textrecords.errors import BadInput

VALID = r"[\x00-\x{D7FF}\x{E000}-\x{10FFFF}]*"  # of UTF-8, which has no surrogates


def load(folder: str) -> tf.Module:
    """Loads the graph of the dataset in a folder; raises `BadInput` if it can't be loaded."""
    path = os.path.join(folder, spec.TRANSFORM_FN)
    try:
        return tf.saved_model.load(path)
    except (OSError, tf.errors.OpError):
        raise BadInput(f"no complete {path}: run `make preprocess` again") from None


def tokenize(graph: tf.Module, texts: tf.Tensor) -> tf.RaggedTensor:
    """Returns the ids of <string>[batch_size] texts, <int64>[batch_size, (tokens)].

    Bytes that aren't UTF-8 are replaced.
    """
    texts = _to_utf8(texts)
    features = graph.transform_fn(
        {
            spec.TEXT: texts,
            spec.LABEL: tf.zeros(tf.shape(texts), tf.int64),
            spec.KEY: tf.zeros_like(texts),
        }
    )
    return tf.RaggedTensor.from_sparse(features[spec.TOKENS])


def _to_utf8(texts: tf.Tensor) -> tf.Tensor:
    """Replaces bytes that aren't UTF-8, as preprocessing does; the graph takes only valid UTF-8."""
    # Checking takes a fifth of the time of replacing, and most texts are valid.
    return tf.cond(
        tf.reduce_all(tf.strings.regex_full_match(texts, VALID)),
        lambda: texts,
        lambda: tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8", errors="replace"),
    )
