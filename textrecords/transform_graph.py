"""The graph that cleans texts and looks up their tokens, written by preprocessing."""

import os

import tensorflow as tf

from textrecords import spec
from textrecords.errors import BadInput


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
    # The graph takes only valid UTF-8; preprocessing decodes bytes in the same way.
    texts = tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8", errors="replace")
    features = graph.transform_fn(
        {
            spec.TEXT: texts,
            spec.LABEL: tf.zeros(tf.shape(texts), tf.int64),
            spec.KEY: tf.zeros_like(texts),
        }
    )
    return tf.RaggedTensor.from_sparse(features[spec.TOKENS])
