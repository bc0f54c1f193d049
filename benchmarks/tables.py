"""Times preprocessing of the same reviews as tables and as files, cached and uncached.

Texts that are preprocessed for the first time usually come from the disk, which takes far longer
for files than for a table. Only root can drop the system's cache; other users get no such times.
"""

import functools
import os
import pathlib
import tempfile
import time
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from benchmarks import preprocess
from pipelines import sample
from pipelines.preprocess import find_input
from textrecords import spec
from textrecords.dataset import open_dataset
from textrecords.errors import Failure
from textrecords.manifest import DataFlags

DROP_CACHES = pathlib.Path("/proc/sys/vm/drop_caches")


def contenders(
    input_dir: str, work_dir: str
) -> tuple[dict[str, Callable[[], dict[str, Any]]], dict[str, Any]]:
    """Returns the contenders, Parquet first, after comparing their ids."""
    table = read(input_dir)
    parquet, csv = (os.path.join(work_dir, f"tables.{kind}") for kind in ("parquet", "csv"))
    pyarrow.parquet.write_table(table, parquet, row_group_size=50_000)
    pyarrow.csv.write_csv(table, csv)
    flags = {
        "Parquet": ["--input", parquet, "--split_column", "split"],
        "CSV": ["--input", csv, "--split_column", "split"],
        "files": ["--input", input_dir, "--no-unlabelled"],
    }
    commands = {name: ["pipelines.preprocess", *each] for name, each in flags.items()}
    check_same(commands, work_dir)
    found = {
        name: functools.partial(preprocess.run, command, len(table), work_dir)
        for name, command in commands.items()
    }
    if os.access(DROP_CACHES, os.W_OK):
        small = os.path.join(work_dir, "small")
        sample.write(small, count=6, seed=0)
        loading = ["pipelines.preprocess", "--input", small]
        found |= {
            f"{name}, not cached": functools.partial(run_uncached, loading, run)
            for name, run in found.items()
        }
    return found, {"reviews": len(table)}


def run_uncached(loading: list[str], run: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Times a contender with nothing cached except the libraries.

    Args:
      loading: a module and flags that load the libraries.
      run: the contender.
    """
    os.sync()
    DROP_CACHES.write_text("3")
    with tempfile.TemporaryDirectory() as output_dir:
        preprocess.run_module(*loading, "--output", output_dir)
    started = time.perf_counter()
    return run() | {"seconds": time.perf_counter() - started}


def read(input_dir: str) -> pa.Table:
    """Returns the texts, with their splits and labels."""
    tree = find_input.find_input(input_dir, DataFlags(unlabelled=False))
    rows = [
        (tree.source.decode(content)[0].decode(), each.label, spec.ALL_SPLITS[each.split])
        for each, content in tree.source.read_good(sorted(tree.all_reviews()), {})
    ]
    texts, labels, splits = zip(*rows, strict=True)
    return pa.table({"text": texts, "label": labels, "split": splits})


def check_same(commands: dict[str, list[str]], work_dir: str) -> None:
    """Raises `Failure` unless all commands give the same vocabulary and records."""
    made = []
    for command in commands.values():
        folder = tempfile.mkdtemp(dir=work_dir)
        preprocess.run_module(*command, "--output", folder)
        ids = [preprocess.read_ids(folder, split) for split in (spec.TRAIN, spec.TEST)]
        made.append((open_dataset(folder).vocabulary, ids))
    if any(each != made[0] for each in made):
        raise Failure("tables and files give different ids: nothing to compare")
