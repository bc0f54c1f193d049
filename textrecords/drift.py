"""Drift of new texts from those that a model was tested on: their words, lengths and scores.

Texts are counted in bins, which workers can add up. The shares of two sets of texts are compared by
the population stability index (PSI), with the limits of Siddiqi, "Credit Risk Scorecards" (2006).
NumPy is imported lazily, since reading a model's settings doesn't need it.
"""

import collections
import dataclasses
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from textrecords import spec

if TYPE_CHECKING:
    import numpy as np

SOME, MUCH = 0.1, 0.25  # thresholds for some drift and for much
MIN_TEXTS = 100  # with fewer, chance alone gives such drift
KNOWN, OOV = "known", "oov"
SCORE_BINS = 10
COMPARED = ("words", "lengths", "scores")  # of a profile
UNSEEN = 0.5  # added to each bin's count, so that none is empty


@dataclasses.dataclass(frozen=True)
class Profile:
    """Counts of texts, as a network sees and scores them.

    Attributes:
      texts: their number.
      words: tokens, by whether they are known.
      lengths: texts by their number of tokens, in bins that double: "4-7", "8-15".
      scores: texts by the score of the second of two classes, or of the predicted label with more
        classes, in tenths.
    """

    texts: int
    words: dict[str, int]
    lengths: dict[str, int]
    scores: dict[str, int]

    @classmethod
    def of(cls, tokens: "np.ndarray", scores: "np.ndarray") -> "Profile":
        """Returns the counts of texts.

        Args:
          tokens: <int32>[n, max_len], padded with 0.
          scores: <float32>[n].
        """
        import numpy as np

        lengths = np.count_nonzero(tokens != spec.PADDING_ID, axis=1)
        bits = np.frexp(lengths)[1]
        tenths = np.minimum((scores * SCORE_BINS).astype(int), SCORE_BINS - 1)
        oov = int(np.count_nonzero(tokens == spec.OOV_ID))
        return cls(
            texts=len(tokens),
            words={KNOWN: int(lengths.sum()) - oov, OOV: oov},
            lengths=_count(f"{2**bit // 2}-{2**bit - 1}" for bit in bits.tolist()),
            scores=_count(f"{n / SCORE_BINS}-{(n + 1) / SCORE_BINS}" for n in tenths.tolist()),
        )

    @property
    def oov_share(self) -> float:
        """The share of tokens that are OOV."""
        return self.words[OOV] / max(1, sum(self.words.values()))

    def __add__(self, other: "Profile") -> "Profile":
        parts = ((getattr(self, name), getattr(other, name)) for name in COMPARED)
        return Profile(self.texts + other.texts, *(_count(one, two) for one, two in parts))


def _count(*parts: Iterable[str] | Mapping[str, int]) -> dict[str, int]:
    """Counts names, or adds up counts."""
    counts: collections.Counter[str] = collections.Counter()
    for part in parts:
        counts.update(part)
    return dict(counts)


def compare(new: Profile, known: Profile) -> dict[str, float]:
    """Returns the PSI of `words`, `lengths` and `scores` of new texts against known ones."""
    return {name: round(psi(getattr(new, name), getattr(known, name)), 4) for name in COMPARED}


def psi(new: Mapping[str, int], known: Mapping[str, int]) -> float:
    """Returns the PSI of two sets of counts: 0 if their shares are equal."""
    import numpy as np

    bins = [*new, *(name for name in known if name not in new)]
    shares = []
    for counts in (new, known):
        number = np.array([counts.get(name, 0) + UNSEEN for name in bins])
        shares.append(number / number.sum())
    return float(np.sum((shares[0] - shares[1]) * np.log(shares[0] / shares[1])))


def describe(new: Profile, known: Profile, of: str) -> list[str]:
    """Returns lines that report the drift of new texts from known ones, which `of` names."""
    if new.texts < MIN_TEXTS:
        return []
    found = compare(new, known)
    figures = ", ".join(f"{name} {value:.2f}" for name, value in found.items())
    lines = [
        f"drift from {of}: {figures}; OOV tokens {new.oov_share:.2%}, there {known.oov_share:.2%}"
    ]
    drifted = [
        f"{name} {'much' if value >= MUCH else 'somewhat'}"
        for name, value in found.items()
        if value >= SOME
    ]
    if drifted:
        lines.append(
            f"these texts differ from those of {of}: {', '.join(drifted)} (PSI of {SOME} or more: "
            f"somewhat, {MUCH} or more: much), so the model may do worse on them"
        )
    return lines
