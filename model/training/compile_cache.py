"""Keeps the steps that XLA has compiled, so that the next training like it starts sooner.

They are in the user's cache folder, `textrecords/xla`: TensorFlow reads and writes them there. It
takes what it finds for intact, and steps for another CPU for its own; so files are compared with
their SHA-256 before, and their names start with a hash of what they were compiled with.
"""

import contextlib
import hashlib
import importlib.util
import os
import platform
from collections.abc import Iterator

from textrecords import checksums, storage

MAX_FILES = 32  # of 1 MB each; a training has two, for full batches and the last one
FLAGS = "TF_XLA_FLAGS"
_FOLDER_FLAG = "--tf_xla_persistent_cache_directory"
CPU_INFO = "/proc/cpuinfo"


@contextlib.contextmanager
def used() -> Iterator[None]:
    """Reuses compiled steps, and keeps new ones; does nothing if the cache can't be written.

    Must be entered before TensorFlow is imported. If `TF_XLA_FLAGS` names a folder, that is used.
    """
    flags, folder = os.environ.get(FLAGS, ""), _folder()
    # TensorFlow splits the flags at spaces.
    if _FOLDER_FLAG not in flags and folder.split() == [folder]:
        with contextlib.suppress(OSError):
            os.makedirs(folder, mode=0o700, exist_ok=True)
            _remove_damaged(folder)
            prefix = f"--tf_xla_persistent_cache_prefix={_made_with()}"
            os.environ[FLAGS] = f"{flags} {_FOLDER_FLAG}={folder} {prefix}".strip()
    try:
        yield
    finally:
        if os.environ.get(FLAGS, "") != flags:
            os.environ[FLAGS] = flags
            with contextlib.suppress(OSError):
                _remove_oldest(folder)
                checksums.write(folder)


def _folder() -> str:
    caches = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return os.path.join(os.path.abspath(caches), "textrecords", "xla")


def _made_with() -> str:
    """Returns a hash of what a compiled step depends on, besides the step itself."""
    tensorflow = os.stat(importlib.util.find_spec("tensorflow").origin).st_mtime_ns
    of = tensorflow, os.environ.get("XLA_FLAGS"), platform.node(), platform.machine(), _cores()
    return hashlib.sha256(repr(of).encode()).hexdigest()[:16]


def _cores() -> list[str]:
    """Returns the model and the features of each core; on macOS, nothing."""
    with contextlib.suppress(OSError):
        lines = storage.read_text(CPU_INFO).splitlines()
        return [line for line in lines if line.startswith(("model name", "flags"))]
    return []


def _remove_damaged(folder: str) -> None:
    sums = checksums.read(folder)
    for file in _files(folder):
        if checksums.sha256(file.path) != sums.get(file.name):
            storage.remove(file.path)


def _remove_oldest(folder: str) -> None:
    oldest_first = sorted(_files(folder), key=lambda file: file.stat().st_mtime_ns)
    for file in oldest_first[:-MAX_FILES]:
        storage.remove(file.path)


def _files(folder: str) -> list[os.DirEntry[str]]:
    """Returns the compiled steps."""
    with os.scandir(folder) as entries:
        return [each for each in entries if each.is_file() and each.name != checksums.SUMS]
