"""SHA-256 sums of the files of a dataset or model, by which damage is found."""

import collections
import contextlib
import hashlib
import os
from collections.abc import Iterator, Mapping

from textrecords import storage, terminal
from textrecords.errors import BadInput

# In datasets and models alike.
SUMS = "SHA256SUMS"  # of all files of the folder, in the form of coreutils' sha256sum
# Where a folder of data alone keeps what is about them: tools that read all files of a folder, such
# as Hugging Face Datasets, Spark and Arrow, leave folders of such names out.
ABOUT = "__about__"
LOGS = "logs"  # for TensorBoard; they stand in no `SUMS`, since no result hangs on them
# Nor does this of a SavedModel, the requests that TensorFlow Serving runs before it serves: a user
# may put others in its place.
WARM_UP = "assets.extra/tf_serving_warmup_requests"


def about(folder: str) -> str:
    """Returns the folder with what is about the data in a folder: that one, or one inside it."""
    inside = os.path.join(folder, ABOUT)
    return inside if storage.is_folder(inside) else folder


def write(folder: str, known: Mapping[str, str] | None = None) -> None:
    """Writes the SHA-256 of each file of a folder, by which `check` knows it again.

    All of it is on the disk then, so that no power cut leaves sums of files that aren't.

    Args:
      folder: a dataset or a model.
      known: the SHA-256 of files that were hashed as they were written.
    """
    known = known or {}
    lines = (
        f"{known.get(name) or sha256(os.path.join(folder, name))}  {name}\n"
        for name in sorted(_files(folder))
    )
    storage.write_text(os.path.join(about(folder), SUMS), "".join(lines))
    if storage.is_remote(folder):
        return
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]  # temporary files
        for name in (*names, ""):
            storage.flush(os.path.join(parent, name))


def check(folder: str, target: str) -> None:
    """Raises `BadInput` unless all files of a folder are there, as they were written, and no more.

    Only what lies in the folder is opened, whatever paths its `SUMS` may name.

    Args:
      folder: a dataset or a model.
      target: the target of `make` that makes it anew.
    """
    damage = find_damage(folder)
    if damage:
        raise BadInput(f"{damage}: run `make {target}` again")


def find_damage(folder: str) -> str | None:
    """Names the first file that isn't as `write` found it, and says what is wrong with it."""
    path = os.path.join(about(folder), SUMS)
    try:
        sums, found = _parse_sums(storage.read_text(path)), set(_files(folder))
        with _show_hashing(folder, found):
            for name in sorted(sums.keys() | found):
                path = os.path.join(folder, name)
                if name not in sums:
                    return f"{path} doesn't stand in {SUMS} (if it's your own, move it elsewhere)"
                if name not in found or not storage.is_file(path):
                    return f"{path} is missing, but stands in {SUMS}"
                if sha256(path) != sums[name]:
                    return f"{path} isn't what it was when {SUMS} was written"
    except FileNotFoundError:
        return f"{path} is missing"
    except (OSError, ValueError) as error:
        return f"{path} can't be read ({error})"
    return None


def _show_hashing(folder: str, names: set[str]) -> contextlib.AbstractContextManager[None]:
    """Shows how many bytes have been hashed, of how many if that needs no questions to a store."""
    paths = [] if storage.is_remote(folder) else [os.path.join(folder, name) for name in names]
    before = SEEN["hashed"]

    def look() -> terminal.Done:
        total = sum(os.lstat(path).st_size for path in paths) or None
        return "comparing SHA-256", SEEN["hashed"] - before, total

    return terminal.progress(look, of_bytes=True)


def read(folder: str) -> dict[str, str]:
    """Returns the SHA-256 of each file by its path; nothing, if the sums can't be read."""
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
            raise ValueError(f"{line:.80} is no SHA-256 and file")
        sums[name] = sha256
    return sums


def _files(folder: str, below: str = "") -> Iterator[str]:
    """Yields the paths below a folder of its files, but for hidden ones and those without sums."""
    for entry in storage.scan(os.path.join(folder, below)):
        name = f"{below}{entry.name}"
        if entry.name.startswith(".") or has_no_sum(name):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _files(folder, f"{name}/")
        else:
            yield name


def has_no_sum(name: str) -> bool:
    """Tells whether a file or folder, by its path in a dataset or model, stands in no sums."""
    sums = SUMS, f"{ABOUT}/{SUMS}"
    return name in (LOGS, *sums) or name.startswith(f"{LOGS}/") or name.endswith(f"/{WARM_UP}")


SEEN: collections.Counter[str] = collections.Counter()  # bytes "hashed" so far, for who waits
PIECE = 1 << 20  # bytes read at once


def sha256(path: str) -> str:
    """Returns the SHA-256 of a file in hex; raises `OSError`."""
    digest = hashlib.sha256()
    with storage.reading(path) as file:
        while piece := file.read(PIECE):
            digest.update(piece)
            SEEN["hashed"] += len(piece)
    return digest.hexdigest()
