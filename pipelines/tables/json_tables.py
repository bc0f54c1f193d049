"""JSON lines, read with Python's own parser.

Arrow's isn't faster once columns are converted to rows, crashes at a line `null`
(https://github.com/apache/arrow/issues/47409) or deep nesting, and refuses a table if a field is
sometimes a number and sometimes text, even if it isn't used.
"""

import codecs
import collections
import io
import json
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from pipelines.tables.cells import Cells, Row, finite, to_name
from pipelines.tables.columns import Columns
from textrecords.errors import BadInput

MAX_ROW_BYTES = 1 << 25  # bytes
LOOKED_AT = 1 << 23  # bytes, for the names of fields
NO_OBJECT = "not a JSON object"
# The types of columns, by those of their values; other combinations become an empty struct.
TYPES = {
    frozenset(): pa.null(),
    frozenset([bool]): pa.bool_(),
    frozenset([int]): pa.int64(),
    frozenset([float]): pa.float64(),
    frozenset([int, float]): pa.float64(),
    frozenset([str]): pa.string(),
}


def schema(path: str, stream: pa.NativeFile) -> pa.Schema:
    """Returns the fields of the first rows; raises `BadInput` if these have none."""
    found = collections.defaultdict(set)
    looked_at = 0
    for _, line in _lines(path, stream):
        for name, value in (_parse(line) or {}).items():
            found[name].add(type(value))
        looked_at += len(line)
        if looked_at >= LOOKED_AT:
            break
    if not looked_at:
        raise BadInput(f"{path} is empty: it has to contain one JSON object per line")
    if not found:
        raise BadInput(f"{path} isn't JSON lines: it has to contain one JSON object per line")
    types = (TYPES.get(frozenset(of - {type(None)}), pa.struct([])) for of in found.values())
    return pa.schema(zip(found, types, strict=True))


def rows(path: str, stream: pa.NativeFile, columns: Columns) -> Iterator[Row]:
    """Yields the rows of a table, in order; raises `BadInput` for one that is too large."""
    for number, line in _lines(path, stream):
        row = _parse(line)
        yield number, NO_OBJECT if row is None else _cells(row, columns)


def _lines(path: str, stream: pa.NativeFile) -> Iterator[tuple[int, bytes]]:
    """Yields the nonempty lines with their numbers."""
    file = io.BufferedReader(stream)
    mark = codecs.BOM_UTF8
    number, line = 0, file.readline(len(mark) + MAX_ROW_BYTES + 1).removeprefix(mark)
    while line:
        if not line.isspace():
            number += 1
            if len(line) > MAX_ROW_BYTES:
                raise BadInput(f"{path}: row {number} has more than {MAX_ROW_BYTES:,} bytes")
            yield number, line
        line = file.readline(MAX_ROW_BYTES + 1)


def _parse(line: bytes) -> dict[str, Any] | None:
    """Returns the object on a line; None if there isn't one."""
    try:
        text = line.decode("utf-8", "surrogateescape")
        found = json.loads(text, parse_constant=lambda _: None)  # NaN, as Python writes it
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _cells(row: dict[str, Any], columns: Columns) -> Cells | str:
    """Returns the cells of a row, or why it's bad."""
    for name in columns.text:
        if not isinstance(row.get(name), str | None):
            return f"{name}: not text"
    for name in filter(None, (columns.label, columns.split, columns.key)):
        if not isinstance(row.get(name), str | int | None):
            return f"{name}: neither text nor an integer"
    for name, of in columns.kept:
        if not _fits(row.get(name), of):
            return f"{name}: not {of}"
    names = (columns.label, columns.split, columns.key)
    return (
        tuple(_bytes(row.get(name)) for name in columns.text),
        *(to_name(_bytes(row.get(name))) for name in names),
        tuple(finite(row.get(name)) for name in dict(columns.kept)),
    )


def _bytes(value: str | int | None) -> bytes | None:
    if value is None:
        return None
    text = value if isinstance(value, str) else json.dumps(value)
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # a lone surrogate
        return text.encode("utf-8", "surrogatepass")


def _fits(value: Any, of: str) -> bool:
    """Returns whether a column of an Arrow type can hold a value as it is."""
    try:
        held = pa.scalar(value, pa.type_for_alias(of)).as_py()
    except (pa.ArrowException, UnicodeError, OverflowError):
        return False
    return held == value  # as an integer, Arrow takes 1.5 for 1
