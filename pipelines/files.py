"""Files and folders, on this machine or in Cloud Storage (`gs://bucket/folder`).

There a folder is but the start of names: it isn't made, nor can it be renamed in one step. Access
is by TensorFlow, which is loaded for such paths alone.
"""

import collections
import contextlib
import dataclasses
import errno
import functools
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent import futures
from typing import IO, Any, TypeVar

from pipelines import commands

T = TypeVar("T")
U = TypeVar("U")

REMOTE = re.compile("gs://[^/]+(/|$)")
SEEN: collections.Counter[str] = collections.Counter()  # bytes "hashed" so far, for who waits
REQUESTS = 32  # at once: nearly all the time of a small file is waiting
PIECE = 1 << 20  # bytes read at once


@dataclasses.dataclass(frozen=True)
class Entry:
    """What a folder in Cloud Storage holds: the part of `os.DirEntry` that is in use."""

    name: str
    path: str
    is_folder: bool

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:
        return self.is_folder

    def is_file(self, *, follow_symlinks: bool = True) -> bool:
        return not self.is_folder

    def is_symlink(self) -> bool:
        return False


def is_remote(path: str) -> bool:
    """Tells whether a path is one of Cloud Storage, or of any other object store."""
    return "://" in path


def absolute(path: str) -> str:
    """Returns a path without a slash at its end, alike from any working folder."""
    if is_remote(path):
        return path.rstrip("/") if REMOTE.match(path) else path
    return os.path.abspath(path)


def is_folder(path: str) -> bool:
    """Tells whether there is a folder; raises `OSError` if Cloud Storage doesn't tell."""
    return _is_folder(path) is True if is_remote(path) else os.path.isdir(path)


def is_file(path: str) -> bool:
    """Tells whether there is a file; raises `OSError` if Cloud Storage doesn't tell."""
    return _is_folder(path) is False if is_remote(path) else os.path.isfile(path)


def _is_folder(path: str) -> bool | None:
    """Tells whether a path of Cloud Storage is one of a folder, or else of a file, if of any."""
    try:
        return _ask("stat", path).is_directory  # `isdir` would take any error for a no
    except FileNotFoundError:
        return None


def scan(folder: str) -> Iterator[os.DirEntry[str] | Entry]:
    """Yields what a folder holds, in no order; raises `OSError`."""
    if not is_remote(folder):
        with os.scandir(folder) as entries:
            yield from entries
        return
    for name in _ask("listdir", folder):
        bare = name.rstrip("/")
        yield Entry(bare, os.path.join(folder, bare), name.endswith("/"))


def names(folder: str) -> list[str]:
    """Returns the names of what a folder holds; nothing, if it isn't there."""
    try:
        return sorted(entry.name for entry in scan(folder))
    except FileNotFoundError:
        return []


def glob(pattern: str) -> list[str]:
    """Returns the paths in Cloud Storage of this pattern, of which `*` and `?` match no slash."""
    return _ask("glob", pattern)


@contextlib.contextmanager
def reading(path: str) -> Iterator[IO[bytes]]:
    """Opens a file; raises `OSError`, and never waits for who writes into a pipe."""
    if is_remote(path):
        with _told(path), _gfile().GFile(path, "rb") as file:
            yield file
        return
    if not os.path.isfile(path):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
    with open(path, "rb") as file:
        yield file


def read_bytes(path: str, most: int | None = None) -> bytes:
    """Returns the content of a file, or its first `most` bytes; raises `OSError`."""
    with reading(path) as file:
        return file.read() if most is None else file.read(most)


def read_text(path: str) -> str:
    """Returns the text of a file; raises `OSError` or `ValueError`."""
    return read_bytes(path).decode()


def write_text(path: str, text: str) -> None:
    """Writes a file; raises `OSError`."""
    if not is_remote(path):
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return
    with _told(path), _gfile().GFile(path, "wb") as file:
        file.write(text.encode())


def sha256(path: str) -> str:
    """Returns the SHA-256 of a file in hex; raises `OSError`."""
    digest = hashlib.sha256()
    with reading(path) as file:
        while piece := file.read(PIECE):
            digest.update(piece)
            SEEN["hashed"] += len(piece)
    return digest.hexdigest()


def make_folder(path: str) -> None:
    """Makes a folder, and those that it lies in, where there are any."""
    if not is_remote(path):
        os.makedirs(path, exist_ok=True)


def remove(path: str) -> None:
    if is_remote(path):
        _ask("remove", path)
    else:
        os.remove(path)


def remove_tree(folder: str) -> None:
    """Removes a folder, if it's there."""
    if not is_remote(folder):
        shutil.rmtree(folder, ignore_errors=True)
    elif is_folder(folder):
        _ask("rmtree", folder)


def rename(old: str, new: str) -> None:
    """Renames a file or folder; in Cloud Storage that copies it."""
    if is_remote(old):
        _ask("rename", old, new, overwrite=True)
    else:
        os.rename(old, new)


def copy(source: str, target: str) -> None:
    """Copies a file to or from Cloud Storage, where it appears when it's whole."""
    with _told(target if is_remote(target) else source):
        _gfile().copy(source, target, overwrite=True)


@contextlib.contextmanager
def at_hand(path: str) -> Iterator[str]:
    """Yields the path of a file on this machine with what stands in that one."""
    if not is_remote(path):
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        local = os.path.join(folder, os.path.basename(path))
        copy(path, local)
        yield local


def map_many(work: Callable[[T], U], items: Iterable[T], *, remote: bool) -> Iterator[U]:
    """Yields what `work` makes of each item, in order; many at once where it waits for answers."""
    if not remote:
        yield from map(work, items)
        return
    _tensorflow()  # not by many threads at once
    coming: collections.deque[futures.Future[U]] = collections.deque()
    with futures.ThreadPoolExecutor(REQUESTS) as threads:
        for item in items:
            coming.append(threads.submit(work, item))
            if len(coming) == REQUESTS:  # not all: they have to be in memory
                yield coming.popleft().result()
        while coming:
            yield coming.popleft().result()


@functools.cache
def _tensorflow() -> Any:
    with commands.quiet_imports():
        import tensorflow as tf
    return tf


def _gfile() -> Any:
    return _tensorflow().io.gfile


def _ask(function: str, path: str, *args: Any, **kwargs: Any) -> Any:
    with _told(path):
        return getattr(_gfile(), function)(path, *args, **kwargs)


@contextlib.contextmanager
def _told(path: str) -> Iterator[None]:
    """Raises `OSError` for an error of TensorFlow."""
    tf = _tensorflow()
    try:
        yield
    except tf.errors.NotFoundError:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path) from None
    except (tf.errors.PermissionDeniedError, tf.errors.UnauthenticatedError):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path) from None
    except tf.errors.OpError as error:
        raise OSError(errno.EIO, " ".join(error.message.split()), path) from None
