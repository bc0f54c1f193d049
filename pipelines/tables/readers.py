"""Reads tables of any format: their columns, and their rows."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator

import more_itertools
import pyarrow as pa
import pyarrow.parquet

from pipelines.tables import cells, csv_tables, json_tables, table_files
from pipelines.tables.cells import Row
from pipelines.tables.columns import Columns
from textrecords import storage, terminal
from textrecords.errors import BadInput

# The maximum per tuple of rows.
BATCH_ROWS = 2_000
BATCH_BYTES = 1 << 25
# Of Parquet, decoded at once if each row were as large as its row group, as in a hostile file.
DECODED_BYTES = 1 << 28
DECODED_ROWS = 10  # the minimum: fewer take longer
ROWS_TOGETHER = 50_000  # of Parquet, the minimum that one worker reads
NO_TEXT, NO_LABEL, NO_KEY = "no text", "no label", "no key"
NOT_UTF8 = "a label that isn't UTF-8"
FORMATS = {"json": "JSON lines", "parquet": "Parquet", "csv": "CSV", "tsv": "TSV"}
Groups = tuple[int, int, int]  # the first row group, the one after the last, and the first row


@dataclasses.dataclass(frozen=True)
class Table:
    """A file with a table.

    Attributes:
      path: of the file.
      encoding: of its text, if it's CSV.
      delimiter: of its cells, if it's CSV; by default, detected from the header.
    """

    path: str
    encoding: str = "utf-8"
    delimiter: str | None = None

    @property
    def format(self) -> str:
        """The format, as in `table_files.format_of`."""
        return table_files.format_of(self.path)

    def check_encoding(self) -> None:
        """Raises `BadInput` for an encoding other than UTF-8 if the format requires that."""
        if self.encoding != "utf-8" and self.format not in ("csv", "tsv"):
            raise BadInput(f"--encoding {self.encoding}: {self.path} is UTF-8: drop --encoding")

    def schema(self) -> pa.Schema:
        """Returns the names and types of its columns; raises `BadInput`."""
        with self._errors():
            if self.format == "parquet":
                with self._open_parquet() as file:
                    return file.schema_arrow
            if self.format == "json":
                with self._open_text() as stream:
                    return json_tables.schema(self.path, stream)
            return pa.schema([(name, pa.string()) for name in self._header().names])

    def row_groups(self) -> list[Groups]:
        """Returns the parts of a Parquet file that workers can read independently.

        Other tables can't be split, since finding the start of a row takes reading everything
        before it. Raises `BadInput`.
        """
        with self._errors(), self._open_parquet() as file:
            sizes = [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)]
        parts, begin, first_row, rows = [], 0, 1, 0
        for group, size in enumerate(sizes, 1):
            rows += size
            if rows >= ROWS_TOGETHER or group == len(sizes):
                parts.append((begin, group, first_row))
                begin, first_row, rows = group, first_row + rows, 0
        return parts

    def rows(self, columns: Columns, groups: Groups | None = None) -> Iterator[tuple[Row, ...]]:
        """Yields tuples of rows, in order.

        Args:
          columns: to read.
          groups: one of `row_groups`; by default, all rows.

        Raises:
          BadInput: if the file can't be read, or lacks a column.
        """
        before = groups[2] - 1 if groups else 0
        rows = more_itertools.countable(self._rows(columns, groups))
        with self._errors(lambda: before + rows.items_seen):
            yield from more_itertools.constrained_batches(
                rows, BATCH_BYTES, BATCH_ROWS, get_len=_num_bytes, strict=False
            )

    def _rows(self, columns: Columns, groups: Groups | None) -> Iterator[Row]:
        if self.format == "parquet":
            yield from self._parquet_rows(columns, groups)
            return
        if self.format == "json":
            columns.check(self.path, self.schema().names)
            with self._open_text() as stream:
                yield from json_tables.rows(self.path, stream, columns)
            return
        header = self._header()
        columns.check(self.path, header.names)
        with self._open_text() as stream:
            yield from csv_tables.rows(self.path, stream, columns, header)

    def _parquet_rows(self, columns: Columns, groups: Groups | None) -> Iterator[Row]:
        with self._open_parquet() as file:
            columns.check(self.path, file.schema_arrow.names)
            self._check_types(columns, file.schema_arrow)
            first, last, row = groups or (0, file.num_row_groups, 1)
            if first == last:  # pyarrow 18 fails to read no groups
                return
            batches = file.iter_batches(
                _batch_rows(file.metadata), range(first, last), columns.names, use_threads=False
            )
            found = (each for batch in batches for each in cells.of_batch(batch, columns))
            yield from enumerate(found, row)

    def _check_types(self, columns: Columns, schema: pa.Schema) -> None:
        for name in columns.text:
            if not cells.is_text(of := schema.field(name).type):
                raise BadInput(f"{self.path}: the column {name} has the type {of}, not text")
        for name in filter(None, (columns.label, columns.split, columns.key)):
            of = schema.field(name).type
            if not (cells.is_text(of) or cells.is_whole(of)):
                raise BadInput(
                    f"{self.path}: the column {name} has the type {of}, not text or integers"
                )

    def _header(self) -> csv_tables.Header:
        delimiter = self.delimiter or ("\t" if self.format == "tsv" else None)
        with self._open_text() as stream:
            return csv_tables.read_header(self.path, stream, delimiter)

    @contextlib.contextmanager
    def _open_text(self) -> Iterator[pa.NativeFile]:
        """Opens a file as UTF-8 text."""
        with storage.reading_anywhere(self.path) as file:
            stream = pa.PythonFile(file, "r")
            if self.path.lower().endswith(".gz"):
                stream = pa.CompressedInputStream(stream, "gzip")
            if self.encoding != "utf-8":
                stream = pa.transcoding_input_stream(stream, self.encoding, "utf-8")
            yield stream

    @contextlib.contextmanager
    def _open_parquet(self) -> Iterator[pyarrow.parquet.ParquetFile]:
        with storage.reading_anywhere(self.path) as file:
            yield pyarrow.parquet.ParquetFile(file)

    @contextlib.contextmanager
    def _errors(self, rows_read: Callable[[], int] = lambda: 0) -> Iterator[None]:
        """Raises `BadInput` for errors of Arrow or the disk.

        Args:
          rows_read: returns how many rows have been read.
        """
        try:
            yield
        except UnicodeError as error:
            why = terminal.one_line(error)
            raise BadInput(
                f"{self.path} isn't in {self.encoding} ({why}): give another --encoding"
            ) from None
        except (pa.ArrowException, OSError, OverflowError) as error:
            why = terminal.one_line(str(error).partition("\n")[0])
            after = f"after row {rows_read():,}: " if rows_read() else ""
            raise BadInput(
                f"{self.path} can't be read as {FORMATS[self.format]} ({after}{why}): fix or "
                "remove it"
            ) from None


def _num_bytes(row: Row) -> int:
    """Returns approximately how many bytes a row takes in memory."""
    cells = row[1]
    return 0 if isinstance(cells, str) else sum(map(len, filter(None, cells[0])))


def _batch_rows(metadata: pyarrow.parquet.FileMetaData) -> int:
    """Returns the number of rows of a Parquet file to decode at once."""
    groups = map(metadata.row_group, range(metadata.num_row_groups))
    largest = max([1, *(group.total_byte_size for group in groups)])
    return max(DECODED_ROWS, min(BATCH_ROWS, DECODED_BYTES // largest))
