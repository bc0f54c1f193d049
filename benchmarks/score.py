"""Times scoring of a folder as a whole process, from start to end, against Keras' `predict`."""

import functools
import json
import os
import pathlib
import tempfile
from collections.abc import Callable
from typing import Any

from benchmarks import preprocess, step
from textrecords import spec, text_source
from textrecords.errors import Failure

REVIEWS_PER_CLASS = 10_000
ROUNDING = 1e-5  # of float32, with different batch sizes


def contenders(
    input_dir: str, work_dir: str
) -> tuple[dict[str, Callable[[], dict[str, Any]]], dict[str, Any]]:
    """Returns the contenders, this project first, after comparing their scores."""
    input_copy, records_dir, model_dir = (
        os.path.join(work_dir, name) for name in ("texts", "score", "model")
    )
    step.copy_subset(text_source.Source(input_dir), input_copy, REVIEWS_PER_CLASS)  # of two classes
    preprocess.run_module("pipelines.preprocess", "--input", input_copy, "--output", records_dir)
    model = ["--model_dir", model_dir]
    preprocess.run_module("model.train", "--records", records_dir, *model, "--epochs", "1")
    scored = ["--input", os.path.join(input_copy, spec.TRAIN), *model]
    ours = ["pipelines.score", *scored]
    theirs = ["benchmarks.keras_predict", *scored, "--records", records_dir]
    num_texts = check_same(*(run(command, work_dir)[0] for command in (ours, theirs)))

    def timed(command: list[str]) -> dict[str, Any]:
        return {"reviews": num_texts, "peak_mib": run(command, work_dir)[1]}

    return {
        "this project": functools.partial(timed, ours),
        "Keras predict": functools.partial(timed, theirs),
    }, {"reviews": num_texts}


def run(command: list[str], work_dir: str) -> tuple[list[float], float]:
    """Returns the sorted scores, and the peak memory in MiB."""
    with tempfile.TemporaryDirectory(dir=work_dir) as output_dir:
        peak = preprocess.run_module(*command, "--output", output_dir)
        paths = pathlib.Path(output_dir).glob("*.jsonl")
        rows = [json.loads(line) for path in paths for line in path.read_text().splitlines()]
    return sorted(row["score"] for row in rows), peak


def check_same(ours: list[float], theirs: list[float]) -> int:
    """Returns the number of texts; raises `Failure` unless their scores are the same."""
    if len(ours) != len(theirs):
        raise Failure("the contenders scored other texts: there is nothing to compare")
    if any(abs(one - other) > ROUNDING for one, other in zip(ours, theirs, strict=True)):
        raise Failure("the contenders' scores differ: there is nothing to compare")
    return len(ours)
