"""Estimates the cost of preprocessing at sizes that exceed one machine, for docs/scale.md.

The cost per review is measured on a folder, as the difference between two runs, which excludes the
fixed cost of a run; the number of distinct words is a power of the number of reviews (Heaps' law),
fitted to the folder. The rest are the assumptions below.
"""

import hashlib
import json
import math
import os
import pathlib
import pickle
import re
import resource
import tempfile
import time
from collections.abc import Callable, Iterable

from rich import box, console, table

from benchmarks import preprocess, run, step
from pipelines.preprocess import input_tree
from textrecords import app, command_line, imports, spec, text_source
from textrecords.errors import BadInput

with imports.quiet():
    from pipelines import sharding
    from pipelines.preprocess.count_words import NUM_BUCKETS

SIZES = (10_000_000, 1_000_000_000)
FITTED = (1_000, 10_000)  # reviews of train, for the growth of words
SUBSET = 1000  # reviews of each of two classes

# Assumptions.
CORES_PER_WORKER, HOURS = 4, 1.0  # the acceptable duration
REQUESTS_PER_READ, READS = 3, 3  # to an object store: size, start, content; audit, count, write
REQUEST_SECONDS, REQUESTS_AT_ONCE = 0.03, 32  # a worker's threads
LISTED_PER_SECOND = 20_000  # by one client of an object store: pages of 1,000 in 50 ms
BYTES_PER_WORD = 150  # of a Python dict of words and counts


def main(argv: list[str]) -> None:
    parser = command_line.ArgumentParser(prog="benchmarks.cost", description=__doc__)
    parser.add_argument("--input", required=True, metavar="DIR")
    args = parser.parse_args(argv)
    source = text_source.Source(args.input)
    tree = input_tree.find_reviews(source)
    train = sum(tree.examples(tree.listed)[spec.TRAIN].values())
    if train < FITTED[-1]:
        raise BadInput(f"{args.input} has {train:,} reviews of train: the fit needs {FITTED[-1]:,}")
    with tempfile.TemporaryDirectory(prefix="textrecords-") as work_dir:
        core_seconds, record_bytes = per_review(tree, work_dir)
    started = time.perf_counter()
    listed = list(tree.all_keys())
    listed_per_second = len(listed) / (time.perf_counter() - started)
    keys = (key for key in listed if key.startswith(b"train/"))
    keys = sorted(keys, key=lambda key: hashlib.sha256(key).digest())  # mixes the classes
    texts = (source.decode(source.read(key))[0].decode() for key in keys)
    words, shard_bytes = count_words(texts)
    rows = [
        ("core seconds per million reviews", f"{core_seconds * 1e6:,.0f}"),
        ("bytes per record", f"{record_bytes:,.0f}"),
        ("files listed per second, local disk", f"{listed_per_second:,.0f}"),
        ("distinct words", f"{words(1):,.0f} x reviews^{math.log10(words(10) / words(1)):.2f}"),
        ("bytes of counts per shard of 10,000", f"{shard_bytes:,.0f}"),
    ]
    show(("measured", args.input), rows)
    columns = [estimate(size, core_seconds, record_bytes, words, shard_bytes) for size in SIZES]
    names = columns[0].keys()
    show(
        ("reviews", *(f"{size:,}" for size in SIZES)),
        [(name, *(column[name] for column in columns)) for name in names],
    )


def per_review(tree: input_tree.Tree, work_dir: str) -> tuple[float, float]:
    """Returns the core seconds and the bytes of records per review."""
    subset = os.path.join(work_dir, "subset")
    step.copy_subset(tree.source, subset, SUBSET)
    seconds, number = {}, {subset: 2 * SUBSET, tree.source.input_dir: tree.listed.num_reviews}
    for folder in number:
        output = os.path.join(work_dir, "records")
        before = core_seconds_of_children()
        preprocess.run_module("pipelines.preprocess", "--input", folder, "--output", output)
        seconds[folder] = core_seconds_of_children() - before
    whole = tree.source.input_dir
    more = number[whole] - number[subset]
    sizes = [path.stat().st_size for path in pathlib.Path(output).glob("*.tfrecord")]
    return (seconds[whole] - seconds[subset]) / more, sum(sizes) / number[whole]


def core_seconds_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def count_words(texts: Iterable[str]) -> tuple[Callable[[float], float], int]:
    """Returns distinct words as a function of the reviews, and the bytes of a shard's counts."""
    seen: dict[bytes, int] = {}
    points = []
    shard_bytes = 0
    for number, text in enumerate(texts, 1):
        cleaned = re.sub(r"[!-/:-@\[-`{-~]", "", text.replace("<br />", " ").lower())
        for word in cleaned.encode().split():
            seen[word] = seen.get(word, 0) + 1
        if number in FITTED:
            points.append((number, len(seen)))
            shard_bytes = len(pickle.dumps(seen))
    (few, at_few), (many, at_many) = points
    exponent = math.log(at_many / at_few) / math.log(many / few)
    return lambda n: at_many * (n / many) ** exponent, shard_bytes


def estimate(
    size: int,
    core_seconds: float,
    record_bytes: float,
    words: Callable[[float], float],
    shard_bytes: float,
) -> dict[str, str]:
    """Returns the cost of a dataset of this size, by name."""
    trained = json.loads(run.RESULTS.read_text())["step"]["contenders"]["this project"]
    num_shards = sharding.default_num_shards(size)
    in_shard = size / num_shards
    core_hours = size * core_seconds / 3600
    workers = math.ceil(core_hours / HOURS / CORES_PER_WORKER)
    requests = size * READS * REQUESTS_PER_READ
    waiting = requests * REQUEST_SECONDS / REQUESTS_AT_ONCE / 3600
    counts = num_shards * shard_bytes * words(in_shard) / words(sharding.KEYS_PER_SHARD)
    hours = size / trained["reviews_per_second"] / 3600
    bucket = words(size) / NUM_BUCKETS * BYTES_PER_WORD
    return {
        "shards": f"{num_shards:,}",
        "MB per shard": f"{in_shard * record_bytes / 1e6:,.1f}",
        "core hours": f"{core_hours:,.1f}",
        f"workers of {CORES_PER_WORKER} cores for {HOURS:g} h": f"{workers:,}",
        "total hours of waiting for an object store": f"{waiting:,.0f}",
        "GB of word counts shuffled": f"{counts / 1e9:,.1f}",
        "distinct words": f"{words(size):,.0f}",
        "GB of memory per bucket of words": f"{bucket / 1e9:,.2f}",
        "hours per epoch of training, as in `step`": f"{hours:,.1f}",
        "total hours of listing": f"{size / LISTED_PER_SECOND / 3600:,.1f}",
    }


def show(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    shown = table.Table(header[0], box=box.MARKDOWN)
    for name in header[1:]:
        shown.add_column(name, justify="right")
    for row in rows:
        shown.add_row(*row)
    console.Console(width=100).print(shown)


if __name__ == "__main__":
    app.run(main)
