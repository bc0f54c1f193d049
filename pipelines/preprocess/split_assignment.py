"""Which split a text goes into where a flag says how many go there, and no folder says which.

It follows from the texts and their classes alone, so it's the same wherever they lie, and in
whatever order and by whatever engine they are read.
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

KEPT = len(spec.SPLITS)  # so many texts that one can move to each split, and one stay


class Text(NamedTuple):
    """A text of a class, where a split has it by its hash.

    Attributes:
      is_fixed: whether it can't move to another split, since other classes or the folder of another
        split have its words, too. Those that can come first.
      words_hash: by which texts of the same words are known.
    """

    is_fixed: bool
    words_hash: bytes


# By the label of a class and the split: the first `KEPT` of its texts.
ClassTexts = Mapping[tuple[int, str], Sequence[Text]]


@dataclasses.dataclass(frozen=True)
class Shares:
    """Which shares of train become the other splits.

    Texts of the same words go the same way, so that duplicates never straddle two splits. A text
    goes by its hash, taken for a number, so that of many texts a share is met but for chance.

    Of few texts, chance might leave a split without a class. What is guaranteed depends on how many
    texts are a class's own, with words that are in no other class nor another split's folder: with
    one, the class is in train; with two, in test, too (in validation, if test gets no share); with
    three, in all splits. Where a split would lack a class, the text of its own with the least hash
    moves there, from the split that has most of it; all others stay.

    Attributes:
      validation: the share of validation, of all texts that are in no other split's folder.
      test: that of test.
    """

    validation: float = 0.0
    test: float = 0.0

    @classmethod
    def from_flags(cls, flags: DataFlags) -> "Shares":
        """Returns what the flags ask for; raises `BadInput` if they leave nothing for train."""
        if flags.test + flags.validation >= 1:
            raise BadInput(
                f"--test {flags.test} and --validation {flags.validation} leave nothing for train: "
                "give less"
            )
        return cls(flags.validation, flags.test)

    def sizes(self, number: int) -> dict[str, int]:
        """Returns about how many of so many reviews go into each split."""
        sizes = {
            split: round(share * number)
            for split, share in ((spec.VALIDATION, self.validation), (spec.TEST, self.test))
            if share
        }
        return {spec.TRAIN: number - sum(sizes.values()), **sizes}

    @property
    def wanted(self) -> tuple[str, ...]:
        """The splits to share texts out to, those first that few texts should go to; or none."""
        shares = {spec.TEST: self.test, spec.VALIDATION: self.validation}
        others = [split for split, share in shares.items() if share]
        return (spec.TRAIN, *others) if others else ()

    def moves(self, texts: ClassTexts) -> dict[bytes, str]:
        """Returns the splits of the texts, by their hashes, that move: at most two of a class."""
        by_class = collections.defaultdict(dict)
        for (label, split), of_class in texts.items():
            by_class[label][split] = list(of_class)
        moved = {}
        for found in by_class.values():
            moved |= _moves({split: found.get(split, []) for split in self.wanted})
        return moved

    def split(self, words_hash: bytes, moved: Mapping[bytes, str]) -> str:
        """Returns the split of all texts of the same words, where those of `moves` have moved."""
        return moved.get(words_hash) or self.split_by_hash(words_hash)

    def split_by_hash(self, words_hash: bytes) -> str:
        """Returns the split that the hash alone gives."""
        fraction = _fraction(words_hash)
        if fraction < self.validation:
            return spec.VALIDATION
        return spec.TEST if fraction >= 1 - self.test else spec.TRAIN


def _fraction(words_hash: bytes) -> float:
    """Returns a number of the words' own from 0 to below 1."""
    return int.from_bytes(words_hash[-6:], "big") / 2**48  # exact: a float holds 53 bits


def first(lists: Iterable[Sequence[Text]]) -> list[Text]:
    """Returns the first `KEPT` of several lists of different texts, in order."""
    return heapq.nsmallest(KEPT, itertools.chain.from_iterable(lists))


def _moves(found: dict[str, list[Text]]) -> dict[bytes, str]:
    """Returns what has to move for a class to be in as many splits as its texts suffice for.

    Args:
      found: the first texts of each split, from which those that move are taken; the splits come in
        the order of `Shares.wanted`.
    """
    moved = {}
    for rank, split in enumerate(found):
        # A split's only text is no more than one that comes before may take.
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
