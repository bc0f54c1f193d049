"""The served model: raw text in, scores and class names out."""

import keras
import tensorflow as tf

from model.network import lstm
from model.training import warm_up
from textrecords import atomic, input_pipeline, spec, transform_graph
from textrecords.model_folder import ModelConfig


def save_network(model: keras.Model, path: str) -> None:
    """Writes the network as `keras.models.load_model` reads it, without its optimizer."""
    network = type(model).from_config(model.get_config())
    network.set_weights(model.get_weights())
    with atomic.write_file(path) as part:
        network.save(part)


def export(model: keras.Model, transform: tf.Module, path: str, config: ModelConfig) -> None:
    """Writes a SavedModel that cleans text as preprocessing did and holds its vocabulary.

    Both its signatures take `text` <string>[batch_size], and as well a single text, <string>[], or
    columns as Keras sends them, <string>[batch_size, 1]. The default one gives `label`
    <string>[batch_size], the class name, and for two classes `score` <float32>[batch_size], the
    probability of the second; for more, `scores` <float32>[batch_size, num_classes]. Beside them
    stand the names of all classes, `classes` <string>[batch_size, num_classes], in the order of
    the labels. `tokenize` gives `tokens` <int32>[batch_size, max_len], the ids that the network
    sees.

    Args:
      model: a network of `lstm.build`.
      transform: `Dataset.transform`.
      path: the folder to write.
      config: what `model` was built from.
    """

    signature = [tf.TensorSpec(None, tf.string, name=spec.TEXT)]

    @tf.function(input_signature=signature)  # both signatures call this one graph
    def tokenize(text: tf.Tensor) -> dict[str, tf.Tensor]:
        tokens = transform_graph.tokenize(transform, tf.reshape(text, [-1]))
        return {spec.TOKENS: input_pipeline.fit_tokens(tokens, config.network.input_size)}

    def score(text: tf.Tensor) -> dict[str, tf.Tensor]:
        probabilities = model(tokenize(text)[spec.TOKENS], training=False)
        names = {
            "label": tf.gather(
                tf.constant(config.classes),
                lstm.predicted_classes(probabilities, config.threshold),
            ),
            # For each text anew, since TensorFlow Serving wants rows of all outputs.
            "classes": tf.tile([config.classes], [tf.size(text), 1]),
        }
        if len(config.classes) == 2:
            return {**names, "score": probabilities[:, 0]}
        return {**names, "scores": probabilities}

    archive = keras.export.ExportArchive()
    archive.track(transform)  # owns the vocabulary's table
    archive.add_endpoint("serving_default", score, signature)
    archive.add_endpoint("tokenize", tokenize)
    archive.write_out(path, verbose=False)
    warm_up.write(path)
