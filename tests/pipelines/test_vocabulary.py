import os

import apache_beam as beam
import pytest
import tensorflow as tf
import tensorflow_transform as tft
import tensorflow_transform.beam as tft_beam
from apache_beam.testing.util import assert_that, equal_to
from tiny_tree import shard_of

from pipelines.preprocess import transform, vocabulary
from pipelines.preprocess.count_words import CountWords
from textrecords import spec

LISTS = [[(3, b"a"), (1, b"x")], [], [(3, "é".encode()), (7, b"z"), (3, b"b")]]
SORTED = [(7, b"z"), (3, "é".encode()), (3, b"b"), (3, b"a"), (1, b"x")]


@pytest.mark.parametrize("top_k", [1, 3, 10])
@pytest.mark.parametrize("held", [1, 100])
def test_the_most_frequent_come_first_and_ties_are_in_descending_order(monkeypatch, held, top_k):
    monkeypatch.setattr(vocabulary, "HELD", held)
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        most = pipeline | beam.Create(LISTS) | beam.CombineGlobally(vocabulary.MostFrequent(top_k))
        assert_that(most, equal_to([SORTED[:top_k]]))


def test_words_of_equal_counts_do_not_add_up():
    most = vocabulary.MostFrequent(2)
    words = most.create_accumulator()
    for number in range(100):
        words = most.add_input(words, [(1, b"%02d" % number)])
        assert len(words) < 2 * vocabulary.HELD
    assert most.extract_output(words) == [(1, b"99"), (1, b"98")]


@pytest.mark.parametrize("top_k", [1, 5, 1000])
def test_the_file_is_that_of_tf_transforms_own_vocabulary(tmp_path, top_k):
    texts = ["a b c a", "b é É x1 b", "😀 c c", "tie\x00 tie ti", " ".join(map(str, range(99)))]
    source, shard = shard_of(tmp_path / "in", texts)
    options = transform.TextOptions()
    metadata = tft.DatasetMetadata.from_feature_spec({"text": tf.io.FixedLenFeature([], tf.string)})
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        counted = pipeline | "Shards" >> beam.Create([shard]) | CountWords(source, options)

        def preprocessing_fn(inputs):
            tokenizer = tft.make_and_track_object(lambda: transform.Tokenizer(options), name="t")
            words = tokenizer(inputs["text"]).flat_values
            paths = [
                vocabulary.write_vocabulary(counted, top_k=top_k, filename="ours"),
                tft.vocabulary(words, top_k=top_k, vocab_filename="theirs"),
            ]
            return {
                str(n): tft.apply_vocabulary(inputs["text"], path) for n, path in enumerate(paths)
            }

        with tft_beam.Context(temp_dir=str(tmp_path / "temp")):
            data = pipeline | "Texts" >> beam.Create([{"text": text} for text in texts])
            transform_fn = (data, metadata) | tft_beam.AnalyzeDataset(preprocessing_fn)
            _ = transform_fn | tft_beam.WriteTransformFn(str(tmp_path / "out"))
    assets = tmp_path / "out" / spec.TRANSFORM_FN / "assets"
    assert sorted(os.listdir(assets)) == ["ours", "theirs"]
    assert (assets / "ours").read_bytes() == (assets / "theirs").read_bytes()
    assert len((assets / "ours").read_bytes().splitlines()) == min(top_k, 109)
