"""Training on several GPUs of a machine: each has a replica of the network and a share of a batch.

Keras and TensorFlow's MirroredStrategy do most of it. This module makes all shares of a batch equal
in size, since each replica takes the mean over its own; and clips the gradient of the whole batch.
"""

from collections.abc import Sequence

import keras
import tensorflow as tf

from model.network import lstm
from textrecords.errors import BadInput
from textrecords.model_folder import ModelConfig


def to_train(config: ModelConfig, num_steps: int, gpus: int) -> keras.Model:
    """Returns a network to call `fit` on with batches of `share_out`.

    Args:
      config: what is trained, and how.
      num_steps: of the whole training.
      gpus: the number of replicas.
    """
    # The gradients are small, and mostly rows of the embedding: they don't need collective
    # operations, which also fail on CPUs if the numbers of rows differ.
    strategy = tf.distribute.MirroredStrategy(
        devices()[:gpus], tf.distribute.ReductionToOneDevice()
    )
    with strategy.scope():
        model = lstm.build(config.network, len(config.classes))
        lstm.compile_model(model, config.training, num_steps)
        clips_sums = _clipping_sums(type(model.optimizer))
        optimizer = clips_sums.from_config(model.optimizer.get_config())
        optimizer.build(model.trainable_variables)
        model.compile(optimizer, model.loss, weighted_metrics=["accuracy"])
    return model


def check(gpus: int) -> None:
    """Raises `BadInput` if there are fewer GPUs, or TF_CONFIG sets up training on many machines."""
    found = len(devices())
    if gpus > 1 and gpus > found:
        raise BadInput(
            f"--gpus {gpus}: TensorFlow finds {found} on this machine: give at most {max(found, 1)}"
        )
    try:
        cluster = tf.distribute.cluster_resolver.TFConfigClusterResolver().cluster_spec()
        training = ("chief", "master", "worker")
        workers = sum(cluster.num_tasks(job) for job in cluster.jobs if job in training)
    except (TypeError, ValueError) as error:
        raise BadInput(f"TF_CONFIG can't be read ({error}): unset it") from None
    if workers > 1:
        raise BadInput(
            f"TF_CONFIG names {workers} workers, but Keras can't train on several: unset it"
        )


def devices() -> list[str]:
    """Returns the names of the machine's GPUs."""
    return [device.name for device in tf.config.list_logical_devices("GPU")]


def share_out(
    batches: tf.data.Dataset, model: keras.Model, *, sizes: Sequence[int] = ()
) -> tf.data.Dataset:
    """Pads all batches to a multiple of the number of a network's replicas, if it has several.

    Missing rows are filled with repeated ones of weight 0, so the mean of the replicas' means is
    that of the batch. But Keras' mean over several batches counts the filled size of each.

    Args:
      batches: of (tokens <int32>[batch_size, length], labels <int64>[batch_size]) and, optionally,
        weights <float32>[batch_size].
      model: the network.
      sizes: of all batches, if the mean over all of them has to be exact, not that of each.

    Returns:
      The padded batches, with weights.
    """
    replicas = model.distribute_strategy.num_replicas_in_sync
    if replicas == 1:
        return batches
    filled = [-(-size // replicas) * replicas for size in sizes]

    def fill(tokens: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor | float = 1.0):
        number = tf.size(labels)
        places = tf.range(-(-number // replicas) * replicas)
        scale = sum(filled) / sum(sizes) if sizes else tf.size(places) / number
        scale = tf.cast(scale, tf.float32)
        counted = tf.where(places < number, scale, 0.0)
        rows = places % number
        weights = tf.gather(tf.broadcast_to(weights, [number]), rows)
        return tf.gather(tokens, rows), tf.gather(labels, rows), weights * counted

    return batches.map(fill)


def _clipping_sums(optimizer: type[keras.Optimizer]) -> type[keras.Optimizer]:
    """Returns a class of optimizers that clip gradients after summing them over replicas."""

    class ClippingSums(optimizer):
        def _clip_gradients(self, grads: list) -> list:
            return grads

        def _all_reduce_sum_gradients(self, grads_and_vars: list) -> list:
            grads, variables = zip(*super()._all_reduce_sum_gradients(grads_and_vars), strict=True)
            return list(zip(super()._clip_gradients(grads), variables, strict=True))

    return ClippingSums
