"""Reads tables by Arrow: their headers, and their rows."""

import contextlib
import csv
import dataclasses
import io
import itertools
from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet

from pipelines.tables import table_files
from pipelines.tables.columns import Columns
from textrecords import storage, terminal, text_source
from textrecords.errors import BadInput

BLOCK_BYTES = 1 << 25  # of text that Arrow parses at once: a row has to fit in
BATCH_ROWS = 2_000  # of Parquet, decoded at once
ROWS_TOGETHER = 50_000  # at least, of Parquet, that one worker reads
NO_TEXT, NO_LABEL, NO_KEY = "no text", "no label", "no key"
# The texts of a row, its label, split and key, and what is kept of it, if it's asked for.
Cells = tuple[tuple[bytes | None, ...], str | None, str | None, str | None, tuple[Any, ...]]
Row = tuple[int, Cells | str]  # its number in the file, from 1, and what it holds or why it's bad


@dataclasses.dataclass(frozen=True)
class Table:
    """A file that holds a table.

    Attributes:
      path: of the file.
      encoding: of its text, if it's CSV.
      delimiter: of its cells, if it's CSV; by default, the header tells.
    """

    path: str
    encoding: str = "utf-8"
    delimiter: str | None = None

    @property
    def format(self) -> str:
        """As of `table_files.format_of`."""
        return table_files.format_of(self.path)

    def check_encoding(self) -> None:
        """Raises `BadInput` for another encoding than the only one that its format knows."""
        if self.encoding != "utf-8" and self.format != "csv" and self.format != "tsv":
            raise BadInput(f"--encoding {self.encoding}: {self.path} is UTF-8: leave it out")

    def schema(self) -> pa.Schema:
        """Returns the names and types of its columns; raises `BadInput`."""
        with self._errors():
            if self.format == "parquet":
                with self._open_parquet() as file:
                    return file.schema_arrow
            if self.format == "json":
                with self._open_text() as stream:
                    return pyarrow.json.open_json(stream, **_json_options()).schema
            return pa.schema([(name, pa.string()) for name in self._csv_header()[0]])

    def row_groups(self) -> list[tuple[int, int, int]]:
        """Returns the parts of a Parquet file: first row group, the one after the last, first row.

        Other tables can't be parted, since only who has read what comes before knows where a row
        begins. Raises `BadInput`.
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

    def rows(
        self, columns: Columns, groups: tuple[int, int, int] | None = None
    ) -> Iterator[list[Row]]:
        """Yields lists of rows, in order.

        Args:
          columns: to read.
          groups: one of `row_groups`; by default, all rows.

        Raises:
          BadInput: if the file can't be read, or hasn't these columns.
        """
        with self._errors():
            if self.format == "parquet":
                yield from self._parquet_rows(columns, groups)
            elif self.format == "json":
                yield from self._json_rows(columns)
            else:
                yield from self._csv_rows(columns)

    def _parquet_rows(
        self, columns: Columns, groups: tuple[int, int, int] | None
    ) -> Iterator[list[Row]]:
        with self._open_parquet() as file:
            columns.check(self.path, file.schema_arrow.names)
            first, last, row = groups or (0, file.num_row_groups, 1)
            batches = file.iter_batches(
                BATCH_ROWS, range(first, last), columns.names, use_threads=False
            )
            for batch in batches:
                yield list(enumerate(self._cells(batch, columns), row))
                row += batch.num_rows

    def _csv_rows(self, columns: Columns) -> Iterator[list[Row]]:
        header, delimiter = self._csv_header()
        columns.check(self.path, header)
        ragged: list[Row] = []

        def skip(row: pyarrow.csv.InvalidRow) -> str:
            why = f"{row.actual_columns} cells, not {row.expected_columns}"
            ragged.append((row.number - 1, why))  # the header is the first
            return "skip"

        # Texts as bytes: what isn't UTF-8 is replaced and noted, as in files.
        types = {name: pa.string() for name in columns.names}
        types |= {name: pa.large_binary() for name in columns.text}
        with self._open_text() as stream:
            reader = pyarrow.csv.open_csv(
                stream,
                pyarrow.csv.ReadOptions(
                    use_threads=False, block_size=BLOCK_BYTES, encoding=self.encoding
                ),
                pyarrow.csv.ParseOptions(
                    delimiter=delimiter, newlines_in_values=True, invalid_row_handler=skip
                ),
                pyarrow.csv.ConvertOptions(include_columns=columns.names, column_types=types),
            )
            good = itertools.chain.from_iterable(self._cells(b, columns) for b in reader)
            yield from _chunks(_number(good, ragged))

    def _json_rows(self, columns: Columns) -> Iterator[list[Row]]:
        schema = self.schema()
        columns.check(self.path, schema.names)
        texts = {name: pa.string() for name in columns.text}
        wanted = pa.schema([(n, texts.get(n, schema.field(n).type)) for n in columns.names])
        with self._open_text() as stream:
            reader = pyarrow.json.open_json(stream, **_json_options(wanted))
            cells = itertools.chain.from_iterable(self._cells(b, columns) for b in reader)
            yield from _chunks(enumerate(cells, 1))

    def _cells(self, batch: pa.RecordBatch, columns: Columns) -> Iterator[Cells]:
        texts = [self._column(batch, name, pa.large_binary()) for name in columns.text]
        others = [
            self._column(batch, name, pa.string()) if name else itertools.repeat(None)
            for name in (columns.label, columns.split, columns.key)
        ]
        kept = [batch.column(name).cast(of).to_pylist() for name, of in columns.kept]
        of_rows = zip(*kept, strict=True) if kept else itertools.repeat(())
        return zip(zip(*texts, strict=True), *others, of_rows, strict=False)

    def _column(self, batch: pa.RecordBatch, name: str, wanted: pa.DataType) -> list[Any]:
        column = batch.column(name)
        if pa.types.is_dictionary(column.type):
            column = column.dictionary_decode()
        of, is_text = column.type, wanted == pa.large_binary()
        fits = _is_text(of) or pa.types.is_null(of)
        if not fits and (is_text or not (pa.types.is_integer(of) or pa.types.is_boolean(of))):
            kind = "text" if is_text else "text or whole numbers"
            raise BadInput(f"{self.path}: the column {name} holds {of}, not {kind}")
        if is_text and of in (pa.string(), pa.string_view()):
            column = column.cast(pa.large_string())
        return column.cast(wanted).to_pylist()

    def _csv_header(self) -> tuple[list[str], str]:
        """Returns the names of the columns, and what is between them."""
        with self._open_text() as stream:
            encoding = "utf-8-sig" if self.encoding == "utf-8" else self.encoding
            text = io.TextIOWrapper(stream, encoding, newline="")
            line = text.readline(text_source.LARGEST_FILE)
            rest = itertools.islice(text, 100)  # names may be of several lines
            lines = [line, *rest]
        if not line.strip():
            raise BadInput(f"{self.path} is empty, or begins with an empty line: begin with names")
        if self.delimiter or self.format == "tsv":
            delimiter = self.delimiter or "\t"
        else:
            delimiter = max(",;\t|", key=lambda each: len(next(csv.reader([line], delimiter=each))))
        return next(csv.reader(lines, delimiter=delimiter)), delimiter

    @contextlib.contextmanager
    def _open_text(self) -> Iterator[pa.NativeFile]:
        with storage.reading_anywhere(self.path) as file:
            stream = pa.PythonFile(file, "r")
            if self.path.lower().endswith(".gz"):
                stream = pa.CompressedInputStream(stream, "gzip")
            yield stream

    @contextlib.contextmanager
    def _open_parquet(self) -> Iterator[pyarrow.parquet.ParquetFile]:
        with storage.reading_anywhere(self.path) as file:
            yield pyarrow.parquet.ParquetFile(file)

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        """Raises `BadInput` for what Arrow, or the disk, can't read."""
        try:
            yield
        except (pa.ArrowException, csv.Error, OSError, UnicodeError, OverflowError) as error:
            why = terminal.one_line(str(error).partition("\n")[0])
            of = {"json": "JSON lines", "parquet": "Parquet"}.get(self.format, "CSV")
            raise BadInput(
                f"{self.path} can't be read as {of} ({why}): mend or remove it"
            ) from None


def _is_text(of: pa.DataType) -> bool:
    return any(
        check(of)
        for check in (
            pa.types.is_string,
            pa.types.is_large_string,
            pa.types.is_string_view,
            pa.types.is_binary,
            pa.types.is_large_binary,
        )
    )


def _json_options(schema: pa.Schema | None = None) -> dict[str, Any]:
    """Returns how to read JSON lines: these fields alone, or all that the first block has."""
    parse = {"explicit_schema": schema, "unexpected_field_behavior": "ignore"} if schema else {}
    return {
        "read_options": pyarrow.json.ReadOptions(use_threads=False, block_size=BLOCK_BYTES),
        "parse_options": pyarrow.json.ParseOptions(newlines_in_values=False, **parse),
    }


def _number(good: Iterable[Cells], ragged: list[Row]) -> Iterator[Row]:
    """Yields rows by their numbers, of which those that are ragged have theirs already."""
    row = 1
    for cells in good:
        while ragged and ragged[0][0] == row:
            yield ragged.pop(0)
            row += 1
        yield row, cells
        row += 1
    yield from ragged


def _chunks(rows: Iterable[Row]) -> Iterator[list[Row]]:
    rows = iter(rows)
    while chunk := list(itertools.islice(rows, BATCH_ROWS)):
        yield chunk
