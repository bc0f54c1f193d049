"""One training that is judged on the validation split; the test split is never looked at."""

import dataclasses
import os
import time
from collections.abc import Sequence

import keras

from model import config, fit
from pipelines import commands, contract, files, folders


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a trial came to: its best epoch on the validation split, and the seconds of it all."""

    val_loss: float
    val_accuracy: float
    best_epoch: int
    seconds: float


def check(manifest: contract.Manifest) -> None:
    """Raises `BadInput` if there is nothing to judge a trial by."""
    if contract.VALIDATION not in manifest.splits:
        raise commands.BadInput(
            "trials are judged on a validation split, and the records have none: preprocess with "
            "--validation 0.2"
        )


def run(
    records_dir: str,
    manifest: contract.Manifest,
    described: config.Config,
    folder: str,
    *,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> Outcome:
    """Trains on the train split, and leaves nothing but TensorBoard's logs in `folder`.

    Args:
      records_dir: the dataset's folder.
      manifest: what the folder holds.
      described: what is trained, and how, as `config.describe` returns it.
      folder: where the logs are to lie; what is in it is replaced.
      callbacks: more of Keras' callbacks.
    """
    begun = time.monotonic()
    keras.utils.clear_session()  # or each trial would leave its network in memory
    state_dir = f"{folder}.running"
    for old in (folder, state_dir):
        files.remove_tree(old)
    try:
        fitted = fit.fit(
            records_dir, manifest, described, state_dir, show_network=False, callbacks=callbacks
        )
        files.rename(os.path.join(state_dir, folders.LOGS), folder)
    finally:
        files.remove_tree(state_dir)
    best = fitted.best_epoch
    loss, accuracy = (fitted.history[name][best - 1] for name in ("val_loss", "val_accuracy"))
    return Outcome(loss, accuracy, best, time.monotonic() - begun)
