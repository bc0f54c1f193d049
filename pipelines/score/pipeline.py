"""The Beam pipeline that scores texts: list the files, read and score them, write shards."""

import collections
import dataclasses
import itertools
import json
import operator
import os
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import apache_beam as beam
import more_itertools
import pyarrow as pa
import pyarrow.parquet
from apache_beam.pvalue import AsIter, AsSingleton

from pipelines import grouping, helpers, sharding, totals
from pipelines.findings import FINDINGS, WriteFindings, on_bad_files, tag_findings
from pipelines.list_files import ListFiles
from pipelines.places import Listed
from pipelines.preprocess import review_batches
from pipelines.score import text_files, text_tables
from pipelines.score.scorer import Row, Scorer
from pipelines.unfit_files import Limits, UnfitFiles
from textrecords import atomic, checksums, drift, json_files, spec, terminal
from textrecords.errors import BadInput
from textrecords.manifest import Shard
from textrecords.text_source import Unread

BATCH_SIZE = 256  # texts that the network scores at once
SCORES = "scores"
SUMMARY = "scores.json"  # the number of texts, the shards, and the model; written last
Name = tuple[bytes, str]  # the key of a text, and the kept columns of its row
Batch = tuple[int, list[Any]]  # a shard, and listed texts that go into it
UNFIT = "unfit"  # an additional output with the texts
PROFILES = "profiles"  # an additional output with the scores
# Texts that were scored in this run, for progress bars.
SEEN: collections.Counter[str] = collections.Counter()


@dataclasses.dataclass(frozen=True)
class Summary:
    """What was scored; `classes` are in the order of `scores`."""

    texts: int
    bad_files: int  # files that can't be read, and were skipped
    misread_files: dict[str, int]  # files that seem to be in another encoding, by that encoding
    labels: dict[str, int]  # number of texts by predicted label
    classes: tuple[str, ...]
    model_sha256: str  # of the model's `SHA256SUMS`
    shards: tuple[Shard, ...]
    audit_shards: tuple[Shard, ...]  # of findings on files, if any
    profile: drift.Profile | None  # of the texts, if the model returns its ids
    drift: dict[str, float] | None  # from the texts that the model was tested on: `drift.compare`


class Written(NamedTuple):
    """A shard, the number of its texts by label, and their keys."""

    shard: Shard
    labels: dict[str, int]
    keys: sharding.Keys


class Found(NamedTuple):
    """What was found in the input, other than the texts."""

    unfit: UnfitFiles
    listed: Listed
    audit_shards: list[Shard]


@dataclasses.dataclass(frozen=True)
class Plan:
    """What to score, and where the scores go.

    Attributes:
      texts: what to score.
      scorer: the model.
      classes: of the model.
      model_sha256: identifies the model.
      output_dir: the folder to write to.
      num_shards: files to write, or None to choose by the number of texts.
      suffix: `jsonl` or `parquet`.
      limits: how many files may be bad, or in another encoding.
      known: profile of the texts that the model was tested on, if known.
    """

    texts: "text_files.TextFiles | text_tables.TextTables"
    scorer: Scorer
    classes: tuple[str, ...]
    model_sha256: str
    output_dir: str
    num_shards: int | None
    suffix: str
    limits: Limits
    known: drift.Profile | None = None

    @property
    def about_dir(self) -> str:
        """The folder for metadata of the scores."""
        return os.path.join(self.output_dir, checksums.ABOUT)

    def check_listed(self, listed: Listed) -> Listed:
        """Returns what was listed; raises `BadInput` if that's nothing."""
        if not listed.num_reviews:
            raise BadInput(self.texts.why_none())
        return listed

    def shards(self, listed: Listed) -> dict[str, int]:
        """Returns the number of shards, by their name."""
        return {SCORES: self.num_shards or sharding.default_num_shards(listed.num_reviews)}

    def batches(self, shard: tuple[int, Iterable[list[Any]]]) -> Iterator[Batch]:
        """Yields batches of a shard's texts, by key."""
        index, lists = shard
        found = sorted(itertools.chain.from_iterable(lists))
        return ((index, batch) for batch in more_itertools.chunked(found, BATCH_SIZE))

    def score(self, batch: Batch) -> Iterator[Any]:
        """Scores the readable texts; splits a batch that is too large for memory.

        Yields:
          (ShardId, list of (Name, Row)); as `PROFILES`, a `drift.Profile`; as `FINDINGS`, lists of
          `Line` on files that can't be read; as `UNFIT`, an `UnfitFiles`.
        """
        index, found = batch
        bad: dict[bytes, str] = {}
        misread: dict[bytes, str] = {}
        texts = self._texts(map(Unread._make, found), bad, misread)
        for part in more_itertools.constrained_batches(
            texts, review_batches.BATCH_BYTES, get_len=lambda item: len(item[1]), strict=False
        ):
            names, their_texts = zip(*part, strict=True)
            rows, profile = self.scorer.score(list(their_texts))
            yield (SCORES, index), list(zip(names, rows, strict=True))
            if profile:
                yield beam.pvalue.TaggedOutput(PROFILES, profile)
        if bad:
            yield tag_findings(on_bad_files(bad))
        yield beam.pvalue.TaggedOutput(UNFIT, UnfitFiles.of(bad, misread))

    def _texts(
        self, found: Iterable[Unread], bad: dict[bytes, str], misread: dict[bytes, str]
    ) -> Iterator[tuple[Name, bytes]]:
        source = self.texts.source
        for unread, content in source.read_good(found, bad):
            name = unread.key, unread.kept
            yield name, source.to_text(unread.key, content, misread)

    def check(self, unfit: UnfitFiles, listed: Listed) -> UnfitFiles:
        """Returns `unfit`; raises `Failure` if there are too many unfit files."""
        unfit.check(self.texts.source, listed.num_reviews, self.limits)
        return unfit

    def write(
        self,
        shard: tuple[sharding.ShardId, Iterable[list[tuple[Name, Row]]]],
        num_shards: dict[str, int],
    ) -> Written:
        """Writes one shard, by key."""
        (_, index), lists = shard
        scored = sorted(itertools.chain(*lists), key=operator.itemgetter(0))
        _check_unique([key for (key, _), _ in scored])
        rows = [self._row(*name, row) for name, row in scored]
        name = f"{SCORES}-{index:05d}-of-{num_shards[SCORES]:05d}.{self.suffix}"
        with atomic.write_file(os.path.join(self.output_dir, name)) as part:
            if self.suffix == "parquet":
                pa.parquet.write_table(pa.Table.from_pylist(rows, self._schema()), part)
            else:
                with open(part, "w", encoding="utf-8") as file:
                    file.writelines(json.dumps(row) + "\n" for row in rows)
            labels = collections.Counter(row["label"] for row in rows)
            keys = sharding.Keys.of([key for (key, _), _ in scored])
            return Written(Shard.of(part, name, len(rows)), dict(labels), keys)

    def _row(self, key: bytes, kept: str, scores: Row) -> Row:
        columns = (
            dict(zip(self.texts.kept, json.loads(kept), strict=True)) if self.texts.kept else {}
        )
        return {spec.KEY: key.decode("utf-8", "backslashreplace"), **columns, **scores}

    def _schema(self) -> pa.Schema:
        if len(self.classes) == 2:
            scores = ("score", pa.float64())
        else:
            scores = ("scores", pa.list_(pa.float64()))
        kept = [(name, pa.type_for_alias(of)) for name, of in self.texts.kept.items()]
        return pa.schema([(spec.KEY, pa.string()), *kept, scores, ("label", pa.string())])

    def write_summary(
        self, written: list[Written], found: Found, profiles: Iterable[drift.Profile]
    ) -> None:
        """Checks that no file was lost, and writes the summary, at the end.

        Args:
          written: all shards.
          found: what was found in the input.
          profiles: one of all texts, or none.
        """
        unfit, listed, audit_shards = found
        if totals.add_up(each.keys for each in written) + unfit.keys != listed.keys:
            raise sharding.lost(listed.keys, "texts was scored")
        shards, audit_shards = (
            tuple(sorted(each, key=operator.attrgetter("file")))
            for each in ([each.shard for each in written], audit_shards)
        )
        profile = next(iter(profiles), None)
        summary = Summary(
            texts=sum(shard.examples for shard in shards),
            bad_files=unfit.num_bad,
            misread_files=dict(sorted(unfit.misread.items())),
            labels={name: sum(w.labels.get(name, 0) for w in written) for name in self.classes},
            classes=self.classes,
            model_sha256=self.model_sha256,
            shards=shards,
            audit_shards=audit_shards,
            profile=profile,
            drift=drift.compare(profile, self.known) if profile and self.known else None,
        )
        json_files.write(os.path.join(self.about_dir, SUMMARY), summary)


def build(pipeline: beam.Pipeline, plan: Plan) -> None:
    """Adds all stages."""
    # places of the input -> lists of Unread, and one `Listed`
    unread, counted = pipeline | "ListFiles" >> ListFiles(plan.texts.source, plan.texts.places)
    listed = counted | "CheckListed" >> beam.Map(plan.check_listed)
    num_shards = listed | "NumShards" >> beam.Map(plan.shards)
    # lists of Unread -> Batch -> (ShardId, list of (Name, Row))
    scored = (
        unread
        | "ByShard" >> beam.FlatMap(by_shard, AsSingleton(num_shards))
        | "GroupKeys" >> beam.GroupByKey()
        | "Batch" >> beam.FlatMap(plan.batches)
        | "Spread" >> grouping.Spread()
        | "Score"
        >> beam.ParDo(helpers.FlatMap(plan.score)).with_outputs(
            FINDINGS, UNFIT, PROFILES, main="rows"
        )
    )
    audit_shards = scored[FINDINGS] | "WriteFindings" >> WriteFindings(
        plan.about_dir, AsSingleton(listed)
    )
    found = (
        totals.total("Unfit", scored[UNFIT])
        | "Check" >> beam.Map(plan.check, AsSingleton(listed))
        | "Found" >> beam.Map(Found, AsSingleton(listed), AsSingleton(audit_shards))
    )
    every_shard = num_shards | "EveryShard" >> beam.FlatMap(sharding.every_shard)
    profile = totals.total("Profile", scored[PROFILES])
    # (ShardId, list of (Name, Row)) -> (ShardId, lists of (Name, Row)) -> Written
    rows = scored.rows | "CountScored" >> beam.Map(_count)
    _ = (
        rows
        | "GroupByShard" >> grouping.GroupByShard(every_shard)
        | "Write" >> beam.Map(plan.write, AsSingleton(num_shards))
        | "Shards" >> beam.combiners.ToList()
        | "Summarize" >> beam.Map(plan.write_summary, AsSingleton(found), AsIter(profile))
    )


def by_shard(listed: list[Any], num_shards: dict[str, int]) -> Iterator[Batch]:
    """Yields lists of texts by shard, with the same hash as for records."""
    found = collections.defaultdict(list)
    for unread in listed:
        _, index = sharding.shard_of(SCORES, unread[0], num_shards)
        found[index].append(unread)
    yield from found.items()


def _check_unique(keys: list[bytes]) -> None:
    """Raises `BadInput` if two of the sorted keys are equal, as in a column they may be."""
    for one, other in itertools.pairwise(keys):
        if one == other:  # equal keys are in the same shard
            shown = terminal.one_line(os.fsdecode(one))
            raise BadInput(f"two rows have the key {shown}: name another --key_column")


def _count(rows: tuple[sharding.ShardId, list[Any]]) -> tuple[sharding.ShardId, list[Any]]:
    """Counts scored texts for progress bars, and returns what it gets."""
    SEEN["scored"] += len(rows[1])
    return rows
