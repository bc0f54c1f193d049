"""Finds the input, whether it's files or tables."""

from typing import TYPE_CHECKING, TypeAlias

from pipelines.preprocess import input_tree
from pipelines.tables import table_files
from textrecords.manifest import DataFlags

if TYPE_CHECKING:
    from pipelines.preprocess import input_tables

Input: TypeAlias = "input_tree.Tree | input_tables.Tables"
OF_TABLES = ("text_column", "label_column", "split_column", "key_column", "delimiter")


def find_input(path: str, flags: DataFlags) -> Input:
    """Looks at an input with these flags.

    Raises:
      BadInput: if there is nothing to train a classifier on, or a flag can't be used with it.
    """
    folder, files = table_files.find(path)
    if files:
        from pipelines.preprocess import input_tables  # here, since importing Arrow is slow

        return input_tables.open_tables(folder, files, flags)
    table_files.check_none_given(path, {name: getattr(flags, name) for name in OF_TABLES})
    return input_tree.find_as_flagged(path, flags)
