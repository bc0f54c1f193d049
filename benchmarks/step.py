"""Epochs of training, against a Keras tutorial's script with the same network."""

import functools
import os
import shutil
from collections.abc import Callable
from typing import Any

from benchmarks import feed, preprocess
from pipelines.preprocess import input_tree
from textrecords import imports, spec, text_source

with imports.quiet():
    import keras
    import tensorflow as tf

    from model import train
    from model.network import fast_lstm, lstm
    from model.training import flags
    from textrecords.model_folder import Network, Training

REVIEWS_PER_CLASS = 2_500  # of the first two classes of train, so that five rounds take a minute

# What is chosen for the IMDb reviews, whatever the timed reviews are.
GIVEN = ["--records=", "--model_dir=", "--max_len=100", "--no-mask_padding"]
NETWORK, TRAINING = flags.read_settings(train.parse_args(GIVEN))


def contenders(
    input_dir: str, work_dir: str
) -> tuple[dict[str, Callable[[], dict[str, Any]]], dict[str, Any]]:
    """Returns the contenders, this project first, after their first epochs, which trace."""
    source = text_source.Source(input_dir)
    subset_dir, records_dir = (os.path.join(work_dir, name) for name in ("subset", "step"))
    classes = copy_subset(source, subset_dir, REVIEWS_PER_CLASS)
    preprocess.run_module("pipelines.preprocess", "--input", subset_dir, "--output", records_dir)
    batches = feed.ours(records_dir)
    tutorial_batches = feed.tutorial(os.path.join(subset_dir, spec.TRAIN), classes)
    num_reviews = feed.check_same(batches, tutorial_batches)
    fits = {
        "this project": (ours(NETWORK, TRAINING), batches),
        "Keras tutorial": (tutorial(), tutorial_batches),
    }
    return epochs(fits, num_reviews), {"reviews": num_reviews, "batch_size": feed.BATCH_SIZE}


def epochs(
    fits: dict[str, tuple[keras.Model, tf.data.Dataset]], num_reviews: int
) -> dict[str, Callable[[], dict[str, Any]]]:
    """Returns contenders that train for an epoch, after their first epochs, which trace."""

    def epoch(model: keras.Model, batches: tf.data.Dataset, num_reviews: int) -> dict[str, int]:
        model.fit(batches, shuffle=False, verbose=0)  # the batches are already shuffled
        return {"reviews": num_reviews}

    runs = {name: functools.partial(epoch, *fit, num_reviews) for name, fit in fits.items()}
    for run in runs.values():
        run()
    return runs


def copy_subset(
    source: text_source.Source, subset_dir: str, reviews_per_class: int
) -> tuple[str, ...]:
    """Copies the first reviews of the first two classes of train; returns the classes."""
    classes = input_tree.find_reviews(source).classes[:2]
    for name in classes:
        folder = f"{spec.TRAIN}/{name}"
        os.makedirs(os.path.join(subset_dir, folder))
        keys = (key for key, _, why in source.walk(folder) if why is None)
        for key in sorted(keys)[:reviews_per_class]:
            file = os.fsdecode(key)
            shutil.copy(os.path.join(source.input_dir, file), os.path.join(subset_dir, file))
    return classes


def ours(network: Network, training: Training) -> keras.Model:
    """Returns the model that `model.train` fits."""
    model = lstm.build(network, num_classes=2)
    lstm.compile_model(model, training)
    return fast_lstm.to_train(model, network, training)


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
