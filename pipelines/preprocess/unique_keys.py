"""Refuses user-defined keys that aren't unique, since they couldn't identify records."""

import collections
import os
from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam

from pipelines import sharding
from pipelines.places import Listed
from pipelines.preprocess import audit
from textrecords import terminal
from textrecords.errors import BadInput
from textrecords.text_source import Unread


class CheckUnique(beam.PTransform):
    """Checks lists of Unread; its output is empty.

    Args:
      listed: the `Listed` of the input, as a side input.
      column: of the keys, for the message.
    """

    def __init__(self, listed: beam.pvalue.AsSingleton, column: str):
        super().__init__()
        self._listed = listed
        self._column = column

    def expand(self, unread: beam.PCollection) -> beam.PCollection:
        # lists of Unread -> (bucket, list of (key, row))
        return (
            unread
            | "KeysByBucket" >> beam.FlatMap(by_bucket, self._listed)
            | "GroupKeys" >> beam.GroupByKey()
            | "CheckKeys" >> beam.FlatMap(check, self._column)
        )


def by_bucket(listed_here: list[Any], listed: Listed) -> Iterator[tuple[int, list[Any]]]:
    """Yields the keys of rows with the rows, by a hash of the keys."""
    buckets = audit.num_buckets(listed.num_reviews)
    found = collections.defaultdict(list)
    for unread in map(Unread._make, listed_here):
        bucket = int.from_bytes(sharding.key_hash(unread.key), "big") % buckets
        found[bucket].append((unread.key, unread.kept))
    yield from found.items()


def check(bucket: tuple[int, Iterable[list[Any]]], column: str) -> Iterator[None]:
    """Raises `BadInput` if a key occurs twice; yields nothing."""
    rows: dict[bytes, str] = {}
    for keys in bucket[1]:
        for key, row in keys:
            if key in rows:
                both = " and ".join(sorted((rows[key], row)))
                shown = terminal.one_line(os.fsdecode(key))
                raise BadInput(f"{both} have the same {column}, {shown}: keys have to be unique")
            rows[key] = row
    yield from ()
