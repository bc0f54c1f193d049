"""The training batches alone, without a network, against the Keras tutorial's pipeline."""

import collections
import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from benchmarks import preprocess
from textrecords import imports, spec
from textrecords.dataset import open_dataset
from textrecords.errors import Failure

with imports.quiet():
    import keras
    import numpy as np
    import tensorflow as tf

    from textrecords import input_pipeline

MAX_TOKENS, MAX_LEN, BATCH_SIZE = 1000, 100, 32
FOREVER = 1_000_000  # epochs
EPOCHS_PER_TURN = 5  # a single one is too short to time

Batches = Iterable[tuple[tf.Tensor, tf.Tensor]]  # of an epoch


def contenders(
    input_dir: str, work_dir: str
) -> tuple[dict[str, Callable[[], dict[str, Any]]], dict[str, Any]]:
    """Returns the contenders, this project's cached epochs first, after comparing all ids."""
    records_dir = os.path.join(work_dir, "feed")
    preprocess.run_module("pipelines.preprocess", "--input", input_dir, "--output", records_dir)
    classes = open_dataset(records_dir).classes
    epoch = ours(records_dir)
    endless = iter(ours(records_dir, epochs=FOREVER))
    frozen = epoch.cache()  # batches, always in the order of their first epoch
    keras_tutorial = tutorial(os.path.join(input_dir, spec.TRAIN), classes)
    num_reviews = check_same(itertools.islice(endless, len(epoch)), frozen, keras_tutorial)
    from_disk = ours(records_dir, cache="none")  # like an epoch before anything is cached
    num_batches = tf.constant(len(epoch))

    def take_epochs(batches: tf.data.Dataset | Iterator) -> dict[str, int]:
        epochs = [count_rows_fed(iter(batches), num_batches) for _ in range(EPOCHS_PER_TURN)]
        return {"reviews": int(sum(epochs))}

    return {
        "this project, epoch 2 on": lambda: take_epochs(endless),
        "this project, epoch 1": lambda: take_epochs(from_disk),
        "Keras tutorial": lambda: take_epochs(keras_tutorial),
        "frozen batches": lambda: take_epochs(frozen),
    }, {"reviews": num_reviews, "batch_size": BATCH_SIZE}


@tf.function(reduce_retracing=True)
def count_rows_fed(batches: Iterator, num_batches: tf.Tensor) -> tf.Tensor:
    """Takes batches one by one inside a graph, as Keras' `fit` does, and counts their rows.

    A Python loop would cost more per batch than the pipeline, and so measure Python.
    """
    rows = 0
    for _ in tf.range(num_batches):
        tokens, _ = next(batches)
        rows += tf.shape(tokens)[0]
    return rows


def ours(
    records_dir: str,
    *,
    epochs: int = 1,
    max_len: int = MAX_LEN,
    by_length: bool = False,
    cache: str = "memory",
) -> tf.data.Dataset:
    """Returns the batches that `model.train` trains on."""
    size = spec.InputSize(MAX_TOKENS, max_len)
    rows = input_pipeline.read_split(open_dataset(records_dir), spec.TRAIN, size, cache=cache)
    batches = input_pipeline.shuffled_batches(rows, BATCH_SIZE, seed=0, by_length=by_length)
    return batches.take(epochs * input_pipeline.num_batches(rows, BATCH_SIZE))


def tutorial(train_dir: str, classes: tuple[str, ...]) -> tf.data.Dataset:
    """Returns the batches of a Keras tutorial: files are read and split into tokens each epoch.

    They are shuffled as in Keras: all files once, and 256 at a time in each epoch.
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


def padding(batches: Batches) -> float:
    """Returns the share of padding among an epoch's ids."""
    ids = [tokens.numpy() for tokens, _ in batches]
    padded = sum(np.count_nonzero(tokens == spec.PADDING_ID) for tokens in ids)
    return padded / sum(tokens.size for tokens in ids)


def check_same(first: Batches, *others: Batches) -> int:
    """Returns the number of reviews; raises `Failure` unless all give the same ids.

    This runs one epoch of each, which also fills their caches.
    """
    rows = count_rows(first)
    if any(count_rows(other) != rows for other in others):
        raise Failure("the contenders' batches have different ids: nothing to compare")
    return rows.total()


def count_rows(batches: Batches) -> collections.Counter[tuple[int, bytes]]:
    """Counts the rows of an epoch by label and ids, in no order."""
    return collections.Counter(
        (int(label), row.astype(np.int32).tobytes())
        for tokens, labels in batches
        for row, label in zip(tokens.numpy(), labels.numpy(), strict=True)
    )
