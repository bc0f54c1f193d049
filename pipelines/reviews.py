"""The directory tree: which files are reviews, and their texts as Arrow record batches."""

import collections
import dataclasses
import itertools
import os
from collections.abc import Iterable, Iterator
from typing import TypeVar

import pyarrow as pa

from pipelines import contract

T = TypeVar("T")

SUFFIX = ".txt"
UNLABELLED = "unsup"  # the folder of train that is known to hold no labels
BATCH_SIZE = 1024  # reviews: larger batches share more words, so fewer counts cross the stages

_BYTES = pa.large_list(pa.large_binary())
SCHEMA = pa.schema(
    [
        (contract.TEXT, _BYTES),
        (contract.LABEL, pa.large_list(pa.int64())),
        (contract.KEY, _BYTES),
    ]
)


@dataclasses.dataclass(frozen=True)
class Tree:
    """An input folder that can be preprocessed.

    Attributes:
      input_dir: the folder.
      classes: names of the class folders; a class's position is its label.
      examples: how many reviews lie in each split and class.
      left_out: why files were left out, and how many.
    """

    input_dir: str
    classes: tuple[str, ...]
    examples: dict[str, dict[str, int]]
    left_out: dict[str, int]


def survey(input_dir: str, classes: list[str] | None = None) -> Tree:
    """Looks through `<input_dir>/<split>/<class>/` and counts the reviews.

    Args:
      input_dir: a folder with `train` and, if there is one, `test`.
      classes: the class folders to read; by default all of train, sorted by name.

    Raises:
      BadInput: if there is nothing to train a classifier on.
    """
    if not os.path.isdir(input_dir):
        raise contract.BadInput(f"no input folder {input_dir}: name a folder that holds train/")
    train_dir = os.path.join(input_dir, contract.TRAIN)
    if not os.path.isdir(train_dir):
        raise contract.BadInput(
            f"{input_dir} has no folder train: it must hold train/<class>/*.txt"
        )
    found = _class_folders(train_dir)
    chosen = tuple(classes or found)
    _check_classes(train_dir, chosen, found)
    left_out: collections.Counter[str] = collections.Counter()
    examples = {}
    for split in contract.SPLITS:
        split_dir = os.path.join(input_dir, split)
        if os.path.isdir(split_dir):
            _check_same_classes(split_dir, chosen, chosen_by_user=bool(classes))
            examples[split] = _count_split(split_dir, chosen, left_out)
    return Tree(input_dir, chosen, examples, dict(sorted(left_out.items())))


def _class_folders(split_dir: str) -> list[str]:
    with os.scandir(split_dir) as entries:
        names = [e.name for e in entries if e.is_dir() and not e.name.startswith(".")]
    return sorted(name for name in names if name != UNLABELLED)


def _check_classes(train_dir: str, chosen: tuple[str, ...], found: list[str]) -> None:
    if not chosen:
        raise contract.BadInput(f"{train_dir} has no class folders: it must hold <class>/*.txt")
    if len(set(chosen)) < len(chosen):
        raise contract.BadInput(f"--classes names a class twice: {' '.join(chosen)}")
    if len(chosen) == 1:
        raise contract.BadInput(
            f"{train_dir} has one class only, {chosen[0]}: a classifier needs at least two"
        )
    for name in chosen:
        if not name.isprintable():
            raise contract.BadInput(
                f"{train_dir}: the class {name} has no printable name: rename it"
            )
        if not os.path.isdir(os.path.join(train_dir, name)):
            raise contract.BadInput(
                f"{train_dir} has no folder {name}: its classes are {', '.join(found)}"
            )


def _check_same_classes(split_dir: str, chosen: tuple[str, ...], *, chosen_by_user: bool) -> None:
    found = _class_folders(split_dir)
    missing = [name for name in chosen if not os.path.isdir(os.path.join(split_dir, name))]
    extra = [] if chosen_by_user else sorted(set(found) - set(chosen))
    if missing or extra:
        raise contract.BadInput(
            f"{split_dir} has the classes {', '.join(found) or 'none'}, but train has "
            f"{', '.join(chosen)}: give both the same folders, or name --classes"
        )


def _count_split(
    split_dir: str, classes: tuple[str, ...], left_out: collections.Counter[str]
) -> dict[str, int]:
    """Counts the reviews of each class; adds what is left out to `left_out`."""
    split = os.path.basename(split_dir)
    with os.scandir(split_dir) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                left_out["hidden"] += 1
            elif not entry.is_dir():
                left_out["beside the class folders"] += 1
            elif entry.name not in classes:
                why = "no labels" if entry.name == UNLABELLED else "not a chosen class"
                left_out[f"{split}/{entry.name}: {why}"] += len(os.listdir(entry.path))
    examples = {}
    for name in classes:
        folder = os.path.join(split_dir, name)
        examples[name] = sum(1 for _ in list_reviews(folder, left_out))
        if not examples[name]:
            raise contract.BadInput(f"{folder} holds no {SUFFIX} files: a class needs at least one")
    return examples


def list_reviews(folder: str, left_out: collections.Counter[str] | None = None) -> Iterator[str]:
    """Yields the names of the reviews in a class folder, in no order.

    Args:
      folder: the class folder.
      left_out: where the files that aren't reviews are counted, by reason.
    """
    left_out = collections.Counter() if left_out is None else left_out
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                left_out["hidden"] += 1
            elif not entry.is_file():
                left_out["folders and special files inside a class"] += 1
            elif not entry.name.endswith(SUFFIX):
                left_out[f"not {SUFFIX}"] += 1
            else:
                yield entry.name


def list_keys(input_dir: str, split: str, class_name: str) -> Iterator[bytes]:
    """Yields the keys of the reviews in a class folder, in no order."""
    for name in list_reviews(os.path.join(input_dir, split, class_name)):
        yield os.fsencode(f"{split}/{class_name}/{name}")


def all_keys(tree: Tree) -> Iterator[bytes]:
    """Yields the keys of all reviews of an input folder, in no order."""
    for split, classes in tree.examples.items():
        for name in classes:
            yield from list_keys(tree.input_dir, split, name)


def read_batches(
    input_dir: str, files: Iterable[tuple[bytes, int]], not_utf8: list[bytes] | None = None
) -> Iterator[pa.RecordBatch]:
    """Reads reviews, in the order of `files`, as record batches of `SCHEMA`.

    Args:
      input_dir: the input folder.
      files: the key and the label of each review.
      not_utf8: where the keys are put of the reviews that had to be decoded with replacement.

    Yields:
      Batches of up to `BATCH_SIZE` reviews.
    """
    not_utf8 = [] if not_utf8 is None else not_utf8
    for batch in chunks(files, size=BATCH_SIZE):
        texts = [_read(input_dir, key, not_utf8) for key, _ in batch]
        columns = [
            pa.array(texts, pa.large_binary()),
            pa.array([label for _, label in batch], pa.int64()),
            pa.array([key for key, _ in batch], pa.large_binary()),
        ]
        yield pa.RecordBatch.from_arrays([_one_each(column) for column in columns], schema=SCHEMA)


def _read(input_dir: str, key: bytes, not_utf8: list[bytes]) -> bytes:
    raw = read_raw(input_dir, key)
    text = decode(raw)
    if text != raw:
        not_utf8.append(key)
    return text


def read_raw(input_dir: str, key: bytes) -> bytes:
    """Returns a review's bytes as they lie on disk."""
    path = os.path.join(os.fsencode(input_dir), key)
    with open(path, "rb", buffering=0) as file:  # a small file is one read
        return file.read()


def decode(raw: bytes) -> bytes:
    """Returns a review as valid UTF-8: what isn't becomes U+FFFD, as in the served model."""
    return raw.decode(errors="replace").encode()


def chunks(items: Iterable[T], *, size: int) -> Iterator[list[T]]:
    """Yields lists of `size` items, the last one of what remains."""
    items = iter(items)
    while chunk := list(itertools.islice(items, size)):
        yield chunk


def _one_each(values: pa.Array) -> pa.Array:
    """Wraps each value into a list of one, as tf.Transform wants its columns."""
    return pa.LargeListArray.from_arrays(pa.array(range(len(values) + 1), pa.int64()), values)
