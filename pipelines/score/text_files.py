"""The text files to score: those of a folder, or of a pattern."""

import dataclasses
import glob
import itertools
import os
import pathlib
import re
from collections.abc import Iterator

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
          BadInput: if the pattern is none.
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
    root = pathlib.Path(source.input_dir)
    try:
        for path in root.glob(source.pattern):
            key = path.relative_to(root)
            if path.is_file() and not storage.is_leftover(str(key)):
                yield os.fsencode(key)
    except ValueError as error:
        raise BadInput(f"--input {root}/{source.pattern}: {error}") from None
