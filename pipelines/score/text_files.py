"""The text files to score, in a folder or given by a pattern."""

import collections
import dataclasses
import glob
import os
import re
from collections.abc import Iterator

import more_itertools

from pipelines import patterns
from pipelines.places import LISTED_TOGETHER, Listed, Place, list_here
from textrecords import storage, text_source
from textrecords.errors import BadInput
from textrecords.text_source import Unread

# Tables in formats that aren't supported.
TABLE = re.compile(
    r"\.(arrow|avro|feather|ods|orc|xlsx?|(csv|tsv|jsonl?|ndjson)\.(bz2|xz|zip|zst))$", re.I
)


@dataclasses.dataclass(frozen=True)
class TextFiles:
    """The files below a folder whose names, or paths if `is_glob`, match `source.pattern`.

    Globs are pathlib's.
    """

    source: text_source.Source
    is_glob: bool

    @property
    def kept(self) -> dict[str, str]:
        """Columns to write with the scores: none for files."""
        return {}

    def stored_in(self, output_dir: str) -> "TextFiles":
        """Returns these files: they aren't copied."""
        return self

    def check_any(self) -> None:
        """Raises `BadInput` if there are none."""
        if not list_here(self.places, self.source, enough=1).num_reviews:
            raise BadInput(self.why_none())

    @property
    def places(self) -> "tuple[Place | Matches]":
        """The places to list."""
        return (Matches() if self.is_glob else Place("", label=""),)

    def why_none(self) -> str:
        """Returns the error message for no such files."""
        folder, pattern = self.source.input_dir, self.source.pattern
        path = os.path.join(folder, pattern)
        if not self.is_glob:
            return f"{folder} has no {pattern} files: for others, name a quoted pattern, {folder}/*"
        if glob.has_magic(pattern):
            return f"{path} matches no files: name a folder, or another quoted pattern"
        return f"no file or folder {path}: name a folder, a file or a quoted pattern"


@dataclasses.dataclass(frozen=True)
class Matches:
    """The files that match a pattern, as a place; one worker finds all of them."""

    def list_files(
        self, source: text_source.Source, limit: int | None = None
    ) -> Iterator[list[Unread] | Listed]:
        """Yields what `Place.list_files` does, without hidden files and leftovers.

        Raises:
          Failure: if a folder can't be listed.
        """
        yield Listed()
        paths = patterns.match(source.input_dir, source.pattern)
        for chunk in more_itertools.chunked(map(os.fsencode, paths), LISTED_TOGETHER):
            yield Listed(collections.Counter({"": len(chunk)}))
            yield [Unread(key)[:] for key in chunk]


def parse_input(path: str, encoding: str) -> TextFiles:
    """Returns the files that `--input` names: a folder, a file or a pattern; raises `BadInput`."""
    encoding = text_source.encoding(encoding)
    path = storage.absolute(path)
    if TABLE.search(path) and not storage.is_folder(path):
        raise BadInput(
            f"{path} is a table in an unsupported format: save it as Parquet, or as CSV or JSON "
            "lines, plain or with gzip"
        )
    if storage.is_folder(path):
        return TextFiles(text_source.Source(path, encoding=encoding), is_glob=False)
    if storage.is_file(path):  # even if its name has special characters
        folder, name = os.path.split(path)
        return TextFiles(text_source.Source(folder, glob.escape(name), encoding), is_glob=True)
    folder, pattern = patterns.split(path)
    return TextFiles(text_source.Source(folder, pattern, encoding), is_glob=True)
