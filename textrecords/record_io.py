"""The records: how they are serialized, read and parsed. FORMAT.md describes them."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from textrecords import spec

if TYPE_CHECKING:
    from textrecords.dataset import Dataset

# Records read and parsed together: one at a time is several times slower, and more gain nothing.
PARSED_TOGETHER = 512
# Shards open at once. A fixed number, since the order of the rows depends on it.
OPEN_SHARDS = 8

FEATURES = {
    spec.TOKENS: tf.io.RaggedFeature(tf.int64),
    spec.LABEL: tf.io.FixedLenFeature([], tf.int64),
    spec.KEY: tf.io.FixedLenFeature([], tf.string),
}


def serialize(tokens: np.ndarray, label: int, key: bytes) -> bytes:
    """Returns a serialized tf.train.Example of <int64>[number of tokens] ids, a label and a key."""
    example = tf.train.Example()
    feature = example.features.feature
    feature[spec.TOKENS].int64_list.value.extend(tokens.tolist())
    feature[spec.LABEL].int64_list.value.append(label)
    feature[spec.KEY].bytes_list.value.append(key)
    # A map has no order of its own: without this, bytes differ from process to process.
    return example.SerializeToString(deterministic=True)


def parse(records: tf.Tensor, names: Iterable[str] = tuple(FEATURES)) -> dict[str, tf.Tensor]:
    """Parses serialized records, <string>[batch_size].

    Args:
      records: as `read` yields them.
      names: which features to parse; by default all.

    Returns:
      Those of `tokens` <int64>[batch_size, (tokens)], `label` <int64>[batch_size] and `key`
      <string>[batch_size] that are named.
    """
    return tf.io.parse_example(records, {name: FEATURES[name] for name in names})


def read(dataset: "Dataset", split: str) -> tf.data.Dataset:
    """Returns the serialized records of one split, <string>[n], always in the same order.

    They come in blocks, each of one shard.

    Raises:
      BadInput: if the dataset has no such split.
    """
    return tf.data.Dataset.from_tensor_slices(dataset.shard_paths(split)).interleave(
        lambda path: read_shard(dataset, path),
        cycle_length=OPEN_SHARDS,
        num_parallel_calls=tf.data.AUTOTUNE,
    )


def read_shard(dataset: "Dataset", path: str | tf.Tensor) -> tf.data.Dataset:
    """Returns the serialized records of one shard, <string>[n], in their order."""
    compression = spec.COMPRESSIONS[dataset.manifest.flags.compression]
    return tf.data.TFRecordDataset(path, compression).batch(PARSED_TOGETHER)


def read_examples(dataset: "Dataset", split: str) -> Iterator[tuple[bytes, int, np.ndarray]]:
    """Yields each example of one split in the order of `read`: key, label, tokens <int64>[tokens].

    Raises:
      BadInput: if the dataset has no such split.
    """
    for block in read(dataset, split).map(parse).as_numpy_iterator():
        keys, labels = block[spec.KEY].tolist(), block[spec.LABEL].tolist()
        yield from zip(keys, labels, block[spec.TOKENS], strict=True)
