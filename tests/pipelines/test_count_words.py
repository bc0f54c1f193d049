import collections
import functools

import numpy as np
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


def test_words_are_those_of_the_options_and_in_the_same_bucket_everywhere(tmp_path):
    source, (_, [reviews]) = shard_of(tmp_path, ["the film", "a film"])
    plain, buckets = count(source, reviews)
    without, others = count(source, reviews[::-1], stop_words=("the", "a"))
    assert (plain, without) == ({b"the": 1, b"a": 1, b"film": 2}, {b"film": 2})
    assert others[b"film"] == buckets[b"film"]


def test_nothing_to_count_gives_nothing(tmp_path):
    source, _ = shard_of(tmp_path, [])
    assert count(source, []) == ({}, {})


def test_a_shard_is_split_into_tasks(monkeypatch):
    monkeypatch.setattr(count_words, "TASK_SIZE", 2)
    review = (b"words", b"key", 0, 1, b"text", None, 0, b"")
    tasks = list(count_words.split_shard((("train", 0), [[review] * 4, [], [review]])))
    assert tasks == [[review, review], [review, review], [review]]
    assert tasks[0][0].key == b"key"


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
