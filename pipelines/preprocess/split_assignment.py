"""Assigns texts to splits by shares given as flags, where no folder determines the split.

The assignment depends only on the texts and their classes, not on their location, order or engine.
"""

import collections
import dataclasses
import heapq
import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from textrecords import spec
from textrecords.errors import BadInput
from textrecords.manifest import DataFlags

KEPT = len(spec.SPLITS)  # enough texts for one to move to each split, and one to stay


class Text(NamedTuple):
    """A text of a class, assigned to a split by its hash.

    Attributes:
      is_fixed: whether it can't move to another split, since other classes or another split's
        folder also have its words. Texts that can move sort first.
      words_hash: of the text's words.
    """

    is_fixed: bool
    words_hash: bytes


# By the label of a class and the split: the first `KEPT` of its texts.
ClassTexts = Mapping[tuple[int, str], Sequence[Text]]


@dataclasses.dataclass(frozen=True)
class Shares:
    """The shares of train that become the other splits.

    Texts with the same words are assigned to the same split, so that duplicates never straddle two
    splits. The hash of a text, as a number, determines its split, so that with many texts a share
    is met up to chance.

    With few texts, chance might leave a split without a class. What is guaranteed depends on the
    number of texts that are unique to a class, with words that are in no other class or other
    split's folder: with one, the class is in train; with two, also in test (in validation, if test
    gets no share); with three, in all splits. Where a split would lack a class, the unique text
    with the smallest hash moves there, from the split that has most of them; all others stay.

    Attributes:
      validation: the share of validation, among all texts that are in no other split's folder.
      test: the share of test.
    """

    validation: float = 0.0
    test: float = 0.0

    @classmethod
    def from_flags(cls, flags: DataFlags) -> "Shares":
        """Returns the shares of the flags; raises `BadInput` if they leave nothing for train."""
        if flags.test + flags.validation >= 1:
            raise BadInput(
                f"--test {flags.test} and --validation {flags.validation} leave nothing for train: "
                "give less"
            )
        return cls(flags.validation, flags.test)

    def sizes(self, number: int) -> dict[str, int]:
        """Returns approximately how many of `number` reviews are in each split."""
        sizes = {
            split: round(share * number)
            for split, share in ((spec.VALIDATION, self.validation), (spec.TEST, self.test))
            if share
        }
        return {spec.TRAIN: number - sum(sizes.values()), **sizes}

    @property
    def wanted(self) -> tuple[str, ...]:
        """The splits to assign texts to, in order of priority for few texts; or none."""
        shares = {spec.TEST: self.test, spec.VALIDATION: self.validation}
        others = [split for split, share in shares.items() if share]
        return (spec.TRAIN, *others) if others else ()

    def moves(self, texts: ClassTexts) -> dict[bytes, str]:
        """Returns the new splits of the texts that move, by hash: at most two per class."""
        by_class = collections.defaultdict(dict)
        for (label, split), of_class in texts.items():
            by_class[label][split] = list(of_class)
        moved = {}
        for found in by_class.values():
            moved |= _moves({split: found.get(split, []) for split in self.wanted})
        return moved

    def split(self, words_hash: bytes, moved: Mapping[bytes, str]) -> str:
        """Returns the split of all texts with the same words, after those of `moves` have moved."""
        if not (self.validation or self.test):  # the usual case
            return spec.TRAIN
        return moved.get(words_hash) or self.split_by_hash(words_hash)

    def split_by_hash(self, words_hash: bytes) -> str:
        """Returns the split according to the hash alone."""
        fraction = _fraction(words_hash)
        if fraction < self.validation:
            return spec.VALIDATION
        return spec.TEST if fraction >= 1 - self.test else spec.TRAIN


def _fraction(words_hash: bytes) -> float:
    """Returns a number in [0, 1) that depends on the words."""
    return int.from_bytes(words_hash[-6:], "big") / 2**48  # exact: a float holds 53 bits


def first(lists: Iterable[Sequence[Text]]) -> list[Text]:
    """Returns the first `KEPT` of several lists of different texts, in order."""
    return heapq.nsmallest(KEPT, itertools.chain.from_iterable(lists))


def _moves(found: dict[str, list[Text]]) -> dict[bytes, str]:
    """Returns what has to move for a class to be in as many splits as its texts suffice for.

    Args:
      found: the first texts of each split, from which those that move are taken; the splits are in
        the order of `Shares.wanted`.
    """
    moved = {}
    for rank, split in enumerate(found):
        # A split's only text may only move to a split of higher priority.
        givers = [
            name
            for other, name in enumerate(found)
            if any(not text.is_fixed for text in found[name])
            and (other > rank or len(found[name]) > 1)
        ]
        if not found[split] and givers:
            giver = max(reversed(givers), key=lambda name: len(found[name]))
            text = found[giver].pop(0)
            found[split].append(text)
            moved[text.words_hash] = split
    return moved
