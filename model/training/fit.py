"""The training loop: steps, epochs, early stopping, and resuming."""

import dataclasses
import math
import os
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from model import evaluate
from model.network import fast_lstm, lstm
from model.training import checkpoints, replicas, timing
from textrecords import checksums, imports, input_pipeline, spec, storage, terminal
from textrecords.dataset import Dataset
from textrecords.errors import Failure
from textrecords.model_folder import ModelConfig, Training


@dataclasses.dataclass(frozen=True)
class Fitted:
    """A finished training.

    Attributes:
      model: the network, with the weights of the best epoch.
      rows: of train and, if it exists, of validation.
      history: each epoch's loss and accuracy, by their names in Keras.
      best_epoch: counted from 1: the last one, or the one with the lowest validation loss.
      checkpoints: from which more epochs can continue.
    """

    model: keras.Model
    rows: dict[str, input_pipeline.Rows]
    history: dict[str, list[float]]
    best_epoch: int
    checkpoints: checkpoints.Checkpoints


@dataclasses.dataclass(frozen=True)
class FitOptions:
    """How to run a training; none of this changes the result.

    Attributes:
      state_dir: the folder of the checkpoints and logs.
      cache: as in `input_pipeline.read_split`.
      checkpoint_every: steps between checkpoints, or 0 for one per epoch.
      gpus: number of GPUs of this machine that share each batch.
      kept_dir: the folder that may hold the checkpoint of a finished training to continue.
      show_network: whether to print the layers of the network.
      callbacks: additional Keras callbacks.
    """

    state_dir: str
    cache: str = "memory"
    checkpoint_every: int = 0
    gpus: int = 1
    kept_dir: str | None = None
    show_network: bool = True
    callbacks: Sequence[keras.callbacks.Callback] = ()

    @property
    def logs_dir(self) -> str:
        return os.path.join(self.state_dir, checksums.LOGS)


def fit(dataset: Dataset, config: ModelConfig, options: FitOptions) -> Fitted:
    """Trains on all rows of train each epoch; resumes where an earlier run was interrupted.

    Args:
      dataset: the records.
      config: what is trained, and how, as `settings.configure` returns it.
      options: how to run the training.

    Raises:
      BadInput: if another training was interrupted here.
      Failure: if the loss isn't finite.
    """
    keras.utils.set_random_seed(config.training.seed)
    rows = _read(dataset, config, options.cache)
    steps_per_epoch = input_pipeline.num_batches(rows[spec.TRAIN], config.training.batch_size)
    model, trained = _build(config, steps_per_epoch * config.training.epochs, options)
    terminal.say(", ".join(f"{split}: {of.number:,} reviews" for split, of in rows.items()))
    storage.make_folder(options.logs_dir)
    stopper = keras.callbacks.EarlyStopping(
        "val_loss", patience=config.training.patience, restore_best_weights=True
    )
    saved = checkpoints.Checkpoints(
        options.state_dir,
        config,
        stopper,
        steps_per_epoch=steps_per_epoch,
        every=options.checkpoint_every,
    )
    timed = timing.Stopwatch(options.logs_dir)
    callbacks = [
        keras.callbacks.LambdaCallback(
            on_train_batch_end=lambda batch, logs: _check_finite(logs["loss"])
        ),
        keras.callbacks.TensorBoard(options.logs_dir),
        *([stopper] if spec.VALIDATION in rows else []),
        timed,
        *options.callbacks,
        saved,
    ]
    try:
        first_step = saved.restore(trained, options.kept_dir)
        if not first_step:
            if config.network.ngram_bits:
                _fit_n_grams(model, rows[spec.TRAIN])
            if options.gpus > 1:  # otherwise they share their variables
                trained.set_weights(model.get_weights())
        batches = _train_batches(rows[spec.TRAIN], dataset, config.training, first_step)
        trained.fit(
            replicas.share_out(batches, trained),
            initial_epoch=first_step // steps_per_epoch,
            epochs=config.training.epochs,
            steps_per_epoch=steps_per_epoch,
            validation_data=_validation_batches(rows.get(spec.VALIDATION), trained),
            shuffle=False,  # the rows are already shuffled
            callbacks=callbacks,
            verbose=1 if terminal.in_colors() else 2,  # Keras' progress bar, or a line per epoch
        )
        if options.gpus > 1:
            model.set_weights(trained.get_weights())
        _check_finite(sum(float(np.sum(weights)) for weights in model.get_weights()))
    except Failure:
        storage.remove_tree(options.state_dir)  # resuming would only fail again
        raise
    timed.write(input_seconds=timing.input_seconds(rows[spec.TRAIN], config.training))
    best_epoch = len(saved.history["loss"])
    if spec.VALIDATION in rows:
        best_epoch = stopper.best_epoch + 1
        terminal.say(
            f"the weights of epoch {best_epoch} are kept: it has the lowest validation loss"
        )
    return Fitted(model, rows, saved.history, best_epoch, saved)


def _read(dataset: Dataset, config: ModelConfig, cache: str) -> dict[str, input_pipeline.Rows]:
    return {
        split: input_pipeline.read_split(dataset, split, config.network.input_size, cache=cache)
        for split in (spec.TRAIN, spec.VALIDATION)
        if split in dataset.splits
    }


def _build(
    config: ModelConfig, num_steps: int, options: FitOptions
) -> tuple[keras.Model, keras.Model]:
    """Returns the network, and the form of it to call `fit` on."""
    model = lstm.build(config.network, len(config.classes))
    lstm.compile_model(model, config.training, num_steps)
    if options.show_network:
        model.summary()
    if options.gpus > 1:
        return model, replicas.to_train(config, num_steps, options.gpus)
    return model, fast_lstm.to_train(model, config.network, config.training)


def _fit_n_grams(model: keras.Model, rows: input_pipeline.Rows) -> None:
    with imports.quiet():
        # Here, since networks without n-gram weights don't need scikit-learn.
        from model.network import n_gram_weights

    n_gram_weights.adapt(model, input_pipeline.batches(rows, evaluate.BATCH_SIZE))


def _train_batches(
    rows: input_pipeline.Rows, dataset: Dataset, training: Training, first_step: int
) -> tf.data.Dataset:
    batches = input_pipeline.shuffled_batches(
        rows,
        training.batch_size,
        seed=training.seed,
        first_step=first_step,
        by_length=training.bucket_by_length,
    )
    if training.class_weights == "none":
        return batches
    weights = _class_weights(dataset.manifest.splits[spec.TRAIN].class_examples)
    return batches.map(lambda *rows: (*rows, tf.gather(weights, rows[1])))


def _validation_batches(
    rows: input_pipeline.Rows | None, model: keras.Model
) -> tf.data.Dataset | None:
    if rows is None:
        return None
    whole, rest = divmod(rows.number, evaluate.BATCH_SIZE)
    return replicas.share_out(
        input_pipeline.batches(rows, evaluate.BATCH_SIZE),
        model,
        sizes=[*[evaluate.BATCH_SIZE] * whole, rest],
    )


def _class_weights(class_examples: dict[str, int]) -> list[float]:
    """Returns the weight of each label's reviews that balances the classes, 1 on average."""
    total, num_classes = sum(class_examples.values()), len(class_examples)
    return [total / (num_classes * number) for number in class_examples.values()]


def _check_finite(value: float) -> None:
    """Raises `Failure` unless a loss, or the sum of all weights, is finite."""
    if not math.isfinite(value):
        raise Failure("the loss isn't finite: try a smaller --learning_rate, or --clipnorm 1")
