"""Preprocessing of the same reviews as tables and as files."""

import os
import pathlib
import tempfile
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from benchmarks import preprocess
from textrecords import spec
from textrecords.dataset import open_dataset
from textrecords.errors import Failure


def contenders(
    input_dir: str, work_dir: str
) -> tuple[dict[str, Callable[[], dict[str, Any]]], dict[str, Any]]:
    """Returns the contenders, Parquet first, once all have given the same ids."""
    table = read(input_dir)
    parquet, csv = (os.path.join(work_dir, f"tables.{kind}") for kind in ("parquet", "csv"))
    pyarrow.parquet.write_table(table, parquet, row_group_size=50_000)
    pyarrow.csv.write_csv(table, csv)
    inputs = {
        "Parquet": ["--input", parquet, "--split_column", "split"],
        "CSV": ["--input", csv, "--split_column", "split"],
        "files": ["--input", input_dir, "--no-unlabelled"],
    }

    def timed(flags: list[str]) -> dict[str, Any]:
        with tempfile.TemporaryDirectory(dir=work_dir) as output_dir:
            peak = preprocess.run_module("pipelines.preprocess", *flags, "--output", output_dir)
        return {"reviews": len(table), "peak_mib": peak}

    check_same(inputs, work_dir)
    return {name: lambda flags=flags: timed(flags) for name, flags in inputs.items()}, {
        "reviews": len(table)
    }


def read(input_dir: str) -> pa.Table:
    """Returns the texts of train and test, with their splits and labels."""
    root = pathlib.Path(input_dir)
    rows = [
        (path.read_bytes(), path.parent.name, split)
        for split in (spec.TRAIN, spec.TEST)
        for path in sorted(root.glob(f"{split}/*/*.txt"))
        if path.parent.name not in spec.UNLABELLED_FOLDERS
    ]
    texts, labels, splits = zip(*rows, strict=True)
    texts = pa.array(texts, pa.binary()).cast(pa.string())
    return pa.table({"text": texts, "label": labels, "split": splits})


def check_same(inputs: dict[str, list[str]], work_dir: str) -> None:
    """Raises `Failure` unless all inputs give the same vocabulary and records."""
    made = []
    for flags in inputs.values():
        folder = tempfile.mkdtemp(dir=work_dir)
        preprocess.run_module("pipelines.preprocess", *flags, "--output", folder)
        ids = [preprocess.read_ids(folder, split) for split in (spec.TRAIN, spec.TEST)]
        made.append((open_dataset(folder).vocabulary, ids))
    if any(each != made[0] for each in made):
        raise Failure("tables and files give other ids: there is nothing to compare")
