"""The files of a model folder, and the settings that a model is built and trained with.

Imports neither TensorFlow nor Keras, so that `--help` and errors about bad input are immediate.
"""

import dataclasses
import os
import re
from typing import Annotated, Literal

from annotated_types import Interval

from textrecords import checksums, drift, json_files, storage
from textrecords.command_line import flag
from textrecords.errors import BadInput
from textrecords.field_types import MAX_INT, Count, Share, Size, Switch, VocabularySize
from textrecords.manifest import Vocabulary
from textrecords.spec import InputSize

CONFIG = "config.json"
METRICS = "metrics.json"
WEIGHTS = "model.weights.h5"
NETWORK = "model.keras"
TOKENIZER = "tokenizer.json"  # if the flags of the records can be expressed in it
SERVING = "serving"  # for TensorFlow Serving: a folder for each version
CHECKPOINT = "checkpoint"  # of a finished training, with --keep_checkpoint
CHECKPOINTS = "checkpoints"  # of an unfinished training, next to the model folder
DECAYS = ("none", "linear", "cosine")  # of the learning rate
# Keras' names.
OPTIMIZERS = ("adam", "adamw", "nadam", "sgd", "rmsprop", "adagrad", "adadelta", "lion", "ftrl")
POOLINGS = ("last", "max_mean")
MAX_NGRAM_BITS = 24
CLASS_WEIGHTS = ("none", "balanced")
# Everything that `model.train` writes to a model folder.
MODEL_FILES = "|".join(
    map(
        re.escape,
        (
            CONFIG,
            METRICS,
            WEIGHTS,
            NETWORK,
            TOKENIZER,
            CHECKPOINT,
            SERVING,
            checksums.SUMS,
            checksums.LOGS,
        ),
    )
)
NgramBits = Annotated[int, Interval(ge=0, le=MAX_NGRAM_BITS)]
Rate = Annotated[float, Interval(ge=1e-9, le=1)]
NotNegative = Annotated[float, Interval(ge=0, le=MAX_INT)]


@dataclasses.dataclass(frozen=True)
class Network:
    """The shape of the network. Defaults are those of the Keras tutorial on recurrent networks.

    `max_len` and `mask_padding` are `None` until they are chosen based on the records' lengths.
    """

    max_tokens: VocabularySize = flag("vocabulary size, counting padding and OOV", 1000)
    max_len: Size | None = flag(
        "tokens that a review is cut or padded to (default: 100, or fewer if 99%% of the reviews "
        "of train are shorter)",
        None,
    )
    embedding_dim: Size = flag("dimensions of the embedding", 128)
    embedding_tokens: Count = flag(
        "most frequent ids with their own embedding; the others share one; 0: all", 0
    )
    embedding_dropout: Share = flag("dropout of embedding dimensions, for whole reviews", 0.0)
    mask_padding: Switch | None = flag(
        "have the LSTM skip padding (default: if most reviews of train are shorter than --max_len)",
        None,
    )
    lstm_units: Size = flag("units per LSTM layer and direction", 64)
    lstm_layers: Size = flag("stacked LSTM layers", 1)
    bidirectional: Switch = flag("use bidirectional LSTMs", False)
    dropout: Share = flag("dropout of each LSTM's inputs", 0.0)
    recurrent_dropout: Share = flag("dropout of each LSTM's state", 0.0)
    pooling: Literal[POOLINGS] = flag(
        "outputs of the last LSTM to use: the last one, or the maximum and mean of all", "last"
    )
    chunk_len: Count = flag("tokens per chunk; chunks are read in parallel; 0: no chunks", 0)
    ngram_bits: NgramBits = flag(
        "number of n-gram weights, of words and bigrams, as a power of 2; 0: none", 0
    )
    dense_units: Count = flag("units of the dense layer after the LSTMs; 0: no such layer", 64)
    dense_dropout: Share = flag("dropout of the outputs of that layer, or of the LSTMs", 0.0)

    @property
    def input_size(self) -> InputSize:
        return InputSize(self.max_tokens, self.max_len)


@dataclasses.dataclass(frozen=True)
class Training:
    """How the network is trained.

    Defaults are the tutorial's except for `clipnorm`: gradients through a hundred steps can
    explode, and without it some trainings never recover.
    """

    optimizer: Literal[OPTIMIZERS] = flag("its name in Keras", "adam")
    learning_rate: Rate = flag("of the optimizer", 0.001)
    decay: Literal[DECAYS] = flag("schedule of the learning rate, to 0 at the last step", "none")
    clipnorm: NotNegative = flag("maximum norm of each weight's gradient; 0: no limit", 1.0)
    class_weights: Literal[CLASS_WEIGHTS] = flag(
        "balanced: weight classes equally, however many reviews they have (n-gram weights are "
        "fitted without)",
        "none",
    )
    batch_size: Size = flag("reviews per step", 32)
    bucket_by_length: Switch = flag(
        "batch reviews of similar length, and cut the batch to the longest", False
    )
    epochs: Size = flag("passes over all reviews", 10)
    patience: Size = flag(
        "epochs to continue without a lower validation loss, if there is a validation split", 3
    )
    choose_threshold: Switch = flag(
        "choose the score above which the second class is predicted on the validation split", False
    )
    calibrate: Switch = flag(
        "scale the logits by a temperature, chosen on the validation split, so that scores match "
        "the observed shares",
        False,
    )
    seed: Count = flag("of weights and shuffling", 0)


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """All that is needed to rebuild the network, retrain it, and recognize its records."""

    network: Network
    training: Training
    classes: tuple[str, ...]
    vocabulary: Vocabulary
    manifest_sha256: str  # of the records it was trained on
    threshold: float = 0.5  # the second of two classes is predicted above this score
    temperature: float = 1.0  # the divisor of the logits
    version: int = 1  # of the SavedModel

    @property
    def saved_model(self) -> str:
        """The path of the SavedModel in the model folder."""
        return f"{SERVING}/{self.version}"


def sibling(model_dir: str, name: str) -> str:
    """Returns a path next to a model, with a name that no other model's path has."""
    parent, of = os.path.split(model_dir)
    return os.path.join(parent, name if of == "model" else f"{of}-{name}")


@dataclasses.dataclass(frozen=True)
class _Measured:
    """The fields of an evaluation that are read; models of older versions have none."""

    profile: drift.Profile | None = None


@dataclasses.dataclass(frozen=True)
class _Metrics:
    test: _Measured | None = None


def read_profile(model_dir: str) -> drift.Profile | None:
    """Returns the profile of the texts that a model was tested on; None if there is none."""
    try:
        metrics = json_files.read(_Metrics, os.path.join(model_dir, METRICS))
    except (OSError, ValueError):
        return None
    return metrics.test and metrics.test.profile


def read(model_dir: str, *, verify: bool = True) -> ModelConfig:
    """Reads the settings of the model in `model_dir`.

    Args:
      model_dir: the model.
      verify: whether to compare the checksums of all its files.

    Raises:
      BadInput: if there is no model, or it is damaged or can't be read by this version.
    """
    storage.check_path(model_dir)
    if not storage.is_folder(model_dir):
        raise BadInput(f"no model in {model_dir}: run `make train` first")
    path = os.path.join(model_dir, CONFIG)
    try:
        settings = json_files.read(ModelConfig, path)
    except FileNotFoundError:
        raise BadInput(
            f"{model_dir} has no {CONFIG}, so no complete model: run `make train` first"
        ) from None
    except (OSError, ValueError) as error:
        raise BadInput(f"{path} can't be read ({error}): run `make train` again") from None
    if verify:
        checksums.check(model_dir, "train")
    return settings
