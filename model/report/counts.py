"""Counts the tokens of the records, as a network of a given size reads them."""

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf

from model import metrics
from textrecords import record_io, spec, terminal
from textrecords.dataset import Dataset
from textrecords.manifest import Manifest
from textrecords.model_folder import Network

BINS_A_DOUBLING = 3  # of the lengths that are drawn


@dataclasses.dataclass(frozen=True)
class Counts:
    """Counts of one split.

    Attributes:
      ids: occurrences of each id of the whole vocabulary, <int64>[size].
      lengths: tokens of each review, <int64>[n].
      read: number of tokens that the network reads, before the cut at `max_len`.
      read_oov: number of these that are OOV for the network.
    """

    ids: np.ndarray
    lengths: np.ndarray
    read: int
    read_oov: int


def count(dataset: Dataset, split: str, network: Network) -> Counts:
    """Counts the tokens of one split, in one pass over its records."""
    size = dataset.manifest.vocabulary.size

    def of_block(records: tf.Tensor) -> tuple[tf.Tensor, ...]:
        tokens = record_io.parse(records, [spec.TOKENS])[spec.TOKENS]
        read = tokens[:, : network.max_len].flat_values
        oov = (read == spec.OOV_ID) | (read >= network.max_tokens)
        ids = tf.math.bincount(tf.cast(tokens.flat_values, tf.int32), minlength=size)
        return ids, tokens.row_lengths(), tf.size(read), tf.math.count_nonzero(oov)

    blocks = record_io.read(dataset, split).map(of_block)
    ids, lengths, read, read_oov = zip(*blocks.as_numpy_iterator(), strict=True)
    return Counts(
        np.sum(ids, axis=0, dtype=np.int64),
        np.concatenate(lengths),
        int(sum(read)),
        int(sum(read_oov)),
    )


def describe(manifest: Manifest, counts: dict[str, Counts], network: Network) -> dict[str, Any]:
    """Returns the report's section on the data.

    Args:
      manifest: of the records.
      counts: of each split.
      network: the network that reads them.
    """
    size = manifest.vocabulary.size
    return {
        "vocabulary": size,
        "max_tokens": network.max_tokens,
        "max_len": network.max_len,
        "classes": [terminal.one_line(name) for name in manifest.classes],
        "splits": [_describe_split(name, manifest, counts[name], network) for name in counts],
        "leaked_texts": manifest.audit.leaked_texts,
        "conflicting_texts": manifest.audit.conflicting_texts,
        "bad_files": manifest.bad_files,
        "lengths": _lengths({name: of.lengths for name, of in counts.items()}),
        "coverage": _coverage(counts[spec.TRAIN].ids, network.max_tokens),
    }


def _describe_split(
    name: str, manifest: Manifest, counts: Counts, network: Network
) -> dict[str, Any]:
    split = manifest.splits[name]
    tokens = int(counts.ids.sum())
    oov = int(counts.ids[spec.OOV_ID])
    return {
        "name": name,
        "examples": split.examples,
        "class_examples": [split.class_examples.get(each, 0) for each in manifest.classes],
        "tokens": tokens,
        "median_tokens": int(np.median(counts.lengths)),
        "cut_reviews": float(np.mean(counts.lengths > network.max_len)),
        "read_tokens": counts.read / tokens,
        "oov": (oov + int(counts.ids[network.max_tokens :].sum())) / tokens,
        "oov_read": counts.read_oov / counts.read,
        "oov_vocabulary": oov / tokens,
        "repeats": split.found - split.distinct_texts,
        "dropped_leaked": split.dropped_leaked,
        "dropped_duplicates": split.dropped_duplicates,
        "undecodable": split.undecodable,
        "without_tokens": split.without_tokens,
        "short": split.short,
    }


def _lengths(lengths: dict[str, np.ndarray]) -> dict[str, Any]:
    """Returns the distribution of each split's reviews by length, in logarithmic bins."""
    every = np.concatenate([*lengths.values()])
    first, last = np.floor(np.log2(every.min())), np.ceil(np.log2(every.max() + 1))
    places = np.arange((last - first) * BINS_A_DOUBLING + 1) / BINS_A_DOUBLING
    edges = np.unique(np.round(2 ** (first + places)))
    return {
        "edges": edges.astype(int).tolist(),
        "shares": [
            (np.histogram(each, edges)[0] / len(each)).tolist() for each in lengths.values()
        ],
    }


def _coverage(ids: np.ndarray, max_tokens: int) -> dict[str, Any]:
    """Returns the share of the tokens that the N most frequent words cover."""
    shares = np.cumsum(ids[spec.NUM_RESERVED :]) / ids.sum()
    words = np.unique(np.geomspace(1, len(shares), metrics.POINTS).round().astype(int))
    return {
        "words": words.tolist(),
        "shares": np.round(shares[words - 1], 5).tolist(),
        "by_max_tokens": float(shares[max_tokens - spec.NUM_RESERVED - 1]),
        "by_all": float(shares[-1]),
    }
