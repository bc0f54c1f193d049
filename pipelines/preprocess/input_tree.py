"""The input folder: its splits, its classes, and which files are reviews."""

import collections
import dataclasses
import functools
import operator
import os
import unicodedata
from collections.abc import Iterator, Sequence

import more_itertools

from pipelines.preprocess import fingerprint, listing
from textrecords import spec, storage, terminal, text_source
from textrecords.errors import BadInput
from textrecords.manifest import DataFlags, Fingerprint

UNFIT_FOR_NAMES = {"Cc", "Cs"}  # of Unicode: control characters, and bytes that aren't UTF-8
UNLABELLED = "unsup"  # the folder of train that is known to hold no labels
LISTED_TOGETHER = 2_000  # files an element: a path of its own costs more than the file's reading


@dataclasses.dataclass(frozen=True)
class Tree:
    """An input folder that can be preprocessed.

    Attributes:
      source: the folder.
      classes: names of the class folders; a class's position is its label.
      folders: the folder of each split, with which keys begin; "" if the class folders lie in none.
      examples: how many reviews lie in each split and class.
      left_out: why files were left out, and how many.
      listed: the fingerprint of the reviews by path, size and time, from before any was read.
    """

    source: text_source.Source
    classes: tuple[str, ...]
    folders: dict[str, str]
    examples: dict[str, dict[str, int]]
    left_out: dict[str, int]
    listed: Fingerprint

    @property
    def num_reviews(self) -> int:
        return sum(sum(classes.values()) for classes in self.examples.values())

    def class_folders(self) -> Iterator[tuple[str, int]]:
        """Yields the folder, by its path in the input, and the label of each that has reviews."""
        for split, folder in self.folders.items():
            for label, name in enumerate(self.classes):
                if self.examples[split][name]:
                    yield os.path.join(folder, name), label

    def all_keys(self) -> Iterator[bytes]:
        """Yields the keys of all reviews, in no order."""
        for folder, _ in self.class_folders():
            yield from self.source.list_keys(folder)

    def fingerprint(self) -> Fingerprint:
        """Reads all reviews and returns the fingerprint of those that can be read."""
        return fingerprint.fingerprint(self.source.read_good(self.all_keys(), {}))


def origin(key: bytes) -> tuple[str, str]:
    """Returns the split and the class whose folders a review lies in, by its key."""
    first, _, below = os.fsdecode(key).partition("/")
    split = spec.split_of(first)
    return (split, below.partition("/")[0]) if split else (spec.TRAIN, first)


def check_is_folder(input_dir: str) -> None:
    """Raises `BadInput` if there is no such folder."""
    if not storage.is_folder(input_dir):
        raise BadInput(f"no input folder {input_dir}: name one that holds train/ or class folders")


def find_as_flagged(input_dir: str, flags: DataFlags) -> Tree:
    """Looks through an input folder as the flags want it.

    Raises:
      BadInput: if there is nothing to train a classifier on, or a flag is to make a split that has
        a folder.
    """
    tree = find_reviews(flags.source(input_dir), flags.classes, may_be_flat=bool(flags.test))
    for split, share in ((spec.VALIDATION, flags.validation), (spec.TEST, flags.test)):
        if share and split in tree.folders:
            raise BadInput(f"{input_dir} has a folder {tree.folders[split]}: leave out --{split}")
    return tree


def find_reviews(
    source: text_source.Source, classes: Sequence[str] | None = None, *, may_be_flat: bool = False
) -> Tree:
    """Looks through `<input_dir>/<split>/<class>/` and counts the reviews.

    Args:
      source: a folder with `train` and, if there are any, `validation` and `test`, named as
        `spec.split_of` knows them.
      classes: the class folders to read; by default all of train, sorted by name.
      may_be_flat: whether a folder with none of these splits may hold the class folders themselves.
        They are all train then, for flags to split.

    Raises:
      BadInput: if there is nothing to train a classifier on.
    """
    input_dir = source.input_dir
    check_is_folder(input_dir)
    folders = _split_folders(source)
    if spec.TRAIN not in folders:
        _check_flat(source, folders, classes, may_be_flat=may_be_flat)
        folders = {spec.TRAIN: ""}
    left_out: collections.Counter[str] = collections.Counter()
    if folders[spec.TRAIN]:
        _count_beside(source, folders, left_out)
    train_dir = _path(source, folders[spec.TRAIN])
    found = _class_folders(train_dir)
    chosen = tuple(classes or found)
    _check_classes(train_dir, chosen, found)
    examples = {}
    listed = Fingerprint.of(())
    for split, folder in folders.items():
        _check_same_classes(_path(source, folder), chosen, chosen_by_user=bool(classes))
        by_class = _list_split(source, folder, chosen, left_out)
        _check_not_empty(source, folder, by_class)
        examples[split] = {name: files.files for name, files in by_class.items()}
        listed = functools.reduce(operator.add, by_class.values(), listed)
    return Tree(source, chosen, folders, examples, dict(sorted(left_out.items())), listed)


def _path(source: text_source.Source, folder: str) -> str:
    """Returns the path of a split's folder."""
    return os.path.join(source.input_dir, folder) if folder else source.input_dir


def _split_folders(source: text_source.Source) -> dict[str, str]:
    """Returns the name of each split's folder."""
    found: dict[str, str] = {}
    for entry in text_source.scan(source.input_dir):
        if (split := spec.split_of(entry.name)) and entry.is_dir():
            if split in found:
                both = " and ".join(sorted((found[split], entry.name)))
                raise BadInput(
                    f"{source.input_dir} has two folders for the {split} split, {both}: merge them"
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
    """Raises `BadInput` unless a folder without train may hold, and holds, class folders."""
    input_dir, held = source.input_dir, f"it must hold train/<class>/{source.pattern}"
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
        raise BadInput(f"{input_dir} has no train/, and one class folder only, {names[0]}: {held}")
    if not may_be_flat:
        raise BadInput(
            f"{input_dir} has no train/: to split its classes, give --test 0.2 to preprocess"
        )


def _count_beside(
    source: text_source.Source, folders: dict[str, str], left_out: collections.Counter[str]
) -> None:
    """Adds what is beside the folders of the splits to `left_out`."""
    for entry in text_source.scan(source.input_dir):
        if storage.is_leftover(entry.name):
            left_out["hidden"] += 1
        elif not entry.is_dir():
            left_out["beside the split folders"] += 1
        elif entry.name not in folders.values():
            left_out[f"{terminal.one_line(entry.name)}: no split"] += _count_files(source, entry)


def _count_files(source: text_source.Source, folder: os.DirEntry[str] | storage.Entry) -> int:
    """Counts the files in a folder that is no split; a link, which may lead anywhere, counts 1."""
    if folder.is_symlink():
        return 1
    others: collections.Counter[str] = collections.Counter()
    return sum(1 for _ in source.list_keys(folder.name, others)) + others.total()


def _class_folders(split_dir: str) -> list[str]:
    names = [entry.name for entry in text_source.scan(split_dir) if entry.is_dir()]
    return sorted(name for name in names if name != UNLABELLED and not storage.is_leftover(name))


def _check_classes(train_dir: str, chosen: tuple[str, ...], found: list[str]) -> None:
    if not chosen:
        raise BadInput(f"{train_dir} has no class folders: it must hold a folder for each class")
    if len(set(chosen)) < len(chosen):
        raise BadInput(f"--classes names a class twice: {' '.join(chosen)}")
    if len(chosen) == 1:
        raise BadInput(
            f"{train_dir} has one class only, {chosen[0]}: a classifier needs at least two"
        )
    _check_normalization(train_dir, chosen, found)
    for name in chosen:
        if any(unicodedata.category(c) in UNFIT_FOR_NAMES for c in name):
            raise BadInput(
                f"{train_dir}: the name of the class {name} has a control character or isn't "
                "UTF-8: rename it"
            )
        if name not in (*found, UNLABELLED) or not storage.is_folder(os.path.join(train_dir, name)):
            raise BadInput(f"{train_dir} has no folder {name}: its classes are {', '.join(found)}")


def _check_same_classes(split_dir: str, chosen: tuple[str, ...], *, chosen_by_user: bool) -> None:
    found = _class_folders(split_dir)
    _check_normalization(split_dir, chosen, found)
    extra = [] if chosen_by_user else sorted(set(found) - set(chosen))
    if extra:
        raise BadInput(
            f"{split_dir} has the classes {', '.join(found)}, but train has "
            f"{', '.join(chosen)}: give both the same folders, or name --classes"
        )


def _check_normalization(folder: str, classes: tuple[str, ...], found: list[str]) -> None:
    """Raises `BadInput` for a class whose folder has the same name in another form of Unicode.

    Both would be printed alike.
    """
    by_form = {unicodedata.normalize("NFC", name): name for name in found}
    for name in set(classes).difference(found):
        alike = by_form.get(unicodedata.normalize("NFC", name))
        if alike is not None:
            raise BadInput(
                f"{folder}: the name of the folder {alike} looks like that of the class, but is "
                f"in another form of Unicode ({alike!a}, not {name!a}): rename it"
            )


def _list_split(
    source: text_source.Source,
    folder: str,
    classes: tuple[str, ...],
    left_out: collections.Counter[str],
) -> dict[str, Fingerprint]:
    """Lists the reviews of each class in a split's folder; adds what is left out to `left_out`."""
    listed = dict.fromkeys(classes, Fingerprint.of(()))
    for entry in text_source.scan(_path(source, folder)):
        path = os.path.join(folder, entry.name)
        if storage.is_leftover(entry.name):
            left_out["hidden"] += 1
        elif not entry.is_dir():
            left_out["beside the class folders"] += 1
        elif entry.name in classes:
            listed[entry.name] = listing.fingerprint(source.list_files(path, left_out))
        else:
            why = "no labels" if entry.name == UNLABELLED else "not a chosen class"
            number = sum(1 for _ in text_source.scan(entry.path))
            left_out[f"{terminal.one_line(path)}: {why}"] += number
    return listed


def _check_not_empty(
    source: text_source.Source, folder: str, listed: dict[str, Fingerprint]
) -> None:
    """Raises `BadInput` for a split without reviews, or for a class that train lacks."""
    split_dir = _path(source, folder)
    empty = [name for name, files in listed.items() if not files.files]
    remedy = "add some, remove the folder, or give preprocess another --pattern"
    if empty and spec.split_of(folder) in (spec.TRAIN, None):
        path = os.path.join(split_dir, empty[0])
        raise BadInput(
            f"{path} holds no {source.pattern} files, and a class needs at least one: {remedy}"
        )
    if len(empty) == len(listed):
        raise BadInput(f"{split_dir} holds no {source.pattern} files of a class of train: {remedy}")


def list_folder(
    folder: tuple[str, int], source: text_source.Source
) -> Iterator[list[tuple[bytes, int]]]:
    """Yields lists of (key, label) of a class folder, given as in `Tree.class_folders`."""
    path, label = folder
    keys = source.list_keys(path)
    yield from more_itertools.chunked(((key, label) for key in keys), LISTED_TOGETHER)
