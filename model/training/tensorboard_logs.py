"""Writes TensorBoard logs other than curves: settings, graph, embedding, lengths and texts."""

import os
from collections.abc import Mapping, Sequence

import keras
import tensorflow as tf
from tensorboard.plugins import projector
from tensorboard.plugins.hparams import summary_v2 as hparams  # its `api` needs tf.keras

from textrecords import input_pipeline, storage, terminal
from textrecords.model_folder import ModelConfig

RUN = "data"  # next to the runs of the curves
TEXTS = 10  # shown as the network sees them
METADATA = "tokens.tsv"  # the names of the embedding's rows, one per line


def write(
    logs_dir: str, model: keras.Model, rows: input_pipeline.Rows, vocabulary: Sequence[str]
) -> None:
    """Writes what doesn't change between epochs, after the training.

    The embedding is written only if the network has one.

    Args:
      logs_dir: the folder of the curves.
      model: the network.
      rows: of train.
      vocabulary: the names of all ids.
    """
    embedding = next((layer for layer in model.layers if hasattr(layer, "embeddings")), None)
    names = [terminal.one_line(token) for token in vocabulary]
    run_dir = os.path.join(logs_dir, RUN)
    with tf.summary.create_file_writer(run_dir).as_default(step=0):
        tf.summary.graph(_graph(model))
        tf.summary.histogram("tokens per review, cut at max_len", _lengths(rows))
        tf.summary.text("reviews as the network sees them", _texts(rows, names))
    if embedding is not None:
        table = embedding.embeddings
        _write_embedding(run_dir, table, names[: table.shape[0]])


def write_settings(logs_dir: str, config: ModelConfig, results: Mapping[str, float]) -> None:
    """Writes settings and results for TensorBoard's HParams page.

    Args:
      logs_dir: the folder of the curves.
      config: the settings of network and training.
      results: the final results, by name.
    """
    with tf.summary.create_file_writer(logs_dir).as_default(step=0):
        hparams.hparams({**vars(config.network), **vars(config.training)})
        for name, value in results.items():
            tf.summary.scalar(name, value)


def _graph(model: keras.Model) -> tf.Graph:
    function = tf.function(lambda tokens: model(tokens, training=False), autograph=False)
    return function.get_concrete_function(tf.TensorSpec([None, None], tf.int32, "tokens")).graph


def _lengths(rows: input_pipeline.Rows) -> tf.Tensor:
    blocks = rows.blocks.map(
        lambda tokens, _: tf.math.count_nonzero(tokens, axis=1, dtype=tf.int32)
    )
    return tf.concat(list(blocks), axis=0)


def _texts(rows: input_pipeline.Rows, names: list[str]) -> tf.Tensor:
    """Returns <string>[TEXTS], as Markdown code blocks, so that nothing in them is markup."""
    tokens, _ = next(iter(rows.blocks.rebatch(TEXTS)))
    reviews = [[names[token] for token in row if token] for row in tokens.numpy()]
    return tf.constant([f"    {' '.join(review)}" for review in reviews])


def _write_embedding(run_dir: str, embedding: keras.Variable, names: list[str]) -> None:
    storage.write_text(os.path.join(run_dir, METADATA), "".join(f"{name}\n" for name in names))
    checkpoint = tf.train.Checkpoint(embedding=tf.Variable(embedding.value))
    checkpoint.save(os.path.join(run_dir, "embedding"))
    config = projector.ProjectorConfig()
    config.embeddings.add(
        tensor_name="embedding/.ATTRIBUTES/VARIABLE_VALUE", metadata_path=METADATA
    )
    projector.visualize_embeddings(run_dir, config)
