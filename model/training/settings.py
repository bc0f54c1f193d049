"""Checks the settings of a training against each other and against the dataset."""

import dataclasses

from textrecords import imports, spec
from textrecords.dataset import Dataset
from textrecords.errors import BadInput
from textrecords.manifest import Manifest
from textrecords.model_folder import ModelConfig, Network, Training

MAX_LEN = 100  # the tutorial's
MIN_LEN = 10  # so that texts slightly longer than those of train are read as a whole


def check_compatible(network: Network, training: Training) -> None:
    """Raises `BadInput` for flags that can't be combined, or need what isn't installed."""
    pools = network.pooling != "last"
    for name in ("embedding_tokens", "embedding_dropout", "chunk_len", "ngram_bits"):
        if getattr(network, name) and not pools:
            raise BadInput(f"--{name} needs --pooling max_mean")
    if network.ngram_bits:
        imports.check_installed("--ngram_bits (PRESET=tuned)", "tuned")
    if network.mask_padding and pools:
        raise BadInput(
            "--mask_padding: --pooling max_mean always ignores padding: drop --mask_padding"
        )
    # Otherwise it would see different padding in training and in serving.
    reads_padding = network.bidirectional and not network.chunk_len if pools else True
    if training.bucket_by_length and reads_padding and not network.mask_padding:
        needs = "--chunk_len" if pools else "--mask_padding or --pooling max_mean"
        raise BadInput(
            f"--bucket_by_length: the network would see different padding in serving: add {needs}"
        )


def configure(dataset: Dataset, network: Network, training: Training) -> ModelConfig:
    """Returns the settings of a model for a dataset.

    It has no more tokens than the vocabulary, and settings that depend on the records' lengths are
    chosen.

    Raises:
      BadInput: if the dataset was truncated below the size of the network, or has no validation
        split to choose a threshold or a temperature on.
    """
    manifest = dataset.manifest
    network = _fit_to_lengths(network, manifest)
    manifest.check_fits(network.input_size)
    if training.choose_threshold and (number := len(manifest.classes)) != 2:
        raise BadInput(f"--choose_threshold is for two classes, not {number}: drop it")
    for name in ("choose_threshold", "calibrate"):
        if getattr(training, name) and spec.VALIDATION not in manifest.splits:
            raise BadInput(
                f"--{name} needs a validation split: preprocess with --validation, for example "
                "--validation 0.1"
            )
    max_tokens = min(network.max_tokens, manifest.vocabulary.size)
    network = dataclasses.replace(network, max_tokens=max_tokens)
    return ModelConfig(network, training, manifest.classes, manifest.vocabulary, manifest.sha256)


def _fit_to_lengths(network: Network, manifest: Manifest) -> Network:
    """Chooses `max_len` and `mask_padding` where they aren't given.

    An unmasked LSTM forgets what it has read over a few dozen steps of padding, and then doesn't
    learn at all. If most reviews fill `max_len`, there is no mask, as in the tutorial.
    """
    lengths = manifest.splits[spec.TRAIN].token_lengths
    max_len, mask = network.max_len, network.mask_padding
    if max_len is None:
        limit = min(MAX_LEN, manifest.flags.max_len or MAX_LEN)
        max_len = min(limit, max(MIN_LEN, lengths["99%"]))
    if mask is None:
        mask = network.pooling == "last" and lengths["50%"] < max_len
    return dataclasses.replace(network, max_len=max_len, mask_padding=mask)


def describe_choice(asked: Network, chosen: Network, manifest: Manifest) -> str:
    """Returns what was chosen based on the records' lengths, and why; "" if all was given.

    Args:
      asked: the network that the flags ask for.
      chosen: the network that `configure` returned.
      manifest: of the records.
    """
    lengths = manifest.splits[spec.TRAIN].token_lengths
    parts = []
    if asked.max_len is None:
        of = "99% of the reviews of train have at most"
        of = "the longest review of train has" if lengths["99%"] == lengths["max"] else of
        parts.append(f"max_len {chosen.max_len}: {of} {lengths['99%']:,} tokens")
    if asked.mask_padding is None and chosen.mask_padding:
        parts.append(f"padding is masked: half of the reviews have at most {lengths['50%']:,}")
    return "; ".join(parts)
