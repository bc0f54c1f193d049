"""Lists the files of an input on workers."""

from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
from apache_beam.metrics import Metrics

from pipelines import totals
from pipelines.grouping import Spread
from pipelines.places import Listed, Place
from textrecords import text_source

LISTED_AT_ONCE = 10_000  # files of a place in Cloud Storage, before the rest is split
FILES = Metrics.counter("textrecords", "files_listed")
LISTED, REST = "listed", "rest"  # outputs beside the files


class ListFiles(beam.PTransform):
    """Lists places of an input: lists of Unread, and the sum of what was `Listed`.

    Args:
      source: the input.
      places: what to list of it.
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
            most = LISTED_AT_ONCE if number < times else None
            found = (
                places
                | f"SpreadPlaces{number}" >> Spread()
                | f"List{number}"
                >> beam.FlatMap(list_place, self._source, most).with_outputs(
                    LISTED, REST, main="files"
                )
            )
            files.append(found.files)
            listed.append(found[LISTED])
            places = found[REST]
        spread = files | "Files" >> beam.Flatten() | "SpreadFiles" >> Spread()
        return spread, totals.total("Listed", listed | "Parts" >> beam.Flatten())


def list_place(place: Place, source: text_source.Source, most: int | None) -> Iterator[Any]:
    """Yields what `Place.list_files` does; all but lists of files with a tag."""
    for found in place.list_files(source, most):
        if isinstance(found, list):
            FILES.inc(len(found))
            yield found
        else:
            tag = LISTED if isinstance(found, Listed) else REST
            yield beam.pvalue.TaggedOutput(tag, found)
