"""Which split a text goes into where a flag says how many go there, and no folder says which.

It follows from the text alone, so it's the same wherever the text lies, and in whatever order and
by whatever engine texts are read.
"""

import dataclasses

from textrecords import spec
from textrecords.errors import BadInput
from textrecords.manifest import DataFlags


@dataclasses.dataclass(frozen=True)
class Shares:
    """Which shares of train become the other splits.

    Texts of the same words go the same way, so that duplicates never straddle two splits. Which
    texts one share takes depends on no other.

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

    def split(self, words_hash: bytes) -> str:
        """Returns the split of all texts of the same words."""
        fraction = _fraction(words_hash)
        if fraction < self.validation:
            return spec.VALIDATION
        return spec.TEST if fraction >= 1 - self.test else spec.TRAIN


def _fraction(words_hash: bytes) -> float:
    """Returns a number of the words' own from 0 to below 1."""
    return int.from_bytes(words_hash[-6:], "big") / 2**48  # exact: a float holds 53 bits
