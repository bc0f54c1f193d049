"""What a model folder holds, and the settings that a model is built and trained with.

It imports neither TensorFlow nor Keras, so that `--help` and a refusal of bad input are immediate.
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
TOKENIZER = "tokenizer.json"  # if the flags of the records can be told in it
SERVING = "serving"  # what TensorFlow Serving is given: a folder for each version
CHECKPOINT = "checkpoint"  # of a training that came to its end, if it was asked for
CHECKPOINTS = "checkpoints"  # of a training that isn't done, beside the model folder
DECAYS = ("none", "linear", "cosine")  # of the learning rate
# Of Keras.
OPTIMIZERS = ("adam", "adamw", "nadam", "sgd", "rmsprop", "adagrad", "adadelta", "lion", "ftrl")
POOLINGS = ("last", "max_mean")
MAX_NGRAM_BITS = 24
CLASS_WEIGHTS = ("none", "balanced")
# All that `model.train` puts into a model folder.
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

    `max_len` and `mask_padding` are `None` until they are chosen by the records' lengths.
    """

    max_tokens: VocabularySize = flag("ids, with padding and OOV", 1000)
    max_len: Size | None = flag(
        "tokens a review is cut or padded to (default: 100, or fewer if 99%% of train have)", None
    )
    embedding_dim: Size = flag("numbers a token", 128)
    embedding_tokens: Count = flag(
        "ids that the embedding tells apart, the most frequent ones; 0: all", 0
    )
    embedding_dropout: Share = flag("of the embedding's numbers, for a whole review", 0.0)
    mask_padding: Switch | None = flag(
        "the LSTM skips padding (default: if most reviews of train are shorter than --max_len)",
        None,
    )
    lstm_units: Size = flag("units a layer and direction", 64)
    lstm_layers: Size = flag("LSTMs on top of each other", 1)
    bidirectional: Switch = flag("the LSTMs read both ways", False)
    dropout: Share = flag("of each LSTM's inputs", 0.0)
    recurrent_dropout: Share = flag("of each LSTM's own state", 0.0)
    pooling: Literal[POOLINGS] = flag(
        "which outputs of the last LSTM count: the last, or the maximum and mean of all", "last"
    )
    chunk_len: Count = flag("tokens per chunk; chunks are read in parallel; 0: no chunks", 0)
    ngram_bits: NgramBits = flag(
        "n-gram weights: 2 to this power, for words and bigrams; 0: none", 0
    )
    dense_units: Count = flag("units behind the LSTMs; 0: no such layer", 64)
    dense_dropout: Share = flag("of the outputs of that layer, or of the LSTMs", 0.0)

    @property
    def input_size(self) -> InputSize:
        return InputSize(self.max_tokens, self.max_len)


@dataclasses.dataclass(frozen=True)
class Training:
    """How the network is trained.

    Defaults are the tutorial's but for `clipnorm`: through a hundred steps gradients can explode,
    and without it some trainings never recover.
    """

    optimizer: Literal[OPTIMIZERS] = flag("by its name in Keras", "adam")
    learning_rate: Rate = flag("of the optimizer", 0.001)
    decay: Literal[DECAYS] = flag("of the learning rate, to 0 at the last step", "none")
    clipnorm: NotNegative = flag("of gradients; 0: no limit", 1.0)
    class_weights: Literal[CLASS_WEIGHTS] = flag(
        "balanced: every class counts alike, however many reviews it has (but not in the "
        "fitting of --ngram_bits)",
        "none",
    )
    batch_size: Size = flag("reviews a step", 32)
    bucket_by_length: Switch = flag(
        "put reviews of like length into a batch, and cut it to them", False
    )
    epochs: Size = flag("times to go through all reviews", 10)
    patience: Size = flag(
        "epochs to go on without a smaller validation loss, if there is a validation split", 3
    )
    choose_threshold: Switch = flag(
        "take the score above which it's the second class from the validation split", False
    )
    calibrate: Switch = flag(
        "scale the logits by a temperature, taken from the validation split, so that scores are "
        "the shares that come true",
        False,
    )
    seed: Count = flag("of weights and shuffling", 0)


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """All it takes to rebuild the network, to train it again, and to know the records it fits."""

    network: Network
    training: Training
    classes: tuple[str, ...]
    vocabulary: Vocabulary
    manifest_sha256: str  # of the records it was trained on
    threshold: float = 0.5  # what the score of the second of two classes has to be above
    temperature: float = 1.0  # what the logits are divided by
    version: int = 1  # of the SavedModel

    @property
    def saved_model(self) -> str:
        """The path of the SavedModel in the model folder."""
        return f"{SERVING}/{self.version}"


def beside(model_dir: str, name: str) -> str:
    """Returns a path of such a name beside a model, which no model beside it has."""
    parent, of = os.path.split(model_dir)
    return os.path.join(parent, name if of == "model" else f"{of}-{name}")


@dataclasses.dataclass(frozen=True)
class _Measured:
    """What is read of an evaluation; models of older versions have none of it."""

    profile: drift.Profile | None = None


@dataclasses.dataclass(frozen=True)
class _Metrics:
    test: _Measured | None = None


def read_profile(model_dir: str) -> drift.Profile | None:
    """Returns what is known of the texts that a model was tested on; None if that is nothing."""
    try:
        metrics = json_files.read(_Metrics, os.path.join(model_dir, METRICS))
    except (OSError, ValueError):
        return None
    return metrics.test and metrics.test.profile


def read(model_dir: str, *, verify: bool = True) -> ModelConfig:
    """Reads the settings of the model in `model_dir`.

    Args:
      model_dir: the model.
      verify: whether all its files must be as they were written.

    Raises:
      BadInput: if there is no model, a damaged one, or one that this version cannot read.
    """
    storage.check_path(model_dir)
    if not storage.is_folder(model_dir):
        raise BadInput(f"no model in {model_dir}: run `make train` first")
    path = os.path.join(model_dir, CONFIG)
    try:
        settings = json_files.read(ModelConfig, path)
    except FileNotFoundError:
        raise BadInput(
            f"{model_dir} holds no {CONFIG}, so no whole model: run `make train` first"
        ) from None
    except (OSError, ValueError) as error:
        raise BadInput(f"{path} can't be read ({error}): run `make train` again") from None
    if verify:
        checksums.check(model_dir, "train")
    return settings
