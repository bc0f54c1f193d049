"""The input folder: its splits, classes and reviews."""

import collections
import dataclasses
import functools
import itertools
import os
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import ClassVar

from pipelines import places
from pipelines.places import Listed, Place
from pipelines.preprocess import fingerprint
from textrecords import spec, storage, terminal, text_source
from textrecords.errors import BadInput
from textrecords.manifest import DataFlags, Fingerprint
from textrecords.text_source import Unread

UNFIT_FOR_NAMES = {
    "Cc",
    "Cs",
}  # Unicode categories: control characters, and bytes that aren't UTF-8
LOOKED_AT = 1_000  # files of a class, before a job starts: one page in Cloud Storage


@dataclasses.dataclass(frozen=True)
class Tree:
    """An input folder that can be preprocessed, as its top levels show it.

    Attributes:
      source: the folder.
      classes: names of the class folders; a class's position is its label.
      folders: the folder of each split, with which keys begin; "" without split folders.
      places: the class folders, and other folders whose files are skipped.
      outside: the number of other files, which are skipped, by reason.
    """

    is_tables: ClassVar[bool] = False

    source: text_source.Source
    classes: tuple[str, ...]
    folders: dict[str, str]
    places: tuple[Place, ...]
    outside: collections.Counter[str]

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits with a folder."""
        return tuple(self.folders)

    def notes(self) -> Iterator[str]:
        """Yields notes on the input."""
        for split, folder in self.folders.items():
            if folder not in ("", split):
                yield f"{folder} is used as the {split} split"

    @property
    def key_column(self) -> None:
        """None: a file's key is its path, which is unique."""

    def stored_in(self, output_dir: str) -> "Tree":
        """Returns this input: its texts aren't copied."""
        return self

    @functools.cached_property
    def listed(self) -> Listed:
        """The summary of all files, listed in this process; raises as `check_listed`."""
        return self.check_listed(places.list_here(self.places, self.source))

    def check_listed(self, found: Listed) -> Listed:
        """Returns the summary of all places and other files.

        Raises:
          BadInput: if there are no reviews in a split, or in a class of train.
        """
        for split, classes in self.examples(found).items():
            _check_not_empty(self.source, self.folders[split], classes)
        return found + Listed(skipped=self.outside)

    def examples(self, listed: Listed) -> dict[str, dict[str, int]]:
        """Returns the number of reviews of each split and class."""
        return {
            split: {name: listed.reviews[f"{split}/{name}"] for name in self.classes}
            for split in self.folders
        }

    def sizes(self, listed: Listed) -> dict[str, int]:
        """Returns the number of reviews of each split."""
        return listed.sizes(self.examples(listed))

    def classes_of(self, listed: Listed) -> tuple[str, ...]:
        """Returns the names of the classes; a class's position is its label."""
        return self.classes

    def all_reviews(self) -> Iterator[Unread]:
        """Yields all reviews, in no order."""
        for found in places.found_here(self.places, self.source):
            if isinstance(found, list):
                yield from map(Unread._make, found)

    def fingerprint(self) -> Fingerprint:
        """Reads all reviews and returns the fingerprint of those that can be read."""
        read = self.source.read_good(self.all_reviews(), {})
        return fingerprint.fingerprint(self.source, read)


def check_is_folder(input_dir: str) -> None:
    """Raises `BadInput` if there is no such folder."""
    if not storage.is_folder(input_dir):
        raise BadInput(
            f"no input folder {input_dir}: name one with train/ or class folders, or a table"
        )


def find_as_flagged(input_dir: str, flags: DataFlags) -> Tree:
    """Looks at an input folder with these flags.

    Raises:
      BadInput: if there is nothing to train a classifier on, or a flag would make a split that
        already has a folder.
    """
    tree = find_reviews(
        flags.source(input_dir),
        flags.classes,
        may_be_flat=bool(flags.test),
        with_unlabelled=flags.unlabelled is not False,
    )
    if flags.unlabelled and not any(place.label == "" for place in tree.places):
        raise BadInput(f"{input_dir} has no train/unsup/ or unlabelled/: drop --unlabelled")
    for split in flags.derived_splits:
        if split in tree.folders:
            raise BadInput(f"{input_dir} has a folder {tree.folders[split]}: drop --{split}")
    return tree


def find_reviews(
    source: text_source.Source,
    classes: Sequence[str] | None = None,
    *,
    may_be_flat: bool = False,
    with_unlabelled: bool = False,
) -> Tree:
    """Looks at the folders of `<input_dir>/<split>/<class>/`, and the first files of each class.

    Args:
      source: a folder with `train` and optionally `validation` and `test`, named as
        `spec.split_of` accepts.
      classes: the class folders to read; by default all of train, sorted by name.
      may_be_flat: whether a folder without these splits may have class folders at its top level.
        They all become train then, for flags to split.
      with_unlabelled: whether unlabelled files become a split.

    Raises:
      BadInput: if there is nothing to train a classifier on.
    """
    input_dir = source.input_dir
    check_is_folder(input_dir)
    top, outside = _look_at_top(source)
    folders = _split_folders(input_dir, top)
    if spec.TRAIN not in folders:
        _check_flat(source, folders, classes, may_be_flat=may_be_flat)
        folders, top, outside = {spec.TRAIN: ""}, [], collections.Counter()
    train_dir = _path(source, folders[spec.TRAIN])
    found = _class_folders(train_dir)
    chosen = tuple(classes or found)
    _check_classes(train_dir, chosen, found)
    found_places = list(_outside_splits(top, folders, outside))
    for split, folder in folders.items():
        _check_same_classes(_path(source, folder), chosen, chosen_by_user=bool(classes))
        in_split = list(_places(source, (split, folder), chosen, outside))
        _check_begun(source, folder, chosen, in_split)
        found_places += in_split
    if with_unlabelled:
        found_places = [_as_unlabelled(place, folders[spec.TRAIN]) for place in found_places]
    return Tree(source, chosen, folders, tuple(found_places), outside)


def _as_unlabelled(place: Place, train: str) -> Place:
    """Moves a place to the unlabelled split if it would be skipped only for having no labels."""
    above, name = os.path.split(place.folder)
    if place.label is not None or above not in ("", train) or not _is_unlabelled(name):
        return place
    return Place(place.folder, "", spec.ALL_SPLITS.index(spec.UNLABELLED))


def _path(source: text_source.Source, folder: str) -> str:
    """Returns the path of a split's folder."""
    return os.path.join(source.input_dir, folder) if folder else source.input_dir


def _look_at_top(
    source: text_source.Source,
) -> tuple[list[os.DirEntry[str] | storage.Entry], collections.Counter[str]]:
    """Returns the folders of the input, and the number of other files by reason for skipping."""
    folders, outside = [], collections.Counter()
    for entry in text_source.scan(source.input_dir):
        if storage.is_leftover(entry.name):
            outside["hidden"] += 1
        elif entry.is_dir():
            folders.append(entry)
        else:
            outside["outside the split folders"] += 1
    return folders, outside


def _split_folders(input_dir: str, top: list[os.DirEntry[str] | storage.Entry]) -> dict[str, str]:
    """Returns the name of each split's folder, among those of the input."""
    found: dict[str, str] = {}
    for entry in top:
        if split := spec.split_of(entry.name):
            if split in found:
                both = " and ".join(sorted((found[split], entry.name)))
                raise BadInput(
                    f"{input_dir} has two folders for the {split} split, {both}: merge them"
                )
            found[split] = entry.name
    return {split: found[split] for split in spec.SPLITS if split in found}


def _check_flat(
    source: text_source.Source,
    splits: dict[str, str],
    classes: Sequence[str] | None,
    *,
    may_be_flat: bool,
) -> None:
    """Raises `BadInput` unless a folder without train may have, and has, class folders."""
    input_dir, held = source.input_dir, f"it must contain train/<class>/{source.pattern}"
    if splits:
        others = " and ".join(f"{folder}/" for folder in splits.values())
        raise BadInput(f"{input_dir} has {others}, but no train/: {held}")
    names = classes or _class_folders(input_dir)
    held = f"{held}, or <class>/{source.pattern} for --test to split"
    if not names:
        raise BadInput(f"{input_dir} has neither train/ nor class folders: {held}")
    if len(names) == 1:
        if storage.is_folder(os.path.join(input_dir, names[0], spec.TRAIN)):
            raise BadInput(f"{input_dir} has no train/, but {names[0]}/ has: name that folder")
        raise BadInput(f"{input_dir} has no train/, and only one class folder, {names[0]}: {held}")
    if not may_be_flat:
        raise BadInput(
            f"{input_dir} has no train/: to split its classes, give --test 0.2 to preprocess"
        )


def _outside_splits(
    top: list[os.DirEntry[str] | storage.Entry],
    folders: dict[str, str],
    outside: collections.Counter[str],
) -> Iterator[Place]:
    """Yields the folders other than those of the splits; counts links to folders in `outside`."""
    for entry in top:
        if entry.name not in folders.values():
            why = f"{terminal.one_line(entry.name)}: no split"
            yield from _skipped(entry, entry.name, why, outside)


def _class_folders(split_dir: str) -> list[str]:
    names = [entry.name for entry in text_source.scan(split_dir) if entry.is_dir()]
    return sorted(name for name in names if not (_is_unlabelled(name) or storage.is_leftover(name)))


def _is_unlabelled(name: str) -> bool:
    """Returns whether a folder's name marks unlabelled texts."""
    return spec.split_of(name) == spec.UNLABELLED


def _check_classes(train_dir: str, chosen: tuple[str, ...], found: list[str]) -> None:
    if not chosen:
        raise BadInput(f"{train_dir} has no class folders: it must contain a folder for each class")
    check_once(chosen)
    if len(chosen) == 1:
        raise BadInput(
            f"{train_dir} has only one class, {chosen[0]}: a classifier needs at least two"
        )
    _check_normalization(train_dir, chosen, found)
    check_names(train_dir, chosen)
    for name in chosen:
        may_be = name in found or _is_unlabelled(name)
        if not may_be or not storage.is_folder(os.path.join(train_dir, name)):
            raise BadInput(f"{train_dir} has no folder {name}: its classes are {', '.join(found)}")


def check_once(classes: Sequence[str]) -> None:
    """Raises `BadInput` for a class that is given twice."""
    if len(set(classes)) < len(classes):
        raise BadInput(f"--classes names a class twice: {' '.join(classes)}")


def check_names(path: str, classes: Iterable[str]) -> None:
    """Raises `BadInput`, which names `path`, for a class name that can't be written in a line."""
    for name in classes:
        if any(unicodedata.category(c) in UNFIT_FOR_NAMES for c in name):
            raise BadInput(
                f"{path}: the name of the class {name} has a control character or isn't UTF-8: "
                "rename it"
            )


def _check_same_classes(split_dir: str, chosen: tuple[str, ...], *, chosen_by_user: bool) -> None:
    found = _class_folders(split_dir)
    _check_normalization(split_dir, chosen, found)
    extra = [] if chosen_by_user else sorted(set(found) - set(chosen))
    if extra:
        raise BadInput(
            f"{split_dir} has the classes {', '.join(found)}, but train has "
            f"{', '.join(chosen)}: give both the same folders, or give --classes"
        )


def _check_normalization(folder: str, classes: tuple[str, ...], found: list[str]) -> None:
    """Raises `BadInput` for a class whose folder has the same name in another Unicode form.

    Both look the same when printed.
    """
    by_form = {unicodedata.normalize("NFC", name): name for name in found}
    for name in set(classes).difference(found):
        alike = by_form.get(unicodedata.normalize("NFC", name))
        if alike is not None:
            raise BadInput(
                f"{folder}: the name of the folder {alike} looks like that of the class, but is "
                f"in another Unicode form ({alike!a}, not {name!a}): rename it"
            )


def _places(
    source: text_source.Source,
    of_split: tuple[str, str],
    classes: tuple[str, ...],
    outside: collections.Counter[str],
) -> Iterator[Place]:
    """Yields the places in a folder, given as (split, folder); counts other files in `outside`."""
    split, folder = of_split
    for entry in text_source.scan(_path(source, folder)):
        path = os.path.join(folder, entry.name)
        if storage.is_leftover(entry.name):
            outside["hidden"] += 1
        elif not entry.is_dir():
            outside["outside the class folders"] += 1
        elif entry.name in classes:
            yield Place(path, entry.name, spec.SPLITS.index(split))
        else:
            why = "no labels" if _is_unlabelled(entry.name) else "not a chosen class"
            why = f"{terminal.one_line(path)}: {why}"
            yield from _skipped(entry, path, why, outside)


def _skipped(
    entry: os.DirEntry[str] | storage.Entry, path: str, why: str, outside: collections.Counter[str]
) -> Iterator[Place]:
    """Yields a folder whose files are skipped; counts links, which may lead anywhere, as 1 file."""
    if entry.is_symlink():
        outside[why] += 1
    else:
        yield Place(path, why=why)


def _check_begun(
    source: text_source.Source, folder: str, classes: tuple[str, ...], places: list[Place]
) -> None:
    """Raises `BadInput` like `_check_not_empty`, judging by the first files of each class."""
    of_classes = (place for place in places if place.label is not None)
    begun = {place.label for place in of_classes if _may_hold_reviews(source, place)}
    _check_not_empty(source, folder, {name: name in begun for name in classes})


def _may_hold_reviews(source: text_source.Source, place: Place) -> bool:
    """Returns whether one of a place's first files is a review, or there are more files."""
    looked_at = 0
    for _, _, why in itertools.islice(source.walk(place.folder), LOOKED_AT):
        looked_at += 1
        if why is None:
            return True
    return looked_at == LOOKED_AT


def _check_not_empty(source: text_source.Source, folder: str, found: Mapping[str, int]) -> None:
    """Raises `BadInput` for a split without reviews, or for a class that train lacks."""
    split_dir = _path(source, folder)
    empty = [name for name, number in found.items() if not number]
    remedy = "add some, remove the folder, or give preprocess another --pattern"
    if empty and spec.split_of(folder) in (spec.TRAIN, None):
        path = os.path.join(split_dir, empty[0])
        raise BadInput(
            f"{path} has no {source.pattern} files, and a class needs at least one: {remedy}"
        )
    if len(empty) == len(found):
        raise BadInput(f"{split_dir} has no {source.pattern} files of a class of train: {remedy}")
