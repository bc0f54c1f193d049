import collections
import dataclasses
import itertools

import numpy as np
import pytest
import tensorflow as tf

from pipelines import sharding
from pipelines.preprocess import metadata, statistics
from textrecords import record_io, spec
from textrecords.errors import Failure


@pytest.mark.parametrize(
    ("num_reviews", "num_shards"),
    [(0, 1), (1, 1), (10_000, 1), (10_001, 2), (25_000, 3), (1_000_000, 100), (10**9, 10_000)],
)
def test_the_number_of_shards_follows_the_size(num_reviews, num_shards):
    assert sharding.default_num_shards(num_reviews) == num_shards


def test_shard_names():
    assert spec.shard_name("train", 3, 12) == "train-00003-of-00012.tfrecord"
    assert spec.shard_name("test", 0, 1, "gzip") == "test-00000-of-00001.tfrecord.gz"


def test_the_key_hash_is_the_same_in_every_process():
    assert sharding.key_hash(b"train/pos/0_9.txt").hex() == "17d161dcf307c31e"
    assert sharding.key_hash(b"train/pos/\xff.txt").hex() == "face7a6c117a018d"


def test_a_keys_shard_is_its_hash_modulo_their_number():
    num_shards = {"train": 7, "test": 1}
    key = b"train/pos/0_9.txt"
    assert sharding.shard_of("train", key, num_shards) == ("train", 0x17D161DCF307C31E % 7)
    assert sharding.shard_of("test", key, num_shards) == ("test", 0)


def test_the_checksum_of_keys_is_their_number_and_the_sum_of_their_hashes():
    low, high = b"train/pos/0_9.txt", b"train/pos/\xff.txt"
    assert sharding.Keys() == sharding.Keys.of([]) == sharding.Keys(0, 0)
    assert sharding.Keys.of([low]) == sharding.Keys(1, 0x17D161DCF307C31E)
    both = sharding.Keys(2, 0x129FDC490481C4AB)  # 17d1... + face... without the carry
    assert sharding.Keys.of([low, high]) == both
    assert sharding.Keys.of([high]) + sharding.Keys.of([low]) == both
    twice = sharding.Keys.of([high]) + sharding.Keys.of([high])
    assert twice == sharding.Keys.of([high, high]) == sharding.Keys(2, 0xF59CF4D822F4031A)
    assert twice + sharding.NO_KEYS == twice != both
    with pytest.raises(dataclasses.FrozenInstanceError):
        twice.number = 3


def test_every_shard_is_named_once_with_its_index():
    assert list(sharding.every_shard({"train": 3, "test": 1, "none": 0})) == [
        *(("train", 0), ("train", 1), ("train", 2), ("test", 0))
    ]


def test_keys_are_ordered_by_their_hash_then_by_themselves():
    assert sharding.order_in_shard(b"train/pos/0_9.txt") == (
        bytes.fromhex("17d161dcf307c31e"),
        b"train/pos/0_9.txt",
    )


def test_lost_keys_are_a_failure_that_says_how_many_there_should_be():
    error = sharding.lost(sharding.Keys(1234, 5), "texts was scored")
    assert isinstance(error, Failure)
    assert str(error) == (
        "not each of 1,234 texts was scored once: the runner lost or duplicated some; run again, "
        "or use another runner"
    )


def test_a_shard_mixes_classes():
    files = [
        file
        for c in ("neg", "pos")
        for file in sorted(
            sharding.key_hash(f"train/{c}/{n}.txt".encode()) + c.encode() for n in range(500)
        )
    ]
    in_order = b"".join(file[8:9] for file in sorted(files))
    assert 400 < sum(a != b for a, b in itertools.pairwise(in_order)) < 600


def test_a_serialized_example_is_exact():
    # Nothing of its neighbours, a longer and a shorter one, is left in it.
    longer, shorter = ([7, 7, 7, 7], 0, b"train/neg/1000.txt"), ([9], -1, b"")
    examples = [longer, ([5, 1, 300], 1, b"train/pos/0.txt"), shorter]
    _, record, last = record_io.serialize(examples)
    # Features come in the order of their names, whatever the process.
    assert record == (
        b"\n@"
        b"\n\x1a\n\x03key\x12\x13\n\x11\n\x0ftrain/pos/0.txt"
        b"\n\x0e\n\x05label\x12\x05\x1a\x03\n\x01\x01"
        b"\n\x12\n\x06tokens\x12\x08\x1a\x06\n\x04\x05\x01\xac\x02"
    )
    feature = tf.train.Example.FromString(record).features.feature
    assert feature["tokens"].int64_list.value == [5, 1, 300]
    assert feature["label"].int64_list.value == [1]
    assert feature["key"].bytes_list.value == [b"train/pos/0.txt"]
    feature = tf.train.Example.FromString(last).features.feature
    assert feature["tokens"].int64_list.value == [9]
    assert feature["label"].int64_list.value == [-1]
    assert feature["key"].bytes_list.value == [b""]


def test_quantiles_are_the_smallest_value_that_covers_the_share():
    counts = collections.Counter({1: 5, 2: 4, 7: 1})
    assert statistics.quantiles(counts) == {"min": 1, "50%": 1, "90%": 2, "99%": 7, "max": 7}
    assert statistics.quantiles(collections.Counter({3: 1})) == dict.fromkeys(
        statistics.QUANTILES, 3
    )


def test_a_vocabulary_out_of_order_is_noticed():
    reserved = [0, 9]
    metadata.check_order([b"b", b"a", b"c"], np.array([*reserved, 3, 3, 1]))
    with pytest.raises(Failure, match="out of order"):
        metadata.check_order([b"a", b"b", b"c"], np.array([*reserved, 3, 3, 1]))
    with pytest.raises(Failure, match="out of order"):
        metadata.check_order([b"b", b"a", b"c"], np.array([*reserved, 3, 1, 3]))


def test_words_seen_once_include_those_beyond_the_vocabulary_but_no_review_without_tokens():
    # padding, OOV, then two words; of the OOV tokens, one stands for a review without tokens
    assert statistics.seen_once(np.array([0, 3, 2, 1]), without_tokens=1) == 3
    assert statistics.seen_once(np.array([0, 3, 2, 2]), without_tokens=1) == 0
