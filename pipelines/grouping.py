"""Groups elements by shard, or only to distribute them to all workers."""

import hashlib
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
from apache_beam.transforms.window import GlobalWindows
from apache_beam.utils.windowed_value import WindowedValue

from pipelines.sharding import ShardId


class Spread(beam.PTransform):
    """Distributes elements to all workers, deterministically, also if a task is run again.

    `beam.Reshuffle` distributes them at random. Spark recomputes what a lost executor held: with
    another distribution, some elements would come twice, and others never.

    This requires that a task yields the same elements again: lists of files follow the order in
    which a folder is listed. The elements' `repr` must be the same in any process; duplicates are
    kept.
    """

    def expand(self, elements: beam.PCollection) -> beam.PCollection:
        return (
            elements
            | "AddKeys" >> beam.Map(_with_key)
            | "Group" >> beam.GroupByKey()
            | "DropKeys" >> beam.FlatMap(_values)
        )


def _with_key(element: Any) -> tuple[bytes, Any]:
    return hashlib.blake2b(repr(element).encode(), digest_size=8).digest(), element


def _values(group: tuple[bytes, Any]) -> Any:
    return group[1]


class GroupByShard(beam.PTransform):
    """Groups (ShardId, list) by shard; the output has every shard, including empty ones.

    Args:
      every_shard: a PCollection of all ShardIds.
    """

    def __init__(self, every_shard: beam.PCollection):
        super().__init__()
        self._every_shard = every_shard

    def expand(self, assigned: beam.PCollection) -> beam.PCollection:
        empty = self._every_shard | "NoReviews" >> beam.Map(_empty)
        # (ShardId, list) -> (ShardId, lists)
        return (assigned, empty) | beam.Flatten() | beam.GroupByKey()


def _empty(shard: ShardId) -> tuple[ShardId, list[Any]]:
    return shard, []


class GatherInBundle(beam.DoFn):
    """Joins the lists of (key, list) with the same key in the same bundle.

    Args:
      limit: items held before they are emitted.
    """

    def __init__(self, limit: int):
        super().__init__()
        self._limit = limit

    def start_bundle(self) -> None:
        self._held: dict[Any, list[Any]] = {}
        self._number = 0

    def process(self, element: tuple[Any, list[Any]]) -> Iterator[tuple[Any, list[Any]]]:
        key, items = element
        self._held.setdefault(key, []).extend(items)
        self._number += len(items)
        if self._number >= self._limit:
            yield from self._held.items()
            self.start_bundle()

    def finish_bundle(self) -> Iterator[WindowedValue]:
        yield from map(GlobalWindows.windowed_value, self._held.items())
