"""The input folder: its splits, its classes, and which files are reviews."""

import collections
import dataclasses
import functools
import operator
import os
import unicodedata
from collections.abc import Iterator

import more_itertools

from pipelines.preprocess import fingerprint, listing
from textrecords import spec, storage, terminal, text_source
from textrecords.errors import BadInput
from textrecords.manifest import Fingerprint

UNFIT_FOR_NAMES = {"Cc", "Cs"}  # of Unicode: control characters, and bytes that aren't UTF-8
UNLABELLED = "unsup"  # the folder of train that is known to hold no labels
LISTED_TOGETHER = 2_000  # files an element: a path of its own costs more than the file's reading


@dataclasses.dataclass(frozen=True)
class Tree:
    """An input folder that can be preprocessed.

    Attributes:
      source: the folder.
      classes: names of the class folders; a class's position is its label.
      folders: the folder of each split; keys begin with its name.
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

    def class_folders(self) -> Iterator[tuple[str, str, int]]:
        """Yields the folder of the split, the class and its label, of each that has reviews."""
        for split, folder in self.folders.items():
            for label, name in enumerate(self.classes):
                if self.examples[split][name]:
                    yield folder, name, label

    def all_keys(self) -> Iterator[bytes]:
        """Yields the keys of all reviews, in no order."""
        for folder, name, _ in self.class_folders():
            yield from self.source.list_keys(f"{folder}/{name}")

    def fingerprint(self) -> Fingerprint:
        """Reads all reviews and returns the fingerprint of those that can be read."""
        return fingerprint.fingerprint(self.source.read_good(self.all_keys(), {}))


def find_reviews(source: text_source.Source, classes: list[str] | None = None) -> Tree:
    """Looks through `<input_dir>/<split>/<class>/` and counts the reviews.

    Args:
      source: a folder with `train` and, if there are any, `validation` and `test`, named as
        `spec.split_of` knows them.
      classes: the class folders to read; by default all of train, sorted by name.

    Raises:
      BadInput: if there is nothing to train a classifier on.
    """
    input_dir = source.input_dir
    if not storage.is_folder(input_dir):
        raise BadInput(f"no input folder {input_dir}: name a folder that holds train/")
    left_out: collections.Counter[str] = collections.Counter()
    folders = _split_folders(source, left_out)
    if spec.TRAIN not in folders:
        raise BadInput(
            f"{input_dir} has no folder train: it must hold train/<class>/{source.pattern}"
        )
    train_dir = os.path.join(input_dir, folders[spec.TRAIN])
    found = _class_folders(train_dir)
    chosen = tuple(classes or found)
    _check_classes(train_dir, chosen, found)
    examples = {}
    listed = Fingerprint.of(())
    for split, folder in folders.items():
        _check_same_classes(os.path.join(input_dir, folder), chosen, chosen_by_user=bool(classes))
        by_class = _list_split(source, folder, chosen, left_out)
        examples[split] = {name: files.files for name, files in by_class.items()}
        listed = functools.reduce(operator.add, by_class.values(), listed)
    return Tree(source, chosen, folders, examples, dict(sorted(left_out.items())), listed)


def _split_folders(
    source: text_source.Source, left_out: collections.Counter[str]
) -> dict[str, str]:
    """Returns the name of each split's folder; adds what is beside them to `left_out`."""
    found: dict[str, str] = {}
    for entry in text_source.scan(source.input_dir):
        if entry.name.startswith("."):
            left_out["hidden"] += 1
        elif not entry.is_dir():
            left_out["beside the split folders"] += 1
        elif split := spec.split_of(entry.name):
            if split in found:
                both = " and ".join(sorted((found[split], entry.name)))
                raise BadInput(
                    f"{source.input_dir} has two folders for the {split} split, {both}: merge them"
                )
            found[split] = entry.name
        else:
            left_out[f"{terminal.one_line(entry.name)}: no split"] += _count_files(source, entry)
    return {split: found[split] for split in spec.SPLITS if split in found}


def _count_files(source: text_source.Source, folder: os.DirEntry[str] | storage.Entry) -> int:
    """Counts the files in a folder that is no split; a link, which may lead anywhere, counts 1."""
    if folder.is_symlink():
        return 1
    others: collections.Counter[str] = collections.Counter()
    return sum(1 for _ in source.list_keys(folder.name, others)) + others.total()


def _class_folders(split_dir: str) -> list[str]:
    names = [
        e.name for e in text_source.scan(split_dir) if e.is_dir() and not e.name.startswith(".")
    ]
    return sorted(name for name in names if name != UNLABELLED)


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
    """Lists the reviews of each class in a split's folder; adds what is left out to `left_out`.

    A class may be missing, but not from train, of which the classes are known.
    """
    listed = dict.fromkeys(classes, Fingerprint.of(()))
    split_dir = os.path.join(source.input_dir, folder)
    for entry in text_source.scan(split_dir):
        if entry.name.startswith("."):
            left_out["hidden"] += 1
        elif not entry.is_dir():
            left_out["beside the class folders"] += 1
        elif entry.name in classes:
            files = source.list_files(f"{folder}/{entry.name}", left_out)
            listed[entry.name] = listing.fingerprint(files)
        else:
            why = "no labels" if entry.name == UNLABELLED else "not a chosen class"
            number = sum(1 for _ in text_source.scan(entry.path))
            left_out[f"{folder}/{terminal.one_line(entry.name)}: {why}"] += number
    empty = [name for name, files in listed.items() if not files.files]
    if empty and spec.split_of(folder) == spec.TRAIN:
        raise BadInput(
            f"{split_dir}/{empty[0]} holds no {source.pattern} files: a class needs at least one"
        )
    if len(empty) == len(classes):
        raise BadInput(
            f"{split_dir} holds no {source.pattern} files of a class of train: add some, or remove "
            "the folder"
        )
    return listed


def list_folder(
    folder: tuple[str, str, int], source: text_source.Source
) -> Iterator[list[tuple[bytes, int]]]:
    """Yields lists of (key, label) of a class folder, given as in `Tree.class_folders`."""
    split_folder, name, label = folder
    keys = source.list_keys(f"{split_folder}/{name}")
    yield from more_itertools.chunked(((key, label) for key in keys), LISTED_TOGETHER)
