"""The text files to score: those of a folder, or of a pattern."""

import collections
import dataclasses
import fnmatch
import glob
import os
import re
from collections.abc import Iterator

import more_itertools

from pipelines import sharding
from pipelines.places import LISTED_TOGETHER, Listed, Place
from textrecords import storage, text_source
from textrecords.errors import BadInput

TABLE = re.compile(
    r"\.(csv|tsv|jsonl?|ndjson|parquet|arrow|feather|xlsx?)(\.(gz|bz2|xz|zst))?$", re.I
)
Parts = tuple[str, ...]  # of a pattern, by its slashes


@dataclasses.dataclass(frozen=True)
class TextFiles:
    """The files below a folder whose names match `source.pattern`; or their paths, if `is_glob`.

    A glob is of pathlib's patterns.
    """

    source: text_source.Source
    is_glob: bool

    @property
    def places(self) -> "tuple[Place | Matches]":
        """What to list."""
        return (Matches() if self.is_glob else Place("", label=0),)

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
    ) -> Iterator[list[tuple[bytes, int]] | Listed]:
        """Yields what `Place.list_files` does, but for hidden files and leftovers.

        Raises:
          Failure: if a folder can't be listed.
        """
        yield Listed()
        paths = _match(source.input_dir, source.pattern)
        for chunk in more_itertools.chunked(map(os.fsencode, paths), LISTED_TOGETHER):
            text_source.SEEN["listed"] += len(chunk)
            yield Listed(collections.Counter({"": len(chunk)}), keys=sharding.Keys.of(chunk))
            yield [(key, 0) for key in chunk]


def parse_input(path: str, encoding: str) -> TextFiles:
    """Returns the files that `--input` names: a folder, a file or a pattern; raises `BadInput`."""
    encoding = text_source.encoding(encoding)
    path = storage.absolute(path)
    if TABLE.search(path) and not storage.is_folder(path):
        raise BadInput(
            f"{path} is a table, and would be scored as a single text: write each of its texts "
            "into a file of its own"
        )
    if storage.is_folder(path):
        return TextFiles(text_source.Source(path, encoding=encoding), is_glob=False)
    if storage.is_file(path):  # whatever characters its name has
        folder, name = os.path.split(path)
        return TextFiles(text_source.Source(folder, glob.escape(name), encoding), is_glob=True)
    parts = path.split("/")
    fixed = next((n for n, part in enumerate(parts) if glob.has_magic(part)), len(parts) - 1)
    folder, pattern = "/".join(parts[:fixed]) or "/", "/".join(parts[fixed:])
    return TextFiles(text_source.Source(folder, pattern, encoding), is_glob=True)


def _match(folder: str, pattern: str) -> Iterator[str]:
    """Yields the files below a folder whose paths match a pattern, as pathlib does, each once.

    But it raises `Failure` if a folder can't be listed. On all versions of Python, `**` at the end
    takes all files, and within a name it is `*`, as from 3.13 on.
    """
    if not glob.has_magic(pattern):
        if storage.is_file(os.path.join(folder, pattern)) and not storage.is_leftover(pattern):
            yield pattern
        return
    # Each folder is listed once, with all that may follow of the pattern there.
    folders = [("", {tuple(pattern.split("/"))})] if storage.is_folder(folder) else []
    while folders:
        below, patterns = folders.pop()
        for entry in text_source.scan(os.path.join(folder, below)):
            if storage.is_leftover(entry.name):
                continue
            path = os.path.join(below, entry.name)
            following = _following(patterns, entry.name, is_link=entry.is_symlink())
            if () in following and entry.is_file():
                yield path
            elif (deeper := following - {()}) and entry.is_dir():
                folders.append((path, deeper))


def _following(patterns: set[Parts], name: str, *, is_link: bool) -> set[Parts]:
    """Returns what is left of patterns once a name is taken by their first part, where it can be.

    `**` takes any number of names, but none of a link to a folder, which may lead anywhere.
    """
    left = set()
    for first, *rest in patterns:
        if first == "**":
            if not is_link:
                left.add((first, *rest))
            left |= _following({tuple(rest) or ("*",)}, name, is_link=is_link)
        elif fnmatch.fnmatchcase(name, first):
            left.add(tuple(rest))
    return left
