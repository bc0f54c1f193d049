"""Keeps the steps that XLA has compiled, so that the next training like it starts sooner.

They are in the user's cache folder, `textrecords/xla`: TensorFlow reads and writes them there. It
takes what it finds for intact, and steps for another CPU for its own; so files are compared with
their SHA-256 before, and their names start with a hash of what they were compiled with. And it
fails if it can't read or write them, so only one training at a time uses the folder.
"""

import contextlib
import hashlib
import importlib.metadata
import importlib.util
import os
import platform
import tempfile
from collections.abc import Iterator

from textrecords import atomic, checksums, concurrency, storage
from textrecords.errors import BadInput

# Of 1 MB each. A training has one or two, for full batches and the last one; as many for
# validation; and with `--bucket_by_length`, as many for each width.
MAX_FILES = 64
ROOM = 16 << 20  # bytes to be free
FLAGS = "TF_XLA_FLAGS"
_FOLDER_FLAG = "--tf_xla_persistent_cache_directory"
CPU_INFO = "/proc/cpuinfo"
OF_CORES = ("model name", "flags", "CPU ", "Features")  # the latter two on ARM


@contextlib.contextmanager
def used() -> Iterator[None]:
    """Reuses compiled steps, and keeps new ones.

    Must be entered before XLA first compiles in this process. Does nothing if another training uses
    the cache, if it can't be written, or if `TF_XLA_FLAGS` names another folder or a file of flags.
    """
    with contextlib.ExitStack() as at_end:
        with contextlib.suppress(BadInput, OSError):
            _use(at_end)
        yield


def _use(at_end: contextlib.ExitStack) -> None:
    """Sets TensorFlow's flags until the end.

    Raises:
      BadInput: if another training uses the cache.
      OSError: if it can't be written.
    """
    flags, folder = os.environ.get(FLAGS, ""), _folder()
    is_file = flags and not flags.startswith("-")
    # TensorFlow splits the flags at spaces.
    if is_file or _FOLDER_FLAG in flags or folder is None or len(folder.split()) > 1:
        return
    os.makedirs(folder, mode=0o700, exist_ok=True)
    at_end.enter_context(atomic.locked(folder))
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(bytes(ROOM))
    _remove_damaged(folder)
    ours = {
        _FOLDER_FLAG: folder,
        "--tf_xla_persistent_cache_prefix": _made_with(),
        "--tf_xla_persistent_cache_device_types": "CPU",
    }
    os.environ[FLAGS] = " ".join([flags, *map("=".join, ours.items())]).strip()
    at_end.callback(_keep, folder, flags)


def _keep(folder: str, flags: str) -> None:
    os.environ[FLAGS] = flags
    with contextlib.suppress(OSError):
        _remove_oldest(folder)
        checksums.write(folder)


def _folder() -> str | None:
    """Returns the folder of the cache; None if the user has no home."""
    caches = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return None if caches.startswith("~") else os.path.abspath(f"{caches}/textrecords/xla")


def _made_with() -> str:
    """Returns a hash of what a compiled step depends on, besides the step itself."""
    installed = os.stat(importlib.util.find_spec("tensorflow").origin).st_mtime_ns
    of = (
        (importlib.metadata.version("tensorflow"), installed, os.environ.get("XLA_FLAGS")),
        (platform.node(), platform.machine(), _cores()),
    )
    return hashlib.sha256(repr(of).encode()).hexdigest()[:16]


def _cores() -> tuple[int, list[str]]:
    """Returns how many cores there are for this process, and on Linux the features of all."""
    number = concurrency.usable_cores()
    with contextlib.suppress(OSError):
        lines = storage.read_text(CPU_INFO).splitlines()
        return number, [line for line in lines if line.startswith(OF_CORES)]
    return number, []


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
    found = storage.scan(folder)
    return [each for each in found if each.is_file() and each.name != checksums.SUMS]
