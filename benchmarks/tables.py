"""Preprocessing of the same reviews as tables and as files."""

import functools
import os
import tempfile
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from benchmarks import preprocess
from pipelines.preprocess import find_input
from textrecords import spec
from textrecords.dataset import open_dataset
from textrecords.errors import Failure
from textrecords.manifest import DataFlags


def contenders(
    input_dir: str, work_dir: str
) -> tuple[dict[str, Callable[[], dict[str, Any]]], dict[str, Any]]:
    """Returns the contenders, Parquet first, once all have given the same ids."""
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
    return {
        name: functools.partial(preprocess.run, command, len(table), work_dir)
        for name, command in commands.items()
    }, {"reviews": len(table)}


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
        raise Failure("tables and files give other ids: there is nothing to compare")
