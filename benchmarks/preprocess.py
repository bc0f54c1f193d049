"""Times preprocessing as a whole process against plain tf.Transform and Keras' `adapt`."""

import collections
import functools
import os
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Callable
from typing import Any

from pipelines.preprocess import input_tree
from textrecords import imports, spec, text_source
from textrecords.dataset import read_vocabulary
from textrecords.errors import Failure

# The unit of `ru_maxrss` depends on the system.
MAXRSS_PER_MIB = 2**20 if sys.platform == "darwin" else 2**10


def contenders(
    input_dir: str, work_dir: str
) -> tuple[dict[str, Callable[[], dict[str, Any]]], dict[str, Any]]:
    """Returns the contenders, this project first, after comparing their results."""
    tree = input_tree.find_reviews(text_source.Source(input_dir))
    ours = ["pipelines.preprocess", "--input", input_dir, "--no-unlabelled"]
    theirs = ["--input", input_dir, "--classes", *tree.classes]
    commands = {
        "this project": ours,
        "plain pipeline": ["benchmarks.plain_tft", *theirs],
        "Keras adapt": ["benchmarks.keras_adapt", *theirs],
    }
    folders = [tempfile.mkdtemp(dir=work_dir) for _ in commands]
    for command, folder in zip(commands.values(), folders, strict=True):
        run_module(*command, "--output", folder)
    ours_dir, *others = folders
    facts, *_ = [check_same(ours_dir, folder) for folder in others]
    return {
        name: functools.partial(run, command, facts["reviews"], work_dir)
        for name, command in commands.items()
    }, facts


def run(command: list[str], reviews: int, work_dir: str) -> dict[str, Any]:
    """Runs a module that preprocesses reviews; returns the measurements other than time."""
    with tempfile.TemporaryDirectory(dir=work_dir) as output_dir:
        peak = run_module(*command, "--output", output_dir)
    return {"reviews": reviews, "peak_mib": peak}


def run_module(*command: str) -> float:
    """Runs `python -m` as a new process; returns the peak of its memory in MiB.

    If it has helpers, it's the peak of its largest process.

    Raises:
      Failure: if the command fails.
    """
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *command], stdout=output, stderr=subprocess.STDOUT
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        if process.returncode:
            last = output.read().decode(errors="replace").strip().rpartition("\n")[2]
            raise Failure(f"{command[0]} failed: {last}")
    return usage.ru_maxrss / MAXRSS_PER_MIB


def check_same(ours_dir: str, plain_dir: str) -> dict[str, int]:
    """Returns facts about both datasets; raises `Failure` unless they are the same."""
    vocabulary, other = (
        read_vocabulary(os.path.join(folder, spec.VOCABULARY)) for folder in (ours_dir, plain_dir)
    )
    if vocabulary != other:
        raise Failure("the contenders' vocabularies differ: nothing to compare")
    num_reviews = 0
    for split in spec.SPLITS:
        records, others = (read_ids(folder, split) for folder in (ours_dir, plain_dir))
        if records != others:
            raise Failure(f"the contenders' ids of {split} differ: nothing to compare")
        num_reviews += records.total()
    return {"reviews": num_reviews, "vocabulary": len(vocabulary) + spec.NUM_RESERVED}


def read_ids(folder: str, split: str) -> collections.Counter[tuple[int, bytes]]:
    """Counts the records of a split by label and ids, in no order.

    A review without tokens counts as one OOV: the plain pipeline writes it without ids.
    """
    with imports.quiet():
        import numpy as np
        import tensorflow as tf

    counts: collections.Counter[tuple[int, bytes]] = collections.Counter()
    for record in tf.data.TFRecordDataset(
        sorted(map(str, pathlib.Path(folder).glob(f"{split}-*")))
    ):
        feature = tf.train.Example.FromString(record.numpy()).features.feature
        ids = list(feature[spec.TOKENS].int64_list.value) or [spec.OOV_ID]
        counts[feature[spec.LABEL].int64_list.value[0], np.int32(ids).tobytes()] += 1
    return counts
