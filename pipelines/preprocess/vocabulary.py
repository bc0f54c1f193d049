"""The vocabulary, as a tf.Transform analyzer: the words of train by descending frequency.

`tft.vocabulary` gives the same file, but passes every distinct word through a dozen Beam stages,
one at a time. Here stages pass whole buckets of words.
"""

import functools
import os
from collections.abc import Iterable

import apache_beam as beam
import numpy as np
import tensorflow as tf
import tensorflow_transform as tft
import tensorflow_transform.beam as tft_beam

# TensorFlow can't look up words in an empty file. Words have no spaces, so this is never found.
NO_WORDS = b"(no words)\n"
HELD = 8  # times the words that are kept, before others are excluded
Counted = tuple[int, bytes]  # count, word: sorted like the vocabulary, but ascending


def write_vocabulary(words: beam.PCollection, *, top_k: int, filename: str) -> tf.Tensor:
    """Writes the most frequent words, one per line; ties in descending order of bytes.

    Args:
      words: their counts, (bucket, {word: count}).
      top_k: the maximum number of words to keep.
      filename: of the asset in the transform graph.

    Returns:
      The path of the file, <string>[], once all words are counted.
    """
    (path,) = tft.experimental.ptransform_analyzer(
        [],  # the words come from elsewhere
        _WriteVocabulary(words, top_k, filename),
        output_dtypes=[tf.string],
        output_shapes=[[]],
        output_asset_default_values=[NO_WORDS],
    )
    return path


class _WriteVocabulary(tft_beam.experimental.PTransformAnalyzer):
    """Writes the file, and returns its path."""

    def __init__(self, words: beam.PCollection, top_k: int, filename: str):
        super().__init__()
        self._words = words
        self._top_k = top_k
        self._filename = filename

    def expand(self, _: beam.PCollection) -> beam.PCollection:
        path = os.path.join(self.base_temp_dir, self._filename)
        # (bucket, {word: count}) -> lists of Counted -> path
        return (
            self._words
            | "MostFrequentOfBucket" >> beam.Map(_most_frequent_of_bucket, self._top_k)
            | "MostFrequent" >> beam.CombineGlobally(MostFrequent(self._top_k))
            | "Write" >> beam.Map(_write, path)
        )


def _most_frequent_of_bucket(bucket: tuple[int, dict[bytes, int]], top_k: int) -> list[Counted]:
    words = bucket[1]
    counted = list(zip(words.values(), words, strict=True))
    return counted if len(counted) <= top_k else most_frequent(counted, top_k)


class MostFrequent(beam.CombineFn):
    """Finds the most frequent words of many lists of Counted, and sorts them.

    Args:
      top_k: the maximum number of words to keep.
    """

    def __init__(self, top_k: int):
        super().__init__()
        self._top_k = top_k

    def create_accumulator(self) -> list[Counted]:
        return []

    def add_input(self, words: list[Counted], more: list[Counted]) -> list[Counted]:
        words += more
        return words if len(words) < HELD * self._top_k else self.compact(words)

    def merge_accumulators(self, lists: Iterable[list[Counted]]) -> list[Counted]:
        return functools.reduce(self.add_input, lists)

    def compact(self, words: list[Counted]) -> list[Counted]:
        return most_frequent(words, self._top_k)

    def extract_output(self, words: list[Counted]) -> list[Counted]:
        return most_frequent(words, self._top_k)


def most_frequent(words: list[Counted], top_k: int) -> list[Counted]:
    """Returns the most frequent words, the most frequent first."""
    if len(words) > top_k:  # most words are rare: excluding them is cheaper than sorting them
        threshold = np.partition([count for count, _ in words], -top_k)[-top_k]
        words = [word for word in words if word[0] >= threshold]
    return sorted(words, reverse=True)[:top_k]


def _write(words: list[Counted], path: str) -> np.ndarray:
    tf.io.gfile.makedirs(os.path.dirname(path))
    with tf.io.gfile.GFile(path, "wb") as file:
        file.write(b"".join(word + b"\n" for _, word in words) or NO_WORDS)
    return np.array(path.encode())
