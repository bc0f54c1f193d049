"""Rows of tables as reviews: where their texts are stored, and how they are read from there.

A single row can't be read on its own. So the worker that lists a table writes its texts, one after
the other, to a file that all workers can read, and lists the position of each text in it.
"""

import contextlib
import dataclasses
import errno
import hashlib
import json
import os
import struct
from collections.abc import Callable, Iterator
from typing import IO, ClassVar

from pipelines.places import split_and_class
from pipelines.tables.cells import Row
from pipelines.tables.columns import Columns
from pipelines.tables.readers import NO_KEY, NO_LABEL, NO_TEXT, NOT_UTF8, Table
from textrecords import atomic, spec, storage, terminal, text_source
from textrecords.errors import Failure
from textrecords.text_source import TOO_LARGE, Unread

_PLACE = struct.Struct(">8sQI")  # name of a file of texts, offset of a text, its bytes
# Why rows are skipped; without their values, of which there may be as many as rows.
NO_SPLIT, NOT_CHOSEN = "rows of no split", "rows of no chosen class"
KEPT, BAD = b"\0", b"\1"  # the first byte of `Unread.where`, before a place or an error


@dataclasses.dataclass(frozen=True)
class TableSource(text_source.Source):
    """Tables in a folder. Texts are UTF-8 once they are read, whatever the tables' encoding.

    Attributes:
      columns: the columns to read.
      table_encoding: of CSV.
      delimiter: of CSV; by default, detected from the header.
      classes: rows of others are skipped; by default none are.
      with_unlabelled: whether rows without a label become a split; if it's False, rows of that
        split are skipped.
      output_dir: the folder of `spec.TEXTS`.
    """

    columns: Columns = dataclasses.field(default_factory=Columns)
    table_encoding: str = "utf-8"
    delimiter: str | None = None
    classes: tuple[str, ...] | None = None
    with_unlabelled: bool | None = None
    output_dir: str = ""

    items: ClassVar[str] = "rows"

    @property
    def is_remote(self) -> bool:
        return storage.is_remote(self.output_dir)  # where the texts are

    @property
    def times_split(self) -> int:
        return 1  # by row groups

    def table(self, file: str) -> Table:
        """Returns a table, by its path below the folder."""
        return Table(os.path.join(self.input_dir, file), self.table_encoding, self.delimiter)

    def identity(self, review: Unread) -> bytes:
        """Returns what identifies a row, with its text: its key, split and class."""
        of = split_and_class(review.split, review.label).encode()
        return b"%d:%b%b" % (len(review.key), review.key, of)

    def review(self, file: str, split: int, row: Row) -> tuple[Unread | str, bytes]:
        """Returns a listed row, or why it's skipped, and its text.

        Args:
          file: its table.
          split: of the table.
          row: the row.
        """
        number, cells = row
        name = f"{file}#{number}"
        if isinstance(cells, str):
            why = terminal.one_line(cells)
            return Unread(os.fsencode(name), "", split, BAD + why.encode()), b""
        texts, label, split_name, own_key, kept = cells
        if self.columns.split:
            found = split_name and spec.split_of(split_name)
            if not found:
                return NO_SPLIT, b""
            split = spec.ALL_SPLITS.index(found)
        label = label or ""
        is_misread = not _is_utf8(label)
        label = "" if is_misread else label
        unlabelled = spec.ALL_SPLITS.index(spec.UNLABELLED)
        if self.with_unlabelled and not label and not is_misread:
            split = unlabelled
        if split == unlabelled and self.with_unlabelled is False:
            return NO_LABEL, b""
        if split == unlabelled:
            label = ""
        if self.classes and label and label not in self.classes:
            return NOT_CHOSEN, b""
        text = b" ".join(text for text in texts if text is not None)
        bad = {
            NO_KEY: self.columns.key and not own_key,
            NO_TEXT: all(text is None for text in texts),
            NOT_UTF8: is_misread,
            NO_LABEL: self.columns.label and not label and split != unlabelled,
            TOO_LARGE: len(text) > text_source.MAX_FILE_BYTES,
        }
        key = os.fsencode(own_key or name)
        kept = json.dumps(kept) if kept else terminal.one_line(name) * bool(own_key)
        why = next((why for why, holds in bad.items() if holds), None)
        where = BAD + why.encode() if why else KEPT
        return Unread(key, label, split, where, kept), text

    def is_bad(self, review: Unread) -> bool:
        """Returns whether a row was found to be bad."""
        return review.where.startswith(BAD)

    @contextlib.contextmanager
    def _reading(self) -> Iterator[Callable[[Unread], bytes]]:
        with storage.reading_ranges() as read_range:
            yield lambda review: self._content(review, read_range)

    def _content(self, review: Unread, read_range: Callable[[str, int, int], bytes]) -> bytes:
        if self.is_bad(review):
            raise OSError(errno.EINVAL, review.where[1:].decode())
        name, begin, size = _PLACE.unpack(review.where[1:])
        path = f"{self.output_dir}/{spec.TEXTS}/{name.hex()}"
        try:
            text = read_range(path, begin, size)
        except OSError as error:  # the row was readable before, so it isn't bad
            raise Failure(f"can't read {path} ({error.strerror}): run again") from None
        if len(text) != size:
            raise Failure(f"{path} has changed since it was written: run again")
        return text


def _is_utf8(label: str) -> bool:
    """Returns whether a label has no bytes that had to be escaped."""
    try:
        label.encode()
    except UnicodeEncodeError:
        return False
    return True


@contextlib.contextmanager
def keep_texts(source: TableSource, what: str) -> Iterator["KeepTexts"]:
    """Yields a writer of texts to a file, which exists once the block ends.

    Args:
      source: the tables.
      what: identifies the texts; the same value gives the same file.
    """
    name = hashlib.blake2b(what.encode(), digest_size=8).digest()
    folder = os.path.join(source.output_dir, spec.TEXTS)
    storage.make_folder(folder)
    with (
        atomic.write_file(os.path.join(folder, name.hex())) as part,
        open(part, "wb") as file,
    ):
        yield KeepTexts(name, file)


class KeepTexts:
    """Writes texts to a file, one after the other.

    Args:
      name: of the file, in `Unread.where`.
      file: the file to write.
    """

    def __init__(self, name: bytes, file: IO[bytes]):
        self._name = name
        self._file = file
        self._size = 0

    def keep(self, review: Unread, text: bytes) -> Unread:
        """Writes the text of a review; returns the review with the text's location."""
        if review.where != KEPT:
            return review
        where = KEPT + _PLACE.pack(self._name, self._size, len(text))
        self._size += self._file.write(text)
        return review._replace(where=where)
