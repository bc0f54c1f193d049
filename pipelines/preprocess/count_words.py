"""Counts the words of reviews: reads them, splits them in a graph, and adds up.

tf.Transform would run the graph in Beam's own process, one batch after the other. Here helpers do,
and pass on the sums of several batches. Counts are integers, exact at any size.
"""

import collections
import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence

import apache_beam as beam
import numpy as np
import tensorflow as tf
from apache_beam.utils.shared import Shared

from pipelines import helpers
from pipelines.preprocess import review_batches, transform
from pipelines.preprocess.review_batches import Batch, Review
from pipelines.sharding import ShardId
from textrecords import concurrency, text_source

# Reviews in a task, and their bytes. Larger tasks repeat more words, so fewer counts pass between
# stages; smaller ones keep all helpers busy to the end, and take less memory.
TASK_SIZE, TASK_BYTES = 4 * review_batches.BATCH_SIZE, 2 * review_batches.BATCH_BYTES
# Words are counted in buckets by hash, so that no worker has to hold all of them: with a billion
# reviews, a bucket takes 70 MB.
NUM_BUCKETS = 64


class CountWords(beam.PTransform):
    """Counts the words of shards: (ShardId, lists of Review) -> (bucket, {word: count}).

    Args:
      source: the input.
      options: the flags that determine what a word is.
    """

    def __init__(self, source: text_source.Source, options: transform.TextOptions):
        super().__init__()
        self._count = Count(source, options)

    def expand(self, shards: beam.PCollection) -> beam.PCollection:
        return (
            shards
            | "SplitShards" >> beam.FlatMap(split_shard)
            | "Count" >> beam.ParDo(helpers.FlatMap(self._count.count))
            | "AddCounts" >> beam.CombinePerKey(AddCounts())
        )


def split_shard(shard: tuple[ShardId, Iterable[list[Review]]]) -> Iterator[tuple[Review, ...]]:
    """Yields the reviews of a shard in tasks, as plain tuples."""
    return review_batches.split(itertools.chain.from_iterable(shard[1]), TASK_SIZE, TASK_BYTES)


@dataclasses.dataclass(frozen=True)
class Count:
    """Counts the words of a task.

    Attributes:
      source, options: as in `CountWords`.
      graph: made once per process.
    """

    source: text_source.Source
    options: transform.TextOptions
    graph: Shared = dataclasses.field(default_factory=Shared)

    def count(self, reviews: Sequence[Review]) -> Iterator[tuple[int, dict[bytes, int]]]:
        """Yields the words of all these reviews, given as plain tuples, by bucket."""
        count_batch = self.graph.acquire(functools.partial(_make_graph, self.options))
        totals: dict[int, collections.Counter[bytes]]
        totals = collections.defaultdict(collections.Counter)
        batches = review_batches.read_batches(self.source, review_batches.join([reviews]))
        for counted in concurrency.prefetch(batches, count_batch):
            for bucket, counts in split_by_bucket(*counted):
                totals[bucket].update(counts)
        yield from totals.items()


def _make_graph(options: transform.TextOptions) -> Callable[[Batch], list[np.ndarray]]:
    """Returns a function that counts the words of a batch."""
    tokenize = transform.Tokenizer(options)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)
    def graph(texts: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        words, _, counts = tf.unique_with_counts(tokenize(texts).flat_values, out_idx=tf.int64)
        return words, counts, tf.strings.to_hash_bucket_fast(words, NUM_BUCKETS)

    def count_batch(batch: Batch) -> list[np.ndarray]:
        return [each.numpy() for each in graph(tf.constant(batch.texts, tf.string))]

    return count_batch


def split_by_bucket(
    words: np.ndarray, counts: np.ndarray, buckets: np.ndarray
) -> Iterator[tuple[int, dict[bytes, int]]]:
    """Yields the words and counts of each bucket."""
    order = np.argsort(buckets, kind="stable")
    ends = np.cumsum(np.bincount(buckets, minlength=NUM_BUCKETS))[:-1]
    parts = (np.split(column[order], ends) for column in (words, counts))
    for bucket, (in_bucket, their_counts) in enumerate(zip(*parts, strict=True)):
        yield bucket, dict(zip(in_bucket.tolist(), their_counts.tolist(), strict=True))


class AddCounts(beam.CombineFn):
    """Adds up the counts of each word: {word: count} of many lists -> {word: count}."""

    def create_accumulator(self) -> collections.Counter[bytes]:
        return collections.Counter()

    def add_input(
        self, total: collections.Counter[bytes], counts: dict[bytes, int]
    ) -> collections.Counter[bytes]:
        total.update(counts)
        return total

    def merge_accumulators(
        self, totals: Iterable[collections.Counter[bytes]]
    ) -> collections.Counter[bytes]:
        return functools.reduce(self.add_input, totals)

    def extract_output(self, total: collections.Counter[bytes]) -> collections.Counter[bytes]:
        return total
