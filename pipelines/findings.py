"""What is wrong with single files, as the workers that find it write it down."""

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

FINDINGS = "findings"  # an output of stages: lists of findings
FILES_PER_SHARD = 200_000  # of the input: in the wrong encoding, there is a finding on each
# What is wrong ("finding") with which files ("keys").
Finding = dict[str, Any]
Line = tuple[bytes, str]  # what it is sorted by, and the finding as JSON


def finding(what: str, keys: Iterable[bytes], **more: Any) -> Finding:
    """Describes what is wrong with the files of `keys`."""
    return {"finding": what, **more, "keys": [os.fsdecode(key) for key in keys]}


class WriteFindings(beam.PTransform):
    """Writes lists of findings into shards, and gives the list of these; none of them is empty.

    Args:
      output_dir: the folder to write in.
      listed: the `Listed` of the input, as a side input.
    """

    def __init__(self, output_dir: str, listed: beam.pvalue.AsSingleton):
        super().__init__()
        self._output_dir = output_dir
        self._listed = listed

    def expand(self, findings: beam.PCollection) -> beam.PCollection:
        # lists of Finding -> (shard, list of Line) -> Shard
        return (
            findings
            | "ToLines" >> beam.FlatMap(to_lines, self._listed)
            | "GroupLines" >> beam.GroupByKey()
            | "WriteLines" >> beam.Map(write, self._listed, self._output_dir)
            | "AuditShards" >> beam.combiners.ToList()
        )


def to_lines(findings: Iterable[Finding], listed: Listed) -> Iterator[tuple[int, list[Line]]]:
    """Yields findings by the shard that they go into: by the first of their keys.

    They are escaped, since a key may hold bytes that aren't UTF-8.
    """
    by_shard = collections.defaultdict(list)
    for each in findings:
        hashed = sharding.key_hash(os.fsencode(each["keys"][0]))
        index = int.from_bytes(hashed, "big") % _num_shards(listed)
        by_shard[index].append((hashed, json.dumps(each)))
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
