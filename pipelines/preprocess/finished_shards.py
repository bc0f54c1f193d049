"""Reuses the finished shards of interrupted runs, so that an interruption costs little.

Each finished shard has a completion marker (`atomic.note`): the digest of everything that the shard
depends on, and the other results of writing it. A shard is reused only if that digest is the same,
and the shard and its marker are intact; otherwise it's rewritten.
"""

import base64
import collections
import contextlib
import dataclasses
import hashlib
import importlib.metadata
import json
import os
import zlib
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from apache_beam.metrics import Metrics

from pipelines import run_info, sharding
from pipelines.findings import Finding, tag_findings
from pipelines.preprocess import write_shards
from pipelines.preprocess.review_batches import Review
from pipelines.preprocess.write_shards import Unwritten, WriteShard, Written
from textrecords import atomic, checksums, json_files, spec, storage
from textrecords.manifest import Shard

RECORDS, SHARDS_REUSED = (
    Metrics.counter("textrecords", name) for name in ("records_written", "shards_reused")
)
SHARD_BYTES = Metrics.distribution("textrecords", "shard_bytes")
PACKAGES = ("textrecords", *run_info.PACKAGES)


@dataclasses.dataclass(frozen=True)
class Finished:
    """The content of a shard's completion marker.

    Attributes:
      made_of: the SHA-256 of everything that the shard depends on.
      shard: the file.
      label_counts, length_counts, keys: as in `Written`.
      id_counts: the same, compressed, in base 64.
      findings: on its reviews, as JSON.
    """

    made_of: str
    shard: Shard
    label_counts: list[int]
    length_counts: dict[int, int]
    id_counts: str
    keys: sharding.Keys
    findings: list[str]

    @classmethod
    def of(cls, made_of: str, written: Written, findings: list[Finding]) -> "Finished":
        """Returns the marker's content for the results of `WriteShard.write`."""
        (shard,) = written.shards
        return cls(
            made_of=made_of,
            shard=shard,
            label_counts=written.label_counts.tolist(),
            length_counts=dict(written.length_counts),
            id_counts=base64.b64encode(zlib.compress(written.id_counts.tobytes())).decode(),
            keys=written.keys,
            findings=[*map(json.dumps, findings)],
        )

    def written(self) -> tuple[Written, list[Finding]]:
        """Returns the results of `WriteShard.write`."""
        findings = [*map(json.loads, self.findings)]
        written = Written(
            shards=(self.shard,),
            label_counts=np.array(self.label_counts, np.int64),
            length_counts=collections.Counter(self.length_counts),
            id_counts=np.frombuffer(zlib.decompress(base64.b64decode(self.id_counts)), np.int64),
            notes=collections.Counter(each["finding"] for each in findings),
            keys=self.keys,
            reused=1,
        )
        return written, findings

    def write(self, path: str) -> None:
        """Writes a completion marker: the SHA-256 of its content, then the content."""
        content = json_files.to_json(self)
        atomic.write_text(path, f"{_sha256(content)}\n{content}")

    @classmethod
    def read(cls, path: str) -> "Finished":
        """Reads a completion marker; raises `OSError`, or `ValueError` if it's damaged."""
        sha256, _, content = storage.read_text(path).partition("\n")
        if _sha256(content) != sha256:
            raise ValueError(f"{path} isn't what was written")
        return json_files.parse(cls, content)


@dataclasses.dataclass(frozen=True)
class FinishShard:
    """Reuses a shard, or writes it.

    Attributes:
      write_shard: writes it.
      left: the folders with finished shards of interrupted runs.
    """

    write_shard: WriteShard
    left: tuple[str, ...] = ()

    def finish(
        self,
        shard: tuple[sharding.ShardId, Iterable[list[Review]]],
        transform_fn_dir: str,
        num_shards: dict[str, int],
        classes: tuple[str, ...],
    ) -> Iterator[Any]:
        """Yields the split and what was written of it; as `FINDINGS`, lists of `Line`."""
        (split, index), lists = shard
        name = spec.shard_name(split, index, num_shards[split], self.write_shard.compression)
        unwritten = Unwritten(split, name, write_shards.in_order(lists))
        made_of = self._made_of(unwritten, transform_fn_dir, classes)
        path = os.path.join(self.write_shard.output_dir, name)
        if finished := self._reuse(path, made_of):
            written, findings = finished.written()
        else:
            written, findings = self.write_shard.write(unwritten, transform_fn_dir, classes)
            finished = Finished.of(made_of, written, findings)
        finished.write(atomic.note(path, atomic.FINISHED))
        yield split, written
        yield tag_findings(findings)

    def _made_of(self, shard: Unwritten, transform_fn_dir: str, classes: tuple[str, ...]) -> str:
        """Returns the SHA-256 of everything that a shard depends on."""
        write = self.write_shard
        digest = hashlib.sha256()
        for part in (
            (spec.FORMAT_VERSION, spec.DATA_VERSION, shard.name),
            [importlib.metadata.version(package) for package in PACKAGES],
            (classes, write.compression, write.min_tokens, write.source.encoding),
            dataclasses.astuple(write.options),
            checksums.sha256(os.path.join(transform_fn_dir, spec.ASSET)),
            *((r.key, r.label, r.size, r.text_hash, r.seems_in) for r in shard.reviews),
        ):
            digest.update(f"{part!r}\n".encode())
        return digest.hexdigest()

    def _reuse(self, path: str, made_of: str) -> Finished | None:
        """Puts a finished shard at `path` and returns its marker; None if there is none."""
        for folder in self.left:
            with contextlib.suppress(OSError, ValueError):
                finished = _take(os.path.join(folder, os.path.basename(path)), path, made_of)
                storage.write_text(atomic.note(path, atomic.REUSED), "")
                return finished
        return None


def count(written: tuple[str, Written]) -> tuple[str, Written]:
    """Counts the shard of a split for metrics, and returns what it gets."""
    [shard], reused = written[1].shards, written[1].reused
    if reused:
        SHARDS_REUSED.inc()
    else:
        RECORDS.inc(shard.examples)
        SHARD_BYTES.update(shard.bytes)
    return written


def _take(left: str, path: str, made_of: str) -> Finished:
    """Puts a shard at `path`; raises `OSError` or `ValueError` if it isn't the right one."""
    finished = Finished.read(atomic.note(left, atomic.FINISHED))
    if finished.made_of != made_of:
        raise ValueError(f"{left} was made from something else")
    with atomic.write_file(path) as part:
        storage.link(left, part)
        if Shard.of(part, os.path.basename(path), finished.shard.examples) != finished.shard:
            raise ValueError(f"{left} isn't what was written")
    return finished


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
