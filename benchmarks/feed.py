"""The training batches alone, without a network, against the Keras tutorial's pipeline."""

import collections
import os
from collections.abc import Callable
from typing import Any

from benchmarks import preprocess
from pipelines import contract

with contract.quiet_imports():
    import keras
    import numpy as np
    import tensorflow as tf

    from model import input_pipeline

MAX_TOKENS, MAX_LEN, BATCH_SIZE = 1000, 100, 32
LONG = 400  # tokens a review, at which the share of padding is told, too


def contenders(
    input_dir: str, work_dir: str
) -> tuple[dict[str, Callable[[], dict[str, Any]]], dict[str, Any]]:
    """Returns the contenders, this project's cached epochs first, once all gave the same ids."""
    records_dir = os.path.join(work_dir, "feed")
    preprocess.run_module("pipelines.preprocess", "--input", input_dir, "--output", records_dir)
    classes = contract.read_manifest(records_dir).classes
    cached = ours(records_dir)
    frozen = ours(records_dir).cache()  # batches, in the order of their first epoch for ever
    keras_tutorial = tutorial(os.path.join(input_dir, contract.TRAIN), classes)
    num_reviews = check_same(cached, frozen, keras_tutorial)
    facts = {
        "reviews": num_reviews,
        "batch_size": BATCH_SIZE,
        f"padding_at_length_{MAX_LEN}": padding(cached),
        f"padding_at_length_{LONG}": padding(ours(records_dir, max_len=LONG)),
    }
    return {
        "this project, epoch 2 on": lambda: iterate(cached),
        "this project, epoch 1": lambda: iterate(ours(records_dir)),
        "Keras tutorial": lambda: iterate(keras_tutorial),
        "frozen batches": lambda: iterate(frozen),
    }, facts


def ours(records_dir: str, *, max_len: int = MAX_LEN) -> tf.data.Dataset:
    """Returns the batches that `model.train` trains on."""
    rows = input_pipeline.read_split(
        records_dir,
        contract.read_manifest(records_dir),
        contract.TRAIN,
        max_tokens=MAX_TOKENS,
        max_len=max_len,
        cache="memory",
    )
    return input_pipeline.batches(rows, BATCH_SIZE, seed=0)


def tutorial(train_dir: str, classes: tuple[str, ...]) -> tf.data.Dataset:
    """Returns the batches of a Keras tutorial: files are read and split into tokens each epoch.

    They are shuffled by Keras' own means: all files once, and 256 at a time each epoch.
    """
    texts = keras.utils.text_dataset_from_directory(
        train_dir, class_names=list(classes), batch_size=BATCH_SIZE, seed=0, verbose=False
    )
    vectorize = keras.layers.TextVectorization(
        MAX_TOKENS, standardize=standardize, output_sequence_length=MAX_LEN
    )
    vectorize.adapt(texts.map(lambda text, label: text))
    return texts.map(
        lambda text, label: (vectorize(text), label), num_parallel_calls=tf.data.AUTOTUNE
    ).prefetch(tf.data.AUTOTUNE)


def standardize(text: tf.Tensor) -> tf.Tensor:
    text = tf.strings.lower(tf.strings.regex_replace(text, "<br />", " "))
    return tf.strings.regex_replace(text, "[[:punct:]]", "")


def iterate(dataset: tf.data.Dataset) -> dict[str, int]:
    """Goes through one epoch."""
    return {"reviews": sum(len(labels) for tokens, labels in dataset)}


def padding(dataset: tf.data.Dataset) -> float:
    """Returns which share of an epoch's ids is padding."""
    return float(np.mean(np.concatenate([tokens == contract.PADDING_ID for tokens, _ in dataset])))


def check_same(first: tf.data.Dataset, *others: tf.data.Dataset) -> int:
    """Returns the number of reviews; raises `Failure` unless all give the same, with the same ids.

    It goes through one epoch of each, which also fills their caches.
    """
    rows = count_rows(first)
    if any(count_rows(other) != rows for other in others):
        raise contract.Failure(
            "the contenders' batches hold other ids: there is nothing to compare"
        )
    return rows.total()


def count_rows(dataset: tf.data.Dataset) -> collections.Counter[tuple[int, bytes]]:
    """Counts the rows of one epoch by label and ids, in no order."""
    return collections.Counter(
        (int(label), row.astype(np.int32).tobytes())
        for tokens, labels in dataset.as_numpy_iterator()
        for row, label in zip(tokens, labels, strict=True)
    )
