"""Files and folders, on this machine or in Cloud Storage (`gs://bucket/folder`).

In Cloud Storage a folder is only a prefix of names: it isn't created, and can't be renamed
atomically. TensorFlow does the access, except for listings, where it returns all names at once
without sizes and versions; Google's client lists instead. Both are imported only for such paths.
"""

import contextlib
import dataclasses
import errno
import functools
import itertools
import os
import pathlib
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from typing import IO, TYPE_CHECKING, Any, TypeVar

from textrecords import concurrency, imports
from textrecords.errors import BadInput

if TYPE_CHECKING:
    from google.cloud.storage import Blob, Client

T = TypeVar("T")
U = TypeVar("U")
ErrorTypes = tuple[type[Exception], ...]

REMOTE = re.compile("gs://[^/]+(/|$)")
REQUESTS = 32  # at once: a small file takes almost only latency
# A file or folder, anywhere in a path, that is hidden or left by an operating system.
LEFTOVER = re.compile(r"(?:^|/)(?:\.|(?:Thumbs\.db|desktop\.ini|__MACOSX)(?:/|$))")
LISTED_FIELDS = "items(name,size,generation),prefixes,nextPageToken"
# Characters that TensorFlow can't take in a path, or takes for a pattern, so that it finds no file.
UNFIT = re.compile(r"[\ud800-\udfff*?\[\\]")


def check_path(path: str) -> None:
    """Raises `BadInput` if TensorFlow can't work in a folder of this path."""
    check_store(path)
    unfit = UNFIT.search(path)
    if unfit:
        raise BadInput(
            f"{path} isn't UTF-8 or contains one of * ? [ \\, which TensorFlow can't open: "
            "name another folder, or rename it"
        )


def check_store(*paths: str) -> None:
    """Raises `BadInput` for a path of an object store that isn't supported or installed."""
    for path in filter(is_remote, paths):
        if not REMOTE.match(path):
            raise BadInput(
                f"{path}: the only supported object store is Cloud Storage: name a folder as "
                "gs://bucket/folder, or one on a mounted file system"
            )
        imports.check_installed(path, "gcp")


def check_local(path: str) -> None:
    """Raises `BadInput` for a path of an object store."""
    if is_remote(path):
        raise BadInput(f"{path} isn't on this machine: name a folder that is")


def check_apart(**folders: str) -> None:
    """Raises `BadInput` if a folder is the same as another or inside it, following links.

    What is written to one would be foreign to the other, or be lost with it.

    Args:
      folders: by the names of their flags.
    """
    for (flag, path), (other_flag, other) in itertools.permutations(folders.items(), 2):
        inside, outside = real(path), real(other)
        if inside == outside:
            raise BadInput(
                f"--{flag} and --{other_flag} are the same folder, {path}: name different ones"
            )
        if inside.startswith(os.path.join(outside, "")):
            raise BadInput(
                f"--{flag} {path} is inside --{other_flag} {other}: name a folder outside it"
            )


def flush(path: str) -> None:
    """Flushes a file or folder to disk, so that it survives a power cut."""
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def real(path: str) -> str:
    """Returns a path with links resolved, without a trailing slash."""
    return absolute(path) if is_remote(path) else os.path.realpath(path)


@dataclasses.dataclass(frozen=True)
class Entry:
    """An entry of a folder in Cloud Storage, with the part of `os.DirEntry` that is used."""

    name: str
    path: str
    is_folder: bool
    size: int = 0
    generation: int = 0

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:
        return self.is_folder

    def is_file(self, *, follow_symlinks: bool = True) -> bool:
        return not self.is_folder

    def is_symlink(self) -> bool:
        return False


def is_remote(path: str) -> bool:
    """Returns whether a path is in Cloud Storage or any other object store."""
    return "://" in path


def absolute(path: str) -> str:
    """Returns an absolute path without a trailing slash."""
    if is_remote(path):
        return path.rstrip("/") if REMOTE.match(path) else path
    return os.path.abspath(path)


def is_folder(path: str) -> bool:
    """Returns whether a folder exists; raises `OSError` if Cloud Storage fails."""
    return _is_folder(path) is True if is_remote(path) else os.path.isdir(path)


def is_file(path: str) -> bool:
    """Returns whether a file exists; raises `OSError` if Cloud Storage fails."""
    return _is_folder(path) is False if is_remote(path) else os.path.isfile(path)


def _is_folder(path: str) -> bool | None:
    """Returns True for a folder in Cloud Storage, False for a file, None for neither."""
    try:
        return _ask("stat", path).is_directory  # `isdir` would return False for any error
    except FileNotFoundError:
        return None


def scan(folder: str) -> Iterator[os.DirEntry[str] | Entry]:
    """Yields the entries of a folder, in no order; raises `OSError`."""
    if not is_remote(folder):
        with os.scandir(folder) as entries:
            yield from entries
        return
    yield from _scan_remote(folder)


def _scan_remote(folder: str) -> Iterator[Entry]:
    """Does `scan` in Cloud Storage, one page of 1,000 names at a time."""
    bucket, start = _split_path(folder)
    with _client_errors_as_os_errors(folder):
        listed = _client().list_blobs(bucket, prefix=start, delimiter="/", fields=LISTED_FIELDS)
        folders: set[str] = set()
        for page in listed.pages:
            for file in page:
                if name := file.name.removeprefix(start):  # else the folder's own placeholder
                    path = f"gs://{bucket}/{file.name}"
                    yield Entry(name, path, False, file.size, file.generation)
            for found in sorted(listed.prefixes - folders):
                folders.add(found)
                name = found.removeprefix(start).rstrip("/")
                yield Entry(name, f"gs://{bucket}/{found.rstrip('/')}", True)


def scan_below(folder: str, start: str = "", end: str = "") -> Iterator[Entry]:
    """Yields all files below a folder in Cloud Storage, named by their paths below it.

    They are in order, from `start` to before `end`, read in pages of 1,000; raises `OSError`.
    """
    if start and end and start >= end:
        return
    bucket, below = _split_path(folder)
    offsets = {
        "start_offset": below + start if start else None,
        "end_offset": below + end if end else None,
    }
    with _client_errors_as_os_errors(folder):
        for file in _client().list_blobs(bucket, prefix=below, fields=LISTED_FIELDS, **offsets):
            if not file.name.endswith("/"):  # else a folder's placeholder
                name, path = file.name.removeprefix(below), f"gs://{bucket}/{file.name}"
                yield Entry(name, path, False, file.size, file.generation)


def _split_path(folder: str) -> tuple[str, str]:
    """Returns the bucket of a folder, and the prefix of the names in it."""
    bucket, _, start = folder.rstrip("/").removeprefix("gs://").partition("/")
    return bucket, f"{start}/" if start else ""


def size_and_version(entry: os.DirEntry[str] | pathlib.Path | Entry) -> tuple[int, int]:
    """Returns a file's size in bytes, and a number that changes with its content.

    The number is the modification time in ns or, in Cloud Storage, the generation. Raises
    `OSError`.
    """
    if isinstance(entry, Entry):
        return entry.size, entry.generation
    status = entry.stat()
    return status.st_size, status.st_mtime_ns


def entry(path: str) -> pathlib.Path | Entry:
    """Returns a file as `size_and_version` takes it; raises `OSError`."""
    if not is_remote(path):
        return pathlib.Path(path)
    with _client_errors_as_os_errors(path):
        blob = _blob(path)
        blob.reload()
        return Entry(blob.name, path, False, blob.size, blob.generation)


def is_leftover(name: str) -> bool:
    """Returns whether a file, by its path, is hidden or left by an operating system."""
    return LEFTOVER.search(name) is not None


def names(folder: str) -> list[str]:
    """Returns the names in a folder; none if it doesn't exist."""
    try:
        return sorted(entry.name for entry in scan(folder))
    except FileNotFoundError:
        return []


@contextlib.contextmanager
def reading(path: str) -> Iterator[IO[bytes]]:
    """Opens a file for reading; raises `OSError`, also for a pipe, on which it would block."""
    if is_remote(path):
        with _tf_errors_as_os_errors(path), _gfile().GFile(path, "rb") as file:
            yield file
        return
    if not os.path.isfile(path):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
    with open(path, "rb") as file:
        yield file


@contextlib.contextmanager
def reading_anywhere(path: str) -> Iterator[IO[bytes]]:
    """Opens a file for reading with random access; raises `OSError`."""
    if not is_remote(path):
        with reading(path) as file:
            yield file
        return
    with _client_errors_as_os_errors(path), _blob(path).open("rb") as file:
        yield file


@contextlib.contextmanager
def reading_ranges() -> Iterator[Callable[[str, int, int], bytes]]:
    """Yields a function that reads `size` bytes of a file, or fewer at its end; raises `OSError`.

    It takes a path, the first byte, and the size. A local file is opened only once.
    """
    with contextlib.ExitStack() as opened:

        @functools.cache
        def open_once(path: str) -> int:
            file = os.open(path, os.O_RDONLY)
            opened.callback(os.close, file)
            return file

        def read(path: str, begin: int, size: int) -> bytes:
            if not is_remote(path):
                return os.pread(open_once(path), size, begin)
            if not size:
                return b""  # can't be requested as a range
            with _client_errors_as_os_errors(path):
                return _blob(path).download_as_bytes(start=begin, end=begin + size - 1)

        yield read


def read_bytes(path: str, limit: int | None = None) -> bytes:
    """Returns the content of a file, or its first `limit` bytes; raises `OSError`."""
    with reading(path) as file:
        return file.read() if limit is None else file.read(limit)


def read_text(path: str) -> str:
    """Returns the text of a file; raises `OSError` or `ValueError`."""
    return read_bytes(path).decode()


def write_text(path: str, text: str) -> None:
    """Writes a file; raises `OSError`."""
    if not is_remote(path):
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return
    with _tf_errors_as_os_errors(path), _gfile().GFile(path, "wb") as file:
        file.write(text.encode())


def make_folder(path: str) -> None:
    """Creates a folder and its parents; does nothing in Cloud Storage."""
    if not is_remote(path):
        os.makedirs(path, exist_ok=True)


def remove(path: str) -> None:
    """Removes a file; raises `OSError`."""
    if is_remote(path):
        _ask("remove", path)
    else:
        os.remove(path)


def remove_tree(folder: str) -> None:
    """Removes a folder if it exists."""
    if not is_remote(folder):
        shutil.rmtree(folder, ignore_errors=True)
    elif is_folder(folder):
        _ask("rmtree", folder)


def rename(old: str, new: str) -> None:
    """Renames a file or folder; in Cloud Storage this copies it."""
    if is_remote(old):
        _ask("rename", old, new, overwrite=True)
    else:
        os.rename(old, new)


def copy(source: str, target: str) -> None:
    """Copies a file to or from Cloud Storage, where it appears once it's complete."""
    with _tf_errors_as_os_errors(target if is_remote(target) else source):
        _gfile().copy(source, target, overwrite=True)


def link(source: str, target: str) -> None:
    """Links a file to a path on this machine, or copies it if necessary; raises `OSError`."""
    if is_remote(source):
        copy(source, target)
        return
    try:
        os.link(source, target)
    except OSError:  # no support for links, or another file system
        shutil.copyfile(source, target)


@contextlib.contextmanager
def local_copy(path: str) -> Iterator[str]:
    """Yields the path of a local copy of a file, or of the file itself if it's local."""
    if not is_remote(path):
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        local = os.path.join(folder, os.path.basename(path))
        copy(path, local)
        yield local


def map_concurrently(work: Callable[[T], U], items: Iterable[T]) -> Iterator[U]:
    """Yields `work(item)` for each item, in order, with many requests to a store at once."""
    imports.tensorflow()  # before threads start, which must not all import it
    return concurrency.prefetch(items, work, threads=REQUESTS)


def _gfile() -> Any:
    return imports.tensorflow().io.gfile


def _ask(function: str, path: str, *args: Any, **kwargs: Any) -> Any:
    with _tf_errors_as_os_errors(path):
        return getattr(_gfile(), function)(path, *args, **kwargs)


@functools.cache
def _client() -> "Client":
    from google.cloud import storage

    return storage.Client(project=None)


def _blob(path: str) -> "Blob":
    bucket, _, name = path.removeprefix("gs://").partition("/")
    return _client().bucket(bucket).blob(name)


def _tf_errors_as_os_errors(path: str) -> contextlib.AbstractContextManager[None]:
    """Converts TensorFlow's errors to `OSError`."""
    errors = imports.tensorflow().errors
    forbidden = errors.PermissionDeniedError, errors.UnauthenticatedError
    return _as_os_errors(path, (errors.NotFoundError,), forbidden, (errors.OpError,))


def _client_errors_as_os_errors(path: str) -> contextlib.AbstractContextManager[None]:
    """Converts errors of Google's client to `OSError`."""
    from google.api_core import exceptions
    from google.auth.exceptions import GoogleAuthError

    forbidden = exceptions.Forbidden, exceptions.Unauthorized
    others = exceptions.GoogleAPIError, GoogleAuthError
    return _as_os_errors(path, (exceptions.NotFound,), forbidden, others)


@contextlib.contextmanager
def _as_os_errors(
    path: str, missing: ErrorTypes, forbidden: ErrorTypes, others: ErrorTypes
) -> Iterator[None]:
    """Converts these errors to `OSError`."""
    try:
        yield
    except missing:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path) from None
    except forbidden:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path) from None
    except others as error:
        raise OSError(errno.EIO, " ".join(str(error).split()), path) from None
