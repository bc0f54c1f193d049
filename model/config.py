"""What a model folder holds, and the settings that a model is built and trained with.

It imports neither TensorFlow nor Keras, so that `--help` and a refusal of bad input are immediate.
"""

import dataclasses
import os
import re
from typing import Annotated, Literal

from annotated_types import Interval

from pipelines import commands, contract, files, folders

CONFIG = "config.json"
METRICS = "metrics.json"
WEIGHTS = "model.weights.h5"
SERVING = "serving/1"  # TensorFlow Serving is given the folder above, and takes the highest number
TIMING = "timing.json"  # in the logs: how long the training took
CHECKPOINTS = "checkpoints"  # of a training that isn't done, beside the model folder

DECAYS = ("none", "linear", "cosine")  # of the learning rate
POOLINGS = ("last", "max_mean")
MOST_NGRAM_BITS = 24
CLASS_WEIGHTS = ("none", "balanced")

# All that `model.train` puts into a model folder.
MODEL_FILES = "|".join(
    map(
        re.escape,
        (CONFIG, METRICS, WEIGHTS, os.path.dirname(SERVING), folders.SUMS, folders.LOGS),
    )
)


NgramBits = Annotated[int, Interval(ge=0, le=MOST_NGRAM_BITS)]


@dataclasses.dataclass(frozen=True)
class Network:
    """The shape of the network; each field is a flag of `model.train`, which says what it does."""

    max_tokens: contract.Size
    max_len: contract.Size
    embedding_dim: contract.Size
    embedding_tokens: contract.Count
    embedding_dropout: contract.Share
    mask_padding: bool
    lstm_units: contract.Size
    lstm_layers: contract.Size
    bidirectional: bool
    dropout: contract.Share
    recurrent_dropout: contract.Share
    pooling: Literal[POOLINGS]
    piece_len: contract.Count
    ngram_bits: NgramBits
    dense_units: contract.Count
    dense_dropout: contract.Share


@dataclasses.dataclass(frozen=True)
class Training:
    """How the network is trained; each field is a flag of `model.train`."""

    learning_rate: float
    decay: Literal[DECAYS]
    clipnorm: float
    class_weights: Literal[CLASS_WEIGHTS]
    batch_size: int
    bucket_by_length: bool
    epochs: int
    patience: int
    choose_threshold: bool
    seed: int


@dataclasses.dataclass(frozen=True)
class Config:
    """All it takes to rebuild the network, to train it again, and to know the records it fits."""

    network: Network
    training: Training
    classes: tuple[str, ...]
    vocabulary: contract.Vocabulary
    manifest_sha256: str  # of the records it was trained on
    threshold: float = 0.5  # what the score of the second of two classes has to be above


@dataclasses.dataclass(frozen=True)
class Epoch:
    """One epoch's steps, the seconds of its training, and those of its validation."""

    steps: int
    seconds: float
    validation_seconds: float


@dataclasses.dataclass(frozen=True)
class Timing:
    """How long a training took: its epochs by number, and its input alone."""

    epochs: dict[int, Epoch] = dataclasses.field(default_factory=dict)
    input_seconds: float | None = None  # of all batches of an epoch, with no network to take them


def read_timing(logs_dir: str) -> Timing | None:
    """Returns what `timing.Stopwatch` wrote, or `None` if there is nothing that can be read."""
    try:
        return contract.parse_json(Timing, files.read_text(os.path.join(logs_dir, TIMING)))
    except (OSError, ValueError):
        return None


def read(model_dir: str, *, verify: bool = True) -> Config:
    """Reads the settings of the model in `model_dir`.

    Args:
      model_dir: the model.
      verify: whether all its files must be as they were written.

    Raises:
      BadInput: if there is no model, a damaged one, or one that this version cannot read.
    """
    folders.check_path(model_dir)
    if not files.is_folder(model_dir):
        raise commands.BadInput(f"no model in {model_dir}: run `make train` first")
    path = os.path.join(model_dir, CONFIG)
    try:
        settings = contract.parse_json(Config, files.read_text(path))
    except FileNotFoundError:
        raise commands.BadInput(
            f"{model_dir} holds no {CONFIG}, so no whole model: run `make train` first"
        ) from None
    except (OSError, ValueError) as error:
        raise commands.BadInput(f"{path} can't be read ({error}): run `make train` again") from None
    if verify:
        folders.check_whole(model_dir, "train")
    return settings


def check(network: Network, training: Training) -> None:
    """Raises `BadInput` for flags that don't go together."""
    pools = network.pooling != "last"
    for name in ("embedding_tokens", "embedding_dropout", "piece_len", "ngram_bits"):
        if getattr(network, name) and not pools:
            raise commands.BadInput(f"--{name} needs --pooling max_mean")
    if network.mask_padding and pools:
        raise commands.BadInput("--mask_padding: --pooling max_mean leaves padding out by itself")
    # Else it would see other padding in training than when it serves.
    reads_padding = network.bidirectional and not network.piece_len if pools else True
    if training.bucket_by_length and reads_padding and not network.mask_padding:
        needs = "--piece_len" if pools else "--mask_padding or --pooling max_mean"
        raise commands.BadInput(
            f"--bucket_by_length: the network would see other padding than when it serves: give "
            f"{needs}, too"
        )


def describe(manifest: contract.Manifest, network: Network, training: Training) -> Config:
    """Returns the settings of a model for a dataset; it has no more tokens than the vocabulary.

    Raises:
      BadInput: if the dataset was cut below the size of the network, or has nothing to choose a
        threshold by.
    """
    check_fits(manifest, network)
    if training.choose_threshold and (
        contract.VALIDATION not in manifest.splits or len(manifest.classes) != 2
    ):
        raise commands.BadInput(
            "--choose_threshold needs two classes and a validation split: preprocess with "
            "--validation 0.1, say"
        )
    max_tokens = min(network.max_tokens, manifest.vocabulary.size)
    network = dataclasses.replace(network, max_tokens=max_tokens)
    return Config(network, training, manifest.classes, manifest.vocabulary, manifest.sha256)


def check_fits(manifest: contract.Manifest, network: Network) -> None:
    """Raises `BadInput` if the records were cut below what the network takes.

    Their ids wouldn't be those of a fresh dataset of the network's size.
    """
    max_tokens, max_len = manifest.flags.max_tokens, manifest.flags.max_len
    if manifest.vocabulary.size == max_tokens < network.max_tokens:
        _refuse("max_tokens", network.max_tokens, max_tokens)
    if max_len is not None and max_len < network.max_len:
        _refuse("max_len", network.max_len, max_len)


def _refuse(flag: str, wanted: int, most: int) -> None:
    raise commands.BadInput(
        f"--{flag} {wanted}: the records were cut at {most}; take at most that, "
        f"or preprocess again with --{flag} {wanted}"
    )
