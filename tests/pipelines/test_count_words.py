import collections
import functools

import numpy as np
import pytest
import tensorflow as tf
from tiny_tree import shard_of

from pipelines.preprocess import count_words, review_batches, transform


def count(source, reviews, **options):
    """Returns the words of reviews with their counts, and their buckets."""
    total, buckets = collections.Counter(), {}
    stage = count_words.Count(source, transform.TextOptions(**options))
    for bucket, counts in stage.count(reviews):
        total += counts
        buckets |= dict.fromkeys(counts, bucket)
    return total, buckets


def test_batches_of_a_task_are_counted_together(tmp_path, monkeypatch):
    monkeypatch.setattr(review_batches, "BATCH_SIZE", 2)
    texts = ["b a", "A, a!", "", "c<br />a", " ".join(map(str, range(99)))]
    source, (_, [reviews]) = shard_of(tmp_path, texts)
    total, buckets = count(source, reviews)
    numbers = dict.fromkeys((b"%d" % n for n in range(99)), 1)
    assert total == {b"a": 4, b"b": 1, b"c": 1, **numbers}
    assert set(buckets.values()) <= set(range(count_words.NUM_BUCKETS))
    assert len(set(buckets.values())) > 40


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"split": "character", "strip_html": True},
        {"normalize_unicode": True, "stop_words": ("the",)},
        {"replacements": (("film", "a movie"), ("bad", ""))},
    ],
    ids=repr,
)
def test_words_are_the_tokens_of_the_transform_graph(tmp_path, options):
    texts = ["The <i>film</i>,\r\nis b\x00d", "\ufeffa film\u2028\U0001f600 \xc9", "", "bad film"]
    source, (_, [reviews]) = shard_of(tmp_path, texts)
    tokens = transform.Tokenizer(transform.TextOptions(**options))(tf.constant(texts))
    total, _ = count(source, reviews, **options)
    assert total == collections.Counter(tokens.flat_values.numpy().tolist())


def test_a_word_is_in_the_same_bucket_everywhere(tmp_path):
    source, (_, [reviews]) = shard_of(tmp_path, ["the film", "a film"])
    (_, one), (_, other) = count(source, reviews), count(source, reviews[1:], stop_words=("a",))
    assert (set(one), set(other)) == ({b"the", b"film", b"a"}, {b"film"})
    assert one[b"film"] == other[b"film"]


def test_nothing_to_count_gives_nothing(tmp_path):
    source, _ = shard_of(tmp_path, [])
    assert count(source, []) == ({}, {})


def test_a_shard_is_split_into_tasks(monkeypatch):
    monkeypatch.setattr(count_words, "TASK_SIZE", 2)
    monkeypatch.setattr(count_words, "TASK_BYTES", 10)
    small, large = [(b"words", b"key", 0, size, b"text", None, 0, b"") for size in (1, 10)]
    tasks = list(count_words.split_shard((("train", 0), [[small] * 4, [], [small, large]])))
    assert tasks == [(small, small), (small, small), (small,), (large,)]
    assert type(tasks[0][0]) is tuple  # Beam and helpers pickle it faster than a named one


def test_buckets_have_all_words_once():
    words = np.array([b"a", b"b", b"c\x00", b"d"], object)
    counts, buckets = np.array([4, 3, 2, 1]), np.array([15, 0, 15, 3])
    parts = dict(count_words.split_by_bucket(words, counts, buckets))
    assert len(parts) == count_words.NUM_BUCKETS
    assert {bucket: part for bucket, part in parts.items() if part} == {
        0: {b"b": 3},
        3: {b"d": 1},
        15: {b"a": 4, b"c\x00": 2},
    }


def test_counts_are_added_exactly_beyond_float_precision():
    parts = [{b"a": 2**53, b"b": 1}, {}, {b"a": 1}, {b"c": 5, b"a": 1}]
    add = count_words.AddCounts()
    totals = [
        functools.reduce(add.add_input, half, add.create_accumulator())
        for half in (parts[:2], parts[2:])
    ]
    total = add.extract_output(add.merge_accumulators(totals))
    assert total == {b"a": 2**53 + 2, b"b": 1, b"c": 5}
