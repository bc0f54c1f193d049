"""The tables whose rows are scored."""

import argparse
import dataclasses
import os
from collections.abc import Iterable

import pyarrow as pa

from pipelines.tables import readers
from pipelines.tables.columns import Columns
from pipelines.tables.places import TablePlace
from pipelines.tables.source import TableSource
from textrecords import text_source
from textrecords.errors import BadInput

WRITTEN = ("key", "score", "scores", "label")  # columns of the scores


@dataclasses.dataclass(frozen=True)
class TextTables:
    """Tables in a folder, with the interface of `text_files.TextFiles`."""

    source: TableSource
    places: tuple[TablePlace, ...]

    @property
    def kept(self) -> dict[str, str]:
        """Columns to write with the scores, with Arrow's names of their types.

        Names that the scores also have get the prefix `input_`.
        """
        return {
            f"input_{name}" if name in WRITTEN else name: of
            for name, of in self.source.columns.kept
        }

    def stored_in(self, output_dir: str) -> "TextTables":
        """Returns these tables, with their texts stored in a folder."""
        source = dataclasses.replace(self.source, output_dir=output_dir)
        return dataclasses.replace(self, source=source)

    def check_any(self) -> None:
        """Does nothing: the number of rows is only known once they are listed."""

    def why_none(self) -> str:
        """Returns the error message for no rows."""
        return f"{self.source.input_dir}: {self.places[0].file} has no rows: name another table"


def open_tables(folder: str, files: list[str], args: argparse.Namespace) -> TextTables:
    """Opens tables by the header of the first.

    Args:
      folder: the input.
      files: the tables, by their paths below it.
      args: the flags of score.

    Raises:
      BadInput: if a flag can't be used with them, or there are no such columns.
    """
    encoding = text_source.encoding(args.encoding)
    table = readers.Table(os.path.join(folder, files[0]), encoding, args.delimiter)
    table.check_encoding()
    schema = table.schema()
    named = Columns(tuple(args.text_column or ()), key=args.key_column)
    columns = named.find(table.path, schema.names, labelled=False)
    kept = _kept(table.path, schema, args.keep_columns or ())
    source = TableSource(
        input_dir=folder,
        columns=dataclasses.replace(columns, kept=kept),
        table_encoding=encoding,
        delimiter=args.delimiter,
    )
    return TextTables(source, tuple(TablePlace(file, 0) for file in files))


def _kept(path: str, schema: pa.Schema, names: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Returns the columns to keep, with their types; raises `BadInput`."""
    columns = Columns(kept=tuple((name, "") for name in names))
    columns.check(path, schema.names)
    return tuple((name, _type_of(path, schema.field(name))) for name in columns.names)


def _type_of(path: str, field: pa.Field) -> str:
    for fits, written in (
        (pa.types.is_boolean, "bool"),
        (pa.types.is_integer, "int64"),
        (pa.types.is_floating, "double"),
        (pa.types.is_string, "string"),
        (pa.types.is_large_string, "string"),
    ):
        if fits(field.type):
            return written
    raise BadInput(
        f"{path}: the column {field.name} has the type {field.type}, which can't be kept"
    )
