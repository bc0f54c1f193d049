"""The cells of table rows, whatever the format."""

import math
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from pipelines.tables.columns import Columns

# The texts of a row, its label, split and key, and its kept columns. Bytes of label, split and key
# that aren't UTF-8 are escaped, like those of file names.
Cells = tuple[tuple[bytes | None, ...], str | None, str | None, str | None, tuple[Any, ...]]
Row = tuple[int, Cells | str]  # its number in the file, from 1, and its cells or why it's bad


def of_batch(batch: pa.RecordBatch, columns: Columns) -> Iterator[Cells]:
    """Yields the rows that Arrow has read, of columns with texts or integers."""
    texts = [_bytes(batch.column(name)) for name in columns.text]
    others = [
        map(to_name, _bytes(batch.column(name))) if name else [None] * batch.num_rows
        for name in (columns.label, columns.split, columns.key)
    ]
    kept = [_kept(batch.column(name), of) for name, of in columns.kept]
    of_rows = zip(*kept, strict=True) if kept else [()] * batch.num_rows
    return zip(zip(*texts, strict=True), *others, of_rows, strict=True)


def is_text(of: pa.DataType) -> bool:
    """Returns whether a column of this type has texts, or nothing."""
    of = of.value_type if pa.types.is_dictionary(of) else of
    return any(
        check(of)
        for check in (
            pa.types.is_string,
            pa.types.is_large_string,
            pa.types.is_string_view,
            pa.types.is_binary,
            pa.types.is_large_binary,
            pa.types.is_null,
        )
    )


def is_whole(of: pa.DataType) -> bool:
    """Returns whether a column of this type has integers or Booleans."""
    of = of.value_type if pa.types.is_dictionary(of) else of
    return pa.types.is_integer(of) or pa.types.is_boolean(of)


def to_name(value: bytes | None) -> str | None:
    """Returns a label, split or key."""
    return None if value is None else value.decode("utf-8", "surrogateescape")


def _bytes(column: pa.Array) -> list[bytes | None]:
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if is_whole(column.type):
        column = column.cast(pa.string())
    return column.cast(pa.large_binary()).to_pylist()


def _kept(column: pa.Array, of: str) -> list[Any]:
    """Returns the values of a column as they are written with scores; `of` is an Arrow type."""
    if of == "string":
        values = _bytes(column)
        return [None if value is None else value.decode("utf-8", "replace") for value in values]
    return [finite(value) for value in column.cast(of).to_pylist()]


def finite(value: Any) -> Any:
    """Returns a value that JSON can represent."""
    return value if not isinstance(value, float) or math.isfinite(value) else None
