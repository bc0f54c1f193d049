"""Text files below a folder: their listing, their bytes, and their texts."""

import codecs
import collections
import contextlib
import dataclasses
import errno
import fnmatch
import functools
import hashlib
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import ClassVar, NamedTuple

from textrecords import encoding_guess, storage
from textrecords.errors import BadInput, Failure

MAX_FILE_BYTES = 10_000_000  # bytes: larger files aren't reviews, and a batch has to fit in memory
SPECIAL = "links to folders, and special files"
NO_PATH = "names that are no paths"  # in Cloud Storage, such as a//b
TIMES_SPLIT = 2  # per folder: enough to split 250 million files into hundreds of places
TOO_LARGE = f"more than {MAX_FILE_BYTES:,} bytes"
# Placeholders for bytes that couldn't be decoded; UTF-8 can't encode them.
SURROGATES = re.compile("[\ud800-\udfff]")

# Files that this process has listed and read, for progress bars; each process has its own count.
SEEN: collections.Counter[str] = collections.Counter()


# The key of a file or of a hidden folder, its entry, and why it's skipped, if it is.
Found = tuple[bytes, os.DirEntry[str] | storage.Entry, str | None]


class Unread(NamedTuple):
    """A review that was listed. Between stages it is a plain tuple, which Beam encodes faster.

    Attributes:
      key: of its record; for a file, its path below the input folder.
      label: its class.
      split: the position of its split in `spec.ALL_SPLITS`.
      where: the location of its text, if it isn't a file of its own.
      kept: other data of it: columns, as JSON, or its row number if the key doesn't contain it.
    """

    key: bytes
    label: str = ""
    split: int = 0
    where: bytes = b""
    kept: str = ""


@dataclasses.dataclass(frozen=True)
class Source:
    """Where the reviews are and how they are read.

    Attributes:
      input_dir: the folder.
      pattern: of the reviews' file names, with the shell's `*`, `?` and `[...]`.
      encoding: of the files, Python's name for it.
    """

    input_dir: str
    pattern: str = "*.txt"
    encoding: str = "utf-8"

    items: ClassVar[str] = "files"  # what reviews are, for messages

    @property
    def times_split(self) -> int:
        """How often a listing can be split; a local folder's can't."""
        return TIMES_SPLIT if self.is_remote else 0

    @property
    def is_remote(self) -> bool:
        """Whether texts are read from Cloud Storage."""
        return storage.is_remote(self.input_dir)

    @property
    def is_utf8(self) -> bool:
        return codecs.lookup(self.encoding).name == "utf-8"

    @property
    def is_wide(self) -> bool:
        """Whether the encoding is a variant of UTF-16 or UTF-32."""
        return self.encoding.startswith(("utf-16", "utf-32"))

    def path(self, key: bytes) -> bytes:
        return self._root + key

    @functools.cached_property
    def _root(self) -> bytes:
        return os.path.join(os.fsencode(self.input_dir), b"")

    def walk(self, folder: str = "", start: str = "", end: str = "") -> Iterator[Found]:
        """Yields all files below a folder, in no order; hidden folders as single entries.

        Args:
          folder: its path below `input_dir`.
          start: in Cloud Storage, the path below the folder to start at.
          end: the path to stop before; "" for no limit.

        Raises:
          Failure: if a folder can't be listed.
        """
        walk = _walk_remote if storage.is_remote(self.input_dir) else _walk_local
        top = os.path.join(self.input_dir, folder) if folder else self.input_dir
        fits = re.compile(fnmatch.translate(self.pattern)).match
        for path, entry, why in walk(top, start, end):
            if why is None and not fits(path.rpartition("/")[2]):
                why = f"not {self.pattern}"
            yield key_of(folder, path), entry, why

    def read(self, reviews: Iterable[Unread]) -> Iterator[bytes]:
        """Yields the bytes of reviews, in order; raises `Failure`."""
        for review, content in self._contents(reviews):
            if isinstance(content, OSError):
                raise Failure(
                    f"can't read {os.fsdecode(self.path(review.key))} ({content.strerror}): fix "
                    "or remove it, and run again"
                )
            yield content

    def read_good(
        self, reviews: Iterable[Unread], bad: dict[bytes, str]
    ) -> Iterator[tuple[Unread, bytes]]:
        """Yields readable reviews with their bytes; adds the errors of others to `bad`, by key."""
        for review, content in self._contents(reviews):
            if isinstance(content, OSError):
                bad[review.key] = content.strerror
            else:
                yield review, content

    def _contents(self, reviews: Iterable[Unread]) -> Iterator[tuple[Unread, bytes | OSError]]:
        """Yields each review with its bytes or the error of reading it, in order."""

        with self._reading() as read:

            def content(review: Unread) -> tuple[Unread, bytes | OSError]:
                try:
                    return review, read(review)
                except OSError as error:
                    return review, error

            run = storage.map_concurrently if self.is_remote else map
            yield from run(content, reviews)

    @contextlib.contextmanager
    def _reading(self) -> Iterator[Callable[[Unread], bytes]]:
        """Yields a function that returns the bytes of a review.

        It raises `OSError`, also if the review isn't a file or is too large.
        """
        read = _read_remote if self.is_remote else _read_file
        yield lambda review: read(self.path(review.key))

    def identity(self, review: Unread) -> bytes:
        """Returns what identifies a review, with its bytes, in the fingerprint of the input."""
        return review.key

    def decode(self, content: bytes) -> tuple[bytes, bool]:
        """Returns the text as valid UTF-8, and whether any of it had to be replaced.

        What can't be decoded becomes U+FFFD, as in the served model.
        """
        if self.encoding == "utf-8" and content.isascii():  # most texts, and much faster
            return content, False
        try:
            return content.decode(self.encoding).encode(), False
        except UnicodeError:
            text = content.decode(self.encoding, "replace")
            return SURROGATES.sub("\ufffd", text).encode(), True

    def to_text(self, key: bytes, content: bytes, misread: dict[bytes, str]) -> bytes:
        """Returns the text of a file; if it seems to be in another encoding, adds it to `misread`.

        Args:
          key: of the file.
          content: its bytes.
          misread: the encodings that files seem to be in instead of this one, by key.
        """
        text, replaced = self.decode(content)
        if seems := self.seems_in(content, replaced):
            misread[key] = seems
        return text

    def seems_in(self, content: bytes, replaced: bool) -> str | None:
        """Returns the encoding that a file seems to be in instead; None if this one fits.

        Args:
          content: the bytes of the file.
          replaced: whether any had to be replaced.
        """
        if replaced:
            return encoding_guess.guess(content)
        if self.is_wide:
            # Without a mark, ASCII is also valid UTF-16, but of random characters.
            unmarked = self.encoding in ("utf-16", "utf-32") and content.isascii()
            return "utf-8" if unmarked and content and b"\0" not in content else None
        return encoding_guess.wider(content)


def is_encoding(name: str) -> bool:
    """Returns whether Python has a text encoding of this name."""
    try:
        b"\xff".decode(name, "replace")  # fails for codecs that aren't of text, such as base64
    except (LookupError, ValueError):
        return False
    return True


def encoding(name: str) -> str:
    """Returns Python's name for an encoding, which may have aliases; raises `BadInput`."""
    if not is_encoding(name):
        raise BadInput(f"--encoding {name}: Python has no such text encoding; try utf-8 or latin-1")
    return codecs.lookup(name).name


def _read_file(path: bytes) -> bytes:
    """Returns the bytes of a file; raises `OSError`, also if it isn't a file or is too large."""
    # System calls, since Python's file objects take twice the time for small files. Nonblocking, in
    # case a pipe has replaced the file.
    file = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "not a file")
        if status.st_size > MAX_FILE_BYTES:
            raise OSError(errno.EFBIG, TOO_LARGE)
        content = os.read(file, status.st_size + 1)
        if len(content) == status.st_size:  # almost always: saves a call to detect the end
            return content
        while more := os.read(file, MAX_FILE_BYTES):  # it's growing, or its size is unknown
            content += more
            if len(content) > MAX_FILE_BYTES:
                raise OSError(errno.EFBIG, TOO_LARGE)
        return content
    finally:
        os.close(file)


def _read_remote(path: bytes) -> bytes:
    """Returns the bytes of a file in Cloud Storage; raises `OSError`, also if it's too large."""
    content = storage.read_bytes(os.fsdecode(path), MAX_FILE_BYTES + 1)
    if len(content) > MAX_FILE_BYTES:
        raise OSError(errno.EFBIG, TOO_LARGE)
    return content


def to_bytes(texts: str | bytes | Sequence[str | bytes]) -> list[bytes]:
    """Returns one or more texts as UTF-8; lone surrogates become invalid bytes."""
    texts = [texts] if isinstance(texts, str | bytes) else texts
    return [t.encode(errors="surrogatepass") if isinstance(t, str) else t for t in texts]


def text_hash(text: bytes) -> bytes:
    """Returns a 16-byte hash of a text, the same in any process."""
    return hashlib.blake2b(text, digest_size=16, key=b"textrecords text").digest()


def key_of(folder: str, path: str) -> bytes:
    """Returns the key of a path below a folder of the input; "" is the input itself."""
    # Not `os.path.join`: in Cloud Storage, a path may begin with a slash.
    return os.fsencode(f"{folder}/{path}" if folder else path)


def scan(folder: str) -> Iterator[os.DirEntry[str] | storage.Entry]:
    """Yields the entries of a folder, in no order; raises `Failure`."""
    with _listing(folder):
        yield from storage.scan(folder)


def _walk_local(
    folder: str, start: str, end: str
) -> Iterator[tuple[str, os.DirEntry[str], str | None]]:
    """Does `Source.walk` without the pattern, by path below the folder; ignores the range."""
    folders = [""]  # not recursive, since folders may be nested deeper than calls
    while folders:
        below = folders.pop()
        for entry in scan(os.path.join(folder, below) if below else folder):
            path = os.path.join(below, entry.name) if below else entry.name
            if storage.is_leftover(entry.name):
                yield path, entry, "hidden"
            elif entry.is_dir(follow_symlinks=False):
                folders.append(path)
            else:
                yield path, entry, None if _is_file(entry) else SPECIAL


def _walk_remote(
    folder: str, start: str, end: str
) -> Iterator[tuple[str, storage.Entry, str | None]]:
    """Does `_walk_local` in Cloud Storage, in the order of the paths, from `start` to `end`."""
    while True:
        if inside := _hidden_folder(start):  # counted where it begins
            start = f"{inside}0"  # sorts right after everything that begins with `inside/`
        with _listing(folder):
            for entry in storage.scan_below(folder, start, end):
                if _hidden_folder(entry.name):
                    yield entry.name, entry, "hidden"
                    start = entry.name
                    break
                yield entry.name, entry, _why_not(entry.name)
            else:
                return


def _why_not(path: str) -> str | None:
    """Returns why a file in Cloud Storage is skipped, whatever the pattern."""
    if storage.is_leftover(path):
        return "hidden"
    return None if os.path.normpath(path) == path and not path.startswith("/") else NO_PATH


def _hidden_folder(path: str) -> str | None:
    """Returns the outermost hidden folder in a path; None if there is none."""
    parts = path.split("/")[:-1]
    for number, part in enumerate(parts, 1):
        if storage.is_leftover(part):
            return "/".join(parts[:number])
    return None


@contextlib.contextmanager
def _listing(folder: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Failure(
            f"can't list {folder} ({error.strerror}): fix or remove it, and run again"
        ) from None


def _is_file(entry: os.DirEntry[str] | storage.Entry) -> bool:
    """Returns whether it's a file or a link to one, not a broken link."""
    return entry.is_file(follow_symlinks=False) or (
        entry.is_symlink() and os.path.isfile(entry.path)
    )
