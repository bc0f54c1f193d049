"""Effects of single words on a network's scores, by replacing one at a time with OOV.

This needs only the network's scores, whatever its layers are.
"""

from collections.abc import Callable

import more_itertools
import numpy as np

from textrecords import spec

SMALLEST = 1e-7  # float32 can't distinguish 1 minus less from 1


def log_odds(probabilities: np.ndarray) -> np.ndarray:
    """Maps <float>[...] to <float64>[...]."""
    p = np.clip(probabilities.astype(np.float64), SMALLEST, 1 - SMALLEST)
    return np.log(p) - np.log1p(-p)


def occluded(tokens: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Returns a copy of a row for each position, with OOV at that position.

    Args:
      tokens: <int32>[reviews, max_len].
      rows: of the positions, <int64>[n].
      columns: of the positions, <int64>[n].

    Returns:
      <int32>[n, max_len].
    """
    copies = tokens[rows]
    copies[np.arange(len(rows)), columns] = spec.OOV_ID
    return copies


def effects(
    probabilities: Callable[[np.ndarray], np.ndarray], tokens: np.ndarray, batch_size: int
) -> np.ndarray:
    """Returns by how much replacing each token with OOV lowers the log-odds of a text.

    Args:
      probabilities: maps ids <int32>[n, max_len] to those of the second of two classes,
        <float32>[n], or of all classes, <float32>[n, num_classes].
      tokens: of the text, <int32>[max_len].
      batch_size: positions that are tried at once.

    Returns:
      For each token the effect on the second of two classes, or on the most likely of more:
      <float64>[max_len]; 0 for padding and OOV.
    """
    scores = probabilities(tokens[None])[0]
    label = scores.argmax() if scores.ndim else ...
    before = log_odds(scores[label])
    found = np.zeros(len(tokens))
    for part in more_itertools.chunked(np.flatnonzero(tokens >= spec.NUM_RESERVED), batch_size):
        rows = occluded(tokens[None], np.zeros(len(part), int), np.array(part))
        found[part] = before - log_odds(probabilities(rows)[:, label])
    return found
