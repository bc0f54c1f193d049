"""Findings on single files, written by the workers that find them."""

import collections
import itertools
import json
import os
from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam

from pipelines import sharding
from pipelines.places import Listed
from textrecords import atomic, spec
from textrecords.manifest import Shard

FINDINGS = "findings"  # an output of stages: lists of `Line`
FILES_PER_SHARD = 200_000  # of the input: with a wrong encoding, there is a finding for each file
# What is wrong ("finding") with which files ("keys").
Finding = dict[str, Any]
# The hash of the first key, which decides the shard and the order, and the finding as JSON.
Line = tuple[bytes, str]


def finding(what: str, keys: Iterable[bytes], **more: Any) -> Finding:
    """Describes what is wrong with the files of `keys`."""
    return {"finding": what, **more, "keys": [os.fsdecode(key) for key in keys]}


def on_bad_files(bad: dict[bytes, str]) -> list[Finding]:
    """Describes files that can't be read, given as errors by key."""
    return [finding(spec.BAD_FILE, [key], why=why) for key, why in bad.items()]


def tag_findings(findings: Iterable[Finding]) -> beam.pvalue.TaggedOutput:
    """Returns findings as an output of a stage.

    They are escaped, since keys may contain bytes that aren't UTF-8, which Beam's coder refuses.
    """
    keys = ((each, os.fsencode(each["keys"][0])) for each in findings)
    lines = [(sharding.key_hash(key), json.dumps(each)) for each, key in keys]
    return beam.pvalue.TaggedOutput(FINDINGS, lines)


class WriteFindings(beam.PTransform):
    """Writes lists of `Line` to shards, and returns the list of these; none of them is empty.

    Args:
      output_dir: the folder to write to.
      listed: the `Listed` of the input, as a side input.
    """

    def __init__(self, output_dir: str, listed: beam.pvalue.AsSingleton):
        super().__init__()
        self._output_dir = output_dir
        self._listed = listed

    def expand(self, findings: beam.PCollection) -> beam.PCollection:
        # lists of Line -> (shard, list of Line) -> Shard
        return (
            findings
            | "SplitLines" >> beam.FlatMap(split_lines, self._listed)
            | "GroupLines" >> beam.GroupByKey()
            | "WriteLines" >> beam.Map(write, self._listed, self._output_dir)
            | "AuditShards" >> beam.combiners.ToList()
        )


def split_lines(lines: Iterable[Line], listed: Listed) -> Iterator[tuple[int, list[Line]]]:
    """Yields lines by shard."""
    by_shard = collections.defaultdict(list)
    num_shards = _num_shards(listed)
    for line in lines:
        by_shard[int.from_bytes(line[0], "big") % num_shards].append(line)
    yield from by_shard.items()


def write(shard: tuple[int, Iterable[list[Line]]], listed: Listed, output_dir: str) -> Shard:
    """Writes a shard, sorted by the hashes of the keys."""
    index, lists = shard
    lines = sorted(itertools.chain.from_iterable(lists))
    name = spec.audit_name(index, _num_shards(listed))
    with atomic.write_file(os.path.join(output_dir, name)) as part:
        with open(part, "w", encoding="utf-8") as file:
            file.writelines(f"{line}\n" for _, line in lines)
        return Shard.of(part, name, len(lines))


def _num_shards(listed: Listed) -> int:
    return -(-listed.num_reviews // FILES_PER_SHARD)
