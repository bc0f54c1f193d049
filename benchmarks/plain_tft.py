"""Preprocesses as in tf.Transform's documentation, for `benchmarks.preprocess` to time.

Two passes: the first writes the texts, shuffled, as tf.train.Examples; the second counts the words
and writes the ids, which are those of this project. A review is one line; a text of several lines
would become several reviews.
"""

import os
import random

import apache_beam as beam
import tensorflow as tf
import tensorflow_transform as tft
import tensorflow_transform.beam as tft_beam
from tfx_bsl.public import tfxio

from benchmarks import contender

MAX_TOKENS = 20_000  # counting padding, 0, and OOV, 1
SCHEMA = tft.DatasetMetadata.from_feature_spec(
    {"text": tf.io.FixedLenFeature([], tf.string), "label": tf.io.FixedLenFeature([], tf.int64)}
).schema


def preprocessing_fn(inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    text = tf.strings.lower(tf.strings.regex_replace(inputs["text"], "<br />", " "))
    tokens = tf.strings.split(tf.strings.regex_replace(text, "[[:punct:]]", ""))
    ids = tft.compute_and_apply_vocabulary(
        tokens.to_sparse(), top_k=MAX_TOKENS - 2, vocab_filename="tokens"
    )
    ids = tf.SparseTensor(ids.indices, ids.values + 2, ids.dense_shape)
    return {"tokens": ids, "label": inputs["label"]}


def write_texts(pipeline: beam.Pipeline, split_dir: str, classes: list[str], path: str) -> None:
    """Writes the texts of one split, shuffled, as tf.train.Examples."""
    split = os.path.basename(split_dir)
    texts = [
        pipeline
        | f"Read {split} {name}" >> beam.io.ReadFromText(os.path.join(split_dir, name, "*.txt"))
        | f"Label {split} {name}"
        >> beam.Map(lambda text, label: {"text": text, "label": label}, label)
        for label, name in enumerate(classes)
    ]
    _ = (
        texts
        | f"Merge {split}" >> beam.Flatten()
        | f"Draw {split}" >> beam.Map(lambda instance: (random.random(), instance))
        | f"Shuffle {split}" >> beam.GroupByKey()
        | f"Drop {split}" >> beam.FlatMap(lambda drawn: drawn[1])
        | f"Encode {split}" >> beam.Map(tft.coders.ExampleProtoCoder(SCHEMA).encode)
        | f"Write {split}" >> beam.io.WriteToTFRecord(path)
    )


def write_ids(pipeline: beam.Pipeline, splits: list[str], output_dir: str) -> None:
    """Writes the ids of all splits and the transform graph; counts the words of train."""
    transform_fn = None
    for split in splits:
        source = tfxio.TFExampleRecord(os.path.join(output_dir, f"texts-{split}*"), schema=SCHEMA)
        texts = pipeline | f"Read {split}" >> source.BeamSource()
        dataset = (texts, source.TensorAdapterConfig())
        if transform_fn is None:
            ids, transform_fn = dataset | tft_beam.AnalyzeAndTransformDataset(
                preprocessing_fn, output_record_batches=True
            )
        else:
            ids = (dataset, transform_fn) | f"Transform {split}" >> tft_beam.TransformDataset(
                output_record_batches=True
            )
        _ = (
            ids
            | f"Encode {split}" >> tft_beam.EncodeTransformedDataset()
            | f"Write {split}" >> beam.io.WriteToTFRecord(os.path.join(output_dir, split))
        )
    _ = transform_fn | tft_beam.WriteTransformFn(output_dir)


def run(input_dir: str, output_dir: str, classes: list[str]) -> None:
    splits = [s for s in ("train", "test") if os.path.isdir(os.path.join(input_dir, s))]
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        for split in splits:
            path = os.path.join(output_dir, f"texts-{split}")
            write_texts(pipeline, os.path.join(input_dir, split), classes, path)
    with (
        tft_beam.Context(temp_dir=os.path.join(output_dir, "temp")),
        beam.Pipeline(runner="FnApiRunner") as pipeline,
    ):
        write_ids(pipeline, splits, output_dir)


if __name__ == "__main__":
    contender.main(run)
