"""The text files to score: those of a folder, or of a pattern."""

import dataclasses
import fnmatch
import glob
import itertools
import os
import re
from collections.abc import Iterator

import more_itertools

from textrecords import storage, text_source
from textrecords.errors import BadInput

TABLE = re.compile(
    r"\.(csv|tsv|jsonl?|ndjson|parquet|arrow|feather|xlsx?)(\.(gz|bz2|xz|zst))?$", re.I
)


@dataclasses.dataclass(frozen=True)
class TextFiles:
    """The files below a folder whose names match `source.pattern`; or their paths, if `is_glob`.

    A glob is of pathlib's patterns; in Cloud Storage, of those that know no `**`.
    """

    source: text_source.Source
    is_glob: bool

    def list_keys(self) -> Iterator[bytes]:
        """Yields the keys of all files, in no order, but for hidden ones and leftovers.

        Raises:
          Failure: if a folder can't be listed.
        """
        if not self.is_glob:
            return self.source.list_keys()
        return (_glob_remote if storage.is_remote(self.source.input_dir) else _glob)(self.source)

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


def _glob_remote(source: text_source.Source) -> Iterator[bytes]:
    paths = storage.glob(f"{source.input_dir}/{source.pattern}")
    are_files = storage.map_concurrently(storage.is_file, paths)
    for path in itertools.compress(paths, are_files):
        key = path.removeprefix(f"{source.input_dir}/")
        if not storage.is_leftover(key):
            yield os.fsencode(key)


def _glob(source: text_source.Source) -> Iterator[bytes]:
    parts = [part for part, _ in itertools.groupby(source.pattern.split("/"))]
    found = _match(source.input_dir, "", parts)
    if parts.count("**") > 1:
        found = more_itertools.unique_everseen(found)
    return (os.fsencode(key) for key in found if not storage.is_leftover(key))


def _match(root: str, below: str, parts: list[str]) -> Iterator[str]:
    """Yields the files below a folder whose paths match the parts of a pattern, as in pathlib.

    Unlike that, it raises `Failure` if a folder can't be listed. On all versions of Python, `**` at
    the end takes all files, and within a name it is `*`, as from 3.13 on.
    """
    part, *rest = parts
    if part == "**":
        yield from _match(root, below, rest or ["*"])
    elif not glob.has_magic(part):
        path = os.path.join(below, part)
        if rest and os.path.isdir(os.path.join(root, path)):
            yield from _match(root, path, rest)
        elif not rest and os.path.isfile(os.path.join(root, path)):
            yield path
        return
    for entry in text_source.scan(os.path.join(root, below)):
        path = os.path.join(below, entry.name)
        if part == "**":
            if entry.is_dir(follow_symlinks=False):
                yield from _match(root, path, parts)
        elif fnmatch.fnmatchcase(entry.name, part):
            if rest and entry.is_dir():
                yield from _match(root, path, rest)
            elif not rest and entry.is_file():
                yield path
