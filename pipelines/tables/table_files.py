"""Finds the tables of an input and their splits, by name."""

import glob
import itertools
import os
import re
from collections.abc import Mapping
from typing import Any

from pipelines import patterns
from textrecords import spec, storage, text_source
from textrecords.errors import BadInput

# File names by format; text may be compressed.
SUFFIX = re.compile(r"\.(?:(csv|tsv|jsonl|ndjson|json)(\.gz)?|(parquet))$", re.IGNORECASE)
LOOKED_AT = 1_000  # files of a folder, to detect tables
WORD = re.compile(r"[A-Za-z]+")  # the first word of a file's name, which may be its split


def find(path: str) -> tuple[str, list[str]]:
    """Returns the folder of an input and its tables, by their paths below it; none if it has none.

    Args:
      path: a table, a pattern, or a folder whose tables, or folders of tables, are named by split.

    Raises:
      BadInput: if these aren't tables of one format, or not all named by split.
    """
    path = storage.absolute(path)
    if storage.is_folder(path):
        folder, files = path, _in_folder(path)
    else:
        folder, files = find_files(path)
    _check_one_format(folder, files)
    return folder, files


def find_files(path: str) -> tuple[str, list[str]]:
    """Returns a folder and the tables below it that a path or pattern names, if any.

    Raises:
      BadInput: if it matches nothing, or also other files.
    """
    if not is_table(path):
        return path, []
    if storage.is_file(path):  # even if its name has special characters
        folder, name = os.path.split(path)
        return folder, [name]
    if not glob.has_magic(path):
        raise BadInput(f"no table {path}: name one, or a folder")
    folder, pattern = patterns.split(path)
    files = sorted(patterns.match(folder, pattern))
    if not files:
        raise BadInput(f"{path} matches no files: name a folder, a table or another pattern")
    return folder, files


def is_table(path: str) -> bool:
    """Returns whether a file is a table, by its name."""
    return bool(SUFFIX.search(path))


def check_none_given(path: str, given: Mapping[str, Any]) -> None:
    """Raises `BadInput` if any of these flags of tables is given for an input that isn't one."""
    for name, value in given.items():
        if value is not None:
            raise BadInput(f"--{name} is for tables, and {path} isn't one: drop --{name}")


def format_of(path: str) -> str:
    """Returns the format of a table: csv, tsv, json or parquet."""
    text, _, parquet = SUFFIX.search(path).groups()
    found = (text or parquet).lower()
    return "json" if found in ("jsonl", "ndjson") else found


def splits(folder: str, files: list[str]) -> dict[str, str]:
    """Returns the split of each table by its name or its folder's; none if no name is a split."""
    split_names = {file: split for file in files if (split := split_of(file))}
    if not split_names:
        return {}
    if other := next((file for file in files if file not in split_names), None):
        raise BadInput(
            f"{folder}: {other} isn't named by split, but {next(iter(split_names))} is: rename one"
        )
    if spec.TRAIN not in split_names.values():
        raise BadInput(
            f"{folder}: {files[0]} is for {split_names[files[0]]}, and no table is for train"
        )
    return split_names


def _in_folder(folder: str) -> list[str]:
    """Returns the tables of a folder that are named by split, or are in folders that are.

    They are the input only if one is for train; otherwise they may just be next to class folders.
    """
    at_top, folders = [], []
    for entry in text_source.scan(folder):
        if storage.is_leftover(entry.name):
            continue
        if entry.is_dir():
            folders.append(entry.name)
        elif is_table(entry.name):
            at_top.append(entry.name)
    of_train = _of_train(at_top)
    train_folders = [name for name in folders if spec.split_of(name) == spec.TRAIN]
    below = _in_splits(folder, train_folders)
    if of_train or below:  # otherwise the folders of other splits don't matter
        others = [name for name in folders if spec.split_of(name) not in (spec.TRAIN, None)]
        below += _in_splits(folder, others)
    if of_train and (below or train_folders):
        raise BadInput(
            f"{folder} has {of_train[0]} and folders named by split: keep only one of these"
        )
    if at_top and not folders and not of_train:
        first = os.path.join(folder, min(at_top))
        end = SUFFIX.search(first)[0]
        raise BadInput(
            f"{folder} has no table for train, such as train{end}: name a table, {first}, or all "
            f"of them, '{folder}/*{end}'"
        )
    return sorted(at_top if of_train else below)


def _of_train(files: list[str]) -> list[str]:
    return sorted(file for file in files if split_of(file) == spec.TRAIN)


def _in_splits(folder: str, names: list[str]) -> list[str]:
    """Returns the tables in folders that are named by split, by their paths below `folder`."""
    return [f"{name}/{table}" for name in names for table in _in_split(os.path.join(folder, name))]


def _in_split(folder: str) -> list[str]:
    """Returns the tables in a folder that is named by split; none, if it has class folders."""
    entries = (e for e in text_source.scan(folder) if not storage.is_leftover(e.name))
    # A folder may have any number of texts.
    first = list(itertools.islice(entries, LOOKED_AT))
    if any(entry.is_dir() for entry in first) or not any(is_table(e.name) for e in first):
        return []
    return [e.name for e in (*first, *entries) if is_table(e.name) and e.is_file()]


def _check_one_format(folder: str, files: list[str]) -> None:
    by_format = {format_of(file): file for file in files}
    if len(by_format) > 1:
        both = " and ".join(sorted(by_format.values())[:2])
        raise BadInput(f"{folder} has tables in several formats, {both}: name those of one")


def split_of(file: str) -> str | None:
    """Returns the split that a table's folder is named by, or that its name begins with."""
    folder, _, name = file.rpartition("/")
    word = WORD.match(name)
    return spec.split_of(folder.rpartition("/")[2]) or (spec.split_of(word[0]) if word else None)
