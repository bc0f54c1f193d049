"""Assigns reviews to splits, and audits texts that occur more than once.

Texts are identified by the hashes of their words, and only hashes and paths are grouped: the texts
of a dataset don't have to fit in memory. They are grouped in buckets of many hashes, since one
element per review would cost more than all the work on it.
"""

import collections
import dataclasses
import heapq
import itertools
import operator
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.metrics import Metrics

from pipelines import sharding
from pipelines.findings import Finding, finding, on_bad_files, tag_findings
from pipelines.places import Listed
from pipelines.preprocess import fingerprint, review_batches, split_assignment
from pipelines.preprocess.review_batches import Review
from pipelines.unfit_files import UnfitFiles
from textrecords import spec, text_source
from textrecords.manifest import DataFlags, Fingerprint
from textrecords.text_source import Unread

REVIEWS_PER_BUCKET = 100_000
MAX_HELD = 200_000  # reviews, so that elements are large even with many buckets
MAX_NAMED = 100  # reviews of a finding: a text may occur a million times
# A leaked text is kept in the last of its splits, where it would be evaluated.
_BY_LEAK = (spec.UNLABELLED, *spec.SPLITS)
DIGESTED, AUDITED = "digested", "audited"  # additional outputs
_WORDS_HASH = operator.itemgetter(Review._fields.index("words_hash"))  # also of a plain tuple
FILES, BAD_FILES, BYTES = (
    Metrics.counter("textrecords", name) for name in ("files_read", "bad_files", "bytes_read")
)
Bucket = tuple[int, Iterable[list[Review]]]


@dataclasses.dataclass(slots=True)
class Copies:
    """Reviews with the same text, class and split folder.

    Attributes:
      number: of the reviews.
      keys: of the reviews; if there are many, at least the first of them in order.
    """

    number: int
    keys: list[bytes]

    def add(self, key: bytes) -> None:
        self.number += 1
        self.keys.append(key)
        if len(self.keys) > 2 * MAX_NAMED:
            self.keys = heapq.nsmallest(MAX_NAMED, self.keys)


class Same(NamedTuple):
    """Copies of one text."""

    text_hash: bytes
    label: int
    copies: Copies


# Reviews with the same words, by split.
SameWords = dict[str, list[Same]]


@dataclasses.dataclass(frozen=True)
class Audited:
    """The results of one or several buckets.

    Attributes:
      found: number of reviews, by split.
      distinct_texts: number of distinct texts among these, by split.
      distinct_by_words: the same, counting texts with the same words as one.
      dropped_leaked: reviews dropped because a later split has their words, by split.
      dropped_duplicates: reviews dropped because their split already has their words, by split.
      findings: number of findings on texts with the same words, by kind.
      same_texts: number of texts for which the finding also holds if only equal texts count.
      dropped: the keys of the dropped reviews.
    """

    found: collections.Counter[str]
    distinct_texts: collections.Counter[str]
    distinct_by_words: collections.Counter[str]
    dropped_leaked: collections.Counter[str]
    dropped_duplicates: collections.Counter[str]
    findings: collections.Counter[str]
    same_texts: collections.Counter[str]
    dropped: sharding.Keys

    def __add__(self, other: "Audited") -> "Audited":
        return Audited(
            *(getattr(self, f.name) + getattr(other, f.name) for f in dataclasses.fields(self))
        )


@dataclasses.dataclass(frozen=True)
class Digested:
    """The results of reading one or several lists of files.

    Attributes:
      fingerprint: of the files that could be read.
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
      shares: of train that become other splits.
      drop_leaked: keep texts with the same words only in the last split: test, else validation,
        else train.
      drop_duplicates: keep texts with the same words only once per split, with the first key.
    """

    shares: split_assignment.Shares
    drop_leaked: bool
    drop_duplicates: bool

    @classmethod
    def from_flags(cls, flags: DataFlags) -> "Assign":
        """Returns the assignment for the flags."""
        shares = split_assignment.Shares.from_flags(flags)
        return cls(shares, flags.drop_leaked, flags.drop_duplicates)

    def class_texts(
        self, bucket: Bucket
    ) -> Iterator[tuple[tuple[int, str], list[split_assignment.Text]]]:
        """Yields the texts of a bucket as items of the mapping that `Shares.moves` takes."""
        texts = collections.defaultdict(list)
        for words_hash, found in self._by_words(_reviews(bucket), {}) if self.shares.wanted else ():
            found.pop(spec.UNLABELLED, None)
            labels = {same.label for every in found.values() for same in every}
            is_own = len(labels) == len(found) == 1 and {*self.shares.wanted}.issuperset(found)
            text = split_assignment.Text(not is_own, words_hash)
            for split in self._kept(found) if found else ():
                first = min(found[split], key=_first_key)
                kept = [first] if self.drop_duplicates else found[split]
                for label in {same.label for same in kept}:
                    texts[label, split].append(text)
        for place, of_class in texts.items():
            yield place, split_assignment.first([of_class])

    def place(
        self, bucket: Bucket, moved: Mapping[bytes, str], num_shards: dict[str, int]
    ) -> Iterator[Any]:
        """Assigns the reviews of a bucket to shards.

        Iterates over the reviews three times: for a text, however often it occurs, only counts and
        the first keys are in memory. Only texts that occur several times are compared.

        Args:
          bucket: the reviews.
          moved: the texts that `Shares.moves` returned.
          num_shards: of each split.

        Yields:
          (ShardId, list of Review); as `FINDINGS`, lists of `Line`; as `AUDITED`, an `Audited`.
        """
        counted = Audited(*(collections.Counter() for _ in range(7)), sharding.NO_KEYS)
        stay = {}
        findings = []
        several = review_batches.join(_same_words(bucket))
        for words_hash, found in self._by_words(several, moved):
            kept = self._kept(found)
            # The key of the review that stays in a split, or None if all do.
            stay[words_hash] = {
                split: min(map(_first_key, found[split])) if self.drop_duplicates else None
                for split in kept
            }
            findings += self._count(found, kept, counted)
        yield tag_findings(findings)
        by_shard = collections.defaultdict(list)
        unique = collections.Counter()
        dropped = counted.dropped
        for review in _reviews(bucket):
            split = self._split(review, moved)
            kept = stay.get(review.words_hash)
            if kept is None:
                unique[split] += 1
            elif split not in kept or kept[split] not in (None, review.key):
                dropped += sharding.Keys.of([review.key])
                continue
            shard = sharding.shard_of(split, review.key, num_shards)
            by_shard[shard].append(tuple(review))
            if len(by_shard[shard]) == review_batches.BATCH_SIZE:
                yield shard, by_shard.pop(shard)
        yield from by_shard.items()
        for counts in (counted.found, counted.distinct_texts, counted.distinct_by_words):
            counts.update(unique)
        yield beam.pvalue.TaggedOutput(AUDITED, dataclasses.replace(counted, dropped=dropped))

    def _split(self, review: Review, moved: Mapping[bytes, str]) -> str:
        """Returns the split of a review."""
        split = spec.ALL_SPLITS[review.split]
        return self.shares.split(review.words_hash, moved) if split == spec.TRAIN else split

    def _by_words(
        self, reviews: Iterable[Review], moved: Mapping[bytes, str]
    ) -> Iterator[tuple[bytes, SameWords]]:
        """Yields each hash of words with the reviews that have them."""
        copies: dict[bytes, dict[tuple[int, bytes, int], Copies]] = {}
        for review in reviews:
            same_words = copies.setdefault(review.words_hash, {})
            same = review.split, review.text_hash, review.label
            if same in same_words:
                same_words[same].add(review.key)
            else:
                same_words[same] = Copies(1, [review.key])
        while copies:  # frees memory on the way
            words_hash, same_words = copies.popitem()
            found = collections.defaultdict(list)
            for (place, text_hash, label), same in same_words.items():
                split = spec.ALL_SPLITS[place]
                if split == spec.TRAIN:
                    split = self.shares.split(words_hash, moved)
                found[split].append(Same(text_hash, label, same))
            yield words_hash, found

    def _kept(self, found: SameWords) -> set[str]:
        """Returns the splits in which reviews with the same words stay."""
        return {max(found, key=_BY_LEAK.index)} if self.drop_leaked else {*found}

    def _count(self, found: SameWords, kept: set[str], counted: Audited) -> list[Finding]:
        """Adds reviews with the same words to `counted`; returns the findings."""
        for split, every in found.items():
            number = _number(every)
            counted.found[split] += number
            counted.distinct_by_words[split] += 1
            counted.distinct_texts[split] += len({same.text_hash for same in every})
            if split not in kept:
                counted.dropped_leaked[split] += number
            elif self.drop_duplicates:
                counted.dropped_duplicates[split] += number - 1
        findings = list(_findings(found))
        for each in findings:
            counted.findings[each["finding"]] += 1
            counted.same_texts[each["finding"]] += each["same_texts"]
        return findings


def _reviews(bucket: Bucket) -> Iterator[Review]:
    return review_batches.join(bucket[1])


def _same_words(bucket: Bucket) -> Iterator[list[Review]]:
    """Yields, for each list of a bucket, the reviews with the words of another review."""
    lists = bucket[1]
    numbers = collections.Counter(map(_WORDS_HASH, itertools.chain.from_iterable(lists)))
    for reviews in lists:
        yield [review for review in reviews if numbers[_WORDS_HASH(review)] > 1]


def _first_key(same: Same) -> bytes:
    return min(same.copies.keys)


def _number(every: Iterable[Same]) -> int:
    return sum(same.copies.number for same in every)


def _findings(found: SameWords) -> Iterator[Finding]:
    """Yields findings on reviews with the same words.

    `same_texts` is the number of texts for which a finding also holds if only equal texts count.
    """
    everywhere = [same for every in found.values() for same in every]
    for split, every in found.items():
        if _number(every) > 1:
            numbers = collections.Counter()
            for same in every:
                numbers[same.text_hash] += same.copies.number
            same_texts = sum(number > 1 for number in numbers.values())
            yield _finding("duplicate", every, split=split, same_texts=same_texts)
    if len(found) > 1 and found.keys() != {spec.UNLABELLED, spec.TRAIN}:
        splits = [(same.text_hash, split) for split, every in found.items() for same in every]
        named = sorted(found, key=_BY_LEAK.index)
        yield _finding("leak", everywhere, splits=named, same_texts=_in_several(splits))
    labels = [(s.text_hash, s.label) for s in everywhere if s.label != spec.UNKNOWN_LABEL]
    if len({label for _, label in labels}) > 1:
        yield _finding("conflicting labels", everywhere, same_texts=_in_several(labels))


def _in_several(places: Iterable[tuple[bytes, Any]]) -> int:
    """Returns how many texts are in two or more places."""
    counts = collections.Counter(text_hash for text_hash, _ in set(places))
    return sum(count > 1 for count in counts.values())


def _finding(what: str, every: list[Same], **more: Any) -> Finding:
    """Returns a finding on reviews, which names the first of them."""
    keys = sorted(itertools.chain.from_iterable(same.copies.keys for same in every))[:MAX_NAMED]
    unnamed = _number(every) - len(keys)
    return finding(what, keys, **more, **({"unnamed": unnamed} if unnamed else {}))


def digest(
    found: list[Unread], source: text_source.Source, listed: Listed, classes: tuple[str, ...]
) -> Iterator[Any]:
    """Reads reviews.

    Args:
      found: the reviews.
      source: of the reviews.
      listed: the summary of the whole input.
      classes: of the dataset.

    Yields:
      (bucket, list of Review) of those that can be read; as `FINDINGS`, a list of those that can't;
      as `DIGESTED`, a `Digested`.
    """
    labels = {name: label for label, name in enumerate(classes)} | {"": spec.UNKNOWN_LABEL}
    buckets = num_buckets(listed.num_reviews)
    bad: dict[bytes, str] = {}
    misread: dict[bytes, str] = {}
    by_bucket = collections.defaultdict(list)

    def good() -> Iterator[tuple[Unread, bytes]]:
        for unread, content in source.read_good(map(Unread._make, found), bad):
            text = source.to_text(unread.key, content, misread)
            seems_in = misread.get(unread.key)
            review = Review.of(unread, labels[unread.label], text, seems_in)
            bucket = int.from_bytes(review.words_hash[:6], "big") % buckets
            by_bucket[bucket].append(tuple(review))
            yield unread, content

    read = fingerprint.fingerprint(source, good())
    yield from by_bucket.items()
    if bad:
        yield tag_findings(on_bad_files(bad))
    yield beam.pvalue.TaggedOutput(DIGESTED, Digested(read, UnfitFiles.of(bad, misread)))


def count(digested: Digested) -> Digested:
    """Counts files for metrics and progress bars, and returns what it gets."""
    read, bad = digested.fingerprint, digested.unfit.num_bad
    text_source.SEEN["read"] += read.files + bad
    FILES.inc(read.files + bad)
    BAD_FILES.inc(bad)
    BYTES.inc(read.bytes)
    return digested


def num_buckets(num_reviews: int) -> int:
    """Returns the number of buckets for `num_reviews` reviews."""
    return -(-num_reviews // REVIEWS_PER_BUCKET)
