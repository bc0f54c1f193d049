"""The training itself: steps, epochs, when to stop, and what to do if it was stopped."""

import dataclasses
import math
import os
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from model import (
    checkpoints,
    config,
    evaluate,
    fast_lstm,
    input_pipeline,
    lstm,
    n_grams,
    replicas,
    timing,
)
from pipelines import commands, contract, files, folders, terminal


@dataclasses.dataclass(frozen=True)
class Fitted:
    """A training that came to its end.

    Attributes:
      model: the network, with the weights of the best epoch.
      rows: those of train and, if there are any, of validation.
      history: each epoch's loss and accuracy, by their names in Keras.
      best_epoch: counted from 1: the last one, or that of the least validation loss.
    """

    model: keras.Model
    rows: dict[str, input_pipeline.Rows]
    history: dict[str, list[float]]
    best_epoch: int


def fit(
    records_dir: str,
    manifest: contract.Manifest,
    described: config.Config,
    state_dir: str,
    *,
    cache: str = "memory",
    checkpoint_every: int = 0,
    gpus: int = 1,
    show_network: bool = True,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> Fitted:
    """Trains on all rows of train each epoch, or goes on where an earlier run was stopped.

    Args:
      records_dir: the dataset's folder.
      manifest: what the folder holds.
      described: what is trained, and how, as `config.describe` returns it.
      state_dir: where the checkpoints and the logs lie.
      cache: as in `input_pipeline.read_split`.
      checkpoint_every: steps from one checkpoint to the next, or 0 for the ends of epochs alone.
      gpus: how many of the machine's GPUs share each batch.
      show_network: print the layers of the network.
      callbacks: more of Keras' callbacks.

    Raises:
      BadInput: if another training was stopped here.
      Failure: if the loss isn't finite.
    """
    training = described.training
    keras.utils.set_random_seed(training.seed)
    rows = _read(records_dir, manifest, described.network, cache)
    steps_per_epoch = input_pipeline.num_batches(rows[contract.TRAIN], training.batch_size)
    num_steps = steps_per_epoch * training.epochs
    model = lstm.build(described.network, len(described.classes))
    lstm.compile_model(model, training, num_steps)
    if show_network:
        model.summary()
    if gpus == 1:
        trained = fast_lstm.to_train(model, described.network, training)
    else:
        trained = replicas.to_train(described, num_steps, gpus)
    commands.say(", ".join(f"{split}: {of.number:,} reviews" for split, of in rows.items()))
    stopper = keras.callbacks.EarlyStopping(
        "val_loss", patience=training.patience, restore_best_weights=True
    )
    logs_dir = os.path.join(state_dir, folders.LOGS)
    files.make_folder(logs_dir)
    saved = checkpoints.Checkpoints(
        state_dir,
        trained,
        stopper,
        described=described,
        steps_per_epoch=steps_per_epoch,
        every=checkpoint_every,
    )
    timed = timing.Stopwatch(logs_dir)
    callbacks = [
        keras.callbacks.LambdaCallback(
            on_train_batch_end=lambda batch, logs: _check_finite(logs["loss"])
        ),
        keras.callbacks.TensorBoard(logs_dir),
        *([stopper] if contract.VALIDATION in rows else []),
        timed,
        *callbacks,
        saved,
    ]
    weights = None
    if training.class_weights == "balanced":
        weights = _class_weights(manifest.splits[contract.TRAIN].class_examples)
    try:
        first_step = saved.restore()
        if not first_step:
            n_grams.adapt(model, input_pipeline.batches(rows[contract.TRAIN], evaluate.BATCH_SIZE))
            if gpus > 1:  # else they have the same variables
                trained.set_weights(model.get_weights())
        _fit_from(first_step, trained, rows, training, weights, callbacks)
        if gpus > 1:
            model.set_weights(trained.get_weights())
        _check_finite(sum(float(np.sum(weights)) for weights in model.get_weights()))
    except commands.Failure:
        files.remove_tree(state_dir)  # it would only fail again
        raise
    timed.write(input_seconds=timing.input_seconds(rows[contract.TRAIN], training))
    best_epoch = len(saved.history["loss"])
    if contract.VALIDATION in rows:
        best_epoch = stopper.best_epoch + 1
        commands.say(
            f"the weights of epoch {best_epoch} are kept: its validation loss is the least"
        )
    return Fitted(model, rows, saved.history, best_epoch)


def _read(
    records_dir: str, manifest: contract.Manifest, network: config.Network, cache: str
) -> dict[str, input_pipeline.Rows]:
    size = {"max_tokens": network.max_tokens, "max_len": network.max_len}
    return {
        split: input_pipeline.read_split(records_dir, manifest, split, **size, cache=cache)
        for split in (contract.TRAIN, contract.VALIDATION)
        if split in manifest.splits
    }


def _fit_from(
    first_step: int,
    model: keras.Model,
    rows: dict[str, input_pipeline.Rows],
    training: config.Training,
    class_weights: list[float] | None,
    callbacks: list[keras.callbacks.Callback],
) -> None:
    steps_per_epoch = input_pipeline.num_batches(rows[contract.TRAIN], training.batch_size)
    batches = input_pipeline.shuffled_batches(
        rows[contract.TRAIN],
        training.batch_size,
        seed=training.seed,
        first_step=first_step,
        by_length=training.bucket_by_length,
    )
    if class_weights:
        batches = batches.map(lambda *rows: (*rows, tf.gather(class_weights, rows[1])))
    validation_batches = None
    if contract.VALIDATION in rows:
        validation = rows[contract.VALIDATION]
        whole, rest = divmod(validation.number, evaluate.BATCH_SIZE)
        validation_batches = replicas.share_out(
            input_pipeline.batches(validation, evaluate.BATCH_SIZE),
            model,
            sizes=[*[evaluate.BATCH_SIZE] * whole, rest],
        )
    model.fit(
        replicas.share_out(batches, model),
        initial_epoch=first_step // steps_per_epoch,
        epochs=training.epochs,
        steps_per_epoch=steps_per_epoch,
        validation_data=validation_batches,
        shuffle=False,  # the rows are
        callbacks=callbacks,
        verbose=1 if terminal.in_colours() else 2,  # a bar of Keras' colours, or a line an epoch
    )


def _class_weights(class_examples: dict[str, int]) -> list[float]:
    """Returns what a review of each label counts, so that all classes do alike; 1 on average."""
    total, num_classes = sum(class_examples.values()), len(class_examples)
    return [total / (num_classes * number) for number in class_examples.values()]


def _check_finite(value: float) -> None:
    """Raises `Failure` unless a loss, or the sum of all weights, is finite."""
    if not math.isfinite(value):
        raise commands.Failure(
            "the loss is no number any more: try a smaller --learning_rate, or --clipnorm 1"
        )
