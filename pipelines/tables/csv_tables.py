"""CSV and TSV: their headers, and their rows as Arrow reads them."""

import collections
import contextlib
import csv
import dataclasses
import io
import re
import sys
from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.csv

from pipelines.tables import cells
from pipelines.tables.cells import Cells, Row
from pipelines.tables.columns import Columns
from textrecords import encoding_guess
from textrecords.errors import BadInput

BLOCK_BYTES = 1 << 25  # that Arrow parses at once: a row has to fit
HEADER_BYTES = 10_000_000  # enough for a million names
DELIMITERS = ",;\t|"
# Arrow's errors for a row that doesn't fit in a block, and for one that it can't skip.
TOO_LONG = "straddling object"
RAGGED = re.compile(r"Row #(\d+): Expected (\d+) columns, got (\d+)")


@dataclasses.dataclass(frozen=True)
class Header:
    """The names of the columns, and the delimiter of cells."""

    names: list[str]
    delimiter: str


def read_header(path: str, stream: pa.NativeFile, delimiter: str | None) -> Header:
    """Returns the header of a table.

    Args:
      path: of the table, for messages.
      stream: its text as UTF-8.
      delimiter: of its cells; by default, the most frequent one in the header.

    Raises:
      BadInput: if there is no header.
    """
    begin = stream.read(HEADER_BYTES)
    text = begin.decode("utf-8-sig", "surrogateescape")
    found = (_parse(text, each) for each in (delimiter or DELIMITERS))
    header, rest = max(found, key=lambda each: len(each[0].names))
    if not header.names:
        what = "has no header" if text else "is empty"
        raise BadInput(f"{path} {what}: its first line has to contain the column names")
    if not rest and len(begin) == HEADER_BYTES:
        raise BadInput(f"{path}: its first row has over {HEADER_BYTES:,} bytes, so isn't a header")
    if seems := _other_encoding(header, begin):
        raise BadInput(f"{path}: its header isn't UTF-8, but perhaps {seems}: give --encoding")
    return header


def _other_encoding(header: Header, begin: bytes) -> str | None:
    try:
        "".join(header.names).encode()
    except UnicodeEncodeError:
        return encoding_guess.guess(begin)
    return encoding_guess.wider(begin)


def _parse(text: str, delimiter: str) -> tuple[Header, bool]:
    """Returns the header that a text begins with, and whether anything follows it."""
    lines = io.StringIO(text, newline="")  # CRs also end lines, and may be in names
    try:
        names = next(csv.reader(lines, delimiter=delimiter), [])
    except csv.Error:  # a name exceeds `csv.field_size_limit`
        names = []
    return Header(names, delimiter), bool(lines.read(1))


class _Ragged:
    """Handles Arrow's reports of rows with too few or too many cells.

    Attributes:
      rows: reported rows that haven't been yielded yet.
      is_end: whether the last one was `end`.
    """

    def __init__(self, header: Header):
        # An extra last row with an extra cell: if Arrow makes it part of another row, that row has
        # an open quote.
        self.end = "\0" + header.delimiter * len(header.names)
        self.rows: collections.deque[Row] = collections.deque()
        self.is_end = False

    def skip(self, row: pyarrow.csv.InvalidRow) -> str:
        """Records a row; tells Arrow to skip it."""
        self.is_end = row.text == self.end
        if not self.is_end:
            why = f"cells: {row.actual_columns}, not {row.expected_columns}"
            self.rows.append((row.number - 1, why))  # the header is the first
        return "skip"


def rows(path: str, stream: pa.NativeFile, columns: Columns, header: Header) -> Iterator[Row]:
    """Yields the rows of a table, in order.

    Args:
      path: of the table, for messages.
      stream: its text as UTF-8.
      columns: to read.
      header: of the table.

    Raises:
      BadInput: if it ends within quotes.
    """
    ragged = _Ragged(header)
    file = pa.PythonFile(_Blocks(stream, f"\n{ragged.end}".encode()), "r")
    # As bytes: what isn't UTF-8 is replaced and reported, as in files.
    types = dict.fromkeys(columns.names, pa.large_binary())
    options = {
        "read_options": pyarrow.csv.ReadOptions(use_threads=False, block_size=BLOCK_BYTES),
        "parse_options": pyarrow.csv.ParseOptions(
            delimiter=header.delimiter, newlines_in_values=True, invalid_row_handler=ragged.skip
        ),
        "convert_options": pyarrow.csv.ConvertOptions(
            include_columns=columns.names, column_types=types
        ),
    }
    batches = _batches(file, options)
    good = (row for batch in batches for row in cells.of_batch(batch, columns))
    number = 0
    for row in _number(good, ragged.rows):
        number = row[0]
        yield row
    if not ragged.is_end:
        raise BadInput(f"{path} ends within quotes, which row {number} opens: fix it")


class _Blocks(io.RawIOBase):
    """A stream of a table, followed by `end`, for Arrow.

    No block ends with a CR: Arrow would take a LF at the start of the next block for the rest of a
    line end, and drop it even within quotes.
    """

    def __init__(self, stream: pa.NativeFile, end: bytes):
        self._stream = stream
        self._end = end
        self._held = b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        block = self._held
        while len(block) < size and (more := self._more(size - len(block))):
            block += more
        self._held = block[-1:] if block.endswith(b"\r") else b""
        return block.removesuffix(b"\r")

    def _more(self, size: int) -> bytes:
        more = self._stream.read(size)
        if not more:
            more, self._end = self._end[:size], self._end[size:]
        return more


def _batches(file: pa.NativeFile, options: dict[str, Any]) -> Iterator[pa.RecordBatch]:
    """Yields Arrow's batches."""
    with _explained():
        reader = pyarrow.csv.open_csv(file, **options)
    while True:
        with _explained():
            batch = next(reader, None)
        if batch is None:
            return
        yield batch


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    """Raises `ArrowInvalid` with messages in the user's terms."""
    hook = sys.unraisablehook
    sys.unraisablehook = lambda _: None  # it prints that a row that isn't UTF-8 can't be skipped
    try:
        yield
    except pa.ArrowInvalid as error:
        raise pa.ArrowInvalid(_explain(str(error))) from None
    finally:
        sys.unraisablehook = hook


def _explain(error: str) -> str:
    if TOO_LONG in error:
        return f"a row has more than {BLOCK_BYTES:,} bytes, or its quotes aren't closed"
    if found := RAGGED.search(error):
        row, expected, actual = map(int, found.groups())
        return f"row {row - 1:,} isn't UTF-8, and has {actual:,} cells, not {expected:,}"
    return error


def _number(good: Iterable[Cells], ragged: collections.deque[Row]) -> Iterator[Row]:
    """Yields numbered rows, merged with ragged ones, which are already numbered."""
    row = 1
    for each in good:
        while ragged and ragged[0][0] == row:
            yield ragged.popleft()
            row += 1
        yield row, each
        row += 1
    yield from ragged
