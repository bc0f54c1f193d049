"""Times training epochs on long reviews, with batches of similar length and without."""

import dataclasses
import os
from collections.abc import Callable
from typing import Any

from benchmarks import feed, preprocess, step
from textrecords import text_source

REVIEWS_PER_CLASS = 1_000
NETWORK = dataclasses.replace(step.NETWORK, max_len=400, mask_padding=True)


def contenders(
    input_dir: str, work_dir: str
) -> tuple[dict[str, Callable[[], dict[str, Any]]], dict[str, Any]]:
    """Returns the contenders, those by length first, after their first epochs, which compile."""
    subset_dir, records_dir = (os.path.join(work_dir, name) for name in ("long", "length"))
    step.copy_subset(text_source.Source(input_dir), subset_dir, REVIEWS_PER_CLASS)
    preprocess.run_module("pipelines.preprocess", "--input", subset_dir, "--output", records_dir)
    fits, facts = {}, {}
    for name, by_length in {"by length": True, "in any order": False}.items():
        training = dataclasses.replace(step.TRAINING, bucket_by_length=by_length)
        batches = feed.ours(records_dir, max_len=NETWORK.max_len, by_length=by_length)
        fits[name] = (step.ours(NETWORK, training), batches)
        facts[f"padding {name}"] = feed.padding(batches)
    num_reviews = sum(len(labels) for _, labels in batches)
    return step.epochs(fits, num_reviews), {"reviews": num_reviews, **facts}
