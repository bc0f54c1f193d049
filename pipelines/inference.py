"""The Beam pipeline that scores texts: list the files, read them, run the network, write shards.

The network runs in Beam's RunInference, which loads it once a worker.
"""

import collections
import dataclasses
import itertools
import json
import operator
import os
import pathlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet
import tensorflow as tf
from apache_beam.ml.inference import base

from model import predict
from pipelines import commands, contract, files, folders, reviews, shards

BATCH_SIZE = 256  # texts that the network scores at once
SCORES = "scores"
SUMMARY = "scores.json"  # the number of texts, the shards, and what scored them; written last

# Texts that this process has scored, for who waits; other processes count for themselves.
SEEN: collections.Counter[str] = collections.Counter()

Row = dict[str, Any]  # `label`, and `score` or `scores`, as the SavedModel gives them
Written = tuple[contract.Shard, dict[str, int]]  # and how many texts got each label
Batch = tuple[int, list[bytes]]  # a shard, and keys of texts that go into it


class SavedModel(base.ModelHandler[list[bytes], list[Row], tf.Module]):
    """Scores batches of texts with what `model.export` wrote.

    Beam's own handler for TensorFlow loads models by Keras, and Keras 3 loads no SavedModel. Whole
    batches come in, since to hand on single texts would cost more.
    """

    def __init__(self, path: str):
        super().__init__(max_batch_size=1)
        self._path = path

    def load_model(self) -> tf.Module:
        return tf.saved_model.load(self._path)

    def run_inference(
        self, batch: Sequence[list[bytes]], model: tf.Module, inference_args: Any = None
    ) -> list[list[Row]]:
        """Returns a `Row` for each text of each batch."""
        serve = model.signatures["serving_default"]
        scored = [
            [{k: v for k, v in row.items() if k != "classes"} for row in predict.rows(serve, texts)]
            for texts in batch
        ]
        SEEN["scored"] += sum(map(len, batch))
        return scored

    def get_num_bytes(self, batch: Sequence[list[bytes]]) -> int:
        return sum(len(text) for texts in batch for text in texts)


@dataclasses.dataclass(frozen=True)
class Summary:
    """What was scored; `classes` are in the order of `scores`."""

    texts: int
    labels: dict[str, int]  # how many texts got each
    classes: tuple[str, ...]
    model_sha256: str  # of the model's `SHA256SUMS`
    shards: tuple[contract.Shard, ...]


@dataclasses.dataclass(frozen=True)
class Plan:
    """What to score, and where the scores go.

    Attributes:
      source: the folder of the files, and which of them to take: all below it of a name, or, if
        `is_glob`, those whose path has a pattern of pathlib's; in
        Cloud Storage, of one that knows no `**`.
      is_glob: what the source's pattern is of.
      serving: the SavedModel.
      classes: its classes.
      model_sha256: what it's known by.
      output_dir: the folder to write in.
      num_shards: files to write.
      suffix: `jsonl` or `parquet`.
    """

    source: reviews.Source
    is_glob: bool
    serving: str
    classes: tuple[str, ...]
    model_sha256: str
    output_dir: str
    num_shards: int
    suffix: str

    def list_keys(self, _: None) -> Iterator[Batch]:
        """Yields lists of keys, by the shard that they go into, as records do."""
        keys = list_files(self.source, is_glob=self.is_glob)
        for chunk in reviews.chunks(keys, size=reviews.LISTED_TOGETHER):
            by_shard = collections.defaultdict(list)
            for key in chunk:
                _, index = shards.shard_of(SCORES, key, {SCORES: self.num_shards})
                by_shard[index].append(key)
            yield from by_shard.items()

    def batches(self, shard: tuple[int, Iterable[list[bytes]]]) -> Iterator[Batch]:
        """Yields batches of a shard's keys."""
        index, lists = shard
        keys = sorted(itertools.chain.from_iterable(lists))
        return ((index, batch) for batch in reviews.chunks(keys, size=BATCH_SIZE))

    def read(self, batch: Batch) -> Iterator[tuple[Batch, list[bytes]]]:
        """Adds the texts; a batch that wouldn't fit into memory is parted; raises `Failure`."""
        index, keys = batch
        contents = zip(keys, self.source.read(keys), strict=True)
        texts = ((key, self.source.decode(content)[0]) for key, content in contents)
        for part in reviews.batches(texts, number=BATCH_SIZE, size=lambda item: len(item[1])):
            in_part, their_texts = zip(*part, strict=True)
            yield (index, list(in_part)), list(their_texts)

    def write(self, shard: tuple[shards.ShardId, Iterable[list[tuple[bytes, Row]]]]) -> Written:
        """Writes one shard, by key."""
        (_, index), lists = shard
        rows = [
            {contract.KEY: key.decode("utf-8", "backslashreplace"), **row}
            for key, row in sorted(itertools.chain(*lists), key=operator.itemgetter(0))
        ]
        name = f"{SCORES}-{index:05d}-of-{self.num_shards:05d}.{self.suffix}"
        with folders.whole_file(os.path.join(self.output_dir, name)) as part:
            if self.suffix == "parquet":
                pa.parquet.write_table(pa.Table.from_pylist(rows, self._schema()), part)
            else:
                with open(part, "w", encoding="utf-8") as file:
                    file.writelines(json.dumps(row) + "\n" for row in rows)
            labels = collections.Counter(row["label"] for row in rows)
            return contract.Shard.of(part, name, len(rows)), dict(labels)

    def _schema(self) -> pa.Schema:
        if len(self.classes) == 2:
            scores = ("score", pa.float64())
        else:
            scores = ("scores", pa.list_(pa.float64()))
        return pa.schema([(contract.KEY, pa.string()), scores, ("label", pa.string())])

    def write_summary(self, written: list[Written]) -> None:
        """Writes what was written, once all of it is."""
        in_order = tuple(sorted((shard for shard, _ in written), key=operator.attrgetter("file")))
        total = sum(shard.examples for shard in in_order)
        labels = {name: sum(counts.get(name, 0) for _, counts in written) for name in self.classes}
        summary = Summary(total, labels, self.classes, self.model_sha256, in_order)
        text = json.dumps(dataclasses.asdict(summary), indent=2)
        files.write_text(os.path.join(self.output_dir, SUMMARY), f"{text}\n")


def list_files(source: reviews.Source, *, is_glob: bool) -> Iterator[bytes]:
    """Yields the keys of all files, in no order, but for hidden ones.

    Raises:
      BadInput: if the pattern is none.
      Failure: if a folder can't be listed.
    """
    if not is_glob:
        return reviews.list_reviews(source, "")
    return (_glob_remote if files.is_remote(source.input_dir) else _glob)(source)


def _glob_remote(source: reviews.Source) -> Iterator[bytes]:
    paths = files.glob(f"{source.input_dir}/{source.pattern}")
    are_files = files.map_many(files.is_file, paths, remote=True)
    for path in itertools.compress(paths, are_files):
        key = path.removeprefix(f"{source.input_dir}/")
        if not any(part.startswith(".") for part in key.split("/")):
            yield os.fsencode(key)


def _glob(source: reviews.Source) -> Iterator[bytes]:
    root = pathlib.Path(source.input_dir)
    try:
        for path in root.glob(source.pattern):
            key = path.relative_to(root)
            if path.is_file() and not any(part.startswith(".") for part in key.parts):
                yield os.fsencode(key)
    except ValueError as error:
        raise commands.BadInput(f"--input {root}/{source.pattern}: {error}") from None


def build(pipeline: beam.Pipeline, plan: Plan) -> None:
    """Adds all stages."""
    # (shard, keys) -> (Batch, texts) -> (Batch, Rows) -> (ShardId, lists of (key, Row)) -> Written
    _ = (
        pipeline
        | "Start" >> beam.Create([None])
        | "List" >> beam.FlatMap(plan.list_keys)
        | "GroupKeys" >> beam.GroupByKey()
        | "Batch" >> beam.FlatMap(plan.batches)
        | "Spread" >> beam.Reshuffle()
        | "Read" >> beam.FlatMap(plan.read)
        | "Score" >> base.RunInference(base.KeyedModelHandler(SavedModel(plan.serving)))
        | "ByKey" >> beam.Map(_by_key)
        | "GroupByShard" >> shards.GroupByShard({SCORES: plan.num_shards})
        | "Write" >> beam.Map(plan.write)
        | "Shards" >> beam.combiners.ToList()
        | "Summarize" >> beam.Map(plan.write_summary)
    )


def _by_key(scored: tuple[Batch, list[Row]]) -> tuple[shards.ShardId, list[tuple[bytes, Row]]]:
    (index, keys), rows = scored
    return (SCORES, index), list(zip(keys, rows, strict=True))
