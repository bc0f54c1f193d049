"""Which split each review goes into, and what is wrong with texts that are in the input twice.

Texts are known by the hashes of their words, and only hashes and paths are grouped: the texts of a
dataset need not fit into memory. They are grouped in buckets of many hashes, since an element of
its own for each review would cost more than all the work on it.
"""

import collections
import dataclasses
import itertools
import operator
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import apache_beam as beam

from pipelines import sharding
from pipelines.preprocess import fingerprint, input_tree, split_assignment
from pipelines.preprocess.review_batches import Review
from pipelines.unfit_files import Finding, UnfitFiles, finding
from textrecords import spec, text_source
from textrecords.manifest import DataFlags, Fingerprint

REVIEWS_PER_BUCKET = 100_000
DIGESTED, AUDITED = "digested", "audited"  # outputs beside the reviews


@dataclasses.dataclass(frozen=True)
class Audited:
    """What was found in one or several buckets.

    Attributes:
      found: reviews, by split.
      distinct_texts: of these, by split.
      distinct_by_words: the same, but texts of the same words count as one.
      dropped_leaked: reviews left out since a later split has their words, by split.
      dropped_duplicates: reviews left out since their split has their words already, by split.
      findings: texts that stand in the input more than once.
    """

    found: collections.Counter[str]
    distinct_texts: collections.Counter[str]
    distinct_by_words: collections.Counter[str]
    dropped_leaked: collections.Counter[str]
    dropped_duplicates: collections.Counter[str]
    findings: list[Finding]

    def __add__(self, other: "Audited") -> "Audited":
        return Audited(
            *(getattr(self, f.name) + getattr(other, f.name) for f in dataclasses.fields(self))
        )


@dataclasses.dataclass(frozen=True)
class Digested:
    """One or several lists of files.

    Attributes:
      fingerprint: of the good ones.
      unfit: the others, and those in another encoding.
    """

    fingerprint: Fingerprint
    unfit: UnfitFiles

    def __add__(self, other: "Digested") -> "Digested":
        return Digested(self.fingerprint + other.fingerprint, self.unfit + other.unfit)


@dataclasses.dataclass(frozen=True)
class Assign:
    """Decides the split and shard of each review, and audits those that share a text.

    Attributes:
      num_shards: of each split.
      shares: of train, that become other splits.
      drop_leaked: keep texts of the same words only in the last split: test, else validation.
      drop_duplicates: keep texts of the same words only once a split, by the first of their keys.
    """

    num_shards: dict[str, int]
    shares: split_assignment.Shares
    drop_leaked: bool
    drop_duplicates: bool

    @classmethod
    def from_flags(cls, flags: DataFlags, examples: dict[str, dict[str, int]]) -> "Assign":
        """Returns what the flags ask for, where so many reviews are in each split and class."""
        shares = split_assignment.Shares.from_flags(flags)
        found = {split: sum(classes.values()) for split, classes in examples.items()}
        sizes = found | shares.sizes(found[spec.TRAIN])
        num_shards = {
            split: flags.num_shards or sharding.default_num_shards(sizes[split])
            for split in spec.SPLITS
            if split in sizes
        }
        return cls(num_shards, shares, flags.drop_leaked, flags.drop_duplicates)

    def class_texts(
        self, bucket: tuple[int, Iterable[list[Review]]]
    ) -> Iterator[tuple[tuple[int, str], list[split_assignment.Text]]]:
        """Yields the items of what `Shares.moves` takes, of the texts of a bucket."""
        texts = collections.defaultdict(list)
        for same_words in _by_words(bucket) if self.shares.wanted else ():
            found = self._by_split(same_words, {})
            labels = {review.label for review in same_words}
            is_own = len(labels) == 1 and len(found) == 1 and found.keys() <= {*self.shares.wanted}
            text = split_assignment.Text(not is_own, same_words[0].words_hash)
            for split, kept in self._keep(found).items():
                for label in {review.label for review in kept}:
                    texts[label, split].append(text)
        for place, of_class in texts.items():
            yield place, split_assignment.first([of_class])

    def place(
        self, bucket: tuple[int, Iterable[list[Review]]], moved: Mapping[bytes, str]
    ) -> Iterator[Any]:
        """Takes texts, and those that `Shares.moves` says have moved.

        Yields:
          (ShardId, list of Review) and, as `AUDITED`, an `Audited`.
        """
        audited = Audited(*(collections.Counter() for _ in range(5)), [])
        by_shard = collections.defaultdict(list)
        for same_words in _by_words(bucket):
            found = self._by_split(same_words, moved)
            kept = self._keep(found)
            _count(found, kept, audited)
            for split, reviews in kept.items():
                for review in reviews:
                    shard = sharding.shard_of(split, review.key, self.num_shards)
                    by_shard[shard].append(tuple(review))
        yield from by_shard.items()
        yield beam.pvalue.TaggedOutput(AUDITED, audited)

    def _by_split(
        self, same_words: list[Review], moved: Mapping[bytes, str]
    ) -> dict[str, list[Review]]:
        """Returns reviews of the same words by their split."""
        found: dict[str, list[Review]] = {}
        for review in same_words:
            split, _ = input_tree.origin(review.key)
            if split == spec.TRAIN:
                split = self.shares.split(review.words_hash, moved)
            found.setdefault(split, []).append(review)
        return found

    def _keep(self, found: dict[str, list[Review]]) -> dict[str, list[Review]]:
        """Returns, by split, which of the reviews of the same words stay."""
        last = max(found, key=spec.SPLITS.index)
        return {
            split: same[:1] if self.drop_duplicates else same
            for split, same in found.items()
            if split == last or not self.drop_leaked
        }


def _count(found: dict[str, list[Review]], kept: dict[str, list[Review]], audited: Audited) -> None:
    """Adds to `audited` what is true of reviews of the same words, given by split."""
    if sum(map(len, found.values())) > 1:
        audited.findings.extend(_findings(found))
    for split, same in found.items():
        audited.found[split] += len(same)
        audited.distinct_by_words[split] += 1
        audited.distinct_texts[split] += len({review.text_hash for review in same})
        if split in kept:
            audited.dropped_duplicates[split] += len(same) - len(kept[split])
        else:
            audited.dropped_leaked[split] += len(same)


def _by_words(bucket: tuple[int, Iterable[list[Review]]]) -> Iterator[list[Review]]:
    """Yields reviews of the same words, sorted by their keys."""
    reviews = map(Review._make, itertools.chain.from_iterable(bucket[1]))
    for _, same_words in itertools.groupby(sorted(reviews), operator.attrgetter("words_hash")):
        yield list(same_words)


def _findings(found: dict[str, list[Review]]) -> Iterator[Finding]:
    """Describes reviews of the same words, by split.

    `same_texts` is how many texts a finding is also true of if nothing but the very text counts.
    """
    for split, same in found.items():
        if len(same) > 1:
            keys = [review.key for review in same]
            yield finding("duplicate", keys, split=split, same_texts=_same_texts(same, keys))
    in_order = sorted((review, split) for split, same in found.items() for review in same)
    everywhere, splits = zip(*in_order, strict=True)
    keys, labels = ([getattr(each, name) for each in everywhere] for name in ("key", "label"))
    if len(found) > 1:
        named = sorted(found, key=spec.SPLITS.index)
        yield finding("leak", keys, splits=named, same_texts=_same_texts(everywhere, splits))
    if len({*labels}) > 1:
        yield finding("contrary labels", keys, same_texts=_same_texts(everywhere, labels))


def _same_texts(reviews: Iterable[Review], places: Iterable[Any]) -> int:
    """Returns how many texts are in two places or more."""
    found = {(review.text_hash, place) for review, place in zip(reviews, places, strict=True)}
    counts = collections.Counter(text_hash for text_hash, _ in found)
    return sum(count > 1 for count in counts.values())


def digest(
    files: list[tuple[bytes, int]], source: text_source.Source, num_buckets: int
) -> Iterator[Any]:
    """Reads files, given as (key, label).

    Yields:
      (bucket, list of Review) of those that can be read and, as `DIGESTED`, a `Digested`.
    """
    labels = dict(files)
    bad: dict[bytes, str] = {}
    misread: dict[bytes, str] = {}
    by_bucket = collections.defaultdict(list)

    def good() -> Iterator[tuple[bytes, bytes]]:
        for key, content in source.read_good(labels, bad):
            text = source.to_text(key, content, misread)
            review = Review.of(key, labels[key], text)
            bucket = int.from_bytes(review.words_hash[:6], "big") % num_buckets
            by_bucket[bucket].append(tuple(review))
            yield key, content

    read = fingerprint.fingerprint(good())
    text_source.SEEN["read"] += len(files)
    yield from by_bucket.items()
    digested = Digested(read, UnfitFiles.of(bad, misread))
    yield beam.pvalue.TaggedOutput(DIGESTED, digested)


def num_buckets(num_reviews: int) -> int:
    """Returns into how many buckets so many reviews are grouped."""
    return -(-num_reviews // REVIEWS_PER_BUCKET)
