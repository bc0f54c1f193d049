"""Text files below a folder: which there are, their bytes, and their texts."""

import codecs
import collections
import contextlib
import dataclasses
import errno
import fnmatch
import hashlib
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import ClassVar, NamedTuple

from textrecords import encoding_guess, storage
from textrecords.errors import BadInput, Failure

LARGEST_FILE = 10_000_000  # bytes: what is larger is no review, and a batch has to fit into memory
SPECIAL = "links to folders, and special files"
NO_PATH = "names that are no paths"  # in Cloud Storage, such as a//b
TIMES_SPLIT = 2  # a folder: by then, 250 million files in one are hundreds of places
TOO_LARGE = f"more than {LARGEST_FILE:,} bytes"
# What stands for bytes that couldn't be decoded, and UTF-8 can't hold.
SURROGATES = re.compile("[\ud800-\udfff]")

# Files that this process has listed and read, for who waits; other processes count for themselves.
SEEN: collections.Counter[str] = collections.Counter()


# The key of a file, or of a hidden folder, its entry, and why it's left out, if it is.
Found = tuple[bytes, os.DirEntry[str] | storage.Entry, str | None]


class Unread(NamedTuple):
    """A review that was listed. Between stages it is a plain tuple: Beam encodes that faster.

    Attributes:
      key: what its record is known by; of a file, its path below the input folder.
      label: its class.
      split: the position in `spec.ALL_SPLITS` of that which it is listed in.
      where: its text lies, if it's no file of its own.
      kept: what else is kept of it: columns, as JSON, or which row it is if its key doesn't tell.
    """

    key: bytes
    label: str = ""
    split: int = 0
    where: bytes = b""
    kept: str = ""


@dataclasses.dataclass(frozen=True)
class Source:
    """Where the reviews lie and how they are read.

    Attributes:
      input_dir: the folder.
      pattern: which file names are reviews, by the shell's `*`, `?` and `[...]`.
      encoding: of the files, by Python's own name for it.
    """

    input_dir: str
    pattern: str = "*.txt"
    encoding: str = "utf-8"

    items: ClassVar[str] = "files"  # what reviews are, for messages

    @property
    def times_split(self) -> int:
        """How often what is to be listed can be split; a folder on a disk can't."""
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
        """Whether the encoding is one of UTF-16 and UTF-32."""
        return self.encoding.startswith(("utf-16", "utf-32"))

    def path(self, key: bytes) -> bytes:
        return os.path.join(os.fsencode(self.input_dir), key)

    def walk(self, folder: str = "", start: str = "", end: str = "") -> Iterator[Found]:
        """Yields all files in a folder and those inside it, in no order; hidden folders as a whole.

        Args:
          folder: by its path below `input_dir`.
          start: in Cloud Storage, the first path below the folder that may come.
          end: the first that may not; "" if all may that follow.

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
                    f"can't read {os.fsdecode(self.path(review.key))} ({content.strerror}): mend "
                    "or remove it, run again"
                )
            yield content

    def read_good(
        self, reviews: Iterable[Unread], bad: dict[bytes, str]
    ) -> Iterator[tuple[Unread, bytes]]:
        """Yields each review that can be read, and its bytes; puts into `bad` why not, by key."""
        for review, content in self._contents(reviews):
            if isinstance(content, OSError):
                bad[review.key] = content.strerror
            else:
                yield review, content

    def _contents(self, reviews: Iterable[Unread]) -> Iterator[tuple[Unread, bytes | OSError]]:
        """Yields each review, and its bytes, or why it can't be read, in order."""

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
        """Yields what returns the bytes of a review.

        It raises `OSError`, also if it's no file or too large.
        """
        read = _read_remote if self.is_remote else _read_file
        yield lambda review: read(self.path(review.key))

    def identity(self, review: Unread) -> bytes:
        """Returns what stands for a review, beside its bytes, in the fingerprint of the input."""
        return review.key

    def decode(self, content: bytes) -> tuple[bytes, bool]:
        """Returns the text as valid UTF-8, and whether any of it had to be replaced.

        What can't be decoded becomes U+FFFD, as in the served model.
        """
        try:
            return content.decode(self.encoding).encode(), False
        except UnicodeError:
            text = content.decode(self.encoding, "replace")
            return SURROGATES.sub("\ufffd", text).encode(), True

    def to_text(self, key: bytes, content: bytes, misread: dict[bytes, str]) -> bytes:
        """Returns the text of a file; puts into `misread` which encoding it seems to be in instead.

        Args:
          key: of the file.
          content: its bytes.
          misread: the encodings of files that don't seem to be in this one, by their keys.
        """
        text, replaced = self.decode(content)
        if seems := self.seems_in(content, replaced):
            misread[key] = seems
        return text

    def seems_in(self, content: bytes, replaced: bool) -> str | None:
        """Returns the encoding that a file seems to be in, or None if nothing speaks against ours.

        Args:
          content: the bytes of the file.
          replaced: whether any had to be replaced.
        """
        if replaced:
            return encoding_guess.guess(content)
        if self.is_wide:
            # Without its mark, ASCII is valid UTF-16, but of any old characters.
            unmarked = self.encoding in ("utf-16", "utf-32") and content.isascii()
            return "utf-8" if unmarked and content and b"\0" not in content else None
        return encoding_guess.wider(content)


def is_encoding(name: str) -> bool:
    """Tells whether Python knows a text encoding of this name."""
    try:
        b"\xff".decode(name, "replace")  # fails for those that aren't of text, such as base64
    except (LookupError, ValueError):
        return False
    return True


def encoding(name: str) -> str:
    """Returns Python's own name for an encoding, which may have several; raises `BadInput`."""
    if not is_encoding(name):
        raise BadInput(
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
    content = storage.read_bytes(os.fsdecode(path), LARGEST_FILE + 1)
    if len(content) > LARGEST_FILE:
        raise OSError(errno.EFBIG, TOO_LARGE)
    return content


def to_bytes(texts: str | bytes | Sequence[str | bytes]) -> list[bytes]:
    """Returns one or more texts as UTF-8; a lone surrogate becomes bytes that aren't."""
    texts = [texts] if isinstance(texts, str | bytes) else texts
    return [t.encode(errors="surrogatepass") if isinstance(t, str) else t for t in texts]


def text_hash(text: bytes) -> bytes:
    """Returns 16 bytes by which equal texts are known, alike in any process."""
    return hashlib.blake2b(text, digest_size=16, key=b"textrecords text").digest()


def key_of(folder: str, path: str) -> bytes:
    """Returns the key of a path below a folder of the input; "" is the input itself."""
    # Not joined by the system's rules: in Cloud Storage, a path may begin with a slash.
    return os.fsencode(f"{folder}/{path}" if folder else path)


def scan(folder: str) -> Iterator[os.DirEntry[str] | storage.Entry]:
    """Yields what a folder holds, in no order; raises `Failure`."""
    with _listing(folder):
        yield from storage.scan(folder)


def _walk_local(
    folder: str, start: str, end: str
) -> Iterator[tuple[str, os.DirEntry[str], str | None]]:
    """As `Source.walk`, by path below the folder, but for the pattern; it knows no ranges."""
    folders = [""]  # a list, for folders may lie deeper in each other than calls may
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
    """As `_walk_local`, in the order of the paths, from `start` to before `end`."""
    going_on = True
    while going_on:
        if inside := _hidden_folder(start):  # counted by whoever came that far
            start = f"{inside}0"  # the first that may come after all that begins with `inside/`
        going_on = False
        with _listing(folder):
            for entry in storage.scan_below(folder, start, end):
                if inside := _hidden_folder(entry.name):
                    yield entry.name, entry, "hidden"
                    start, going_on = entry.name, True
                    break
                yield entry.name, entry, _why_not(entry.name)


def _why_not(path: str) -> str | None:
    """Returns why a file in Cloud Storage is left out, whatever the pattern."""
    if storage.is_leftover(path):
        return "hidden"
    return None if os.path.normpath(path) == path and not path.startswith("/") else NO_PATH


def _hidden_folder(path: str) -> str | None:
    """Returns the outermost hidden folder that a path leads through."""
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
            f"can't list {folder} ({error.strerror}): mend or remove it, run again"
        ) from None


def _is_file(entry: os.DirEntry[str] | storage.Entry) -> bool:
    """Tells whether it's a file or a link to one; a link may lead nowhere, or to itself."""
    return entry.is_file(follow_symlinks=False) or (
        entry.is_symlink() and os.path.isfile(entry.path)
    )
