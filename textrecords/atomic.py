"""Atomic writes of dataset and model folders: a folder is complete or absent."""

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

# The system's messages for a full, read-only or failing disk.
DISK_ERRORS = tuple(
    os.strerror(number)
    for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EIO)
)

NOTHING = "(?!)"  # matches no name
PART = re.compile(r"\.[0-9a-f]{32}-.*")  # a file that is still being written
FINISHED, REUSED = "finished", "reused"  # states that a marker file can record
KEPT = "kept"  # suffix of the sibling folder with files that interrupted runs have finished
NOTE = re.compile(rf"\..+\.({FINISHED}|{REUSED})")


def sibling(path: str, what: str) -> str:
    """Returns the path of a hidden sibling of a folder, used while the folder is being written."""
    parent, name = os.path.split(storage.real(path))
    return os.path.join(parent, f".{name}.textrecords-{what}")


def note(path: str, what: str) -> str:
    """Returns the path of a file's marker, used while its folder is being written.

    Files marked `FINISHED` are available to the next run if this one is interrupted (`left_to`).
    """
    folder, name = os.path.split(path)
    return os.path.join(folder, f".{name}.{what}")


def noted(folder: str, what: str) -> list[str]:
    """Returns the names of the files in a folder that have this marker."""
    names = storage.names(folder)
    found = {*names}
    return [name for name in names if note(name, what) in found]


def left_to(path: str) -> tuple[str, ...]:
    """Returns the folders with files that interrupted runs of `path` have finished.

    In Cloud Storage some may belong to running jobs: read them, but don't change them.
    """
    folders = [sibling(path, KEPT)]
    if storage.is_remote(path):
        waiting = sibling(path, "new")
        folders += [f"{waiting}/{name}" for name in storage.names(waiting)]
    return tuple(folder for folder in folders if noted(folder, FINISHED))


@contextlib.contextmanager
def write_file(path: str) -> Iterator[str]:
    """Yields the path of a local file to write, which is moved to `path` if the block succeeds.

    Safe for workers that are killed or run the same work twice at once; `write_folder` removes what
    they leave behind.
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
    """Writes a file atomically; raises `OSError`."""
    with write_file(path) as part:
        storage.write_text(part, text)


@contextlib.contextmanager
def write_folder(path: str, *, holds: str, marker: str) -> Iterator[str]:
    """Yields an empty folder to write to, which replaces `path` if the block succeeds.

    Until then `path` stays untouched. A folder without `marker`, or with anything that `holds`
    doesn't match, belongs to the user and is refused, since it would be lost.

    If the block is interrupted or fails, except for bad input, the files marked `FINISHED` are kept
    next to `path` until a later run succeeds.

    Args:
      path: the folder to create or replace.
      holds: a regular expression that matches the name of each file or folder it may contain.
      marker: the path, inside the folder, of the file that makes it complete. In Cloud Storage,
        where files are moved one by one, it is moved last.

    Raises:
      BadInput: if `path` can't be replaced.
    """
    path = storage.real(path)  # keeps a link, and replaces its target
    if storage.is_remote(path):
        with _write_remote_folder(path, holds, marker) as new:
            yield new
        return
    # Unique names: a worker may outlive a run that was killed, and keep writing.
    new, temporary = (os.path.join(sibling(path, "new"), uuid.uuid4().hex) for _ in range(2))
    with contextlib.ExitStack() as stack:
        with _os_errors_as_bad_input(path):
            if not os.path.exists(parent := os.path.dirname(path)):
                os.makedirs(parent, exist_ok=True)
            stack.enter_context(_swept(path))
            _check_replaceable(path, holds, marker)
            os.makedirs(new)
            os.mkdir(temporary)
        with (
            _bad_input_keeps_nothing(new),
            _disk_errors_as_failures(path),
            _temporary_files(temporary),
        ):
            yield new
        with _os_errors_as_bad_input(path):
            for folder, _, names in os.walk(new):
                for name in names:
                    # Parts are from workers that were killed.
                    if NOTE.fullmatch(name) or PART.fullmatch(name):
                        os.remove(os.path.join(folder, name))
            _put_in_place(new, path)
            storage.flush(os.path.dirname(path))
        storage.remove_tree(sibling(path, KEPT))


@contextlib.contextmanager
def _write_remote_folder(path: str, holds: str, marker: str) -> Iterator[str]:
    """Does `write_folder` in Cloud Storage, which has neither locks nor folder renames.

    The new files are staged next to `path` until all are written. Then the old ones are removed,
    the marker first, and the new ones moved in, the marker last: a reader sees the old folder, the
    new one, or none.
    """
    storage.check_store(path)
    if not path.removeprefix("gs://").partition("/")[2]:
        raise BadInput(f"{path} is a bucket: name a folder in it, as {path}/folder")
    waiting = sibling(path, "new")
    with _os_errors_as_bad_input(path):
        # Even without the marker: a run may have been interrupted while replacing the folder.
        _refuse_foreign(path, holds)
        if storage.names(waiting):
            terminal.say(f"{waiting} belongs to another run: remove it if none is running")
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
        storage.remove_tree(sibling(path, KEPT))
    except BaseException:
        _keep(new, sibling(path, KEPT))
        raise
    finally:
        storage.remove_tree(new)
        if not storage.names(waiting):
            storage.remove_tree(waiting)  # TensorFlow may have created a placeholder object for it


def _all_files(folder: str) -> list[str]:
    """Returns the relative paths of all files in a folder except markers; none if it's missing."""
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
    """Removes a folder if the block refuses its input, since the next run has another input."""
    try:
        yield
    except BadInput:
        storage.remove_tree(new)
        raise


def _keep(folder: str, kept: str) -> None:
    """Moves the finished files of a folder into another, replacing those of older runs.

    Files that can't be moved are lost, and are rebuilt.
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
    """Cleans up what a killed run has left next to `path`, unless another run is active."""
    path = storage.real(path)
    if not storage.is_remote(path) and os.path.exists(sibling(path, "lock")):
        with contextlib.suppress(BadInput, OSError), _swept(path):
            pass


def forget(path: str) -> None:
    """Removes the finished files of interrupted runs of `path`, unless another run is active."""
    path = storage.real(path)
    kept = sibling(path, KEPT)
    if storage.is_remote(path):
        storage.remove_tree(kept)  # a run that is active recreates it
    elif os.path.exists(kept):
        with contextlib.suppress(BadInput, OSError), locked(path):
            storage.remove_tree(kept)


@contextlib.contextmanager
def _swept(path: str) -> Iterator[None]:
    """Holds the lock on `path`; removes leftovers of any run except `KEPT`, before and after."""
    with locked(path):
        try:
            _sweep(path)
            yield
        finally:
            _sweep(path)


def _sweep(path: str) -> None:
    new, old = (sibling(path, which) for which in ("new", "old"))
    if os.path.exists(old) and not os.path.exists(path):
        os.rename(old, path)  # a run was killed between two renames
    for name in os.listdir(new) if os.path.isdir(new) else ():
        # Renamed first, since a thread that goes on with a stage after a failure may still write.
        folder, renamed = (os.path.join(new, each) for each in (name, uuid.uuid4().hex))
        with contextlib.suppress(OSError):
            os.rename(folder, renamed)
            folder = renamed
        _keep(folder, sibling(path, KEPT))
    for folder in (new, old):
        shutil.rmtree(folder, ignore_errors=True)


def _put_in_place(new: str, path: str) -> None:
    """Renames `new` to `path`; moves the old folder to where it is swept."""
    if os.path.exists(path):
        if _exchange(new, path):
            return
        os.rename(path, sibling(path, "old"))
    os.rename(new, path)


def _exchange(one: str, other: str) -> bool:
    """Swaps two folders atomically; returns False if the system can't."""
    import ctypes

    rename = getattr(ctypes.CDLL(None), "renameat2", None)  # Linux only; Python has no wrapper
    paths = (-100, os.fsencode(one), -100, os.fsencode(other))  # AT_FDCWD
    return rename is not None and rename(*paths, 2) == 0  # RENAME_EXCHANGE


@contextlib.contextmanager
def _disk_errors_as_failures(path: str) -> Iterator[None]:
    """Raises `Failure` for disk errors, however Beam and TensorFlow have wrapped them."""
    try:
        yield
    except (BadInput, Failure):
        raise
    except Exception as error:
        reason = next((reason for reason in DISK_ERRORS if reason in str(error)), None)
        if reason is None:
            raise
        raise Failure(
            f"can't write {path} ({reason}): free some space, or name another folder"
        ) from None


@contextlib.contextmanager
def _temporary_files(folder: str) -> Iterator[None]:
    """Puts all temporary files, including those of Beam and child processes, into a folder.

    So the next run cleans up after a killed one, and no other disk needs space.
    """
    before = os.environ.get("TMPDIR")
    os.environ["TMPDIR"] = folder
    tempfile.tempdir = None  # makes it read TMPDIR again
    try:
        yield
    finally:
        os.environ.pop("TMPDIR")
        os.environ.update({} if before is None else {"TMPDIR": before})
        tempfile.tempdir = None


@contextlib.contextmanager
def _os_errors_as_bad_input(path: str) -> Iterator[None]:
    """Raises `BadInput` if the block can't write next to `path`."""
    try:
        yield
    except OSError as error:
        raise BadInput(f"can't write {path} ({error.strerror}): name another folder") from None


@contextlib.contextmanager
def kept_folder(path: str, *, holds: str) -> Iterator[None]:
    """Creates or reopens a folder that successive runs add to, and locks it.

    Args:
      path: the folder, on this machine.
      holds: a regular expression that matches the name of each file or folder it may contain.

    Raises:
      BadInput: if it can't be written, another run is using it, or it contains something else.
    """
    storage.check_local(path)
    with contextlib.ExitStack() as stack:
        with _os_errors_as_bad_input(path):
            os.makedirs(path, exist_ok=True)
            stack.enter_context(locked(path))
        for name in os.listdir(path):
            if not re.fullmatch(holds, name):
                raise BadInput(
                    f"{path} contains {name}, which doesn't belong there: name a new or empty "
                    "folder"
                )
        with _disk_errors_as_failures(path):
            yield


@contextlib.contextmanager
def locked(path: str) -> Iterator[None]:
    """Holds the lock for writing a folder; it is released however the process ends.

    If the process has forked others, it's released when these have ended, too.

    Raises:
      BadInput: if another run holds it.
    """
    import fcntl  # missing on Windows, where models can still be read

    lock = sibling(path, "lock")
    # A file, since network file systems only lock what is open for writing.
    with open(lock, "a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not os.path.samestat(os.fstat(file.fileno()), os.stat(lock)):
                raise FileNotFoundError  # the other run has just ended and removed it
        except (BlockingIOError, FileNotFoundError):
            file.seek(0)
            raise BadInput(
                f"another run is writing {path} (process {file.read()}): wait for it, or name "
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
        raise BadInput(f"{path} is a link to itself: name another folder")
    if os.path.ismount(path):
        raise BadInput(f"{path} is a mount point, which can't be replaced: name a folder inside it")
    _refuse_foreign(path, holds if storage.is_file(os.path.join(path, marker)) else NOTHING)


def _refuse_foreign(path: str, holds: str) -> None:
    """Raises `BadInput` if a folder has a file that no run of this program has written.

    At the top level that is a name that `holds` doesn't match; in subfolders, a file without a
    checksum, if there are checksums. Hidden files and those of operating systems don't count.
    """
    foreign = [name for name in storage.names(path) if not re.fullmatch(holds, name)]
    if sums := checksums.read(path):
        below = (name for name in _all_files(path) if "/" in name and name not in sums)
        foreign += [name for name in below if not checksums.has_no_sum(name)]
    foreign = [name for name in foreign if not storage.is_leftover(name)]
    if foreign:
        raise BadInput(
            f"{path} contains {foreign[0]}, which would be lost: name a new or empty folder"
        )
