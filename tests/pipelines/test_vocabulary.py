import functools
import os

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft
import tensorflow_transform.beam as tft_beam

from pipelines.preprocess import vocabulary
from textrecords import spec


def test_buckets_have_all_words_once():
    words = np.array([b"a", b"b", b"c\x00", b"d"], object)
    counts, buckets = np.array([4, 3, 2, 1]), np.array([15, 0, 15, 3])
    parts = dict(vocabulary.split_by_bucket(words, counts, buckets))
    assert len(parts) == vocabulary.NUM_BUCKETS
    assert {bucket: part for bucket, part in parts.items() if part} == {
        0: {b"b": 3},
        3: {b"d": 1},
        15: {b"a": 4, b"c\x00": 2},
    }


def test_counts_are_added_exactly_beyond_float_precision():
    parts = [{b"a": 2**53, b"b": 1}, {}, {b"a": 1}, {b"c": 5, b"a": 1}]
    add = vocabulary.AddCounts()
    totals = [
        functools.reduce(add.add_input, half, add.create_accumulator())
        for half in (parts[:2], parts[2:])
    ]
    total = add.extract_output(add.merge_accumulators(totals))
    assert total == {b"a": 2**53 + 2, b"b": 1, b"c": 5}


def test_the_most_frequent_come_first_and_ties_are_in_descending_order():
    lists = [[(3, b"a"), (1, b"x")], [], [(3, "é".encode()), (7, b"z"), (3, b"b")]]
    words = [(7, b"z"), (3, "é".encode()), (3, b"b"), (3, b"a"), (1, b"x")]
    assert vocabulary.most_frequent(lists, 10) == words
    assert vocabulary.most_frequent(lists, 3) == words[:3]


@pytest.mark.parametrize("top_k", [1, 5, 1000])
def test_the_file_is_that_of_tf_transforms_own_vocabulary(tmp_path, top_k):
    def preprocessing_fn(inputs):
        words = tf.strings.split(inputs["text"], " ").flat_values
        paths = [
            vocabulary.write_vocabulary(words, top_k=top_k, filename="ours"),
            tft.vocabulary(words, top_k=top_k, vocab_filename="theirs"),
        ]
        return {str(n): tft.apply_vocabulary(inputs["text"], path) for n, path in enumerate(paths)}

    texts = ["a b c a", "b é É x1 b", "😀 c c", "tie\x00 tie ti", " ".join(map(str, range(99)))]
    metadata = tft.DatasetMetadata.from_feature_spec({"text": tf.io.FixedLenFeature([], tf.string)})
    with tft_beam.Context(temp_dir=str(tmp_path / "temp")):
        data = [{"text": text} for text in texts]
        transform_fn = (data, metadata) | tft_beam.AnalyzeDataset(preprocessing_fn)
        transform_fn | tft_beam.WriteTransformFn(str(tmp_path / "out"))
    assets = tmp_path / "out" / spec.TRANSFORM_FN / "assets"
    assert sorted(os.listdir(assets)) == ["ours", "theirs"]
    assert (assets / "ours").read_bytes() == (assets / "theirs").read_bytes()
    assert len((assets / "ours").read_bytes().splitlines()) == min(top_k, 109)
