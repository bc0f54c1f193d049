"""The served model: raw text in, scores and class names out."""

import os

import keras
import tensorflow as tf

from model import input_pipeline, lstm
from model.config import Network
from pipelines import commands, contract


def load_transform(records_dir: str) -> tf.Module:
    """Loads the graph that cleans text and looks up its tokens; raises `BadInput`."""
    path = os.path.join(records_dir, contract.TRANSFORM_FN)
    try:
        return tf.saved_model.load(path)
    except (OSError, tf.errors.OpError):
        raise commands.BadInput(f"no whole {path}: run `make preprocess` again") from None


def export(
    model: keras.Model,
    transform: tf.Module,
    path: str,
    *,
    network: Network,
    classes: tuple[str, ...],
    threshold: float = 0.5,
) -> None:
    """Writes a SavedModel that cleans text as preprocessing did and holds its vocabulary.

    Both its signatures take `text` <string>[batch_size]. The default one gives `label`
    <string>[batch_size], the class name, and for two classes `score` <float32>[batch_size], the
    probability of the second; for more, `scores` <float32>[batch_size, num_classes]. Beside them
    stand the names of all classes, `classes` <string>[batch_size, num_classes], in the order of
    the labels. `tokenize` gives `tokens` <int32>[batch_size, max_len], the ids that the network
    sees.

    Args:
      model: a network of `lstm.build`.
      transform: the dataset's, from `load_transform`.
      path: the folder to write.
      network: what `model` was built from.
      classes: their names, in the order of the labels.
      threshold: as in `lstm.predicted_classes`.
    """

    signature = [tf.TensorSpec([None], tf.string, name=contract.TEXT)]

    @tf.function(input_signature=signature)  # both signatures call this one graph
    def tokenize(text: tf.Tensor) -> dict[str, tf.Tensor]:
        tokens = input_pipeline.fit_tokens(
            _tokens(transform, text), max_tokens=network.max_tokens, max_len=network.max_len
        )
        return {contract.TOKENS: tokens}

    def score(text: tf.Tensor) -> dict[str, tf.Tensor]:
        probabilities = model(tokenize(text)[contract.TOKENS], training=False)
        names = {
            "label": tf.gather(
                tf.constant(classes), lstm.predicted_classes(probabilities, threshold)
            ),
            # For each text anew, since TensorFlow Serving wants rows of all outputs.
            "classes": tf.tile([classes], [tf.size(text), 1]),
        }
        if len(classes) == 2:
            return {**names, "score": probabilities[:, 0]}
        return {**names, "scores": probabilities}

    archive = keras.export.ExportArchive()
    archive.track(transform)  # owns the vocabulary's table
    archive.add_endpoint("serving_default", score, signature)
    archive.add_endpoint("tokenize", tokenize)
    archive.write_out(path, verbose=False)


def _tokens(transform: tf.Module, text: tf.Tensor) -> tf.RaggedTensor:
    """Returns the ids of <string>[batch_size] texts, <int64>[batch_size, (tokens)]."""
    # The transform graph knows valid UTF-8 only; preprocessing decodes bytes in the same way.
    text = tf.strings.unicode_transcode(text, "UTF-8", "UTF-8", errors="replace")
    features = transform.transform_fn(
        {
            contract.TEXT: text,
            contract.LABEL: tf.zeros(tf.shape(text), tf.int64),
            contract.KEY: tf.zeros_like(text),
        }
    )
    return tf.RaggedTensor.from_sparse(features[contract.TOKENS])
