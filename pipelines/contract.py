"""What `pipelines/` and `model/` agree on: names, files, the manifest, how a command ends.

This is the only module of `pipelines/` that `model/` imports. It imports neither TensorFlow nor
Beam, so that `--help` and a refusal of bad input are immediate.
"""

import argparse
import contextlib
import dataclasses
import errno
import fcntl
import functools
import gc
import hashlib
import json
import os
import re
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Literal, NoReturn, TypeVar

from annotated_types import Ge, Interval, Predicate

FORMAT_VERSION = 3

TRAIN, VALIDATION, TEST = SPLITS = ("train", "validation", "test")

# The features of a record.
TOKENS = "tokens"  # <int64>[number of tokens], the ids of the whole review
LABEL = "label"  # <int64>[], the position of the review's class in `Manifest.classes`
KEY = "key"  # <string>[], the file's path below the input folder
# What the transform graph takes in the place of `TOKENS`.
TEXT = "text"  # <string>[], valid UTF-8

# Ids as `keras.layers.TextVectorization` gives them. The most frequent token has `NUM_RESERVED`.
PADDING_ID, OOV_ID = 0, 1
NUM_RESERVED = 2

# The files of a dataset, beside its shards.
MANIFEST = "manifest.json"
SCHEMA = "schema.pbtxt"  # the records, as TensorFlow Metadata describes them
AUDIT = "audit.jsonl"  # what is wrong with single reviews, one finding a line
RUN = "run.json"  # where, when and on what the dataset was made: nothing reads the data by it
TRANSFORM_FN = "transform_fn"
TRANSFORMED_METADATA = "transformed_metadata"
ASSET = f"assets/{TOKENS}"  # the vocabulary, as the transform graph keeps it
VOCABULARY = f"{TRANSFORM_FN}/{ASSET}"

# In datasets and models alike.
SUMS = "SHA256SUMS"  # of all files of the folder, in the form of coreutils' sha256sum
LOGS = "logs"  # for TensorBoard; they stand in no `SUMS`, since no result hangs on them

# All that `pipelines.preprocess` puts into a dataset folder.
SHARD_FILES = rf"({'|'.join(SPLITS)})-\d{{5}}-of-\d{{5}}\.tfrecord(\.gz)?"
DATASET_FILES = "|".join(
    (
        *map(re.escape, (MANIFEST, SCHEMA, AUDIT, RUN, SUMS, TRANSFORM_FN, TRANSFORMED_METADATA)),
        SHARD_FILES,
    )
)

# How the system says that a disk is full, or doesn't take what is written.
DISK_ERRORS = tuple(
    os.strerror(number)
    for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EIO)
)

SECONDS_TO_STOP = 5.0  # for clearing up after a signal; the next run sweeps the rest

LARGEST = 2**31 - 1  # of a flag: TensorFlow counts many things by 32 bits

STOPPING = (signal.SIGINT, signal.SIGTERM)

# What stands in a name or text for bytes that couldn't be decoded, and UTF-8 can't hold.
SURROGATES = re.compile("[\ud800-\udfff]")
# What TensorFlow can't take in a path, and what it takes for a pattern, so that it finds no file.
UNFIT = re.compile(r"[\ud800-\udfff*?\[\\]")

T = TypeVar("T")

# What a number of a manifest or configuration may be.
Count = Annotated[int, Ge(0)]
Size = Annotated[int, Interval(ge=1, le=LARGEST)]
Share = Annotated[float, Interval(ge=0, lt=1)]


def is_encoding(name: str) -> bool:
    """Tells whether Python knows a text encoding of this name."""
    try:
        b"\xff".decode(name, "replace")  # fails for those that aren't of text, such as base64
    except (LookupError, ValueError):
        return False
    return True


COMPRESSIONS = {"none": "", "gzip": "GZIP"}  # the flag's value: TensorFlow's name for it


class BadInput(Exception):
    """A user's mistake; the message is one line: what is wrong, where, and what to do."""


class Failure(Exception):
    """A failure while running that needs no traceback; the message is one line, as above."""


def shard_name(split: str, index: int, num_shards: int, compression: str = "none") -> str:
    """Returns the file name of shard `index`, counted from 0."""
    suffix = ".gz" if compression == "gzip" else ""
    return f"{split}-{index:05d}-of-{num_shards:05d}.tfrecord{suffix}"


@dataclasses.dataclass(frozen=True)
class Shard:
    """One TFRecord file; `bytes` and `sha256` (hex) are of the file as it lies on disk."""

    file: str
    examples: int
    bytes: int
    sha256: str


@dataclasses.dataclass(frozen=True)
class Split:
    """One split. What was found is counted before any review is dropped; all else is as written."""

    found: int  # reviews of the input that belong to the split
    distinct_texts: int  # of those found
    dropped_leaked: int
    dropped_duplicates: int
    examples: Count
    class_examples: dict[str, int]
    tokens: int
    oov_tokens: int
    coverage: dict[str, float]  # which share of the tokens the so many most frequent words make up
    token_lengths: dict[str, int]  # quantiles of a review's number of tokens: "min", "50%", ...
    token_length_histogram: dict[str, int]  # reviews, by their number of tokens: "64-127", ...
    undecodable: int  # reviews decoded with replacement characters
    without_tokens: int  # reviews with no token left once cleaned, kept as one OOV token
    short: int  # reviews of fewer tokens than `--min_tokens`, or than `--max_len` if that is less
    shards: tuple[Shard, ...]


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """`size` counts padding and OOV, as Keras does; the file holds one token a line, id 2 first."""

    file: Literal[VOCABULARY]
    size: Size
    sha256: str


@dataclasses.dataclass(frozen=True)
class Fingerprint:
    """Stands for files of an input: `sha256` is the sum of a digest of each, modulo 2**256, in hex.

    A sum, so that files may be taken in any order and by many workers.
    """

    files: int
    bytes: int
    sha256: str

    def __add__(self, other: "Fingerprint") -> "Fingerprint":
        total = (int(self.sha256, 16) + int(other.sha256, 16)) % 2**256
        return Fingerprint(self.files + other.files, self.bytes + other.bytes, f"{total:064x}")


@dataclasses.dataclass(frozen=True)
class Audit:
    """What is wrong with texts that stand in the input more than once; `file` lists the keys."""

    file: Literal[AUDIT]
    sha256: str
    leaked_texts: int  # distinct texts that stand in two splits or more
    contrary_texts: int  # distinct texts that stand in two classes or more


@dataclasses.dataclass(frozen=True)
class Flags:
    """The flags of `pipelines.preprocess` that shape the data; it says what each does.

    `stop_words` and `replacements` are the SHA-256 of the file, or the name of a built-in list.
    """

    classes: tuple[str, ...] | None
    pattern: str
    encoding: Annotated[str, Predicate(is_encoding)]
    validation: Share
    drop_leaked: bool
    drop_duplicates: bool
    min_tokens: Count
    max_tokens: Size
    max_len: Size | None
    stop_words: str | None
    replacements: str | None
    num_shards: Size | None
    compression: Literal[tuple(COMPRESSIONS)]


@dataclasses.dataclass(frozen=True)
class Manifest:
    """What a dataset folder holds. It is written last: without it there is no dataset."""

    format_version: int
    input: Fingerprint  # of the files that could be read
    bad_files: int  # those that couldn't, and are left out
    code_sha256: str  # of the modules that shape the data
    flags: Flags
    classes: tuple[str, ...]
    vocabulary: Vocabulary
    splits: dict[Literal[SPLITS], Split]
    audit: Audit
    schema_sha256: str
    left_out: dict[str, int]  # why: how many files

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def shard_sums(self) -> dict[str, str]:
        """Returns the SHA-256 of each shard, by its file."""
        return {s.file: s.sha256 for split in self.splits.values() for s in split.shards}

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Manifest":
        """Rebuilds a manifest; raises `BadInput` for another format, else `ValueError`."""
        version = parse_json(_Format, text).format_version
        if version != FORMAT_VERSION:
            raise BadInput(
                f"format version {version}, but this program reads {FORMAT_VERSION}: "
                "run `make preprocess` again"
            )
        manifest = parse_json(cls, text)
        for name, split in manifest.splits.items():
            total = len(split.shards)
            if split.examples != sum(shard.examples for shard in split.shards):
                raise ValueError(f"the shards of {name} don't hold {split.examples:,} examples")
            for index, shard in enumerate(split.shards):
                if shard.file != shard_name(name, index, total, manifest.flags.compression):
                    raise ValueError(f"{shard.file} is no name of shard {index} of {name}")
        return manifest


@dataclasses.dataclass(frozen=True)
class _Format:
    """What the manifest of any version holds."""

    format_version: int


def parse_json(of: type[T], text: str) -> T:
    """Rebuilds a dataclass from JSON; raises `ValueError` in one line."""
    import pydantic  # here, since it takes a while

    try:
        return pydantic.TypeAdapter(of).validate_json(text, strict=True)
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "all of it"
        raise ValueError(f"{where}: {first['msg']}") from None


@dataclasses.dataclass(frozen=True)
class Run:
    """What is true of one run alone, and so doesn't belong into the manifest."""

    input: str
    started: str
    seconds: float
    host: str
    python: str
    packages: dict[str, str]


def check_path(path: str) -> None:
    """Raises `BadInput` if TensorFlow can't work in a folder of this path."""
    unfit = UNFIT.search(path)
    if unfit:
        raise BadInput(
            f"{path} isn't UTF-8, or holds one of * ? [ \\, so TensorFlow can't find its way: "
            "name another folder, or rename it"
        )


def read_manifest(records_dir: str, *, verify: bool = True) -> Manifest:
    """Reads the manifest of the dataset in `records_dir`.

    Args:
      records_dir: the dataset.
      verify: whether all its files must be as they were written.

    Raises:
      BadInput: if there is no dataset, a damaged one, or one that this version cannot read.
    """
    check_path(records_dir)
    if not os.path.isdir(records_dir):
        raise BadInput(f"no records folder {records_dir}: run `make preprocess` first")
    path = os.path.join(records_dir, MANIFEST)
    try:
        manifest = Manifest.from_json(read_text(path))
    except FileNotFoundError:
        raise BadInput(
            f"{records_dir} holds no {MANIFEST}, so no whole dataset: run `make preprocess` first"
        ) from None
    except BadInput as error:
        raise BadInput(f"{path}: {error}") from None
    except (OSError, ValueError) as error:
        raise BadInput(f"{path} can't be read ({error}): run `make preprocess` again") from None
    if verify:
        check_whole(records_dir, "preprocess")
    return manifest


def check_unchanged(records_dir: str, manifest: Manifest) -> None:
    """Raises `Failure` if another dataset has taken the place of this one while it was read."""
    if read_manifest(records_dir, verify=False) != manifest:
        raise Failure(f"{records_dir} was replaced while it was being read: run again")


def shard_paths(records_dir: str, manifest: Manifest, split: str) -> list[str]:
    """Returns the paths of a split's shards; raises `BadInput` if there is no such split."""
    if split not in manifest.splits:
        raise BadInput(f"{records_dir} holds no {split} split")
    return [os.path.join(records_dir, shard.file) for shard in manifest.splits[split].shards]


def write_sums(folder: str, known: Mapping[str, str] | None = None) -> None:
    """Writes the SHA-256 of each file of a folder, by which `check_whole` knows it again.

    All of it is on the disk then, so that no power cut leaves sums of files that aren't.

    Args:
      folder: a dataset or a model.
      known: the SHA-256 of files that were hashed as they were written.
    """
    known = known or {}
    with open(os.path.join(folder, SUMS), "w", encoding="utf-8") as file:
        for name in sorted(_files(folder)):
            sha256 = known.get(name) or file_sha256(os.path.join(folder, name))
            file.write(f"{sha256}  {name}\n")
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]  # temporary files
        for name in (*names, ""):
            _flush(os.path.join(parent, name))


def _flush(path: str) -> None:
    """Waits until a file or folder is on the disk, where a power cut leaves it."""
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def check_whole(folder: str, command: str) -> None:
    """Raises `BadInput` unless all files of a folder are there, as they were written, and no more.

    Only what lies in the folder is opened, whatever paths its `SUMS` may name.

    Args:
      folder: a dataset or a model.
      command: the target of `make` that makes it anew.
    """
    damage = find_damage(folder)
    if damage:
        raise BadInput(f"{damage}: run `make {command}` again")


def find_damage(folder: str) -> str | None:
    """Names the first file that isn't as `write_sums` found it, and says what is wrong with it."""
    path = os.path.join(folder, SUMS)
    try:
        sums, found = _parse_sums(read_text(path)), set(_files(folder))
        for name in sorted(sums.keys() | found):
            path = os.path.join(folder, name)
            if name not in sums:
                return f"{path} doesn't stand in {SUMS} (if it's your own, move it elsewhere)"
            if name not in found or not os.path.isfile(path):
                return f"{path} is missing, but stands in {SUMS}"
            if file_sha256(path) != sums[name]:
                return f"{path} isn't what it was when {SUMS} was written"
    except FileNotFoundError:
        return f"{path} is missing"
    except (OSError, ValueError) as error:
        return f"{path} can't be read ({error})"
    return None


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
    """Yields the paths below a folder of all its files, but for hidden ones, logs and `SUMS`."""
    with os.scandir(os.path.join(folder, below)) as entries:
        for entry in entries:
            name = f"{below}{entry.name}"
            if entry.name.startswith(".") or name in (LOGS, SUMS):
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from _files(folder, f"{name}/")
            else:
                yield name


def read_text(path: str) -> str:
    """Returns the text of a file; raises `OSError` or `ValueError`, and never waits."""
    if not os.path.isfile(path):  # of a pipe, opening would wait for a writer
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
    with open(path, encoding="utf-8") as file:
        return file.read()


def read_vocabulary(path: str) -> list[bytes]:
    """Returns the tokens of a vocabulary file; the first has the id `NUM_RESERVED`."""
    with open(path, "rb") as file:
        return file.read().split(b"\n")[:-1]


def file_sha256(path: str) -> str:
    """Returns the SHA-256 of a file in hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def beside(path: str, what: str) -> str:
    """Returns where that lies which is kept for a folder while it's being made."""
    parent, name = os.path.split(os.path.realpath(path))
    return os.path.join(parent, f".{name}.textrecords-{what}")


@contextlib.contextmanager
def whole_folder(path: str, *, files: str, marker: str) -> Iterator[str]:
    """Yields an empty folder to write in, which takes the place of `path` if the block succeeds.

    What was at `path` stays untouched until then. A folder without `marker`, or with anything but
    `files`, is somebody's own and is refused, since it would be lost.

    Args:
      path: the folder to make or to replace.
      files: a regular expression that matches the name of each file or folder to go into it.
      marker: the name of one of them, by which a folder to replace is known.

    Raises:
      BadInput: if `path` can't be replaced.
    """
    path = os.path.realpath(path)  # a link stays: what it points to is replaced
    # A name of its own: a worker may outlive a run that was killed, and write on.
    new = os.path.join(beside(path, "new"), str(os.getpid()))
    with contextlib.ExitStack() as stack:
        with _refused(path):
            if not os.path.exists(parent := os.path.dirname(path)):
                os.makedirs(parent, exist_ok=True)
            stack.enter_context(_swept(path))
            _check_replaceable(path, files, marker)
            os.makedirs(new)
        with _disk_errors_told(path), _temporary_files(new):
            yield new
        with _refused(path):
            _put_in_place(new, path)


def mend(path: str) -> None:
    """Makes good what a run that was killed has left beside `path`, unless another is at it."""
    path = os.path.realpath(path)
    if os.path.exists(beside(path, "lock")):
        with contextlib.suppress(BadInput, OSError), _swept(path):
            pass


@contextlib.contextmanager
def _swept(path: str) -> Iterator[None]:
    """Holds the lock on `path`; before and after, nothing of any run lies beside it."""
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
def _disk_errors_told(path: str) -> Iterator[None]:
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
def _refused(path: str) -> Iterator[None]:
    """Raises `BadInput` if the block can't write beside `path`."""
    try:
        yield
    except OSError as error:
        raise BadInput(f"can't write {path} ({error.strerror}): name another folder") from None


@contextlib.contextmanager
def _locked(path: str) -> Iterator[None]:
    """Holds the lock on making a folder; it ends with the process, however that ends.

    Raises:
      BadInput: if another run holds it.
    """
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


def _check_replaceable(path: str, files: str, marker: str) -> None:
    if os.path.islink(path):
        raise BadInput(f"{path} is a link that leads to itself: name another folder")
    if os.path.ismount(path):
        raise BadInput(f"{path} is a mount point, which can't be replaced: name a folder inside it")
    names = sorted(os.listdir(path)) if os.path.exists(path) else []
    foreign = [name for name in names if not re.fullmatch(files, name)]
    if names and marker not in names:
        foreign = foreign or names
    if foreign:
        raise BadInput(
            f"{path} holds {foreign[0]}, which would be lost: name a new or an empty folder"
        )


# The help of the flag of that name.
NO_VERIFY = "take the files as they are, and don't compare their SHA-256"


class _HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Shows defaults, but no `None`, which is the lack of one."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return action.help if action.default is None else super()._get_help_string(action)


class ArgumentParser(argparse.ArgumentParser):
    """argparse's parser, but an error is one line and no flag is guessed from a prefix."""

    def __init__(self, **kwargs: Any):
        super().__init__(allow_abbrev=False, formatter_class=_HelpFormatter, **kwargs)

    def error(self, message: str) -> NoReturn:
        raise BadInput(f"{message} (see python -m {self.prog} --help)")


def number(
    of: type = int, *, least: float, most: float = LARGEST, below: float = float("inf")
) -> Callable[[str], float]:
    """Returns an argparse type: a number from `least` to `most`, and less than `below`."""

    def parse(text: str) -> float:
        value = of(text)
        if not (least <= value <= most and value < below):
            limit = f"less than {below}" if below <= most else f"at most {most}"
            raise argparse.ArgumentTypeError(f"must be at least {least} and {limit}, not {text}")
        return value

    parse.__name__ = of.__name__  # argparse names the type so in "invalid int value: 'x'"
    return parse


def one_line(text: object) -> str:
    """Returns `text` with control characters and stray bytes escaped, safe on a terminal."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(text))


def say(text: object) -> None:
    """Prints a line, whatever names and texts stand in it."""
    print(one_line(text))


def run(main: Callable[[list[str]], None]) -> NoReturn:
    """Runs a command: exit code 2 for bad input, 1 for a failure.

    As shells have it, 130 is for Ctrl-C, 143 for SIGTERM, and 141 for a closed pipe.
    """
    stops: list[int] = []  # Beam makes an exception of its own of what a signal raises
    for number in STOPPING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, functools.partial(_stop, stops))
    try:
        main(sys.argv[1:])
        sys.stdout.flush()
    except BrokenPipeError:  # `head`, say, has read enough; Python would flush the rest at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except (Exception, KeyboardInterrupt) as error:
        if stops or isinstance(error, KeyboardInterrupt):
            print("stopped", file=sys.stderr)
            sys.exit(128 + (stops.pop() if stops else signal.SIGINT))
        if not isinstance(error, BadInput | Failure | OSError):
            raise
        with contextlib.suppress(OSError):
            sys.stdout.close()  # or Python would try at exit, and fail again, if that is the error
        print(f"error: {one_line(error)}", file=sys.stderr)
        sys.exit(2 if isinstance(error, BadInput) else 1)
    sys.exit(0)


def _stop(stops: list[int], number: int, _: object) -> NoReturn:
    """Ends what runs, as Ctrl-C does; and the process, should that take too long."""
    for each in STOPPING:
        signal.signal(each, signal.SIG_IGN)  # a second one would disturb the clearing up
    stops.append(number)
    last = threading.Timer(SECONDS_TO_STOP, _end, [stops, number])
    last.daemon = True
    last.start()
    raise KeyboardInterrupt


def _end(stops: list[int], number: int) -> NoReturn:
    if stops:  # it isn't told yet
        os.write(2, b"stopped\n")
    os._exit(128 + number)


@contextlib.contextmanager
def quiet_imports() -> Iterator[None]:
    """Imports TensorFlow or Beam without their messages, and a good deal faster.

    They make a million objects that stay. Looking through these for garbage, while they load, time
    and again while a pipeline runs, and once more at exit, would take seconds.
    """
    gc.disable()
    try:
        with _silence():
            yield
    finally:
        gc.freeze()
        gc.enable()


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Hides what TensorFlow's libraries print while they load, unless TF_CPP_MIN_LOG_LEVEL is set.

    They write to the file descriptor before any log level is in force, so only it can be closed.
    """
    if "TF_CPP_MIN_LOG_LEVEL" in os.environ:
        yield
        return
    # Not 2: to CUDA it's an error if there is no GPU. What fails is raised as an exception, too.
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    sys.stderr.flush()
    stderr = os.dup(2)
    with open(os.devnull, "wb") as devnull:
        os.dup2(devnull.fileno(), 2)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(stderr, 2)
        os.close(stderr)
