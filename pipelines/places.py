"""The places of an input: folders of files of the same kind, and how they are listed.

An input is listed place by place, by all workers. A place in Cloud Storage with many files is split
after some of them are listed.
"""

import collections
import dataclasses
import hashlib
import itertools
import os
import pathlib
import string
from collections.abc import Iterable, Iterator, Mapping

import more_itertools

from pipelines import sharding
from textrecords import spec, storage, text_source
from textrecords.manifest import Fingerprint
from textrecords.text_source import Unread

NO_FILES = Fingerprint.of(())
LISTED_TOGETHER = (
    2_000  # files per element: one element per path would cost more than reading the file
)


@dataclasses.dataclass(frozen=True)
class Place:
    """A folder of the input, or a range of the paths in it.

    Attributes:
      folder: its path below the input.
      label: the class of its reviews, or None if they are skipped.
      split: the position of their split in `spec.ALL_SPLITS`.
      why: the reason if they are skipped.
      start: the path below the folder where the range starts; "" for the first of all.
      end: the path where it ends, exclusive; "" for no end.
      after_start: whether `start` itself is already listed.
    """

    folder: str
    label: str | None = None
    split: int = 0
    why: str = ""
    start: str = ""
    end: str = ""
    after_start: bool = False

    def list_files(
        self, source: text_source.Source, limit: int | None = None
    ) -> Iterator["list[Unread] | Listed | Place"]:
        """Yields lists of reviews, a summary of each, and the remaining places.

        Args:
          source: the input.
          limit: in Cloud Storage, the number of files to list before the rest is left to other
            workers.

        Raises:
          Failure: if a folder can't be listed.
        """
        yield Listed()
        looked_at, key = 0, b""
        found = itertools.islice(self._walk(source), limit)
        for chunk in more_itertools.chunked(found, LISTED_TOGETHER):
            looked_at, (key, *_) = looked_at + len(chunk), chunk[-1]
            if self.label is None:
                yield Listed(skipped=collections.Counter({self.why: len(chunk)}))
                continue
            reviews = [(key, entry) for key, entry, why in chunk if why is None]
            skipped = collections.Counter(why for _, _, why in chunk if why is not None)
            yield Listed.of(self.split, self.label, reviews) + Listed(skipped=skipped)
            if reviews:
                yield [(key, self.label, self.split, b"", "") for key, _ in reviews]
        if looked_at == limit:
            yield from self._after(os.fsdecode(key).removeprefix(f"{self.folder}/"))

    def _walk(self, source: text_source.Source) -> Iterator[text_source.Found]:
        found = source.walk(self.folder, self.start, self.end)
        if not self.after_start:
            return found
        start = text_source.key_of(self.folder, self.start)
        return (each for each in found if each[0] != start)

    def _after(self, path: str) -> Iterator["Place"]:
        """Yields the places that make up the rest of this one, after a path.

        They end where one character of the path would be another letter or digit of its kind, so
        that numbered names, with or without leading zeros, fall into several places.
        """
        name = path.rpartition(".")[0] or path
        bounds = {
            name[:place] + chr(other)
            for place, character in enumerate(name)
            for kind in (string.digits, string.ascii_lowercase, string.ascii_uppercase)
            if character in kind
            for other in range(ord(character) + 1, ord(kind[-1]) + 2)
        }
        inside = sorted(b for b in bounds if not self.end or b < self.end)
        for start, end in itertools.pairwise([path, *inside, self.end]):
            yield dataclasses.replace(self, start=start, end=end, after_start=start == path)


@dataclasses.dataclass(frozen=True)
class Listed:
    """A summary of one or several places.

    Attributes:
      reviews: their number by split and class, as in `train/pos`.
      skipped: the number of skipped files by reason.
      files: the fingerprint of the reviews by path, size and version, before any was read.
      keys: of the reviews, in a pipeline (`list_files.list_place`).
    """

    reviews: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    skipped: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    files: Fingerprint = NO_FILES
    keys: sharding.Keys = sharding.NO_KEYS

    @classmethod
    def of(
        cls, split: int, label: str, reviews: list[tuple[bytes, os.DirEntry[str] | storage.Entry]]
    ) -> "Listed":
        """Describes reviews of one split and class, given by key and entry."""
        files = Fingerprint.of(size_and_digest(key, entry) for key, entry in reviews)
        number = collections.Counter({split_and_class(split, label): len(reviews)})
        return cls(number, files=files)

    def __add__(self, other: "Listed") -> "Listed":
        return Listed(
            *(getattr(self, f.name) + getattr(other, f.name) for f in dataclasses.fields(self))
        )

    def sizes(self, examples: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
        """Returns the number of reviews of each split, given those of each of its classes."""
        sizes = {split: sum(found.values()) for split, found in examples.items()}
        unlabelled = self.reviews[f"{spec.UNLABELLED}/"]
        return sizes | ({spec.UNLABELLED: unlabelled} if unlabelled else {})

    @property
    def num_reviews(self) -> int:
        return self.reviews.total()


def split_and_class(split: int, label: str) -> str:
    """Returns the key in `Listed.reviews` of a split, given by position, and a class."""
    return f"{spec.ALL_SPLITS[split]}/{label}"


def size_and_digest(
    key: bytes, entry: os.DirEntry[str] | pathlib.Path | storage.Entry
) -> tuple[int, bytes]:
    """Returns the size of a file, and a digest of its path, size and version."""
    try:
        size, version = storage.size_and_version(entry)
    except OSError:  # it no longer exists: it is only counted
        return 0, b""
    line = b"%d:%b%d:%d" % (len(key), key, size, version)
    return size, hashlib.sha256(line).digest()


def list_here(
    places: Iterable[Place], source: text_source.Source, enough: int | None = None
) -> Listed:
    """Lists places in this process; stops once `enough` reviews are found."""
    total = Listed()
    for part in found_here(places, source):
        if isinstance(part, Listed):
            total += part
        if enough is not None and total.num_reviews >= enough:
            break
    return total


def found_here(
    places: Iterable[Place], source: text_source.Source
) -> Iterator[list[Unread] | Listed]:
    """Yields what places list in this process."""
    for place in places:
        for found in place.list_files(source):
            yield seen(found) if isinstance(found, Listed) else found


def seen(listed: Listed) -> Listed:
    """Counts what was listed for progress bars, and returns what it gets."""
    text_source.SEEN["listed"] += listed.num_reviews
    return listed
