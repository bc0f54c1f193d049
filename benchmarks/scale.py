"""Preprocessing of ever more made-up reviews: does time grow with them, and memory not?"""

import os
import tempfile
from collections.abc import Callable
from typing import Any

from benchmarks import preprocess
from pipelines import sample


def contenders(
    counts: list[int], work_dir: str
) -> tuple[dict[str, Callable[[], dict[str, Any]]], dict[str, Any]]:
    """Returns one contender for each number of reviews, the first being what others compare to."""

    def timed(input_dir: str, count: int) -> dict[str, Any]:
        with tempfile.TemporaryDirectory(dir=work_dir) as output_dir:
            peak = preprocess.run_module(
                "pipelines.preprocess", "--input", input_dir, "--output", output_dir
            )
        return {"reviews": count, "peak_mib": peak}

    runs = {}
    for count in counts:
        folder = os.path.join(work_dir, f"sample-{count}")
        sample.write(folder, count=count, seed=0)
        runs[f"{count:,}"] = lambda folder=folder, count=count: timed(folder, count)
    return runs, {}
