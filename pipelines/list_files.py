"""Lists the files of an input on workers."""

from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
from apache_beam.metrics import Metrics

from pipelines import helpers, sharding, totals
from pipelines.grouping import Spread
from pipelines.places import Listed, Place, seen
from textrecords import text_source

LISTED_AT_ONCE = 10_000  # files of a place in Cloud Storage, before the rest is split
FILES = Metrics.counter("textrecords", "files_listed")
LISTED, REST = "listed", "rest"  # additional outputs


class ListFiles(beam.PTransform):
    """Lists places of an input: returns lists of Unread, and the sum of all `Listed`.

    Args:
      source: the input.
      places: the places to list.
    """

    def __init__(self, source: text_source.Source, places: Iterable[Place]):
        super().__init__()
        self._source = source
        self._places = list(places)

    def expand(self, start: beam.Pipeline) -> tuple[beam.PCollection, beam.PCollection]:
        places = start | "Places" >> beam.Create(self._places, reshuffle=False)
        times = self._source.times_split
        files, listed = [], []
        for number in range(times + 1):
            limit = LISTED_AT_ONCE if number < times else None
            found = (
                places
                | f"SpreadPlaces{number}" >> Spread()
                | f"List{number}"
                >> beam.ParDo(helpers.FlatMap(list_place), self._source, limit).with_outputs(
                    LISTED, REST, main="files"
                )
            )
            files.append(found.files)
            listed.append(found[LISTED] | f"CountFiles{number}" >> beam.Map(count))
            places = found[REST]
        spread = files | "Files" >> beam.Flatten() | "SpreadFiles" >> Spread()
        return spread, totals.total("Listed", listed | "Parts" >> beam.Flatten())


def list_place(place: Place, source: text_source.Source, limit: int | None) -> Iterator[Any]:
    """Yields what `Place.list_files` does, everything except lists of files with a tag.

    A `Listed` of each list has its keys, for a check that none is lost on the way.
    """
    for found in place.list_files(source, limit):
        if isinstance(found, list):
            keys = sharding.Keys.of([key for key, *_ in found])
            yield beam.pvalue.TaggedOutput(LISTED, Listed(keys=keys))
            yield found
        else:
            tag = LISTED if isinstance(found, Listed) else REST
            yield beam.pvalue.TaggedOutput(tag, found)


def count(listed: Listed) -> Listed:
    """Counts files for metrics and progress bars, and returns what it gets."""
    FILES.inc(listed.num_reviews)
    return seen(listed)
