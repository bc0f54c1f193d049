"""The input folder: its splits, its classes, and which files are reviews."""

import collections
import dataclasses
import os
from collections.abc import Iterator

import more_itertools

from pipelines.preprocess import fingerprint
from textrecords import spec, storage, terminal, text_source
from textrecords.errors import BadInput
from textrecords.manifest import Fingerprint

UNLABELLED = "unsup"  # the folder of train that is known to hold no labels
LISTED_TOGETHER = 2_000  # files an element: a path of its own costs more than the file's reading


@dataclasses.dataclass(frozen=True)
class Tree:
    """An input folder that can be preprocessed.

    Attributes:
      source: the folder.
      classes: names of the class folders; a class's position is its label.
      examples: how many reviews lie in each split and class.
      left_out: why files were left out, and how many.
    """

    source: text_source.Source
    classes: tuple[str, ...]
    examples: dict[str, dict[str, int]]
    left_out: dict[str, int]

    @property
    def num_reviews(self) -> int:
        return sum(sum(classes.values()) for classes in self.examples.values())

    def all_keys(self) -> Iterator[bytes]:
        """Yields the keys of all reviews, in no order."""
        for split in self.examples:
            for name in self.classes:
                yield from self.source.list_keys(f"{split}/{name}")

    def fingerprint(self) -> Fingerprint:
        """Reads all reviews and returns the fingerprint of those that can be read."""
        return fingerprint.fingerprint(self.source.read_good(self.all_keys(), {}))


def find_reviews(source: text_source.Source, classes: list[str] | None = None) -> Tree:
    """Looks through `<input_dir>/<split>/<class>/` and counts the reviews.

    Args:
      source: a folder with `train` and, if there are any, `validation` and `test`.
      classes: the class folders to read; by default all of train, sorted by name.

    Raises:
      BadInput: if there is nothing to train a classifier on.
    """
    input_dir = source.input_dir
    if not storage.is_folder(input_dir):
        raise BadInput(f"no input folder {input_dir}: name a folder that holds train/")
    train_dir = os.path.join(input_dir, spec.TRAIN)
    if not storage.is_folder(train_dir):
        raise BadInput(
            f"{input_dir} has no folder train: it must hold train/<class>/{source.pattern}"
        )
    found = _class_folders(train_dir)
    chosen = tuple(classes or found)
    _check_classes(train_dir, chosen, found)
    left_out: collections.Counter[str] = collections.Counter()
    examples = {}
    for split in spec.SPLITS:
        split_dir = os.path.join(input_dir, split)
        if storage.is_folder(split_dir):
            _check_same_classes(split_dir, chosen, chosen_by_user=bool(classes))
            examples[split] = _count_split(source, split, chosen, left_out)
    return Tree(source, chosen, examples, dict(sorted(left_out.items())))


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
    for name in chosen:
        if not name.isprintable():
            raise BadInput(f"{train_dir}: the class {name} has no printable name: rename it")
        if name not in (*found, UNLABELLED) or not storage.is_folder(os.path.join(train_dir, name)):
            raise BadInput(f"{train_dir} has no folder {name}: its classes are {', '.join(found)}")


def _check_same_classes(split_dir: str, chosen: tuple[str, ...], *, chosen_by_user: bool) -> None:
    found = _class_folders(split_dir)
    missing = [name for name in chosen if not storage.is_folder(os.path.join(split_dir, name))]
    extra = [] if chosen_by_user else sorted(set(found) - set(chosen))
    if missing or extra:
        raise BadInput(
            f"{split_dir} has the classes {', '.join(found) or 'none'}, but train has "
            f"{', '.join(chosen)}: give both the same folders, or name --classes"
        )


def _count_split(
    source: text_source.Source,
    split: str,
    classes: tuple[str, ...],
    left_out: collections.Counter[str],
) -> dict[str, int]:
    """Counts the reviews of each class; adds what is left out to `left_out`."""
    for entry in text_source.scan(os.path.join(source.input_dir, split)):
        if entry.name.startswith("."):
            left_out["hidden"] += 1
        elif not entry.is_dir():
            left_out["beside the class folders"] += 1
        elif entry.name not in classes:
            why = "no labels" if entry.name == UNLABELLED else "not a chosen class"
            number = sum(1 for _ in text_source.scan(entry.path))
            left_out[f"{split}/{terminal.one_line(entry.name)}: {why}"] += number
    examples = {}
    for name in classes:
        examples[name] = sum(1 for _ in source.list_keys(f"{split}/{name}", left_out))
        if not examples[name]:
            raise BadInput(
                f"{source.input_dir}/{split}/{name} holds no {source.pattern} files: a class "
                "needs at least one"
            )
    return examples


def list_folder(
    folder: tuple[str, str, int], source: text_source.Source
) -> Iterator[list[tuple[bytes, int]]]:
    """Yields the files of a class folder, given as (split, class, label): lists of (key, label)."""
    split, name, label = folder
    keys = source.list_keys(f"{split}/{name}")
    yield from more_itertools.chunked(((key, label) for key in keys), LISTED_TOGETHER)
