"""Checkpoints, from which an interrupted training resumes and ends with the same weights."""

import json
import os
import re
from typing import Any

import keras
import tensorflow as tf

from textrecords import json_files, storage, terminal
from textrecords.errors import BadInput
from textrecords.model_folder import ModelConfig

KEPT = 2  # in case the newest is damaged
NAME = "ckpt"
FILE = rf"{NAME}-(\d+)\.(index|data-.*)"  # of a checkpoint; its number counts steps
VALUE = "{}/.ATTRIBUTES/VARIABLE_VALUE"  # the key of a variable of `Checkpoint`
STATE = VALUE.format("state")
OF_TENSORFLOW = ("save_counter/", "_CHECKPOINTABLE_OBJECT_GRAPH")  # other keys in checkpoints
VERSION = 3  # raised when the content of checkpoints or the order of batches changes


class Checkpoints(keras.callbacks.Callback):
    """Saves everything that the next steps depend on, at the end of each epoch or more often.

    That is the weights, the optimizer's state, the seeds of dropout, the state of `stopper`, and
    the step, which determines the order of the batches. It has to be the last callback, so that it
    sees what the others have decided.

    Args:
      folder: of the checkpoints.
      config: what is trained; checkpoints of anything else are refused.
      stopper: keeps the best weights, if there is a validation split.
      steps_per_epoch: batches per epoch.
      every: steps between checkpoints, or 0 for one per epoch.
    """

    def __init__(
        self,
        folder: str,
        config: ModelConfig,
        stopper: keras.callbacks.EarlyStopping,
        *,
        steps_per_epoch: int,
        every: int,
    ):
        super().__init__()
        self._folder = folder
        self._config = json.loads(json_files.to_json(config))
        self._stopper = stopper
        self._steps_per_epoch = steps_per_epoch
        self._every = every
        self._resumed: dict[str, Any] | None = None
        self._epoch = 0
        self._first_step = 0  # of this epoch: the steps before it aren't repeated
        self.history: dict[str, list[float]] = {}
        self._state = tf.Variable("", dtype=tf.string)

    def _track(self, model: keras.Model) -> None:
        """Makes checkpoints contain the variables of a compiled network."""
        model.optimizer.build(model.trainable_variables)
        # By position among all weights; weights that aren't trained don't change.
        self._best = {
            n: tf.Variable(weight.numpy())
            for n, weight in enumerate(model.weights)
            if weight.trainable
        }
        self._checkpoint = tf.train.Checkpoint(
            variables=[v.value for v in (*model.variables, *model.optimizer.variables)],
            best=list(self._best.values()),
            state=self._state,
        )
        self._manager = tf.train.CheckpointManager(
            self._checkpoint, self._folder, max_to_keep=KEPT, checkpoint_name=NAME
        )

    def restore(self, model: keras.Model, kept: str | None = None) -> int:
        """Resumes from the newest intact checkpoint, if any; returns its number of steps.

        Args:
          model: the compiled network to train.
          kept: the folder that may hold the checkpoint of a finished training, to continue with
            more epochs.

        Raises:
          BadInput: if it's of another training, or of another version of this program. Weights and
            files are unchanged.
        """
        self._track(model)
        for path, step in _newest_first(self._folder):
            if read := _read_or_report(path):
                self._check_fits(path, *read, step)
                return self._resume(path, read[0], step)
        for path, step in _newest_first(kept) if kept else ():
            if (read := _read_or_report(path)) and self._had_fewer_epochs(read[0]):
                self._check_fits(path, *read, step)
                return self._resume(path, read[0], step)
        return 0

    def _resume(self, path: str, state: dict[str, Any], step: int) -> int:
        self._checkpoint.restore(path).assert_consumed()
        self._resumed = state
        self.history = state["history"]
        self._epoch, self._first_step = divmod(step, self._steps_per_epoch)
        terminal.say(f"resuming after step {self._first_step:,} of epoch {self._epoch + 1}")
        return step

    def keep(self, folder: str) -> None:
        """Copies the newest checkpoint, if there is one, into a new folder."""
        for path, _ in _newest_first(self._folder)[:1]:
            storage.make_folder(folder)
            for name in storage.names(self._folder):
                if name.startswith(f"{os.path.basename(path)}."):
                    storage.copy(os.path.join(self._folder, name), os.path.join(folder, name))

    def _had_fewer_epochs(self, state: dict[str, Any]) -> bool:
        """Returns whether a finished training was this one with fewer epochs."""
        epochs = state["config"]["training"]["epochs"]
        return self._is_same_except_epochs(state["config"]) and epochs < self._epochs

    @property
    def _epochs(self) -> int:
        return self._config["training"]["epochs"]

    def _is_same_except_epochs(self, other: dict[str, Any]) -> bool:
        training = {**other["training"], "epochs": self._epochs}
        return {**other, "training": training} == self._config

    def _check_fits(
        self, path: str, state: dict[str, Any], shapes: dict[str, tuple[int, ...]], step: int
    ) -> None:
        """Raises `BadInput` unless an intact checkpoint is one that this training saves."""
        version = state.get("version", 0)
        ours = {
            VALUE.format(f"{name}/{n}"): tuple(variable.shape)
            for name in ("variables", "best")
            for n, variable in enumerate(getattr(self._checkpoint, name))
        }
        if version == VERSION:
            self._check_same(state["config"], step)
        if version != VERSION or shapes != ours | {STATE: ()}:
            raise BadInput(
                f"{path} is from another version of this program (checkpoint version {version}, "
                f"not {VERSION}) or of a network that has changed since: resume with the version "
                "that began the training, or give --no_resume"
            )

    def _check_same(self, other: dict[str, Any], step: int) -> None:
        """Raises `BadInput` unless a checkpoint is of this training, perhaps with other epochs."""
        if other == self._config:
            return
        if self._is_same_except_epochs(other):
            self._check_epochs(other["training"], step)
            return
        differing = [
            f"--{name} {value}"
            for part in ("network", "training")
            for name, value in other[part].items()
            if value != self._config[part].get(name)
        ]
        what = f"with {', '.join(differing)}" if differing else "on other records"
        raise BadInput(
            f"a training {what} was interrupted here, and {self._folder} keeps its state: resume "
            "that one, or give --no_resume"
        )

    def _check_epochs(self, before: dict[str, Any], step: int) -> None:
        """Raises `BadInput` if a training can't be continued with another number of epochs."""
        if before["decay"] != "none":
            raise BadInput(
                f"--epochs {self._epochs}: the learning rate decays over all epochs, so the first "
                f"{before['epochs']} would have been different: give --no_resume"
            )
        if step > self._epochs * self._steps_per_epoch:
            raise BadInput(
                f"--epochs {self._epochs}: the training that was interrupted here is past that: "
                "give more, or --no_resume"
            )

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        if self._resumed and self._resumed["stopper"]:
            vars(self._stopper).update(self._resumed["stopper"])
            self._stopper.best_weights = self.model.get_weights()
            for n, variable in self._best.items():
                self._stopper.best_weights[n] = variable.numpy()

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        step = self._first_step + batch + 1
        if batch == 0 and self._first_step:
            # Keras' metrics are sums: this adds the steps before the interruption.
            saved = self._resumed["metrics"]
            for variable, value in zip(self.model.metrics_variables, saved, strict=True):
                variable.assign_add(value)
        if step == self._steps_per_epoch:
            self.model.stop_training = self._first_step > 0  # Keras would restart its count
        elif self._every and step % self._every == 0:
            self._save(step)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(float(value))
        self._first_step = 0
        self.model.stop_training = self._stopper.stopped_epoch > 0
        if not self.model.stop_training:
            self._save(self._steps_per_epoch)

    def _save(self, step: int) -> None:
        stopper = self._stopper
        kept = stopper.best_weights is not None
        if kept:
            for n, variable in self._best.items():
                variable.assign(stopper.best_weights[n])
        names = ("wait", "best", "best_epoch")
        state = {
            "version": VERSION,
            "config": self._config,
            "history": self.history,
            "metrics": [float(variable.numpy()) for variable in self.model.metrics_variables],
            "stopper": {name: getattr(stopper, name) for name in names} if kept else None,
        }
        self._state.assign(json.dumps(state))
        self._manager.save(checkpoint_number=self._epoch * self._steps_per_epoch + step)


def _newest_first(folder: str) -> list[tuple[str, int]]:
    """Returns the paths of a folder's checkpoints, intact or not, with their steps."""
    found = (re.fullmatch(FILE, name) for name in storage.names(folder))
    steps = sorted({int(file[1]) for file in found if file}, reverse=True)
    return [(os.path.join(folder, f"{NAME}-{step}"), step) for step in steps]


def _read_or_report(path: str) -> tuple[dict[str, Any], dict[str, tuple[int, ...]]] | None:
    try:
        return _read(path)
    except (tf.errors.OpError, LookupError, TypeError, ValueError):
        terminal.say(f"{path} is damaged: skipped")
        return None


def _read(path: str) -> tuple[dict[str, Any], dict[str, tuple[int, ...]]]:
    """Reads a whole checkpoint, to detect damage before any weight is changed.

    Returns:
      The state, and the shapes of all variables by name.

    Raises:
      tf.errors.OpError, LookupError, TypeError, ValueError: if it's damaged.
    """
    reader = tf.train.load_checkpoint(path)
    shapes = {
        name: tuple(shape)
        for name, shape in reader.get_variable_to_shape_map().items()
        if not name.startswith(OF_TENSORFLOW)
    }
    for name in shapes:
        reader.get_tensor(name)  # verifies its checksum
    state = json.loads(reader.get_tensor(STATE))
    return state, shapes
