"""Times commands that have little to do, as whole processes, to measure their startup."""

import functools
import os
from collections.abc import Callable
from typing import Any

from benchmarks import preprocess, step
from textrecords import spec, text_source

REVIEWS_PER_CLASS = 100
TEXT = "I loved it! Highly recommend it to anyone looking for a great movie to watch."


def contenders(
    input_dir: str, work_dir: str
) -> tuple[dict[str, Callable[[], dict[str, Any]]], dict[str, Any]]:
    """Returns the contenders: a prediction, the same with Keras, a short training, and no work."""
    subset_dir, records_dir, model_dir, single_dir, all_dir = (
        os.path.join(work_dir, name) for name in ("small", "records", "trained", "single", "all")
    )
    source = text_source.Source(input_dir)
    step.copy_subset(source, subset_dir, REVIEWS_PER_CLASS)
    records, model = ["--records", records_dir], ["--model_dir", model_dir]
    train = ["model.train", *records, *model, "--epochs", "1"]
    preprocess.run_module("pipelines.preprocess", "--input", subset_dir, "--output", records_dir)
    preprocess.run_module(*train)
    os.makedirs(os.path.join(single_dir, "class"))
    with open(os.path.join(single_dir, "class", "0.txt"), "w", encoding="utf-8") as file:
        file.write(TEXT)
    unchanged = ["pipelines.preprocess", "--input", input_dir, "--output", all_dir]
    preprocess.run_module(*unchanged)
    keras_predict = ["benchmarks.keras_predict", "--input", single_dir, "--output", single_dir]
    number = 2 * REVIEWS_PER_CLASS
    commands = {
        "predict a text": (["model.predict", *model, "--", TEXT], 1),
        "Keras predict a text": ([*keras_predict, *records, *model], 1),
        f"train for an epoch of {number} reviews": (train, number),
        "preprocess, nothing changed": (unchanged, _count(source)),
    }
    return {
        name: functools.partial(_run, command, reviews)
        for name, (command, reviews) in commands.items()
    }, {}


def _run(command: list[str], reviews: int) -> dict[str, Any]:
    preprocess.run_module(*command)  # its peak memory would be that of this process
    return {"reviews": reviews}


def _count(source: text_source.Source) -> int:
    return sum(why is None for _, _, why in source.walk(spec.TRAIN))
