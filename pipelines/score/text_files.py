"""The text files to score: those of a folder, or of a pattern."""

import collections
import dataclasses
import glob
import os
import re
from collections.abc import Iterator

import more_itertools

from pipelines import patterns, sharding
from pipelines.places import LISTED_TOGETHER, Listed, Place, list_here
from textrecords import storage, text_source
from textrecords.errors import BadInput
from textrecords.text_source import Unread

# Tables that can't be read.
TABLE = re.compile(
    r"\.(arrow|avro|feather|ods|orc|xlsx?|(csv|tsv|jsonl?|ndjson)\.(bz2|xz|zip|zst))$", re.I
)


@dataclasses.dataclass(frozen=True)
class TextFiles:
    """The files below a folder whose names match `source.pattern`; or their paths, if `is_glob`.

    A glob is of pathlib's patterns.
    """

    source: text_source.Source
    is_glob: bool

    @property
    def kept(self) -> dict[str, str]:
        """What is written beside the scores: of files, nothing."""
        return {}

    def stored_in(self, output_dir: str) -> "TextFiles":
        """Returns these files: they stay where they are."""
        return self

    def check_any(self) -> None:
        """Raises `BadInput` if there are none."""
        if not list_here(self.places, self.source, enough=1).num_reviews:
            raise BadInput(self.why_none())

    @property
    def places(self) -> "tuple[Place | Matches]":
        """What to list."""
        return (Matches() if self.is_glob else Place("", label=""),)

    def why_none(self) -> str:
        """Returns what to say if there are no such files."""
        folder, pattern = self.source.input_dir, self.source.pattern
        path = os.path.join(folder, pattern)
        if not self.is_glob:
            return (
                f"{folder} holds no {pattern} files: for others, name a quoted pattern, {folder}/*"
            )
        if glob.has_magic(pattern):
            return f"{path} matches no files: name a folder, or another quoted pattern"
        return f"no file or folder {path}: name a folder, a file or a quoted pattern"


@dataclasses.dataclass(frozen=True)
class Matches:
    """The files that a pattern matches, as a place; one worker looks for all of them."""

    def list_files(
        self, source: text_source.Source, most: int | None = None
    ) -> Iterator[list[Unread] | Listed]:
        """Yields what `Place.list_files` does, but for hidden files and leftovers.

        Raises:
          Failure: if a folder can't be listed.
        """
        yield Listed()
        paths = patterns.match(source.input_dir, source.pattern)
        for chunk in more_itertools.chunked(map(os.fsencode, paths), LISTED_TOGETHER):
            text_source.SEEN["listed"] += len(chunk)
            yield Listed(collections.Counter({"": len(chunk)}), keys=sharding.Keys.of(chunk))
            yield [Unread(key)[:] for key in chunk]


def parse_input(path: str, encoding: str) -> TextFiles:
    """Returns the files that `--input` names: a folder, a file or a pattern; raises `BadInput`."""
    encoding = text_source.encoding(encoding)
    path = storage.absolute(path)
    if TABLE.search(path) and not storage.is_folder(path):
        raise BadInput(
            f"{path} is a table of a kind that isn't read: write it as Parquet, or as CSV or JSON "
            "lines, plain or by gzip"
        )
    if storage.is_folder(path):
        return TextFiles(text_source.Source(path, encoding=encoding), is_glob=False)
    if storage.is_file(path):  # whatever characters its name has
        folder, name = os.path.split(path)
        return TextFiles(text_source.Source(folder, glob.escape(name), encoding), is_glob=True)
    folder, pattern = patterns.split(path)
    return TextFiles(text_source.Source(folder, pattern, encoding), is_glob=True)
