"""Preprocesses as in Keras' documentation, for `benchmarks.preprocess` to time.

`TextVectorization` adapts to the texts of train, then turns each split into ids, which are written
as tf.train.Examples. Nothing is audited, hashed or shuffled.
"""

import os

import keras
import tensorflow as tf

from benchmarks import contender, feed
from textrecords import spec

MAX_TOKENS = 20_000  # counting padding, 0, and OOV, 1
BATCH_SIZE = 1024


def run(input_dir: str, output_dir: str, classes: list[str]) -> None:
    vectorize = keras.layers.TextVectorization(
        MAX_TOKENS, standardize=feed.standardize, ragged=True
    )
    vectorize.adapt(_read(input_dir, spec.TRAIN, classes).map(lambda text, label: text))
    for split in (spec.TRAIN, spec.TEST):
        if os.path.isdir(os.path.join(input_dir, split)):
            texts = _read(input_dir, split, classes)
            batches = texts.map(
                lambda text, label: (vectorize(text), label), num_parallel_calls=tf.data.AUTOTUNE
            )
            with tf.io.TFRecordWriter(os.path.join(output_dir, f"{split}-0")) as writer:
                for tokens, labels in batches.prefetch(tf.data.AUTOTUNE):
                    for ids, label in zip(tokens.numpy(), labels.numpy(), strict=True):
                        writer.write(_serialize(ids, label))
    vocabulary = os.path.join(output_dir, spec.VOCABULARY)
    os.makedirs(os.path.dirname(vocabulary))
    with open(vocabulary, "w", encoding="utf-8") as file:
        file.writelines(f"{token}\n" for token in vectorize.get_vocabulary()[spec.NUM_RESERVED :])


def _read(input_dir: str, split: str, classes: list[str]) -> tf.data.Dataset:
    return keras.utils.text_dataset_from_directory(
        os.path.join(input_dir, split),
        class_names=classes,
        batch_size=BATCH_SIZE,
        shuffle=False,
        verbose=False,
    )


def _serialize(ids: list[int], label: int) -> bytes:
    values = {
        spec.TOKENS: tf.train.Feature(int64_list=tf.train.Int64List(value=ids)),
        spec.LABEL: tf.train.Feature(int64_list=tf.train.Int64List(value=[label])),
    }
    return tf.train.Example(features=tf.train.Features(feature=values)).SerializeToString()


if __name__ == "__main__":
    contender.main(run)
