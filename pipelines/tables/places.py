"""Tables as places of an input, with the listing of their rows."""

import collections
import dataclasses
import os
from collections.abc import Iterator

from pipelines.places import Listed, size_and_digest, split_and_class
from pipelines.tables.source import KeepTexts, TableSource, keep_texts
from textrecords import spec, storage
from textrecords.errors import BadInput
from textrecords.manifest import Fingerprint
from textrecords.text_source import Unread

MAX_CLASSES = 10_000  # of a table: more can't be learned, and they are listed one by one
Item = tuple[Unread, bytes] | str  # a review and its text, or why a row is skipped


@dataclasses.dataclass(frozen=True)
class TablePlace:
    """A table, or some row groups of it.

    Attributes:
      file: its path below the input.
      split: the position of its split in `spec.ALL_SPLITS`, if rows don't name theirs.
      groups: one of `Table.row_groups`, or None for all rows.
    """

    file: str
    split: int
    groups: tuple[int, int, int] | None = None

    def list_files(
        self, source: TableSource, limit: int | None = None
    ) -> Iterator["list[Unread] | Listed | TablePlace"]:
        """Yields lists of rows, a summary of each, and the remaining places.

        Args:
          source: the tables, and where their texts are stored.
          limit: unless it's None, a table with row groups is left to other workers, by group.

        Raises:
          BadInput: if a table can't be read.
        """
        if self.groups is None:
            yield Listed(files=self.fingerprint(source))
            table = source.table(self.file)
            if limit is not None and table.format == "parquet":
                for groups in table.row_groups():
                    yield dataclasses.replace(self, groups=groups)
                return
        found: set[str] = set()
        with keep_texts(source, repr(self)) as texts:
            for items in self.read(source):
                for each in _list(items, texts):
                    if isinstance(each, Listed):
                        found |= each.reviews.keys()
                    yield each
                if len(found) > MAX_CLASSES:
                    raise BadInput(
                        f"{os.path.join(source.input_dir, self.file)} has more than "
                        f"{MAX_CLASSES:,} labels in {source.columns.label}: name another "
                        "--label_column"
                    )

    def fingerprint(self, source: TableSource) -> Fingerprint:
        """Returns the fingerprint of the file by path, size and version."""
        path = os.path.join(source.input_dir, self.file)
        return Fingerprint.of([size_and_digest(os.fsencode(self.file), storage.entry(path))])

    def read(self, source: TableSource) -> Iterator[list[Item]]:
        """Yields lists of rows as items."""
        columns = source.columns
        if spec.ALL_SPLITS[self.split] == spec.UNLABELLED:
            columns = dataclasses.replace(columns, label=None)
        for rows in source.table(self.file).rows(columns, self.groups):
            items = []
            for row in rows:
                unread, text = source.review(self.file, self.split, row)
                items.append(unread if isinstance(unread, str) else (unread, text))
            yield items


def _list(items: list[Item], texts: KeepTexts) -> Iterator[list[Unread] | Listed]:
    skipped = collections.Counter(it for it in items if isinstance(it, str))
    listed = [texts.keep(*item) for item in items if not isinstance(item, str)]
    number = collections.Counter(split_and_class(each.split, each.label) for each in listed)
    yield Listed(number, skipped)
    if listed:
        yield [each[:] for each in listed]
