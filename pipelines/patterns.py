"""Finds the files below a folder that match a pattern."""

import fnmatch
import glob
import os
from collections.abc import Iterator

from textrecords import storage, text_source

Parts = tuple[str, ...]  # of a pattern, split at slashes


def split(path: str) -> tuple[str, str]:
    """Returns the folder that a pattern begins with, and the rest of it."""
    parts = path.split("/")
    fixed = next((n for n, part in enumerate(parts) if glob.has_magic(part)), len(parts) - 1)
    return "/".join(parts[:fixed]) or "/", "/".join(parts[fixed:])


def match(folder: str, pattern: str) -> Iterator[str]:
    """Yields the relative paths of the files below a folder that match a pattern, each once.

    Patterns work as in pathlib, but `Failure` is raised if a folder can't be listed. On all
    versions of Python, `**` at the end matches all files, and within a name it means `*`, as from
    3.13 on.
    """
    if not glob.has_magic(pattern):
        if storage.is_file(os.path.join(folder, pattern)) and not storage.is_leftover(pattern):
            yield pattern
        return
    # Each folder is listed once, with all parts of the pattern that may follow there.
    folders = [("", {tuple(pattern.split("/"))})] if storage.is_folder(folder) else []
    while folders:
        below, patterns = folders.pop()
        for entry in text_source.scan(os.path.join(folder, below)):
            if storage.is_leftover(entry.name):
                continue
            path = os.path.join(below, entry.name)
            following = _following(patterns, entry.name, is_link=entry.is_symlink())
            if () in following and entry.is_file():
                yield path
            elif (deeper := following - {()}) and entry.is_dir():
                folders.append((path, deeper))


def _following(patterns: set[Parts], name: str, *, is_link: bool) -> set[Parts]:
    """Returns the rests of the patterns whose first part matches a name.

    `**` matches any number of names, but no links to folders, which may lead anywhere.
    """
    left = set()
    for first, *rest in patterns:
        if first == "**":
            if not is_link:
                left.add((first, *rest))
            left |= _following({tuple(rest) or ("*",)}, name, is_link=is_link)
        elif fnmatch.fnmatchcase(name, first):
            left.add(tuple(rest))
    return left
