"""Records are read in one order, with their keys, labels and tokens."""

import numpy as np
import pytest
import tensorflow as tf
import tiny_dataset

from textrecords import record_io
from textrecords.dataset import open_dataset
from textrecords.errors import BadInput

# The vocabulary: c 2, b 3, a 4. In the order of the records, two shards take turns by block.
REVIEWS = [("a b c", 0), ("b", 1), ("", 1), ("c c x", 0), ("b c", 1), ("c", 0), ("a c", 0)]
KEYS = [[b"0", b"2"], [b"1", b"3"], [b"4", b"6"], [b"5"]]
TOKENS = [[4, 3, 2], [1], [3], [2, 2, 5], [3, 2], [4, 2], [2]]
LABELS = [0, 1, 1, 0, 1, 0, 0]


@pytest.fixture(params=["none", "gzip"])
def dataset(request, tmp_path, monkeypatch):
    monkeypatch.setattr(record_io, "PARSED_TOGETHER", 2)
    splits = {"train": REVIEWS, "test": [("a", 1)]}
    tiny_dataset.write(tmp_path / "records", splits, compression=request.param)
    return open_dataset(tmp_path / "records")


def keys(blocks):
    return [record_io.parse(block, ["key"])["key"].numpy().tolist() for block in blocks]


def test_a_shard_is_read_alone_in_blocks(dataset):
    first, second = (record_io.read_shard(dataset, path) for path in dataset.shard_paths("train"))
    assert keys(first) == [[b"0", b"2"], [b"4", b"6"]]
    assert keys(second) == [[b"1", b"3"], [b"5"]]
    assert first.element_spec == tf.TensorSpec([None], tf.string)


def test_the_shards_of_a_split_take_turns(dataset):
    assert keys(record_io.read(dataset, "train")) == KEYS
    with pytest.raises(BadInput, match="has no validation split"):
        record_io.read(dataset, "validation")


def test_examples_are_keys_labels_and_tokens_in_the_order_of_the_records(dataset):
    found = list(record_io.read_examples(dataset, "train"))
    assert [key for key, _, _ in found] == [key for block in KEYS for key in block]
    assert [label for _, label, _ in found] == LABELS
    assert [tokens.tolist() for _, _, tokens in found] == TOKENS
    assert {tuple(map(type, each)) for each in found} == {(bytes, int, np.ndarray)}
    assert {tokens.dtype for _, _, tokens in found} == {np.dtype(np.int64)}
    [(key, label, tokens)] = record_io.read_examples(dataset, "test")
    assert (key, label, tokens.tolist()) == (b"0", 1, [4])
