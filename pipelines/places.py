"""The places of an input: folders whose files are alike, and how they are listed.

An input is looked through place by place, by as many workers as there are. A place in Cloud Storage
that holds many files is split once some of them are listed.
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
LISTED_TOGETHER = 2_000  # files an element: a path of its own costs more than the file's reading


@dataclasses.dataclass(frozen=True)
class Place:
    """A folder of the input, or a range of the paths in it.

    Attributes:
      folder: its path below the input.
      label: the class of its reviews, or None if they are left out.
      split: the position of theirs in `spec.ALL_SPLITS`.
      why: they are left out, if they are.
      start: the first path below the folder that may be in the range; "" for the first of all.
      end: the first one after it; "" if there is none.
      after_start: whether `start` itself is listed already.
    """

    folder: str
    label: str | None = None
    split: int = 0
    why: str = ""
    start: str = ""
    end: str = ""
    after_start: bool = False

    def list_files(
        self, source: text_source.Source, most: int | None = None
    ) -> Iterator["list[Unread] | Listed | Place"]:
        """Yields lists of reviews, what is true of each, and the places that remain.

        Args:
          source: the input.
          most: how many files to list, in Cloud Storage, before the rest is left to other workers.

        Raises:
          Failure: if a folder can't be listed.
        """
        yield Listed()
        looked_at, key = 0, b""
        found = itertools.islice(self._walk(source), most)
        for chunk in more_itertools.chunked(found, LISTED_TOGETHER):
            looked_at, (key, *_) = looked_at + len(chunk), chunk[-1]
            if self.label is None:
                yield Listed(skipped=collections.Counter({self.why: len(chunk)}))
                continue
            reviews = [(key, entry) for key, entry, why in chunk if why is None]
            skipped = collections.Counter(why for _, _, why in chunk if why is not None)
            text_source.SEEN["listed"] += len(reviews)
            yield Listed.of(self.split, self.label, reviews) + Listed(skipped=skipped)
            if reviews:
                yield [(key, self.label, self.split, b"", "") for key, _ in reviews]
        if looked_at == most:
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
        that names that count, with or without leading zeros, fall into several places.
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
    """What was found in one or several places.

    Attributes:
      reviews: how many there are, by split and class, as in `train/pos`.
      skipped: why files are left out, and how many.
      files: the fingerprint of the reviews by path, size and version, from before any was read.
      keys: of the reviews.
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
        keys = sharding.Keys.of([key for key, _ in reviews])
        number = collections.Counter({split_and_class(split, label): len(reviews)})
        return cls(number, files=files, keys=keys)

    def __add__(self, other: "Listed") -> "Listed":
        return Listed(
            *(getattr(self, f.name) + getattr(other, f.name) for f in dataclasses.fields(self))
        )

    def sizes(self, examples: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
        """Returns how many reviews of each split there are, given those of each of its classes."""
        sizes = {split: sum(found.values()) for split, found in examples.items()}
        unlabelled = self.reviews[f"{spec.UNLABELLED}/"]
        return sizes | ({spec.UNLABELLED: unlabelled} if unlabelled else {})

    @property
    def num_reviews(self) -> int:
        return self.reviews.total()


def split_and_class(split: int, label: str) -> str:
    """Returns what `Listed.reviews` has for a split, by its position, and a class."""
    return f"{spec.ALL_SPLITS[split]}/{label}"


def size_and_digest(
    key: bytes, entry: os.DirEntry[str] | pathlib.Path | storage.Entry
) -> tuple[int, bytes]:
    """Returns the size of a file, and a digest of its path, size and version."""
    try:
        size, version = storage.size_and_version(entry)
    except OSError:  # it has gone since: it is only counted
        return 0, b""
    line = b"%d:%b%d:%d" % (len(key), key, size, version)
    return size, hashlib.sha256(line).digest()


def list_here(
    places: Iterable[Place], source: text_source.Source, enough: int | None = None
) -> Listed:
    """Returns what is in places, as this process finds it; or in some, if that is `enough`."""
    found = itertools.chain.from_iterable(place.list_files(source) for place in places)
    total = Listed()
    for part in found:
        if isinstance(part, Listed):
            total += part
        if enough is not None and total.num_reviews >= enough:
            break
    return total
