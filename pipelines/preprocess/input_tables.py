"""Tables as the input: their files, splits and classes."""

import collections
import dataclasses
import functools
import operator
import os
import re
from collections.abc import Iterable, Iterator
from typing import ClassVar

from pipelines.places import Listed, found_here
from pipelines.preprocess import fingerprint, input_tree
from pipelines.tables import readers, table_files
from pipelines.tables.columns import Columns, named
from pipelines.tables.places import TablePlace
from pipelines.tables.source import TableSource
from textrecords import spec, storage, text_source
from textrecords.errors import BadInput
from textrecords.manifest import DataFlags, Fingerprint, Manifest
from textrecords.text_source import Unread

WHOLE_NUMBER = re.compile(r"-?[0-9]{1,100}")  # limited, since Python refuses very long ones
NO_LABEL = ""


@dataclasses.dataclass(frozen=True)
class Tables:
    """Tables that can be preprocessed, with the interface of `input_tree.Tree`.

    Attributes:
      source: the folder that they are in.
      places: the tables.
      made: the splits that flags take from train, which rows may not name.
    """

    is_tables: ClassVar[bool] = True

    source: TableSource
    places: tuple[TablePlace, ...]
    made: tuple[str, ...] = ()

    @functools.cached_property
    def _found(self) -> tuple[list[Unread], Listed]:
        """All rows, and their summary."""
        reviews, total = [], Listed()
        for found in found_here(self.places, self.source):
            if isinstance(found, Listed):
                total += found
            else:
                reviews += map(Unread._make, found)
        return reviews, total

    @property
    def listed(self) -> Listed:
        """The summary of all tables, read in this process; raises as `check_listed`."""
        return self.check_listed(self._found[1])

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that tables are named by; all splits if rows name theirs."""
        found = {spec.ALL_SPLITS[place.split] for place in self.places}
        return tuple(s for s in spec.SPLITS if s in found or self.source.columns.split)

    @property
    def key_column(self) -> str | None:
        """The column of keys, which may not be unique; None if keys are made from row numbers."""
        return self.source.columns.key

    def notes(self) -> Iterator[str]:
        """Yields notes on the input."""
        columns = self.source.columns
        yield f"texts from the column {' and '.join(columns.text)}, labels from {columns.label}"

    def stored_in(self, output_dir: str) -> "Tables":
        """Returns these tables, with their texts kept in a folder."""
        source = dataclasses.replace(self.source, output_dir=output_dir)
        return dataclasses.replace(self, source=source)

    def files(self) -> Fingerprint:
        """Returns the fingerprint of the tables by path, size and version."""
        remote = storage.is_remote(self.source.input_dir)
        map_places = storage.map_concurrently if remote else map
        parts = map_places(operator.methodcaller("fingerprint", self.source), self.places)
        return functools.reduce(lambda one, other: one + other, parts)

    def check_listed(self, found: Listed) -> Listed:
        """Returns the summary of all tables; raises `BadInput` if they can't be trained on."""
        classes, sizes = self.classes_of(found), self.sizes(found)
        name = self.source.input_dir
        if not sizes.get(spec.TRAIN):
            column = self.source.columns.split
            where = f"with train in the column {column}" if column else "of train"
            raise BadInput(f"{name} has no rows {where} with a label: add some")
        if len(classes) == 1:
            raise BadInput(f"{name} has only one class, {named(classes)}: a classifier needs two")
        input_tree.check_names(name, classes)
        for split, examples in self.examples(found).items():
            if other := next((label for label in examples if label not in classes), None):
                raise BadInput(
                    f"{name}: {split} has the class {named([other])}, but train has "
                    f"{named(classes)}: give --classes, or fix it"
                )
            if split in self.made:
                raise BadInput(f"{name} has rows of {split}: drop --{split}")
        if missing := next((c for c in classes if not self.examples(found)["train"][c]), None):
            raise BadInput(
                f"{name}: train has no rows of the class {named([missing])}: name others"
            )
        return found

    def classes_of(self, listed: Listed) -> tuple[str, ...]:
        """Returns the names of the classes; a class's position is its label."""
        if self.source.classes:
            return self.source.classes
        return tuple(sorted_labels(self.examples(listed).get(spec.TRAIN, ())))

    def examples(self, listed: Listed) -> dict[str, collections.Counter[str]]:
        """Returns the number of rows of each split and class, without unlabelled ones."""
        examples: dict[str, collections.Counter[str]] = {}
        for of, number in listed.reviews.items():
            split, _, label = of.partition("/")
            examples.setdefault(split, collections.Counter())[label] += number
        for found in examples.values():
            del found[NO_LABEL]
        return {split: examples[split] for split in spec.SPLITS if split in examples}

    def sizes(self, listed: Listed) -> dict[str, int]:
        """Returns the number of rows of each split."""
        return listed.sizes(self.examples(listed))

    def all_reviews(self) -> Iterator[Unread]:
        """Yields all rows, in no order; stores their texts."""
        yield from self._found[0]

    def fingerprint(self) -> Fingerprint:
        """Reads all rows and returns the fingerprint of those that aren't bad."""
        return self._read()[0]

    def is_made_of(self, made: Manifest) -> bool:
        """Reads all rows; returns whether a dataset was made from them."""
        return self._read() == (made.input, made.bad_files)

    def _read(self) -> tuple[Fingerprint, int]:
        """Returns the fingerprint of the good rows, and the number of bad ones."""
        bad = 0

        def good() -> Iterator[tuple[Unread, bytes]]:
            nonlocal bad
            for place in self.places:
                for items in place.read(self.source):
                    for unread, text in (item for item in items if not isinstance(item, str)):
                        text_source.SEEN["listed"] += 1
                        if self.source.is_bad(unread):
                            bad += 1
                        else:
                            yield unread, text

        return fingerprint.fingerprint(self.source, good()), bad


def sorted_labels(labels: Iterable[str]) -> list[str]:
    """Returns sorted labels, in numerical order if all are integers."""
    labels = sorted(labels)
    return sorted(labels, key=int) if all(map(WHOLE_NUMBER.fullmatch, labels)) else labels


def open_tables(folder: str, files: list[str], flags: DataFlags) -> Tables:
    """Opens tables by the header of the first.

    Args:
      folder: the input.
      files: the tables, by their paths below it.
      flags: how to read them.

    Raises:
      BadInput: if a flag can't be used with them, or there are no such columns.
    """
    # Tables of unlabelled texts don't need all columns.
    labelled = [f for f in files if table_files.split_of(f) != spec.UNLABELLED]
    source = _source(folder, labelled or files, flags)
    splits = {} if source.columns.split else table_files.splits(folder, files)
    places = (
        TablePlace(file, spec.ALL_SPLITS.index(splits.get(file, spec.TRAIN)))
        for file in files
        if splits.get(file) != spec.UNLABELLED or flags.unlabelled is not False
    )
    return Tables(source, tuple(places), flags.derived_splits)


def _source(folder: str, files: list[str], flags: DataFlags) -> TableSource:
    first = readers.Table(os.path.join(folder, files[0]), flags.encoding, flags.delimiter)
    first.check_encoding()
    if flags.pattern != DataFlags.pattern:
        raise BadInput(f"--pattern {flags.pattern}: {first.path} is a table: drop --pattern")
    if flags.classes:
        input_tree.check_once(flags.classes)
    given = Columns(
        flags.text_column or (), flags.label_column, flags.split_column, flags.key_column
    )
    return TableSource(
        input_dir=folder,
        columns=given.find(first.path, first.schema().names, labelled=True),
        table_encoding=flags.encoding,
        delimiter=flags.delimiter,
        classes=flags.classes,
        with_unlabelled=flags.unlabelled,
    )
