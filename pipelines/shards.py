"""Which review goes into which shard, and the writing of the shards."""

import collections
import dataclasses
import functools
import hashlib
import itertools
import os
from collections.abc import Iterable

import apache_beam as beam
import numpy as np
import pyarrow as pa
import tensorflow as tf

from pipelines import contract, folders, reviews, transform

REVIEWS_PER_SHARD = 10_000
MOST_SHARDS = 10_000

ShardId = tuple[str, int]  # split, index


def default_num_shards(num_reviews: int) -> int:
    """Returns how many shards a split gets: a function of its size alone, so that bytes repeat."""
    return min(max(1, -(-num_reviews // REVIEWS_PER_SHARD)), MOST_SHARDS)


def num_shards(
    examples: dict[str, dict[str, int]], validation: float, given: int | None
) -> dict[str, int]:
    """Returns the number of shards of each split.

    Args:
      examples: how many reviews lie in each split and class of the input.
      validation: which share of train becomes the validation split.
      given: the number, if it doesn't follow from the size.
    """
    sizes = {split: sum(classes.values()) for split, classes in examples.items()}
    if validation:
        sizes[contract.VALIDATION] = round(validation * sizes[contract.TRAIN])
        sizes[contract.TRAIN] -= sizes[contract.VALIDATION]
    return {
        split: given or default_num_shards(sizes[split])
        for split in contract.SPLITS
        if split in sizes
    }


def key_hash(key: bytes) -> bytes:
    """Returns 8 bytes that decide a review's shard and its place there, alike in any process."""
    return hashlib.blake2b(key, digest_size=8, key=b"textrecords").digest()


def shard_of(split: str, key: bytes, num_shards: dict[str, int]) -> ShardId:
    """Returns the shard that the review of this key goes into."""
    return split, int.from_bytes(key_hash(key), "big") % num_shards[split]


@dataclasses.dataclass(frozen=True)
class Written:
    """What was written into one or several shards of a split.

    Attributes:
      shards: the files.
      label_counts: <int64>[num_classes], reviews of each label.
      length_counts: how many reviews have so many tokens, by the number of tokens.
      id_counts: <int64>[vocabulary size], how often each id was written.
      undecodable: keys of the reviews that were decoded with replacement.
      without_tokens: keys of the reviews that are one OOV for want of a token.
      short: keys of the reviews that have too few tokens.
    """

    shards: tuple[contract.Shard, ...]
    label_counts: np.ndarray
    length_counts: collections.Counter[int]
    id_counts: np.ndarray
    undecodable: tuple[bytes, ...]
    without_tokens: tuple[bytes, ...]
    short: tuple[bytes, ...]

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
      source: the folder of the reviews.
      output_dir: the folder to write in.
      num_shards: of each split.
      num_classes: number of labels.
      compression: a key of `contract.COMPRESSIONS`.
      options: the flags that the transform graph was made with.
      min_tokens: a review of fewer is short.
    """

    source: reviews.Source
    output_dir: str
    num_shards: dict[str, int]
    num_classes: int
    compression: str
    options: transform.TextOptions
    min_tokens: int

    def __call__(
        self, shard: tuple[ShardId, Iterable[list[reviews.Review]]], transform_fn_dir: str
    ) -> tuple[str, Written]:
        """Returns the split and what was written of it."""
        (split, index), lists = shard
        files = in_order(lists)
        name = contract.shard_name(split, index, self.num_shards[split], self.compression)
        graph, vocabulary_size = _load_transform(transform_fn_dir)
        written = self._nothing(vocabulary_size)
        read = functools.partial(reviews.read_batch, self.source)
        batches = map(read, reviews.review_batches(files))
        made = reviews.ahead(batches, functools.partial(_with_ids, graph))
        with folders.whole_file(os.path.join(self.output_dir, name)) as part:
            with tf.io.TFRecordWriter(part, contract.COMPRESSIONS[self.compression]) as writer:
                for batch, ids, lengths in made:
                    written += self._write_batch(*batch, ids, lengths, vocabulary_size, writer)
            shard = contract.Shard.of(part, name, len(files))
        return split, dataclasses.replace(written, shards=(shard,))

    def _nothing(self, vocabulary_size: int) -> Written:
        labels, ids = np.zeros(self.num_classes, np.int64), np.zeros(vocabulary_size, np.int64)
        return Written((), labels, collections.Counter(), ids, (), (), ())

    def _write_batch(
        self,
        batch: pa.RecordBatch,
        undecodable: list[bytes],
        ids: np.ndarray,
        lengths: np.ndarray,
        vocabulary_size: int,
        writer: tf.io.TFRecordWriter,
    ) -> Written:
        texts, labels, keys = (column.flatten() for column in batch.columns)
        rows = np.split(ids, np.cumsum(lengths)[:-1])
        names = keys.to_pylist()
        for row, label, key in zip(rows, labels.to_pylist(), names, strict=True):
            writer.write(serialize_example(row, label, key))
        without_tokens = self._without_tokens(texts, rows)
        is_short = (lengths < self._least) | (without_tokens & (self.min_tokens > 0))
        return Written(
            shards=(),
            label_counts=np.bincount(labels, minlength=self.num_classes),
            length_counts=collections.Counter(lengths.tolist()),
            id_counts=np.bincount(ids, minlength=vocabulary_size),
            undecodable=tuple(undecodable),
            without_tokens=tuple(itertools.compress(names, without_tokens)),
            short=tuple(itertools.compress(names, is_short)),
        )

    @property
    def _least(self) -> int:
        """The number of tokens to ask for: a review cut to `max_len` isn't short for that."""
        return min(self.min_tokens, self.options.max_len or self.min_tokens)

    def _without_tokens(self, texts: pa.Array, rows: list[np.ndarray]) -> np.ndarray:
        """Tells which texts have no token; the record doesn't tell them from one OOV word."""
        found = np.array([len(row) == 1 and row[0] == contract.OOV_ID for row in rows])
        if found.any():
            alone = tf.constant(texts.filter(pa.array(found)).to_pylist())
            found[found] = _tokenizer(self.options)(alone).row_lengths() == 0
        return found


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


def _with_ids(
    graph: tf.Module, read: tuple[pa.RecordBatch, list[bytes]]
) -> tuple[tuple[pa.RecordBatch, list[bytes]], np.ndarray, np.ndarray]:
    """Adds the ids of all texts, <int64>[tokens], and each text's number, <int64>[batch]."""
    texts, labels, keys = (column.flatten() for column in read[0].columns)
    features = graph.transform_fn(
        {
            contract.TEXT: tf.constant(texts.to_pylist()),
            contract.LABEL: tf.constant(labels.to_numpy()),
            contract.KEY: tf.constant(keys.to_pylist()),
        }
    )
    tokens = features[contract.TOKENS]
    lengths = np.bincount(tokens.indices[:, 0].numpy(), minlength=len(texts))
    return read, tokens.values.numpy(), lengths


def in_order(lists: Iterable[list[reviews.Review]]) -> list[reviews.Review]:
    """Returns the reviews of a shard in the order in which they are written."""
    return sorted(itertools.chain.from_iterable(lists), key=_place)


def _place(review: reviews.Review) -> tuple[bytes, bytes]:
    return key_hash(review[1]), review[1]


class GroupByShard(beam.PTransform):
    """Groups (ShardId, list of Review) by shard; every shard comes out, also an empty one."""

    def __init__(self, num_shards: dict[str, int]):
        super().__init__()
        self._num_shards = num_shards

    def expand(self, assigned: beam.PCollection) -> beam.PCollection:
        every_shard = [
            ((split, index), [])
            for split, count in self._num_shards.items()
            for index in range(count)
        ]
        empty = assigned.pipeline | "EveryShard" >> beam.Create(every_shard)
        # (ShardId, list of Review) -> (ShardId, lists of Review)
        return (assigned, empty) | beam.Flatten() | beam.GroupByKey()
