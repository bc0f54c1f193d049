"""Simulates one of many workers on a dataset that exceeds one machine.

The stages are those of preprocess; only the files are generated. Each stage runs in its own
process, to measure its peak memory, on as many reviews as the worker would get: it lists, reads and
hashes its part of the files, audits its buckets, and writes its shards.
"""

import collections
import contextlib
import dataclasses
import functools
import itertools
import json
import os
import pathlib
import tempfile
import time
from collections.abc import Callable, Iterator

import rich
from rich import box, table

from benchmarks import preprocess
from textrecords import app, command_line, imports, spec, storage, text_source

TEXTS = 1_000  # different ones; each review adds a unique word
FOLDER = "train/pos"
CLASSES = ("neg", "pos")


@dataclasses.dataclass(frozen=True)
class GeneratedReviews(text_source.Source):
    """A folder of any number of reviews, which are generated when they are read.

    Attributes:
      number: of reviews.
      texts: their texts, used in turn.
    """

    number: int = 0
    texts: tuple[bytes, ...] = ()

    def walk(self, folder: str = "", start: str = "", end: str = "") -> Iterator[text_source.Found]:
        for n in range(self.number):
            name = f"{folder}/{n:010d}.txt"
            yield os.fsencode(name), storage.Entry(name, name, False, 1_300, 1), None

    @contextlib.contextmanager
    def _reading(self) -> Iterator[Callable[[text_source.Unread], bytes]]:
        yield self._content

    def _content(self, review: text_source.Unread) -> bytes:
        number = review.key[-14:-4]
        return self.texts[int(number) % len(self.texts)] + b" w" + number


@dataclasses.dataclass(frozen=True)
class Share:
    """The share of the work of one worker.

    Attributes:
      reviews: number of reviews of the whole dataset.
      workers: number of workers that share them.
      records: a dataset, with its transform graph; the texts are from its input.
    """

    reviews: int
    workers: int
    records: str

    @property
    def own(self) -> int:
        return self.reviews // self.workers

    @functools.cached_property
    def source(self) -> GeneratedReviews:
        files = sorted(pathlib.Path(self.records, "../in/train").rglob("*.txt"))[:TEXTS]
        texts = tuple(path.read_bytes() for path in files)
        return GeneratedReviews(input_dir="generated", number=self.own, texts=texts)

    def elements(self) -> Iterator[list[text_source.Unread]]:
        """Yields lists of reviews as they are listed."""
        from pipelines.places import Place

        found = Place(FOLDER, CLASSES[1]).list_files(self.source)
        return (each for each in found if isinstance(each, list))

    def hashed(self, number: int) -> Iterator[list[tuple]]:
        """Yields lists of hashed reviews, without their texts, at least `number` in total."""
        from pipelines.preprocess.review_batches import Review

        for listed in itertools.islice(self.elements(), -(-number // 2_000)):
            unread = map(text_source.Unread._make, listed)
            for each, text in self.source.read_good(unread, {}):
                yield [tuple(Review.of(each, 1, text))]


def list_files(share: Share) -> int:
    """Lists the files."""
    return sum(map(len, share.elements()))


def read(share: Share) -> int:
    """Reads and hashes the reviews, with the whole dataset's number of buckets."""
    import apache_beam as beam

    from pipelines import grouping
    from pipelines.places import Listed
    from pipelines.preprocess import audit

    whole = Listed(collections.Counter({FOLDER: share.reviews}))
    gather = grouping.GatherInBundle(audit.MAX_HELD)
    gather.start_bundle()
    done = 0
    for listed in share.elements():
        for found in audit.digest(listed, share.source, whole, CLASSES):
            if not isinstance(found, beam.pvalue.TaggedOutput):
                collections.deque(gather.process(found), maxlen=0)
        done += len(listed)
    return done


def audit_buckets(share: Share) -> int:
    """Audits buckets."""
    from pipelines import sharding
    from pipelines.preprocess import audit, split_assignment

    assign = audit.Assign(split_assignment.Shares(), drop_leaked=True, drop_duplicates=True)
    num_shards = {"train": sharding.default_num_shards(share.reviews)}
    bucket = list(share.hashed(audit.REVIEWS_PER_BUCKET))
    number = -(-share.own // len(bucket))
    for _ in range(number):
        collections.deque(assign.place((0, bucket), {}, num_shards), maxlen=0)
    return number * len(bucket)


def write_shards(share: Share) -> int:
    """Writes shards."""
    from pipelines import sharding
    from pipelines.preprocess import transform, write_shards

    whole = sharding.default_num_shards(share.reviews)
    in_shard = share.reviews // whole
    shard = list(share.hashed(in_shard))
    options = transform.TextOptions(max_tokens=20_000)
    with tempfile.TemporaryDirectory() as folder:
        write = write_shards.WriteShard(share.source, folder, "none", options, 5).write
        graph = os.path.join(share.records, "transform_fn")
        number = -(-share.own // in_shard)
        for index in range(number):
            name = spec.shard_name("train", index, whole)
            reviews = write_shards.in_order(shard)
            write(write_shards.Unwritten("train", name, reviews), graph, CLASSES)
            os.remove(next(pathlib.Path(folder).iterdir()))
    return number * in_shard


STAGES: dict[str, Callable[[Share], int]] = {
    "list": list_files,
    "read and hash": read,
    "audit": audit_buckets,
    "write shards": write_shards,
}


def main(argv: list[str]) -> None:
    parser = command_line.ArgumentParser(prog="benchmarks.worker", description=__doc__)
    parser.add_argument("--reviews", type=command_line.number(minimum=1), default=10**9)
    parser.add_argument("--workers", type=command_line.number(minimum=1), default=500)
    parser.add_argument("--stage", choices=STAGES, help="run only this stage, in this process")
    parser.add_argument("--folder", help="of the dataset, and for the measurements of a stage")
    args = parser.parse_args(argv)
    if args.stage:
        run_stage(args.stage, Share(args.reviews, args.workers, f"{args.folder}/records"))
        return
    shown = table.Table("stage", box=box.MARKDOWN)
    for name in ("reviews", "seconds", "reviews/s", "peak MiB"):
        shown.add_column(name, justify="right")
    with tempfile.TemporaryDirectory(prefix="textrecords-") as folder:
        paths = ["--output", f"{folder}/in", "--count", "3000"]
        preprocess.run_module("pipelines.sample", *paths)
        paths = ["--input", f"{folder}/in", "--output", f"{folder}/records"]
        preprocess.run_module("pipelines.preprocess", *paths)
        size = ["--reviews", str(args.reviews), "--workers", str(args.workers)]
        for stage in STAGES:
            own = ["--stage", stage, "--folder", folder]
            peak = preprocess.run_module("benchmarks.worker", *size, *own)
            done, seconds = json.loads(pathlib.Path(folder, "measured.json").read_text())
            row = f"{done:,}", f"{seconds:,.1f}", f"{done / seconds:,.0f}", f"{peak:,.0f}"
            shown.add_row(stage, *row)
    rich.print(shown)


def run_stage(stage: str, share: Share) -> None:
    """Runs one stage on a worker's share; writes reviews and seconds next to the records."""
    with imports.quiet():
        import tensorflow  # noqa: F401, as each worker does

        from pipelines.preprocess import pipeline  # noqa: F401
    started = time.perf_counter()
    done = STAGES[stage](share)
    measured = [done, time.perf_counter() - started]
    pathlib.Path(share.records, "../measured.json").write_text(json.dumps(measured))


if __name__ == "__main__":
    app.run(main)
