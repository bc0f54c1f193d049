"""Which review goes into which shard, and the writing of the shards."""

import collections
import dataclasses
import functools
import hashlib
import itertools
import os
from collections.abc import Iterable, Iterator

import apache_beam as beam
import numpy as np
import pyarrow as pa
import tensorflow as tf

from pipelines import contract, reviews, transform

REVIEWS_PER_SHARD = 10_000
MOST_SHARDS = 10_000

ShardId = tuple[str, int]  # split, index
ReviewFile = tuple[bytes, bytes, int]  # hash of the key, key, label


def default_num_shards(num_reviews: int) -> int:
    """Returns how many shards a split gets: a function of its size alone, so that bytes repeat."""
    return min(max(1, -(-num_reviews // REVIEWS_PER_SHARD)), MOST_SHARDS)


def key_hash(key: bytes) -> bytes:
    """Returns 8 bytes that decide a review's shard and its place there, alike in any process."""
    return hashlib.blake2b(key, digest_size=8, key=b"textrecords").digest()


def shard_index(hashed: bytes, num_shards: int) -> int:
    """Returns the shard, counted from 0, of the review with this `key_hash`."""
    return int.from_bytes(hashed, "big") % num_shards


@dataclasses.dataclass(frozen=True)
class Written:
    """What was written into one or several shards of a split.

    Attributes:
      shards: the files.
      label_counts: <int64>[num_classes], reviews of each label.
      length_counts: how many reviews have so many tokens, by the number of tokens.
      id_counts: <int64>[vocabulary size], how often each id was written.
      not_utf8: reviews that were decoded with replacement.
      without_tokens: reviews that are one OOV for want of a token.
    """

    shards: tuple[contract.Shard, ...]
    label_counts: np.ndarray
    length_counts: collections.Counter[int]
    id_counts: np.ndarray
    not_utf8: int
    without_tokens: int

    def __add__(self, other: "Written") -> "Written":
        return Written(
            *(getattr(self, f.name) + getattr(other, f.name) for f in dataclasses.fields(self))
        )


@dataclasses.dataclass(frozen=True)
class WriteShard:
    """Writes one shard: reads its reviews in order, transforms them, counts, hashes.

    A shard is known by the keys of its reviews before any is read, so texts and records cross no
    stage: they are in memory a batch at a time, whatever the size of the dataset.

    Attributes:
      input_dir: the folder of the reviews.
      output_dir: the folder to write in.
      num_shards: of each split.
      num_classes: number of labels.
      compression: a key of `contract.COMPRESSIONS`.
      options: the flags that the transform graph was made with.
    """

    input_dir: str
    output_dir: str
    num_shards: dict[str, int]
    num_classes: int
    compression: str
    options: transform.TextOptions

    def __call__(
        self, shard: tuple[ShardId, Iterable[list[ReviewFile]]], transform_fn_dir: str
    ) -> tuple[str, Written]:
        """Returns the split and what was written of it."""
        (split, index), chunks = shard
        files = sorted(itertools.chain.from_iterable(chunks))
        name = contract.shard_name(split, index, self.num_shards[split], self.compression)
        path = os.path.join(self.output_dir, name)
        graph, vocabulary_size = _load_transform(transform_fn_dir)
        written = self._nothing(vocabulary_size)
        not_utf8: list[bytes] = []
        batches = reviews.read_batches(self.input_dir, (file[1:] for file in files), not_utf8)
        with tf.io.TFRecordWriter(path, contract.COMPRESSIONS[self.compression]) as writer:
            for batch in batches:
                written += self._write_batch(batch, graph, vocabulary_size, writer)
        described = (_describe(path, len(files)),)
        return split, dataclasses.replace(written, shards=described, not_utf8=len(not_utf8))

    def _nothing(self, vocabulary_size: int) -> Written:
        labels, ids = np.zeros(self.num_classes, np.int64), np.zeros(vocabulary_size, np.int64)
        return Written((), labels, collections.Counter(), ids, 0, 0)

    def _write_batch(
        self,
        batch: pa.RecordBatch,
        graph: tf.Module,
        vocabulary_size: int,
        writer: tf.io.TFRecordWriter,
    ) -> Written:
        texts, labels, keys = (column.flatten() for column in batch.columns)
        ids, lengths = _token_ids(graph, texts, labels, keys)
        rows = np.split(ids, np.cumsum(lengths)[:-1])
        for row, label, key in zip(rows, labels.to_pylist(), keys.to_pylist(), strict=True):
            writer.write(serialize_example(row, label, key))
        return Written(
            shards=(),
            label_counts=np.bincount(labels, minlength=self.num_classes),
            length_counts=collections.Counter(lengths.tolist()),
            id_counts=np.bincount(ids, minlength=vocabulary_size),
            not_utf8=0,
            without_tokens=self._count_without_tokens(texts.to_pylist(), rows),
        )

    def _count_without_tokens(self, texts: list[bytes], rows: list[np.ndarray]) -> int:
        """Counts the texts that have no token; the record doesn't tell them from one OOV word."""
        alone = [
            text
            for text, row in zip(texts, rows, strict=True)
            if len(row) == 1 and row[0] == contract.OOV_ID
        ]
        if not alone:
            return 0
        num_tokens = _tokenizer(self.options)(tf.constant(alone)).row_lengths()
        return int(tf.math.count_nonzero(num_tokens == 0))


def serialize_example(tokens: np.ndarray, label: int, key: bytes) -> bytes:
    """Returns a serialized tf.train.Example of <int64>[number of tokens] ids, a label and a key."""
    example = tf.train.Example()
    feature = example.features.feature
    feature[contract.TOKENS].int64_list.value.extend(tokens.tolist())
    feature[contract.LABEL].int64_list.value.append(label)
    feature[contract.KEY].bytes_list.value.append(key)
    # A map has no order of its own: without this, bytes differ from process to process.
    return example.SerializeToString(deterministic=True)


@functools.lru_cache(maxsize=1)
def _load_transform(transform_fn_dir: str) -> tuple[tf.Module, int]:
    """Loads the transform graph, once a process, and the size of its vocabulary."""
    vocabulary = contract.read_vocabulary(os.path.join(transform_fn_dir, contract.ASSET))
    return tf.saved_model.load(transform_fn_dir), len(vocabulary) + contract.NUM_RESERVED


@functools.lru_cache(maxsize=1)
def _tokenizer(options: transform.TextOptions) -> transform.Tokenizer:
    return transform.Tokenizer(options)


def _token_ids(
    graph: tf.Module, texts: pa.Array, labels: pa.Array, keys: pa.Array
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the ids of all texts, <int64>[tokens], and each text's number, <int64>[batch]."""
    features = graph.transform_fn(
        {
            contract.TEXT: tf.constant(texts.to_pylist()),
            contract.LABEL: tf.constant(labels.to_numpy()),
            contract.KEY: tf.constant(keys.to_pylist()),
        }
    )
    tokens = features[contract.TOKENS]
    return tokens.values.numpy(), np.bincount(tokens.indices.numpy()[:, 0], minlength=len(texts))


def _describe(path: str, num_examples: int) -> contract.Shard:
    digest = contract.file_sha256(path)
    return contract.Shard(os.path.basename(path), num_examples, os.path.getsize(path), digest)


class GroupByShard(beam.PTransform):
    """Lists the class folders and groups their files by shard.

    Takes (split, class name, label), gives (ShardId, lists of ReviewFile). Paths alone are grouped,
    in lists, since one path an element costs more than the file's reading. Every shard comes out,
    also one that no review falls into.
    """

    def __init__(self, input_dir: str, num_shards: dict[str, int]):
        super().__init__()
        self._input_dir = input_dir
        self._num_shards = num_shards

    def expand(self, folders: beam.PCollection) -> beam.PCollection:
        every_shard = [
            ((split, index), [])
            for split, count in self._num_shards.items()
            for index in range(count)
        ]
        listed = folders | "ListFolder" >> beam.FlatMap(
            list_folder, input_dir=self._input_dir, num_shards=self._num_shards
        )
        empty = folders.pipeline | "EveryShard" >> beam.Create(every_shard)
        # (ShardId, list of ReviewFile) -> (ShardId, lists of ReviewFile)
        return (listed, empty) | beam.Flatten() | beam.GroupByKey()


def list_folder(
    folder: tuple[str, str, int], input_dir: str, num_shards: dict[str, int]
) -> Iterator[tuple[ShardId, list[ReviewFile]]]:
    """Yields the files of one class folder, some thousands at a time, by the shard they go into."""
    split, name, label = folder
    keys = reviews.list_keys(input_dir, split, name)
    for chunk in reviews.chunks(keys, size=REVIEWS_PER_SHARD):
        by_shard = collections.defaultdict(list)
        for key in chunk:
            hashed = key_hash(key)
            by_shard[split, shard_index(hashed, num_shards[split])].append((hashed, key, label))
        yield from by_shard.items()
