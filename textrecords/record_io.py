"""Serializes, reads and parses records. FORMAT.md describes them."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from textrecords import spec

if TYPE_CHECKING:
    from textrecords.dataset import Dataset

# Records per block: one at a time is several times slower, and larger blocks gain nothing.
PARSED_TOGETHER = 512
# Shards open at once. Fixed, since the order of the rows depends on it.
OPEN_SHARDS = 8

FEATURES = {
    spec.TOKENS: tf.io.RaggedFeature(tf.int64),
    spec.LABEL: tf.io.FixedLenFeature([], tf.int64),
    spec.KEY: tf.io.FixedLenFeature([], tf.string),
}


def serialize(examples: Iterable[tuple[Sequence[int], int, bytes]]) -> Iterator[bytes]:
    """Yields a serialized tf.train.Example for each example, given by its ids, label and key."""
    message = tf.train.Example()  # for all of them, since a new one takes much longer
    feature = message.features.feature
    tokens = feature[spec.TOKENS].int64_list.value
    label = feature[spec.LABEL].int64_list.value
    key = feature[spec.KEY].bytes_list.value
    for ids, class_id, name in examples:
        tokens[:], label[:], key[:] = ids, [class_id], [name]
        # A map is unordered: without this, the bytes differ between processes.
        yield message.SerializeToString(deterministic=True)


def parse(records: tf.Tensor, names: Iterable[str] = tuple(FEATURES)) -> dict[str, tf.Tensor]:
    """Parses serialized records, <string>[batch_size].

    Args:
      records: as `read` yields them.
      names: of the features to parse; by default all.

    Returns:
      The named ones of `tokens` <int64>[batch_size, (tokens)], `label` <int64>[batch_size] and
      `key` <string>[batch_size].
    """
    return tf.io.parse_example(records, {name: FEATURES[name] for name in names})


@dataclasses.dataclass(frozen=True)
class Shards:
    """The files that hold the records of a split.

    Attributes:
      paths: of the files.
      sizes: the number of records in each.
      compression: TensorFlow's name for it.
    """

    paths: Sequence[str]
    sizes: Sequence[int]
    compression: str = ""

    def read(self) -> tf.data.Dataset:
        """Returns the records, <string>[n], in blocks from one shard each, interleaving shards."""
        return _in_turn(self.paths, lambda path: _blocks(self._records(path)))

    def read_one_by_one(self, order: tf.Tensor, first: tf.Tensor) -> tf.data.Dataset:
        """Returns the records, <string>[n], one shard after the other.

        Blocks of `PARSED_TOGETHER` span shards; the last one may be smaller.

        Args:
          order: of the shards, <int32>[number of shards].
          first: the number of records to skip without parsing, <int64>[].
        """
        return _blocks(self._records(tf.gather(self.paths, order)).skip(first))

    def places(self) -> tf.RaggedTensor:
        """Returns the positions in `read` of each shard's records, <int32>[shards, (size)]."""
        ends = np.cumsum(self.sizes)
        numbers = _in_turn(
            (ends - self.sizes, ends), lambda *ends: _blocks(tf.data.Dataset.range(*ends))
        )
        places = np.argsort(np.concatenate(list(numbers.as_numpy_iterator())))
        return tf.RaggedTensor.from_row_lengths(places.astype(np.int32), self.sizes)

    def _records(self, paths: tf.Tensor) -> tf.data.Dataset:
        return tf.data.TFRecordDataset(paths, self.compression)


def shards(dataset: "Dataset", split: str) -> Shards:
    """Returns the shards of one split; raises `BadInput` if the dataset has no such split."""
    paths = dataset.shard_paths(split)
    sizes = [shard.examples for shard in dataset.manifest.splits[split].shards]
    return Shards(paths, sizes, spec.COMPRESSIONS[dataset.manifest.flags.compression])


def read(dataset: "Dataset", split: str) -> tf.data.Dataset:
    """Returns the serialized records of one split, <string>[n], always in the same order.

    Each block is from one shard.

    Raises:
      BadInput: if the dataset has no such split.
    """
    return shards(dataset, split).read()


def read_shard(dataset: "Dataset", path: str) -> tf.data.Dataset:
    """Returns the serialized records of one shard, <string>[n], in their order."""
    compression = spec.COMPRESSIONS[dataset.manifest.flags.compression]
    return _blocks(tf.data.TFRecordDataset(path, compression))


def _blocks(records: tf.data.Dataset) -> tf.data.Dataset:
    return records.batch(PARSED_TOGETHER)


def _in_turn(shards: Any, blocks: Callable[..., tf.data.Dataset]) -> tf.data.Dataset:
    """Interleaves the blocks of `OPEN_SHARDS` shards."""
    return tf.data.Dataset.from_tensor_slices(shards).interleave(
        blocks, cycle_length=OPEN_SHARDS, num_parallel_calls=tf.data.AUTOTUNE
    )


def read_examples(dataset: "Dataset", split: str) -> Iterator[tuple[bytes, int, np.ndarray]]:
    """Yields each example of one split in the order of `read`: key, label, tokens <int64>[tokens].

    Raises:
      BadInput: if the dataset has no such split.
    """
    for block in read(dataset, split).map(parse).as_numpy_iterator():
        keys, labels = block[spec.KEY].tolist(), block[spec.LABEL].tolist()
        yield from zip(keys, labels, block[spec.TOKENS], strict=True)
