"""SHA-256 checksums of the files of a dataset or model, to detect damage."""

import collections
import contextlib
import hashlib
import os
from collections.abc import Iterator, Mapping

from textrecords import storage, terminal
from textrecords.errors import BadInput

# In datasets and models alike.
SUMS = "SHA256SUMS"  # of all files of the folder, in the format of coreutils' sha256sum
# Where a folder of plain data files keeps its metadata: tools that read all files of a folder, such
# as Hugging Face Datasets, Spark and Arrow, skip folders with such names.
ABOUT = "__about__"
LOGS = "logs"  # for TensorBoard; not in `SUMS`, since no result depends on them
# Not in `SUMS` either: the requests that TensorFlow Serving runs before it serves a SavedModel.
# Users may replace them.
WARM_UP = "assets.extra/tf_serving_warmup_requests"


def about(folder: str) -> str:
    """Returns the folder that holds the metadata of a folder: itself, or one inside it."""
    inside = os.path.join(folder, ABOUT)
    return inside if storage.is_folder(inside) else folder


def write(folder: str, known: Mapping[str, str] | None = None) -> None:
    """Writes the SHA-256 of each file of a folder, for `check`.

    Then flushes all files, so that a power cut can't leave checksums of files that are missing.

    Args:
      folder: a dataset or a model.
      known: the SHA-256 of files that were hashed while they were written.
    """
    known = known or {}
    lines = (
        f"{known.get(name) or sha256(os.path.join(folder, name))}  {name}\n"
        for name in sorted(_files(folder))
    )
    storage.write_text(os.path.join(about(folder), SUMS), "".join(lines))
    if storage.is_remote(folder):
        return
    for parent, _, names in os.walk(folder):
        for name in (*names, ""):
            storage.flush(os.path.join(parent, name))


def check(folder: str, target: str) -> None:
    """Raises `BadInput` if any file of a folder is missing, changed or unexpected.

    Only files inside the folder are opened, whatever paths its `SUMS` names.

    Args:
      folder: a dataset or a model.
      target: the target of `make` that rebuilds it.
    """
    damage = find_damage(folder)
    if damage:
        raise BadInput(f"{damage}: run `make {target}` again")


def find_damage(folder: str) -> str | None:
    """Returns the first file that isn't as `write` found it and what is wrong; None if all are."""
    path = os.path.join(about(folder), SUMS)
    try:
        sums, found = _parse_sums(storage.read_text(path)), set(_files(folder))
        with _show_hashing(folder, found):
            for name in sorted(sums.keys() | found):
                path = os.path.join(folder, name)
                if name not in sums:
                    return f"{path} isn't listed in {SUMS} (if it's yours, move it elsewhere)"
                if name not in found or not storage.is_file(path):
                    return f"{path} is missing, but listed in {SUMS}"
                if sha256(path) != sums[name]:
                    return f"{path} has changed since {SUMS} was written"
    except FileNotFoundError:
        return f"{path} is missing"
    except (OSError, ValueError) as error:
        return f"{path} can't be read ({error})"
    return None


def _show_hashing(folder: str, names: set[str]) -> contextlib.AbstractContextManager[None]:
    """Shows how many bytes have been hashed; also the total, if that takes no remote requests."""
    paths = [] if storage.is_remote(folder) else [os.path.join(folder, name) for name in names]
    before = SEEN["hashed"]

    def look() -> terminal.Done:
        total = sum(os.lstat(path).st_size for path in paths) or None
        return "comparing SHA-256", SEEN["hashed"] - before, total

    return terminal.progress(look, of_bytes=True)


def read(folder: str) -> dict[str, str]:
    """Returns the SHA-256 of each file by its path; empty if they can't be read."""
    try:
        return _parse_sums(storage.read_text(os.path.join(about(folder), SUMS)))
    except (OSError, ValueError):
        return {}


def _parse_sums(text: str) -> dict[str, str]:
    """Returns the SHA-256 of each file by its path; raises `ValueError`."""
    sums = {}
    for line in text.split("\n")[:-1]:
        sha256, gap, name = line.partition("  ")
        if not gap:
            raise ValueError(f"{line:.80} isn't a SHA-256 and a file")
        sums[name] = sha256
    return sums


def _files(folder: str, below: str = "") -> Iterator[str]:
    """Yields the relative paths of a folder's files, except hidden ones and those without sums."""
    for entry in storage.scan(os.path.join(folder, below)):
        name = f"{below}{entry.name}"
        if entry.name.startswith(".") or has_no_sum(name):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _files(folder, f"{name}/")
        else:
            yield name


def has_no_sum(name: str) -> bool:
    """Returns whether a file or folder, by its path in a dataset or model, has no checksum."""
    sums = SUMS, f"{ABOUT}/{SUMS}"
    return name in (LOGS, *sums) or name.startswith(f"{LOGS}/") or name.endswith(f"/{WARM_UP}")


SEEN: collections.Counter[str] = collections.Counter()  # bytes "hashed" so far, for progress bars
READ_BYTES = 1 << 20  # at once


def sha256(path: str) -> str:
    """Returns the SHA-256 of a file in hex; raises `OSError`."""
    digest = hashlib.sha256()
    with storage.reading(path) as file:
        while content := file.read(READ_BYTES):
            digest.update(content)
            SEEN["hashed"] += len(content)
    return digest.hexdigest()
