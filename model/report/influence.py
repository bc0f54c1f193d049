"""Finds the words with the strongest average effect on a network's scores."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from model import evaluate
from textrecords import occlusion, spec

REVIEWS = 2_000  # searched for the words
WORDS = 2_000  # the most frequent ones are tried
MAX_PLACES, MIN_PLACES = 30, 20  # tried per word; words with fewer are skipped
SHOWN = 15  # words per class


@dataclasses.dataclass(frozen=True)
class Influence:
    """The effects of words.

    Attributes:
      words: their ids, <int64>[words].
      effects: by how much an occurrence of a word raises the log-odds of each class, on average,
        <float64>[words, num_classes].
      places: the number of occurrences in the mean, <int64>[words].
    """

    words: np.ndarray
    effects: np.ndarray
    places: np.ndarray


def influence(probabilities: Callable[[np.ndarray], np.ndarray], tokens: np.ndarray) -> Influence:
    """Tries words at randomly chosen places.

    Args:
      probabilities: maps ids <int32>[n, max_len] to <float32>[n, num_classes].
      tokens: the reviews, <int32>[reviews, max_len].
    """
    rows, columns = places(tokens, np.random.default_rng(0))
    before = occlusion.log_odds(probabilities(tokens))
    changes = [
        before[rows[part]]
        - occlusion.log_odds(probabilities(occlusion.occluded(tokens, rows[part], columns[part])))
        for part in _parts(len(rows))
    ]
    words, word = np.unique(tokens[rows, columns], return_inverse=True)
    number = np.bincount(word, minlength=len(words))
    sums = np.zeros([len(words), before.shape[1]])
    np.add.at(sums, word, np.concatenate([before[:0], *changes]))
    return Influence(words, sums / number[:, None], number)


def places(tokens: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Returns rows and columns of up to `MAX_PLACES` places of each word with `MIN_PLACES`."""
    rows, columns = np.nonzero((tokens >= spec.NUM_RESERVED) & (tokens < spec.NUM_RESERVED + WORDS))
    order = rng.permutation(len(rows))
    order = order[np.argsort(tokens[rows[order], columns[order]], kind="stable")]
    words = tokens[rows[order], columns[order]]
    _, first, numbers = np.unique(words, return_index=True, return_counts=True)
    rank = np.arange(len(words)) - np.repeat(first, numbers)  # of a place among those of its word
    chosen = order[(rank < MAX_PLACES) & (np.repeat(numbers, numbers) >= MIN_PLACES)]
    return rows[chosen], columns[chosen]


def _parts(number: int) -> list[slice]:
    size = evaluate.BATCH_SIZE
    return [slice(start, start + size) for start in range(0, number, size)]


def describe(found: Influence, names: list[str], classes: list[str]) -> list[dict[str, Any]]:
    """Returns the words that raise each class's log-odds the most.

    Args:
      found: the effects of the words.
      names: of all ids.
      classes: their names, in the order of the labels.
    """
    return [
        {"class": name, "words": _strongest(found, found.effects[:, label], names)}
        for label, name in enumerate(classes)
    ]


def _strongest(found: Influence, effects: np.ndarray, names: list[str]) -> list[dict[str, Any]]:
    order = np.argsort(-effects, kind="stable")[:SHOWN]
    return [
        {
            "word": names[found.words[n]],
            "effect": round(float(effects[n]), 4),
            "places": int(found.places[n]),
        }
        for n in order
        if effects[n] > 0
    ]
