"""Epochs of training, against a Keras tutorial's script with the same network."""

import os
import shutil
from collections.abc import Callable
from typing import Any

from benchmarks import feed, preprocess
from pipelines import contract, reviews

with contract.quiet_imports():
    import keras
    import tensorflow as tf

    from model import fast_lstm, lstm, train

REVIEWS_PER_CLASS = 2_500  # of the first two classes of train, so that five rounds take a minute

NETWORK, TRAINING = train.settings(train.parser().parse_args(["--records=", "--model_dir="]))


def contenders(
    input_dir: str, work_dir: str
) -> tuple[dict[str, Callable[[], dict[str, Any]]], dict[str, Any]]:
    """Returns the contenders, this project first, each past its first epoch, which traces."""
    subset_dir, records_dir = (os.path.join(work_dir, name) for name in ("subset", "step"))
    source = reviews.Source(input_dir)
    classes = reviews.survey(source).classes[:2]
    copy_subset(source, subset_dir, classes)
    preprocess.run_module("pipelines.preprocess", "--input", subset_dir, "--output", records_dir)
    batches = feed.ours(records_dir)
    tutorial_batches = feed.tutorial(os.path.join(subset_dir, contract.TRAIN), classes)
    num_reviews = feed.check_same(batches, tutorial_batches)
    model, tutorial_model = ours(), tutorial()

    def epoch(model: keras.Model, batches: tf.data.Dataset) -> dict[str, int]:
        model.fit(batches, shuffle=False, verbose=0)  # the batches are shuffled
        return {"reviews": num_reviews}

    runs = {
        "this project": lambda: epoch(model, batches),
        "Keras tutorial": lambda: epoch(tutorial_model, tutorial_batches),
    }
    for run in runs.values():
        run()
    return runs, {"reviews": num_reviews, "batch_size": feed.BATCH_SIZE}


def copy_subset(source: reviews.Source, subset_dir: str, classes: tuple[str, ...]) -> None:
    """Copies the first reviews of each class of train."""
    for name in classes:
        folder = f"{contract.TRAIN}/{name}"
        os.makedirs(os.path.join(subset_dir, folder))
        for key in sorted(reviews.list_reviews(source, folder))[:REVIEWS_PER_CLASS]:
            file = os.fsdecode(key)
            shutil.copy(os.path.join(source.input_dir, file), os.path.join(subset_dir, file))


def ours() -> keras.Model:
    """Returns what `model.train` fits with its default flags."""
    model = lstm.build(NETWORK, num_classes=2)
    lstm.compile_model(model, TRAINING)
    return fast_lstm.to_train(model, NETWORK)


def tutorial() -> keras.Model:
    """Returns the tutorial's network."""
    model = keras.Sequential(
        [
            keras.Input([feed.MAX_LEN], dtype="int64"),
            keras.layers.Embedding(feed.MAX_TOKENS, 128),
            keras.layers.LSTM(64),
            keras.layers.Dense(64, activation="relu"),
            keras.layers.Dense(1, activation="sigmoid"),
        ]
    )
    model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
    return model
