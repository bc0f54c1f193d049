"""The Beam pipeline that scores texts: list the files, read them, run the network, write shards.

The network runs in Beam's RunInference, which loads it once a worker.
"""

import collections
import dataclasses
import itertools
import json
import operator
import os
from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
import more_itertools
import pyarrow as pa
import pyarrow.parquet
from apache_beam.ml.inference import base

from pipelines import sharding, totals
from pipelines.preprocess import input_tree, review_batches
from pipelines.score import text_files
from pipelines.score.saved_model_handler import Row, SavedModel
from pipelines.spread import Spread
from pipelines.unfit_files import Limits, UnfitFiles, to_lines
from textrecords import atomic, json_files, spec, storage
from textrecords.manifest import Shard

BATCH_SIZE = 256  # texts that the network scores at once
SCORES = "scores"
SUMMARY = "scores.json"  # the number of texts, the shards, and what scored them; written last
Written = tuple[Shard, dict[str, int]]  # and how many texts got each label
Batch = tuple[int, list[bytes]]  # a shard, and keys of texts that go into it
UNFIT = "unfit"  # output beside the texts


@dataclasses.dataclass(frozen=True)
class Summary:
    """What was scored; `classes` are in the order of `scores`."""

    texts: int
    bad_files: int  # that can't be read, and are left out; `spec.AUDIT` names them
    misread_files: dict[str, int]  # that seem to be in another encoding, by that encoding
    labels: dict[str, int]  # how many texts got each
    classes: tuple[str, ...]
    model_sha256: str  # of the model's `SHA256SUMS`
    shards: tuple[Shard, ...]


@dataclasses.dataclass(frozen=True)
class Plan:
    """What to score, and where the scores go.

    Attributes:
      texts: the files.
      serving: the SavedModel.
      classes: its classes.
      model_sha256: what it's known by.
      output_dir: the folder to write in.
      num_shards: files to write.
      suffix: `jsonl` or `parquet`.
      limits: how many files may be bad, or in another encoding.
      num_texts: how many files there are.
    """

    texts: text_files.TextFiles
    serving: str
    classes: tuple[str, ...]
    model_sha256: str
    output_dir: str
    num_shards: int
    suffix: str
    limits: Limits
    num_texts: int

    def list_keys(self, _: None) -> Iterator[Batch]:
        """Yields lists of keys, by the shard that they go into, as records do."""
        keys = self.texts.list_keys()
        for chunk in more_itertools.chunked(keys, input_tree.LISTED_TOGETHER):
            by_shard = collections.defaultdict(list)
            for key in chunk:
                _, index = sharding.shard_of(SCORES, key, {SCORES: self.num_shards})
                by_shard[index].append(key)
            yield from by_shard.items()

    def batches(self, shard: tuple[int, Iterable[list[bytes]]]) -> Iterator[Batch]:
        """Yields batches of a shard's keys."""
        index, lists = shard
        keys = sorted(itertools.chain.from_iterable(lists))
        return ((index, batch) for batch in more_itertools.chunked(keys, BATCH_SIZE))

    def read(self, batch: Batch) -> Iterator[Any]:
        """Adds the texts of files that can be read; a batch too large for memory is parted.

        Yields:
          (Batch, texts) and, as `UNFIT`, an `UnfitFiles`.
        """
        index, keys = batch
        bad: dict[bytes, str] = {}
        misread: dict[bytes, str] = {}
        texts = self._texts(keys, bad, misread)
        for part in more_itertools.constrained_batches(
            texts, review_batches.BATCH_BYTES, get_len=lambda item: len(item[1]), strict=False
        ):
            in_part, their_texts = zip(*part, strict=True)
            yield (index, list(in_part)), list(their_texts)
        yield beam.pvalue.TaggedOutput(UNFIT, UnfitFiles.of(bad, misread))

    def _texts(
        self, keys: list[bytes], bad: dict[bytes, str], misread: dict[bytes, str]
    ) -> Iterator[tuple[bytes, bytes]]:
        source = self.texts.source
        for key, content in source.read_good(keys, bad):
            yield key, source.to_text(key, content, misread)

    def check(self, unfit: UnfitFiles) -> UnfitFiles:
        """Returns what can't be read; raises `Failure` if that's too much."""
        unfit.check(self.texts.source, self.num_texts, self.limits)
        return unfit

    def write(self, shard: tuple[sharding.ShardId, Iterable[list[tuple[bytes, Row]]]]) -> Written:
        """Writes one shard, by key."""
        (_, index), lists = shard
        rows = [
            {spec.KEY: key.decode("utf-8", "backslashreplace"), **row}
            for key, row in sorted(itertools.chain(*lists), key=operator.itemgetter(0))
        ]
        name = f"{SCORES}-{index:05d}-of-{self.num_shards:05d}.{self.suffix}"
        with atomic.write_file(os.path.join(self.output_dir, name)) as part:
            if self.suffix == "parquet":
                pa.parquet.write_table(pa.Table.from_pylist(rows, self._schema()), part)
            else:
                with open(part, "w", encoding="utf-8") as file:
                    file.writelines(json.dumps(row) + "\n" for row in rows)
            labels = collections.Counter(row["label"] for row in rows)
            return Shard.of(part, name, len(rows)), dict(labels)

    def _schema(self) -> pa.Schema:
        if len(self.classes) == 2:
            scores = ("score", pa.float64())
        else:
            scores = ("scores", pa.list_(pa.float64()))
        return pa.schema([(spec.KEY, pa.string()), scores, ("label", pa.string())])

    def write_summary(self, written: list[Written], unfit: UnfitFiles) -> None:
        """Writes what was written, and names what wasn't, once all is done."""
        in_order = tuple(sorted((shard for shard, _ in written), key=operator.attrgetter("file")))
        total = sum(shard.examples for shard in in_order)
        labels = {name: sum(counts.get(name, 0) for _, counts in written) for name in self.classes}
        if unfit.bad:
            storage.write_text(os.path.join(self.output_dir, spec.AUDIT), to_lines(unfit.bad))
        misread = dict(sorted(unfit.misread.items()))
        summary = Summary(
            total, len(unfit.bad), misread, labels, self.classes, self.model_sha256, in_order
        )
        json_files.write(os.path.join(self.output_dir, SUMMARY), summary)


def build(pipeline: beam.Pipeline, plan: Plan) -> None:
    """Adds all stages."""
    # (shard, keys) -> (Batch, texts) -> (Batch, Rows) -> (ShardId, lists of (key, Row)) -> Written
    read = (
        pipeline
        | "Start" >> beam.Create([None])
        | "List" >> beam.FlatMap(plan.list_keys)
        | "GroupKeys" >> beam.GroupByKey()
        | "Batch" >> beam.FlatMap(plan.batches)
        | "Spread" >> Spread()
        | "Read" >> beam.FlatMap(plan.read).with_outputs(UNFIT, main="texts")
    )
    unfit = totals.total("Unfit", read[UNFIT]) | "Check" >> beam.Map(plan.check)
    _ = (
        read.texts
        | "Score" >> base.RunInference(base.KeyedModelHandler(SavedModel(plan.serving)))
        | "ByKey" >> beam.Map(_by_key)
        | "GroupByShard" >> sharding.GroupByShard({SCORES: plan.num_shards})
        | "Write" >> beam.Map(plan.write)
        | "Shards" >> beam.combiners.ToList()
        | "Summarize" >> beam.Map(plan.write_summary, beam.pvalue.AsSingleton(unfit))
    )


def _by_key(
    scored: tuple[Batch, list[Row]],
) -> tuple[sharding.ShardId, list[tuple[bytes, Row]]]:
    (index, keys), rows = scored
    return (SCORES, index), list(zip(keys, rows, strict=True))
