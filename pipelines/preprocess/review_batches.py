"""Reads reviews from their files, in batches."""

import codecs
import itertools
import operator
import os
import re
import string
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import more_itertools

from textrecords import text_source
from textrecords.errors import Failure
from textrecords.text_source import Unread

BATCH_SIZE = 1024  # reviews: with more, TensorFlow takes longer to find the distinct words of each
BATCH_BYTES = 10_000_000  # of text: a batch of large files ends earlier, to fit in memory

# To lower case, and spaces of any kind to one.
_LOWER = bytes(range(256)).lower().translate(bytes.maketrans(b"\t\n\v\f\r", b" " * 5))
_PUNCTUATION = string.punctuation.encode()
_SPACES = re.compile(rb"  +")  # unlike " {2,}", it has a prefix that Python searches for


class Review(NamedTuple):
    """A review, without its text. Between stages it is a plain tuple, which Beam encodes faster.

    Attributes:
      words_hash: of the text's words; comes first, so that reviews sort by it, then by key.
      key: path of its file below the input folder, or the key of its row.
      label: position of its class.
      size: bytes of the text.
      text_hash: of the whole text.
      seems_in: the encoding that its file seems to be in instead, if any; the text doesn't show
        what had to be replaced.
      split: the position of its listed split in `spec.ALL_SPLITS`.
      where: as in `text_source.Unread`.
    """

    words_hash: bytes
    key: bytes
    label: int
    size: int
    text_hash: bytes
    seems_in: str | None
    split: int
    where: bytes

    @classmethod
    def of(cls, listed: Unread, label: int, text: bytes, seems_in: str | None = None) -> "Review":
        """Returns the review of a text that was listed so."""
        words_hash = text_source.text_hash(words(text) or text)
        text_hash = text_source.text_hash(text)
        more = seems_in, listed.split, listed.where
        return cls(words_hash, listed.key, label, len(text), text_hash, *more)

    @property
    def unread(self) -> Unread:
        """What is needed to read it."""
        return Unread(self.key, where=self.where)


_SIZE = operator.itemgetter(Review._fields.index("size"))


class Batch(NamedTuple):
    """Reviews with their texts.

    Attributes:
      texts: valid UTF-8.
      labels: positions of their classes.
      keys: of their records.
      misread: the encodings that files seem to be in instead of the given one, by key.
    """

    texts: list[bytes]
    labels: list[int]
    keys: list[bytes]
    misread: dict[bytes, str]


def words(text: bytes) -> bytes:
    """Returns the tokens of a text, valid UTF-8, with all flags' defaults, joined by spaces.

    Equals `transform.Tokenizer` in a tenth of the time, for texts that are only compared.
    """
    text = text.removeprefix(codecs.BOM_UTF8).replace(b"<br />", b" ")
    text = text.translate(_LOWER, _PUNCTUATION)
    return _SPACES.sub(b" ", text).strip(b" ")  # faster than splitting and joining


def join(lists: Iterable[list[Review]]) -> Iterator[Review]:
    """Yields the reviews of lists of plain tuples, as they pass between stages."""
    return map(Review._make, itertools.chain.from_iterable(lists))


def split(
    reviews: Iterable[Review], max_reviews: int, max_bytes: int
) -> Iterator[tuple[Review, ...]]:
    """Splits reviews, or plain tuples, by their number and their bytes; a larger one is alone."""
    return more_itertools.constrained_batches(
        reviews, max_bytes, max_reviews, get_len=_SIZE, strict=False
    )


def read_batches(source: text_source.Source, reviews: Iterable[Review]) -> Iterator[Batch]:
    """Yields what `read_batch` returns for each batch of reviews."""
    return (read_batch(source, batch) for batch in split(reviews, BATCH_SIZE, BATCH_BYTES))


def read_batch(source: text_source.Source, reviews: Sequence[Review]) -> Batch:
    """Reads reviews, in order; raises `Failure` if a text isn't the one that was hashed."""
    contents = source.read(review.unread for review in reviews)
    texts = [
        _text(source, review, content) for review, content in zip(reviews, contents, strict=True)
    ]
    return Batch(
        texts,
        labels=[review.label for review in reviews],
        keys=[review.key for review in reviews],
        misread={review.key: review.seems_in for review in reviews if review.seems_in},
    )


def _text(source: text_source.Source, review: Review, content: bytes) -> bytes:
    text, _ = source.decode(content)
    if text_source.text_hash(text) != review.text_hash:
        path = os.fsdecode(source.path(review.key))
        raise Failure(f"{path} changed while it was being read: run again")
    return text
