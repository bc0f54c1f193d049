"""The directory tree: which files are reviews, and their texts as Arrow record batches."""

import codecs
import collections
import dataclasses
import errno
import fnmatch
import hashlib
import itertools
import operator
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from concurrent import futures
from typing import TypeVar

import pyarrow as pa

from pipelines import commands, contract, files

T = TypeVar("T")
U = TypeVar("U")

UNLABELLED = "unsup"  # the folder of train that is known to hold no labels
LARGEST_FILE = 10_000_000  # bytes: what is larger is no review, and a batch has to fit into memory
TOO_LARGE = f"more than {LARGEST_FILE:,} bytes"
LISTED_TOGETHER = 2_000  # files an element: a path of its own costs more than the file's reading
BATCH_SIZE = 1024  # reviews: larger batches share more words, so fewer counts cross the stages
BATCH_BYTES = 10_000_000  # of text: a batch of large files ends earlier, to fit into memory

# Files that this process has listed and read, for who waits; other processes count for themselves.
SEEN: collections.Counter[str] = collections.Counter()

_BYTES = pa.large_list(pa.large_binary())
SCHEMA = pa.schema(
    [
        (contract.TEXT, _BYTES),
        (contract.LABEL, pa.large_list(pa.int64())),
        (contract.KEY, _BYTES),
    ]
)


# Hash of the text, path of the file below the input folder, position of its class, and the text's
# size in bytes. A plain tuple, which Beam encodes much faster than a named one.
Review = tuple[bytes, bytes, int, int]


@dataclasses.dataclass(frozen=True)
class Source:
    """Where the reviews lie and how they are read.

    Attributes:
      input_dir: the folder.
      pattern: which file names are reviews, by the shell's `*`, `?` and `[...]`.
      encoding: of the files, as Python names it.
    """

    input_dir: str
    pattern: str = "*.txt"
    encoding: str = "utf-8"

    @property
    def is_utf8(self) -> bool:
        return codecs.lookup(self.encoding).name == "utf-8"

    def path(self, key: bytes) -> bytes:
        return os.path.join(os.fsencode(self.input_dir), key)

    def read(self, keys: Iterable[bytes]) -> Iterator[bytes]:
        """Yields the bytes of files, in order; raises `Failure`."""
        for key, content in self._contents(keys):
            if isinstance(content, OSError):
                raise commands.Failure(
                    f"can't read {os.fsdecode(self.path(key))} ({content.strerror}): mend or "
                    "remove it, run again"
                )
            yield content

    def read_good(
        self, keys: Iterable[bytes], bad: dict[bytes, str]
    ) -> Iterator[tuple[bytes, bytes]]:
        """Yields the key and the bytes of each file that can be read; puts into `bad` why not."""
        for key, content in self._contents(keys):
            if isinstance(content, OSError):
                bad[key] = content.strerror
            else:
                yield key, content

    def _contents(self, keys: Iterable[bytes]) -> Iterator[tuple[bytes, bytes | OSError]]:
        """Yields the key and the bytes of each file, or why it can't be read, in order."""
        remote = files.is_remote(self.input_dir)
        read = _read_remote if remote else _read_file

        def content(key: bytes) -> tuple[bytes, bytes | OSError]:
            try:
                return key, read(self.path(key))
            except OSError as error:
                return key, error

        return files.map_many(content, keys, remote=remote)

    def decode(self, content: bytes) -> tuple[bytes, bool]:
        """Returns the text as valid UTF-8, and whether any of it had to be replaced.

        What can't be decoded becomes U+FFFD, as in the served model.
        """
        try:
            return content.decode(self.encoding).encode(), False
        except UnicodeError:
            text = content.decode(self.encoding, "replace")
            return contract.SURROGATES.sub("\ufffd", text).encode(), True


def encoding(name: str) -> str:
    """Returns Python's own name for an encoding, which may have several; raises `BadInput`."""
    if not contract.is_encoding(name):
        raise commands.BadInput(
            f"--encoding {name}: Python knows no such text encoding; try utf-8 or latin-1"
        )
    return codecs.lookup(name).name


def _read_file(path: bytes) -> bytes:
    """Returns the bytes of a file; raises `OSError`, also for what is no file or no review."""
    # Plain calls of the system: for small files Python's file objects take twice the time. A pipe
    # that took the place of a file isn't waited for.
    file = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "not a file")
        if status.st_size > LARGEST_FILE:
            raise OSError(errno.EFBIG, TOO_LARGE)
        content = os.read(file, status.st_size + 1)
        if len(content) == status.st_size:  # nearly always: no call more to see the end
            return content
        while more := os.read(file, LARGEST_FILE):  # it's growing, or its size isn't known ahead
            content += more
            if len(content) > LARGEST_FILE:
                raise OSError(errno.EFBIG, TOO_LARGE)
        return content
    finally:
        os.close(file)


def _read_remote(path: bytes) -> bytes:
    """Returns the bytes of a file in Cloud Storage; raises `OSError`, also if it is no review."""
    content = files.read_bytes(os.fsdecode(path), LARGEST_FILE + 1)
    if len(content) > LARGEST_FILE:
        raise OSError(errno.EFBIG, TOO_LARGE)
    return content


def text_hash(text: bytes) -> bytes:
    """Returns 16 bytes by which equal texts are known, alike in any process."""
    return hashlib.blake2b(text, digest_size=16, key=b"textrecords text").digest()


def fingerprint(files: Iterable[tuple[bytes, bytes]]) -> contract.Fingerprint:
    """Returns the fingerprint of files, each given by key and content."""
    number = size = total = 0
    for key, content in files:
        digest = hashlib.sha256(b"%d:%b" % (len(key), key) + hashlib.sha256(content).digest())
        number += 1
        size += len(content)
        total += int.from_bytes(digest.digest(), "big")
    return contract.Fingerprint(number, size, f"{total % 2**256:064x}")


@dataclasses.dataclass(frozen=True)
class Tree:
    """An input folder that can be preprocessed.

    Attributes:
      source: the folder.
      classes: names of the class folders; a class's position is its label.
      examples: how many reviews lie in each split and class.
      left_out: why files were left out, and how many.
    """

    source: Source
    classes: tuple[str, ...]
    examples: dict[str, dict[str, int]]
    left_out: dict[str, int]

    @property
    def num_reviews(self) -> int:
        return sum(sum(classes.values()) for classes in self.examples.values())

    def all_keys(self) -> Iterator[bytes]:
        """Yields the keys of all reviews, in no order."""
        for split in self.examples:
            for name in self.classes:
                yield from list_reviews(self.source, f"{split}/{name}")

    def fingerprint(self) -> contract.Fingerprint:
        """Reads all reviews and returns the fingerprint of those that can be read."""
        return fingerprint(self.source.read_good(self.all_keys(), {}))


def survey(source: Source, classes: list[str] | None = None) -> Tree:
    """Looks through `<input_dir>/<split>/<class>/` and counts the reviews.

    Args:
      source: a folder with `train` and, if there are any, `validation` and `test`.
      classes: the class folders to read; by default all of train, sorted by name.

    Raises:
      BadInput: if there is nothing to train a classifier on.
    """
    input_dir = source.input_dir
    if not files.is_folder(input_dir):
        raise commands.BadInput(f"no input folder {input_dir}: name a folder that holds train/")
    train_dir = os.path.join(input_dir, contract.TRAIN)
    if not files.is_folder(train_dir):
        raise commands.BadInput(
            f"{input_dir} has no folder train: it must hold train/<class>/{source.pattern}"
        )
    found = _class_folders(train_dir)
    chosen = tuple(classes or found)
    _check_classes(train_dir, chosen, found)
    left_out: collections.Counter[str] = collections.Counter()
    examples = {}
    for split in contract.SPLITS:
        split_dir = os.path.join(input_dir, split)
        if files.is_folder(split_dir):
            _check_same_classes(split_dir, chosen, chosen_by_user=bool(classes))
            examples[split] = _count_split(source, split, chosen, left_out)
    return Tree(source, chosen, examples, dict(sorted(left_out.items())))


def _class_folders(split_dir: str) -> list[str]:
    names = [e.name for e in _scan(split_dir) if e.is_dir() and not e.name.startswith(".")]
    return sorted(name for name in names if name != UNLABELLED)


def _scan(folder: str) -> Iterator[os.DirEntry[str] | files.Entry]:
    """Yields what a folder holds, in no order; raises `Failure`."""
    try:
        yield from files.scan(folder)
    except OSError as error:
        raise commands.Failure(
            f"can't list {folder} ({error.strerror}): mend or remove it, run again"
        ) from None


def _check_classes(train_dir: str, chosen: tuple[str, ...], found: list[str]) -> None:
    if not chosen:
        raise commands.BadInput(
            f"{train_dir} has no class folders: it must hold a folder for each class"
        )
    if len(set(chosen)) < len(chosen):
        raise commands.BadInput(f"--classes names a class twice: {' '.join(chosen)}")
    if len(chosen) == 1:
        raise commands.BadInput(
            f"{train_dir} has one class only, {chosen[0]}: a classifier needs at least two"
        )
    for name in chosen:
        if not name.isprintable():
            raise commands.BadInput(
                f"{train_dir}: the class {name} has no printable name: rename it"
            )
        if name not in (*found, UNLABELLED) or not files.is_folder(os.path.join(train_dir, name)):
            raise commands.BadInput(
                f"{train_dir} has no folder {name}: its classes are {', '.join(found)}"
            )


def _check_same_classes(split_dir: str, chosen: tuple[str, ...], *, chosen_by_user: bool) -> None:
    found = _class_folders(split_dir)
    missing = [name for name in chosen if not files.is_folder(os.path.join(split_dir, name))]
    extra = [] if chosen_by_user else sorted(set(found) - set(chosen))
    if missing or extra:
        raise commands.BadInput(
            f"{split_dir} has the classes {', '.join(found) or 'none'}, but train has "
            f"{', '.join(chosen)}: give both the same folders, or name --classes"
        )


def _count_split(
    source: Source, split: str, classes: tuple[str, ...], left_out: collections.Counter[str]
) -> dict[str, int]:
    """Counts the reviews of each class; adds what is left out to `left_out`."""
    for entry in _scan(os.path.join(source.input_dir, split)):
        if entry.name.startswith("."):
            left_out["hidden"] += 1
        elif not entry.is_dir():
            left_out["beside the class folders"] += 1
        elif entry.name not in classes:
            why = "no labels" if entry.name == UNLABELLED else "not a chosen class"
            number = sum(1 for _ in _scan(entry.path))
            left_out[f"{split}/{commands.one_line(entry.name)}: {why}"] += number
    examples = {}
    for name in classes:
        examples[name] = sum(1 for _ in list_reviews(source, f"{split}/{name}", left_out))
        if not examples[name]:
            raise commands.BadInput(
                f"{source.input_dir}/{split}/{name} holds no {source.pattern} files: a class "
                "needs at least one"
            )
    return examples


def list_reviews(
    source: Source, folder: str, left_out: collections.Counter[str] | None = None
) -> Iterator[bytes]:
    """Yields the keys of the reviews in a class folder and the folders inside it, in no order.

    Args:
      source: the input folder.
      folder: the class folder, by its path below the input folder, or `""` for all of that.
      left_out: where the files that aren't reviews are counted, by reason.
    """
    left_out = collections.Counter() if left_out is None else left_out
    folders = [folder]  # a list, for folders may lie deeper in each other than calls may
    while folders:
        folder = folders.pop()
        for entry in _scan(os.path.join(source.input_dir, folder)):
            key = os.path.join(folder, entry.name)
            if entry.name.startswith("."):
                left_out["hidden"] += 1
            elif entry.is_dir(follow_symlinks=False):
                folders.append(key)
            elif not _is_file(entry):
                left_out["links to folders, and special files"] += 1
            elif not fnmatch.fnmatchcase(entry.name, source.pattern):
                left_out[f"not {source.pattern}"] += 1
            else:
                SEEN["listed"] += 1
                yield os.fsencode(key)


def _is_file(entry: os.DirEntry[str] | files.Entry) -> bool:
    """Tells whether it's a file or a link to one; a link may lead nowhere, or to itself."""
    return entry.is_file(follow_symlinks=False) or (
        entry.is_symlink() and os.path.isfile(entry.path)
    )


def list_folder(folder: tuple[str, str, int], source: Source) -> Iterator[list[tuple[bytes, int]]]:
    """Yields the files of a class folder, given as (split, class, label): lists of (key, label)."""
    split, name, label = folder
    keys = list_reviews(source, f"{split}/{name}")
    yield from chunks(((key, label) for key in keys), size=LISTED_TOGETHER)


def batches(items: Iterable[T], *, number: int, size: Callable[[T], int]) -> Iterator[list[T]]:
    """Yields lists of `number` items, or fewer if their sizes add up to `BATCH_BYTES`."""
    batch: list[T] = []
    total = 0
    for item in items:
        batch.append(item)
        total += size(item)
        if len(batch) == number or total >= BATCH_BYTES:
            yield batch
            batch, total = [], 0
    if batch:
        yield batch


def review_batches(reviews: Iterable[Review]) -> Iterator[list[Review]]:
    """Yields the batches that reviews are read in."""
    return batches(reviews, number=BATCH_SIZE, size=operator.itemgetter(3))


def read_batch(source: Source, reviews: list[Review]) -> tuple[pa.RecordBatch, list[bytes]]:
    """Reads reviews, in their order, as a record batch of `SCHEMA`.

    Returns:
      The batch, and the keys of the reviews that had to be decoded with replacement.

    Raises:
      Failure: if a text isn't the one that was hashed.
    """
    undecodable: list[bytes] = []
    contents = source.read(key for _, key, *_ in reviews)
    texts = [
        _text(source, review, content, undecodable)
        for review, content in zip(reviews, contents, strict=True)
    ]
    columns = [
        pa.array(texts, pa.large_binary()),
        pa.array([label for _, _, label, _ in reviews], pa.int64()),
        pa.array([key for _, key, *_ in reviews], pa.large_binary()),
    ]
    wrapped = [_one_each(column) for column in columns]
    return pa.RecordBatch.from_arrays(wrapped, schema=SCHEMA), undecodable


def _text(source: Source, review: Review, content: bytes, undecodable: list[bytes]) -> bytes:
    hashed, key, *_ = review
    text, replaced = source.decode(content)
    if text_hash(text) != hashed:
        path = os.path.join(source.input_dir, os.fsdecode(key))
        raise commands.Failure(f"{path} changed while it was being read: run again")
    if replaced:
        undecodable.append(key)
    return text


def ahead(items: Iterable[T], work: Callable[[T], U]) -> Iterator[U]:
    """Yields what `work` makes of each item; a thread is at the next while the last is in use.

    So one core reads or writes files while TensorFlow computes on another.
    """
    with futures.ThreadPoolExecutor(max_workers=1) as thread:
        coming: collections.deque[futures.Future[U]] = collections.deque()
        for item in items:
            coming.append(thread.submit(work, item))
            if len(coming) > 1:
                yield coming.popleft().result()
        yield from (made.result() for made in coming)


def chunks(items: Iterable[T], *, size: int) -> Iterator[list[T]]:
    """Yields lists of `size` items, the last one of what remains."""
    items = iter(items)
    while chunk := list(itertools.islice(items, size)):
        yield chunk


def _one_each(values: pa.Array) -> pa.Array:
    """Wraps each value into a list of one, as tf.Transform wants its columns."""
    return pa.LargeListArray.from_arrays(pa.array(range(len(values) + 1), pa.int64()), values)
