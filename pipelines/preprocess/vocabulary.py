"""The vocabulary, as a tf.Transform analyzer: the words of train by descending frequency.

`tft.vocabulary` gives the same file, but passes every distinct word through a dozen Beam stages,
one at a time. Here the graph counts the words of a batch, and stages pass whole buckets of words.
Counts are integers, exact at any size.
"""

import collections
import functools
import itertools
import os
from collections.abc import Iterable, Iterator

import apache_beam as beam
import numpy as np
import tensorflow as tf
import tensorflow_transform as tft
import tensorflow_transform.beam as tft_beam

# Words are counted in buckets by hash, so that no worker has to hold all of them: with a billion
# reviews, a bucket takes 70 MB.
NUM_BUCKETS = 64
# TensorFlow can't look up words in an empty file. Words have no spaces, so this is never found.
NO_WORDS = b"(no words)\n"
Counted = tuple[int, bytes]  # count, word: sorted like the vocabulary, but ascending


def write_vocabulary(words: tf.Tensor, *, top_k: int, filename: str) -> tf.Tensor:
    """Writes the most frequent words, one per line; ties in descending order of bytes.

    Args:
      words: <string>[number of words], a batch.
      top_k: the maximum number of words to keep.
      filename: of the asset in the transform graph.

    Returns:
      The path of the file, <string>[], once all batches are counted.
    """
    unique, _, counts = tf.unique_with_counts(words, out_idx=tf.int64)
    buckets = tf.strings.to_hash_bucket_fast(unique, NUM_BUCKETS)
    (path,) = tft.experimental.ptransform_analyzer(
        [unique, counts, buckets],
        _WriteVocabulary(top_k, filename),
        output_dtypes=[tf.string],
        output_shapes=[[]],
        output_asset_default_values=[NO_WORDS],
    )
    return path


class _WriteVocabulary(tft_beam.experimental.PTransformAnalyzer):
    """Takes batches of (words, counts, buckets); writes the file and returns its path."""

    def __init__(self, top_k: int, filename: str):
        super().__init__()
        self._top_k = top_k
        self._filename = filename

    def expand(self, batches: beam.PCollection) -> beam.PCollection:
        path = os.path.join(self.base_temp_dir, self._filename)
        # (words, counts, buckets) -> (bucket, {word: count}) -> lists of Counted -> path
        return (
            batches
            | "SplitByBucket" >> beam.FlatMapTuple(split_by_bucket)
            | "AddCounts" >> beam.CombinePerKey(AddCounts())
            | "MostFrequentOfBucket" >> beam.Map(_most_frequent_of_bucket, self._top_k)
            | "MostFrequent" >> beam.CombineGlobally(most_frequent, self._top_k)
            | "Write" >> beam.Map(_write, path)
        )


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
    """Adds up the counts of each word: {word: count} of many batches -> {word: count}."""

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


def _most_frequent_of_bucket(bucket: tuple[int, dict[bytes, int]], top_k: int) -> list[Counted]:
    return most_frequent([[(count, word) for word, count in bucket[1].items()]], top_k)


def most_frequent(lists: Iterable[list[Counted]], top_k: int) -> list[Counted]:
    """Returns the most frequent words of several lists, the most frequent first."""
    words = list(itertools.chain.from_iterable(lists))
    if len(words) > top_k:  # most words are rare: excluding them is cheaper than sorting them
        threshold = np.partition([count for count, _ in words], -top_k)[-top_k]
        words = [word for word in words if word[0] >= threshold]
    return sorted(words, reverse=True)[:top_k]


def _write(words: list[Counted], path: str) -> np.ndarray:
    tf.io.gfile.makedirs(os.path.dirname(path))
    with tf.io.gfile.GFile(path, "wb") as file:
        file.write(b"".join(word + b"\n" for _, word in words) or NO_WORDS)
    return np.array(path.encode())
