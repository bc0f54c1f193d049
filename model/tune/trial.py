"""One training, evaluated on the validation split; the test split is never used."""

import dataclasses
import time
from collections.abc import Sequence

import keras

from model.training import fit, tensorboard_logs
from textrecords import spec, storage
from textrecords.dataset import Dataset
from textrecords.errors import BadInput
from textrecords.model_folder import ModelConfig


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The result of a trial: its best epoch on the validation split, and its total seconds."""

    val_loss: float
    val_accuracy: float
    best_epoch: int
    seconds: float


def check(dataset: Dataset) -> None:
    """Raises `BadInput` if there is no validation split."""
    if spec.VALIDATION not in dataset.splits:
        raise BadInput(
            "trials are compared on a validation split, and the records have none: preprocess with "
            "--validation 0.2"
        )


def run(
    dataset: Dataset,
    config: ModelConfig,
    folder: str,
    *,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> Outcome:
    """Trains on the train split, and leaves only TensorBoard's logs in `folder`.

    Args:
      dataset: the records.
      config: what is trained, and how, as `settings.configure` returns it.
      folder: for the logs; its content is replaced.
      callbacks: additional Keras callbacks.
    """
    begun = time.monotonic()
    keras.utils.clear_session()  # otherwise each trial's network would stay in memory
    options = fit.FitOptions(f"{folder}.running", show_network=False, callbacks=callbacks)
    for old in (folder, options.state_dir):
        storage.remove_tree(old)
    try:
        fitted = fit.fit(dataset, config, options)
        best = fitted.best_epoch
        loss, accuracy = (fitted.history[name][best - 1] for name in ("val_loss", "val_accuracy"))
        results = {"best_val_loss": loss, "best_val_accuracy": accuracy}
        tensorboard_logs.write_settings(options.logs_dir, config, results)
        storage.rename(options.logs_dir, folder)
    finally:
        storage.remove_tree(options.state_dir)
    return Outcome(loss, accuracy, best, time.monotonic() - begun)
