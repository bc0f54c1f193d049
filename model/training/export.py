"""Exports the model for serving: raw text in, scores and class names out."""

import keras
import tensorflow as tf

from model.network import fast_lstm, lstm, portable
from model.training import warm_up
from textrecords import atomic, input_pipeline, saved_model, spec, transform_graph
from textrecords.model_folder import ModelConfig


def save_network(model: keras.Model, path: str, config: ModelConfig) -> None:
    """Writes the network for `keras.models.load_model`, which doesn't need this project."""
    with atomic.write_file(path) as part:
        portable.save(portable.built_in(model, config.network.max_len), part)


def export(model: keras.Model, transform: tf.Module, path: str, config: ModelConfig) -> None:
    """Writes a SavedModel that cleans text like preprocessing and contains its vocabulary.

    Two of its signatures take `text` <string>[batch_size], a single text <string>[], or columns as
    Keras sends them, <string>[batch_size, 1]. The default one returns `label` <string>[batch_size],
    the class name, and for two classes `score` <float32>[batch_size], the probability of the
    second; for more, `scores` <float32>[batch_size, num_classes]. It also returns the names of all
    classes, `classes` <string>[batch_size, num_classes], in the order of the labels. `tokenize`
    returns `tokens` <int32>[batch_size, max_len], the ids that the network sees. The third,
    `score_tokens`, takes such `tokens`, of any length, and returns the same as the default one.

    Args:
      model: a network of `lstm.build`.
      transform: `Dataset.transform`.
      path: the folder to write.
      config: what `model` was built from.
    """

    signature = [tf.TensorSpec(None, tf.string, name=spec.TEXT)]

    @tf.function(input_signature=signature, autograph=False)  # one graph for two signatures
    def tokenize(text: tf.Tensor) -> dict[str, tf.Tensor]:
        tokens = transform_graph.tokenize(transform, tf.reshape(text, [-1]))
        return {spec.TOKENS: input_pipeline.fit_tokens(tokens, config.network.input_size)}

    served = fast_lstm.to_serve(model)

    def score_tokens(tokens: tf.Tensor) -> dict[str, tf.Tensor]:
        probabilities = served(tokens, training=False)
        names = {
            "label": tf.gather(
                tf.constant(config.classes),
                lstm.predicted_classes(probabilities, config.threshold),
            ),
            # Repeated for each text, since TensorFlow Serving needs rows in all outputs.
            "classes": tf.tile([config.classes], [tf.shape(tokens)[0], 1]),
        }
        if len(config.classes) == 2:
            return {**names, "score": probabilities[:, 0]}
        return {**names, "scores": probabilities}

    def score(text: tf.Tensor) -> dict[str, tf.Tensor]:
        return score_tokens(tokenize(text)[spec.TOKENS])

    archive = keras.export.ExportArchive()
    archive.track(transform)  # owns the vocabulary's table
    archive.add_endpoint("serving_default", score, signature)
    archive.add_endpoint("tokenize", tokenize)
    tokens = tf.TensorSpec([None, None], tf.int32, name=spec.TOKENS)
    archive.add_endpoint(saved_model.SCORE_TOKENS, score_tokens, [tokens])
    archive.write_out(path, verbose=False)
    warm_up.write(path)
