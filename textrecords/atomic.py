"""Datasets and models as folders: whole or not there, and as they were written."""

import contextlib
import errno
import functools
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Iterator

from textrecords import checksums, storage, terminal
from textrecords.errors import BadInput, Failure

# How the system says that a disk is full, or doesn't take what is written.
DISK_ERRORS = tuple(
    os.strerror(number)
    for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EIO)
)

NOTHING = "(?!)"  # matches no name
PART = re.compile(r"\.[0-9a-f]{32}-.*")  # a file that isn't whole yet
FINISHED, TAKEN_UP = "finished", "taken_up"  # what may be noted of a file
KEPT = "kept"  # beside a folder: what stopped runs have finished of it
NOTE = re.compile(rf"\..+\.({FINISHED}|{TAKEN_UP})")


def beside(path: str, what: str) -> str:
    """Returns where that lies which is kept for a folder while it's being made."""
    parent, name = os.path.split(storage.real(path))
    return os.path.join(parent, f".{name}.textrecords-{what}")


def note(path: str, what: str) -> str:
    """Returns where that stands which is noted of a file while its folder is being made.

    What is noted as `FINISHED` is left to the next run if this one is stopped (`left_to`).
    """
    folder, name = os.path.split(path)
    return os.path.join(folder, f".{name}.{what}")


def noted(folder: str, what: str) -> list[str]:
    """Returns the names of the files in a folder of which this is noted."""
    names = storage.names(folder)
    found = {*names}
    return [name for name in names if note(name, what) in found]


def left_to(path: str) -> tuple[str, ...]:
    """Returns the folders that hold what runs of `path` have finished before they were stopped.

    In Cloud Storage some may be of runs that are under way: read them, and leave them as they are.
    """
    folders = [beside(path, KEPT)]
    if storage.is_remote(path):
        waiting = beside(path, "new")
        folders += [f"{waiting}/{name}" for name in storage.names(waiting)]
    return tuple(folder for folder in folders if noted(folder, FINISHED))


@contextlib.contextmanager
def write_file(path: str) -> Iterator[str]:
    """Yields the path of a file to write here, which becomes `path` if the block succeeds.

    For workers, which may do the same work twice at once, or be killed: `write_folder` then removes
    what they left.
    """
    folder, name = os.path.split(path)
    if storage.is_remote(path):
        with tempfile.TemporaryDirectory() as folder:
            part = os.path.join(folder, name)
            yield part
            storage.copy(part, path)
        return
    part = os.path.join(folder, f".{uuid.uuid4().hex}-{name}")  # as in `PART`
    try:
        yield part
    except BaseException:
        with contextlib.suppress(OSError):
            os.remove(part)
        raise
    os.replace(part, path)


def write_text(path: str, text: str) -> None:
    """Writes a file that is whole or not there; raises `OSError`."""
    with write_file(path) as part:
        storage.write_text(part, text)


@contextlib.contextmanager
def write_folder(path: str, *, holds: str, marker: str) -> Iterator[str]:
    """Yields an empty folder to write in, which takes the place of `path` if the block succeeds.

    What was at `path` stays untouched until then. A folder without `marker`, or with anything but
    what `holds` matches, is somebody's own and is refused, since it would be lost.

    If the block is stopped or fails, but for bad input, the files that are noted as `FINISHED` are
    kept beside `path` until a later run succeeds.

    Args:
      path: the folder to make or to replace.
      holds: a regular expression that matches the name of each file or folder to go into it.
      marker: the path in it of the file without which the folder isn't taken for whole; the last
        one to come in Cloud Storage, where files come one by one.

    Raises:
      BadInput: if `path` can't be replaced.
    """
    path = storage.real(path)  # a link stays: what it points to is replaced
    if storage.is_remote(path):
        with _write_remote_folder(path, holds, marker) as new:
            yield new
        return
    # A name of its own: a worker may outlive a run that was killed, and write on.
    new = os.path.join(beside(path, "new"), uuid.uuid4().hex)
    with contextlib.ExitStack() as stack:
        with _os_errors_as_bad_input(path):
            if not os.path.exists(parent := os.path.dirname(path)):
                os.makedirs(parent, exist_ok=True)
            stack.enter_context(_swept(path))
            _check_replaceable(path, holds, marker)
            os.makedirs(new)
        with _bad_input_keeps_nothing(new), _disk_errors_as_failures(path), _temporary_files(new):
            yield new
        with _os_errors_as_bad_input(path):
            for folder, _, names in os.walk(new):
                for name in names:
                    if NOTE.fullmatch(name) or PART.fullmatch(name):  # of a worker that was killed
                        os.remove(os.path.join(folder, name))
            _put_in_place(new, path)
            storage.flush(os.path.dirname(path))
        storage.remove_tree(beside(path, KEPT))


@contextlib.contextmanager
def _write_remote_folder(path: str, holds: str, marker: str) -> Iterator[str]:
    """As `write_folder` does in Cloud Storage, which knows neither locks nor folders to exchange.

    The new files wait beside `path` until all are written. Then the old ones go, the marker first,
    and the new ones come, the marker last: who reads finds the old folder, the new one, or none.
    """
    storage.check_store(path)
    if not path.removeprefix("gs://").partition("/")[2]:
        raise BadInput(f"{path} is a bucket: name a folder in it, as {path}/folder")
    waiting = beside(path, "new")
    with _os_errors_as_bad_input(path):
        # Without the marker, too: a run may have been stopped while it replaced the folder.
        _refuse_foreign(path, holds)
        if storage.names(waiting):
            terminal.say(f"{waiting} is of another run: if none is under way, remove it")
    new = f"{waiting}/{uuid.uuid4().hex}"
    try:
        with _bad_input_keeps_nothing(new):
            yield new
        old_names, new_names = (
            sorted(_all_files(folder), key=lambda name: name == marker) for folder in (path, new)
        )
        for name in reversed(old_names):
            storage.remove(f"{path}/{name}")
        *others, last = new_names
        move = functools.partial(_move, new, path)
        list(storage.map_concurrently(move, others))
        move(last)
        storage.remove_tree(beside(path, KEPT))
    except BaseException:
        _keep(new, beside(path, KEPT))
        raise
    finally:
        storage.remove_tree(new)
        if not storage.names(waiting):
            storage.remove_tree(waiting)  # TensorFlow may have made an object that stands for it


def _all_files(folder: str) -> list[str]:
    """Returns the paths below a folder of all its files but notes; none, if it isn't there."""
    if not storage.is_folder(folder):
        return []
    found = []
    for entry in storage.scan(folder):
        if entry.is_dir(follow_symlinks=False):
            found += [f"{entry.name}/{name}" for name in _all_files(entry.path)]
        elif not NOTE.fullmatch(entry.name):
            found.append(entry.name)
    return found


@contextlib.contextmanager
def _bad_input_keeps_nothing(new: str) -> Iterator[None]:
    """Removes a folder if the block refuses its input: what is to come is made of another."""
    try:
        yield
    except BadInput:
        storage.remove_tree(new)
        raise


def _keep(folder: str, kept: str) -> None:
    """Moves what is finished in a folder into another, in the place of the same of older runs.

    What can't be moved is lost, and made again.
    """
    move = functools.partial(_move, folder, kept)
    with contextlib.suppress(OSError):
        names = noted(folder, FINISHED)
        both = [each for name in names for each in (note(name, FINISHED), name)]
        if names:
            storage.make_folder(kept)
        list(storage.map_concurrently(move, both) if storage.is_remote(folder) else map(move, both))


def _move(new: str, path: str, name: str) -> None:
    storage.rename(f"{new}/{name}", f"{path}/{name}")


def recover(path: str) -> None:
    """Makes good what a run that was killed has left beside `path`, unless another is at it."""
    path = storage.real(path)
    if not storage.is_remote(path) and os.path.exists(beside(path, "lock")):
        with contextlib.suppress(BadInput, OSError), _swept(path):
            pass


def forget(path: str) -> None:
    """Removes what stopped runs of `path` have finished, unless another run is at it."""
    path = storage.real(path)
    kept = beside(path, KEPT)
    if storage.is_remote(path):
        storage.remove_tree(kept)  # a run that is at it makes that again
    elif os.path.exists(kept):
        with contextlib.suppress(BadInput, OSError), _locked(path):
            storage.remove_tree(kept)


@contextlib.contextmanager
def _swept(path: str) -> Iterator[None]:
    """Holds the lock on `path`; before and after, nothing of any run but `KEPT` lies beside it."""
    with _locked(path):
        try:
            _sweep(path)
            yield
        finally:
            _sweep(path)


def _sweep(path: str) -> None:
    new, old = (beside(path, which) for which in ("new", "old"))
    if os.path.exists(old) and not os.path.exists(path):
        os.rename(old, path)  # a run ended between two renames
    for name in os.listdir(new) if os.path.isdir(new) else ():
        _keep(os.path.join(new, name), beside(path, KEPT))
    for folder in (new, old):
        shutil.rmtree(folder, ignore_errors=True)


def _put_in_place(new: str, path: str) -> None:
    """Renames `new` to `path`; what was there goes where it is swept."""
    if os.path.exists(path):
        if _exchange(new, path):
            return
        os.rename(path, beside(path, "old"))
    os.rename(new, path)


def _exchange(one: str, other: str) -> bool:
    """Exchanges two folders in a single step, or tells that the system can't."""
    import ctypes

    rename = getattr(ctypes.CDLL(None), "renameat2", None)  # of Linux; Python doesn't know it
    paths = (-100, os.fsencode(one), -100, os.fsencode(other))  # AT_FDCWD
    return rename is not None and rename(*paths, 2) == 0  # RENAME_EXCHANGE


@contextlib.contextmanager
def _disk_errors_as_failures(path: str) -> Iterator[None]:
    """Raises `Failure` for what the disk refuses, whatever Beam and TensorFlow have made of it."""
    try:
        yield
    except (BadInput, Failure):
        raise
    except Exception as error:
        reason = next((reason for reason in DISK_ERRORS if reason in str(error)), None)
        if reason is None:
            raise
        raise Failure(
            f"can't write {path} ({reason}): make room there, or name another folder"
        ) from None


@contextlib.contextmanager
def _temporary_files(folder: str) -> Iterator[None]:
    """Has all temporary files, those of Beam and of child processes too, lie in a folder.

    So the next run sweeps what one that was killed leaves, and no other disk has to have space.
    """
    before = os.environ.get("TMPDIR")
    with tempfile.TemporaryDirectory(prefix=".temp-", dir=folder) as os.environ["TMPDIR"]:
        tempfile.tempdir = None  # look at TMPDIR again
        try:
            yield
        finally:
            os.environ.pop("TMPDIR")
            os.environ.update({} if before is None else {"TMPDIR": before})
            tempfile.tempdir = None


@contextlib.contextmanager
def _os_errors_as_bad_input(path: str) -> Iterator[None]:
    """Raises `BadInput` if the block can't write beside `path`."""
    try:
        yield
    except OSError as error:
        raise BadInput(f"can't write {path} ({error.strerror}): name another folder") from None


@contextlib.contextmanager
def kept_folder(path: str, *, holds: str) -> Iterator[None]:
    """Makes a folder that run after run adds to, or takes it up; no other run may meanwhile.

    Args:
      path: the folder, on this machine.
      holds: a regular expression that matches the name of each file or folder that may be there.

    Raises:
      BadInput: if it can't be written, another run is at it, or it holds something else.
    """
    storage.check_local(path)
    with contextlib.ExitStack() as stack:
        with _os_errors_as_bad_input(path):
            os.makedirs(path, exist_ok=True)
            stack.enter_context(_locked(path))
        for name in os.listdir(path):
            if not re.fullmatch(holds, name):
                raise BadInput(
                    f"{path} holds {name}, which is of something else: name a new or an empty "
                    "folder"
                )
        with _disk_errors_as_failures(path):
            yield


@contextlib.contextmanager
def _locked(path: str) -> Iterator[None]:
    """Holds the lock on making a folder; it ends with the process, however that ends.

    Raises:
      BadInput: if another run holds it.
    """
    import fcntl  # which Windows lacks: there, models can be read all the same

    lock = beside(path, "lock")
    # A file, for network file systems lock nothing that isn't open for writing.
    with open(lock, "a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not os.path.samestat(os.fstat(file.fileno()), os.stat(lock)):
                raise FileNotFoundError  # the other run has just ended, and removed it
        except (BlockingIOError, FileNotFoundError):
            file.seek(0)
            raise BadInput(
                f"another run is making {path} (process {file.read()}): wait for it, or name "
                "another folder"
            ) from None
        try:
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            yield
        finally:
            os.remove(lock)


def _check_replaceable(path: str, holds: str, marker: str) -> None:
    if os.path.islink(path):
        raise BadInput(f"{path} is a link that leads to itself: name another folder")
    if os.path.ismount(path):
        raise BadInput(f"{path} is a mount point, which can't be replaced: name a folder inside it")
    _refuse_foreign(path, holds if storage.is_file(os.path.join(path, marker)) else NOTHING)


def _refuse_foreign(path: str, holds: str) -> None:
    """Raises `BadInput` if a folder has a file that no run of this program has put there.

    At the top that is one whose name `holds` doesn't match; in the folders inside, one that isn't
    in the sums, if there are any. Hidden files, and what systems leave, don't count.
    """
    foreign = [name for name in storage.names(path) if not re.fullmatch(holds, name)]
    if sums := checksums.read(path):
        below = (name for name in _all_files(path) if "/" in name and name not in sums)
        foreign += [name for name in below if not checksums.has_no_sum(name)]
    foreign = [name for name in foreign if not storage.is_leftover(name)]
    if foreign:
        raise BadInput(
            f"{path} holds {foreign[0]}, which would be lost: name a new or empty folder"
        )
