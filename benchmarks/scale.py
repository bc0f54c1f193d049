"""Preprocessing of ever larger tables of made-up reviews: is memory flat, and time straight?"""

import functools
import os
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet

from benchmarks import preprocess
from pipelines import sample

BLOCK = 50_000  # reviews made up by `sample`, and a row group


def contenders(
    counts: list[int], work_dir: str
) -> tuple[dict[str, Callable[[], dict[str, Any]]], dict[str, Any]]:
    """Returns one contender for each number of reviews, the first being what others compare to."""
    runs = {}
    for count in counts:
        table = os.path.join(work_dir, f"{count}.parquet")
        write_table(table, count)
        command = ["pipelines.preprocess", "--input", table, "--split_column", "split"]
        runs[f"{count:,}"] = functools.partial(preprocess.run, command, count, work_dir)
    return runs, {}


def write_table(path: str, count: int) -> None:
    """Writes so many different reviews: those of a block, each followed by numbers of its own."""
    made_up = [sample.review(0, number) for number in range(min(count, BLOCK))]
    folders = [key.split("/") for key, _ in made_up]
    columns = {
        "text": [text for _, text in made_up],
        "label": [label for _, label, _ in folders],
        "split": [split for split, *_ in folders],
    }
    block = pa.table(columns)
    with pyarrow.parquet.ParquetWriter(path, block.schema) as writer:
        for start in range(0, count, BLOCK):
            rows = block.slice(0, min(BLOCK, count - start))
            numbers = [
                f"{n // 1_000_000} {n // 1000 % 1000} {n % 1000}"
                for n in range(start, start + len(rows))
            ]
            texts = pa.compute.binary_join_element_wise(rows["text"], pa.array(numbers), " ")
            writer.write_table(rows.set_column(0, "text", texts))
