"""Checks the settings of a training against each other and against the dataset."""

import dataclasses
import importlib.util

from textrecords import spec
from textrecords.dataset import Dataset
from textrecords.errors import BadInput
from textrecords.model_folder import ModelConfig, Network, Training


def check_compatible(network: Network, training: Training) -> None:
    """Raises `BadInput` for flags that don't go together, or need what isn't installed."""
    pools = network.pooling != "last"
    for name in ("embedding_tokens", "embedding_dropout", "piece_len", "ngram_bits"):
        if getattr(network, name) and not pools:
            raise BadInput(f"--{name} needs --pooling max_mean")
    if network.ngram_bits and not importlib.util.find_spec("sklearn"):
        raise BadInput(
            "--ngram_bits (PRESET=tuned) needs scikit-learn: `pip install 'textrecords[tuned]'`"
        )
    if network.mask_padding and pools:
        raise BadInput("--mask_padding: --pooling max_mean leaves padding out by itself")
    # Else it would see other padding in training than when it serves.
    reads_padding = network.bidirectional and not network.piece_len if pools else True
    if training.bucket_by_length and reads_padding and not network.mask_padding:
        needs = "--piece_len" if pools else "--mask_padding or --pooling max_mean"
        raise BadInput(
            f"--bucket_by_length: the network would see other padding than when it serves: give "
            f"{needs}, too"
        )


def configure(dataset: Dataset, network: Network, training: Training) -> ModelConfig:
    """Returns the settings of a model for a dataset; it has no more tokens than the vocabulary.

    Raises:
      BadInput: if the dataset was cut below the size of the network, or has nothing to choose a
        threshold by.
    """
    manifest = dataset.manifest
    manifest.check_fits(network.input_size)
    if training.choose_threshold and (
        spec.VALIDATION not in manifest.splits or len(manifest.classes) != 2
    ):
        raise BadInput(
            "--choose_threshold needs two classes and a validation split: preprocess with "
            "--validation 0.1, say"
        )
    max_tokens = min(network.max_tokens, manifest.vocabulary.size)
    network = dataclasses.replace(network, max_tokens=max_tokens)
    return ModelConfig(network, training, manifest.classes, manifest.vocabulary, manifest.sha256)
