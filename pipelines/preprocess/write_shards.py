"""Writes the shards: reads their reviews, turns them into ids, counts and hashes."""

import collections
import dataclasses
import functools
import itertools
import os
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from apache_beam.utils.shared import Shared

from pipelines import sharding
from pipelines.findings import Finding, finding
from pipelines.preprocess import review_batches, text_notes, transform
from pipelines.preprocess.review_batches import Batch, Review
from textrecords import atomic, concurrency, record_io, spec, text_source
from textrecords.dataset import read_vocabulary
from textrecords.manifest import Shard


@dataclasses.dataclass(frozen=True)
class Written:
    """What was written to one or several shards of a split.

    Attributes:
      shards: the files.
      label_counts: <int64>[num_classes], labelled reviews by label.
      length_counts: number of reviews by number of tokens.
      id_counts: <int64>[vocabulary size], occurrences of each id.
      notes: number of reviews by note.
      keys: of the reviews.
      reused: number of shards that were reused.
    """

    shards: tuple[Shard, ...]
    label_counts: np.ndarray
    length_counts: collections.Counter[int]
    id_counts: np.ndarray
    notes: collections.Counter[str]
    keys: sharding.Keys
    reused: int = 0

    def __add__(self, other: "Written") -> "Written":
        return Written(
            *(getattr(self, f.name) + getattr(other, f.name) for f in dataclasses.fields(self))
        )


class Unwritten(NamedTuple):
    """A shard to write.

    Attributes:
      split: of the shard.
      name: of the file.
      reviews: in the order of writing.
    """

    split: str
    name: str
    reviews: list[Review]


@dataclasses.dataclass(frozen=True)
class Encoded:
    """A batch of reviews with their ids.

    Attributes:
      batch: the reviews.
      ids: of all reviews, concatenated, <int64>[tokens].
      lengths: tokens of each review, <int64>[batch_size].
    """

    batch: Batch
    ids: np.ndarray
    lengths: np.ndarray

    def examples(self) -> Iterator[tuple[list[int], int, bytes]]:
        """Yields the ids, the label and the key of each review."""
        ids, end = self.ids.tolist(), 0
        of_reviews = self.lengths.tolist(), self.batch.labels, self.batch.keys
        for length, label, key in zip(*of_reviews, strict=True):
            begin, end = end, end + length
            yield ids[begin:end], label, key


class Encoder:
    """The transform graph and its tokenizer.

    Args:
      transform_fn_dir: the SavedModel of the graph.
      options: the flags that it was made with.
    """

    def __init__(self, transform_fn_dir: str, options: transform.TextOptions):
        self._graph = tf.saved_model.load(transform_fn_dir)
        self._tokenizer = transform.Tokenizer(options)
        vocabulary = read_vocabulary(os.path.join(transform_fn_dir, spec.ASSET))
        self.vocabulary_size = len(vocabulary) + spec.NUM_RESERVED

    def encode(self, batch: Batch) -> Encoded:
        """Adds the ids to a batch."""
        columns = {spec.TEXT: batch.texts, spec.LABEL: batch.labels, spec.KEY: batch.keys}
        features = self._graph.transform_fn(
            {name: tf.constant(column, transform.INPUTS[name]) for name, column in columns.items()}
        )
        tokens = features[spec.TOKENS]
        lengths = np.bincount(tokens.indices[:, 0].numpy())  # every review has at least one id
        return Encoded(batch, tokens.values.numpy(), lengths)

    def without_tokens(self, encoded: Encoded) -> np.ndarray:
        """Returns which texts have no token, <bool>[batch_size].

        The record doesn't distinguish them from a single OOV token.
        """
        first = np.cumsum(encoded.lengths) - encoded.lengths
        found = (encoded.lengths == 1) & (encoded.ids[first] == spec.OOV_ID)
        if found.any():
            alone = list(itertools.compress(encoded.batch.texts, found))
            found[found] = self._tokenizer(tf.constant(alone)).row_lengths() == 0
        return found


@dataclasses.dataclass(frozen=True)
class WriteShard:
    """Writes one shard.

    A shard is determined by the keys of its reviews before any is read, so texts and records don't
    pass between stages: one batch at a time is in memory, whatever the size of the dataset.

    Attributes:
      source: the folder of the reviews.
      output_dir: the folder to write to.
      compression: a key of `spec.COMPRESSIONS`.
      options: the flags that the transform graph was made with.
      min_tokens: a review with fewer is short.
      encoder: loaded once per process.
    """

    source: text_source.Source
    output_dir: str
    compression: str
    options: transform.TextOptions
    min_tokens: int
    encoder: Shared = dataclasses.field(default_factory=Shared)

    def write(
        self, shard: Unwritten, transform_fn_dir: str, classes: tuple[str, ...]
    ) -> tuple[Written, list[Finding]]:
        """Writes a shard; returns what was written, and the findings on single reviews."""
        split, name, reviews = shard
        encoder = self.encoder.acquire(
            functools.partial(Encoder, transform_fn_dir, self.options), tag=transform_fn_dir
        )
        written = _nothing(len(classes), encoder.vocabulary_size)
        findings: list[Finding] = []
        batches = review_batches.read_batches(self.source, reviews)
        with atomic.write_file(os.path.join(self.output_dir, name)) as part:
            with tf.io.TFRecordWriter(part, spec.COMPRESSIONS[self.compression]) as writer:
                for encoded in concurrency.prefetch(batches, encoder.encode):
                    for record in record_io.serialize(encoded.examples()):
                        writer.write(record)
                    noted = list(self._notes(split, encoded, encoder))
                    written += _count(encoded, noted, written)
                    findings += noted
            written_shard = Shard.of(part, name, len(reviews))
        return dataclasses.replace(written, shards=(written_shard,)), findings

    def _notes(self, split: str, encoded: Encoded, encoder: Encoder) -> Iterator[Finding]:
        for key, seems in encoded.batch.misread.items():
            yield finding(text_notes.MISREAD, [key], split=split, seems=seems)
        without_tokens = encoder.without_tokens(encoded)
        is_short = (encoded.lengths < self._min_length) | (without_tokens & (self.min_tokens > 0))
        found = text_notes.of_texts(encoded.batch.texts) | {
            text_notes.NO_TOKENS: without_tokens,
            text_notes.SHORT: is_short,
        }
        yield from text_notes.take(split, encoded.batch.keys, found)

    @property
    def _min_length(self) -> int:
        """The minimum number of tokens: a review isn't short just because it's cut to `max_len`."""
        return min(self.min_tokens, self.options.max_len or self.min_tokens)


def _nothing(num_classes: int, vocabulary_size: int) -> Written:
    labels, ids = np.zeros(num_classes, np.int64), np.zeros(vocabulary_size, np.int64)
    counters = collections.Counter(), collections.Counter()
    return Written((), labels, counters[0], ids, counters[1], sharding.NO_KEYS)


def _count(encoded: Encoded, noted: list[Finding], so_far: Written) -> Written:
    """Returns the counts of a batch, with as many labels and ids as `so_far`."""
    labels = np.array(encoded.batch.labels, np.int64)
    return Written(
        shards=(),
        label_counts=np.bincount(labels[labels >= 0], minlength=so_far.label_counts.size),
        length_counts=collections.Counter(encoded.lengths.tolist()),
        id_counts=np.bincount(encoded.ids, minlength=so_far.id_counts.size),
        notes=collections.Counter(each["finding"] for each in noted),
        keys=sharding.Keys.of(encoded.batch.keys),
    )


def in_order(lists: Iterable[list[Review]]) -> list[Review]:
    """Returns the reviews of a shard in the order of writing."""
    return sorted(
        review_batches.join(lists), key=lambda review: sharding.order_in_shard(review.key)
    )
