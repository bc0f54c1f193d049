"""The training itself: steps, epochs, when to stop, and what to do if it was stopped."""

import math
import os
import sys
from typing import Any

import keras
import numpy as np

from model import checkpoints, config, evaluate, input_pipeline, n_grams, timing
from pipelines import commands, contract, files, folders


def fit(
    model: keras.Model,
    rows: dict[str, input_pipeline.Rows],
    described: config.Config,
    state_dir: str,
    *,
    class_examples: dict[str, int],
    checkpoint_every: int,
) -> dict[str, Any]:
    """Trains on all rows of train each epoch, or goes on where an earlier run was stopped.

    Args:
      model: the compiled network.
      rows: of train and, if it's to decide when to stop, of validation.
      described: what is trained, and how.
      state_dir: where the checkpoints and the logs lie.
      class_examples: how many reviews of train each class has.
      checkpoint_every: steps from one checkpoint to the next, or 0 for the ends of epochs alone.

    Returns:
      `history`, the epochs' loss and accuracy, and `best_epoch`, counted from 1: the one whose
      weights the model has now.

    Raises:
      BadInput: if another training was stopped here.
      Failure: if the loss isn't finite.
    """
    training = described.training
    stopper = keras.callbacks.EarlyStopping(
        "val_loss", patience=training.patience, restore_best_weights=True
    )
    logs_dir = os.path.join(state_dir, folders.LOGS)
    files.make_folder(logs_dir)
    saved = checkpoints.Checkpoints(
        state_dir,
        model,
        stopper,
        described=described,
        steps_per_epoch=input_pipeline.num_batches(rows[contract.TRAIN], training.batch_size),
        every=checkpoint_every,
    )
    timed = timing.Stopwatch(logs_dir)
    commands.say(", ".join(f"{split}: {of.number:,} reviews" for split, of in rows.items()))
    callbacks = [
        keras.callbacks.LambdaCallback(
            on_train_batch_end=lambda batch, logs: _check_finite(logs["loss"])
        ),
        keras.callbacks.TensorBoard(logs_dir),
        *([stopper] if contract.VALIDATION in rows else []),
        timed,
        saved,
    ]
    try:
        weights = _class_weight(class_examples) if training.class_weights == "balanced" else None
        first_step = saved.restore()
        if not first_step:
            n_grams.adapt(model, input_pipeline.batches(rows[contract.TRAIN], evaluate.BATCH_SIZE))
        _fit_from(first_step, model, rows, training, weights, callbacks)
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
    return {"history": saved.history, "best_epoch": best_epoch}


def _fit_from(
    first_step: int,
    model: keras.Model,
    rows: dict[str, input_pipeline.Rows],
    training: config.Training,
    class_weight: dict[int, float] | None,
    callbacks: list[keras.callbacks.Callback],
) -> None:
    steps_per_epoch = input_pipeline.num_batches(rows[contract.TRAIN], training.batch_size)
    validation_batches = None
    if contract.VALIDATION in rows:
        validation_batches = input_pipeline.batches(rows[contract.VALIDATION], evaluate.BATCH_SIZE)
    model.fit(
        input_pipeline.shuffled_batches(
            rows[contract.TRAIN],
            training.batch_size,
            seed=training.seed,
            first_step=first_step,
            by_length=training.bucket_by_length,
        ),
        initial_epoch=first_step // steps_per_epoch,
        epochs=training.epochs,
        steps_per_epoch=steps_per_epoch,
        validation_data=validation_batches,
        shuffle=False,  # the rows are
        class_weight=class_weight,
        callbacks=callbacks,
        verbose=1 if sys.stdout.isatty() else 2,  # a bar, or a line an epoch
    )


def _class_weight(class_examples: dict[str, int]) -> dict[int, float]:
    """Returns what a review of each label counts, so that all classes do alike; 1 on average."""
    total, num_classes = sum(class_examples.values()), len(class_examples)
    return {
        label: total / (num_classes * number)
        for label, number in enumerate(class_examples.values())
    }


def _check_finite(value: float) -> None:
    """Raises `Failure` unless a loss, or the sum of all weights, is finite."""
    if not math.isfinite(value):
        raise commands.Failure(
            "the loss is no number any more: try a smaller --learning_rate, or --clipnorm 1"
        )
