"""Statistics of the tokens of a split, for the manifest."""

import collections

import numpy as np

from textrecords import spec

QUANTILES = {"min": 0.0, "50%": 0.5, "90%": 0.9, "99%": 0.99, "max": 1.0}
COVERED = (1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000)  # words


def coverage(id_counts: np.ndarray) -> dict[str, float]:
    """Returns the share of all tokens that the N most frequent words cover, for several N.

    Args:
      id_counts: occurrences of each id, <int64>[vocabulary size].
    """
    covered = np.cumsum(id_counts[spec.NUM_RESERVED :])
    total = max(1, int(id_counts.sum()))
    sizes = [size for size in COVERED if size < len(covered)] + [len(covered)]
    return {str(size): round(int(covered[size - 1]) / total, 6) for size in sizes}


def seen_once(id_counts: np.ndarray, without_tokens: int) -> int:
    """Returns how many words occur only once.

    If any word of the vocabulary does, so do all words beyond it, which are no more frequent.

    Args:
      id_counts: occurrences of each id, <int64>[vocabulary size].
      without_tokens: reviews without tokens, each kept as an OOV token that is no word.
    """
    number = int(np.count_nonzero(id_counts[spec.NUM_RESERVED :] == 1))
    return number + int(id_counts[spec.OOV_ID]) - without_tokens if number else 0


def quantiles(counts: collections.Counter[int]) -> dict[str, int]:
    """Returns `QUANTILES` of the counted values: the smallest value that covers each share."""
    values = sorted(counts) or [0]
    covered = np.cumsum([counts[value] for value in values])
    return {
        name: values[int(np.searchsorted(covered, share * covered[-1]))]
        for name, share in QUANTILES.items()
    }


def histogram(counts: collections.Counter[int]) -> dict[str, int]:
    """Returns how many of the counted values, from 1 on, are in each bin; bins double in width."""
    bins = collections.Counter()
    for value, count in counts.items():
        bins[value.bit_length()] += count
    return {
        f"{2 ** (bits - 1)}-{2**bits - 1}": bins[bits]
        for bits in range(1, max(bins, default=0) + 1)
    }
