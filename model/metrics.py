"""Metrics of scores: ROC and precision-recall curves, calibration, confidence intervals."""

import numpy as np

from textrecords import occlusion

POINTS = 200  # the maximum of a curve that is drawn
BINS = 10  # of a calibration curve
Z = 1.959964  # of a 95% interval
TEMPERATURES = 0.05, 20.0  # the minimum and maximum
BISECTIONS = 40  # gives the best temperature to eleven digits


def thresholds(positive: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Counts false and true positives at each threshold, from the highest score down.

    Args:
      positive: whether each row is, <bool>[n].
      scores: <float>[n]; rows with equal scores share a threshold.

    Returns:
      The numbers of false and of true positives, both <int64>[thresholds].
    """
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)
    true = np.cumsum(positive[order])[last]
    return last + 1 - true, true


def roc(positive: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the rates of false and of true positives, both <float64>[1 + thresholds]."""
    false, true = thresholds(positive, scores)
    return np.append(0, false / false[-1]), np.append(0, true / true[-1])


def precision_recall(positive: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns precision and recall at each threshold, both <float64>[thresholds]."""
    false, true = thresholds(positive, scores)
    return true / (true + false), true / true[-1]


def area(x: np.ndarray, y: np.ndarray) -> float:
    """Returns the area under a piecewise linear curve."""
    return float(np.trapezoid(y, x))


def average_precision(precision: np.ndarray, recall: np.ndarray) -> float:
    """Returns the mean precision, weighted by the increase of recall."""
    return float(np.sum(np.diff(recall, prepend=0) * precision))


def thin(*values: np.ndarray) -> list[list[float]]:
    """Thins out the points of a curve, given by their coordinates, to at most `POINTS`."""
    number = len(values[0])
    kept = np.unique(np.linspace(0, number - 1, min(number, POINTS)).round().astype(int))
    return [np.round(each[kept], 5).tolist() for each in values]


def best_threshold(labels: np.ndarray, scores: np.ndarray) -> float:
    """Returns the threshold with the highest accuracy when scores above it are taken for label 1.

    Among equally good ones it's the one closest to 0.5.

    Args:
      labels: 0 or 1, <int64>[n].
      scores: <float32>[n].
    """
    order = np.argsort(scores)
    ordered = scores[order]
    # 0.5, below and above all, and between each two different scores, rounded to their precision.
    lower, upper = (part[np.diff(ordered) > 0] for part in (ordered[:-1], ordered[1:]))
    middle = (lower + upper) / 2
    between = np.where(middle < upper, middle, lower)
    candidates = np.concatenate([np.array([0.5, 0.0, 1.0], scores.dtype), between])
    below = np.searchsorted(ordered, candidates, side="right")  # number of scores that aren't above
    ones = np.append(0, np.cumsum(labels[order]))
    correct = (below - ones[below]) + (ones[-1] - ones[below])
    best = candidates[correct == correct.max()]
    return float(best[np.argmin(np.abs(best - 0.5))])


def best_temperature(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Returns the divisor of the logits that minimizes the cross-entropy.

    A method of Guo et al. (2017), "On Calibration of Modern Neural Networks".

    Args:
      labels: <int64>[n].
      probabilities: of all classes, <float32>[n, num_classes].
    """
    logits = np.log(np.clip(probabilities.astype(np.float64), occlusion.SMALLEST, 1))
    right = logits[np.arange(len(labels)), labels]

    def slope(scale: float) -> float:
        """Returns the derivative of the cross-entropy with respect to the scale of the logits."""
        weights = np.exp(scale * (logits - logits.max(axis=1, keepdims=True)))
        means = (weights * logits).sum(axis=1) / weights.sum(axis=1)
        return float(np.mean(means - right))

    # The cross-entropy is convex in the scale, so its slope increases.
    high, low = 1 / TEMPERATURES[0], 1 / TEMPERATURES[1]
    for _ in range(BISECTIONS):
        middle = np.sqrt(low * high)
        low, high = (low, middle) if slope(middle) > 0 else (middle, high)
    return float(1 / np.sqrt(low * high))


def calibration(
    labels: np.ndarray, probabilities: np.ndarray
) -> tuple[list[dict[str, float]], float]:
    """Compares the probabilities of the second of two classes with its observed share.

    With three or more classes it's the probability and the accuracy of the most likely one.

    Args:
      labels: <int64>[n].
      probabilities: of all classes, <float32>[n, num_classes].

    Returns:
      The nonempty bins, of equal width: `min` and `max` score, `number` of rows, `mean` score and
      `observed` share. And the expected calibration error: the mean distance between the last two,
      weighted by rows.
    """
    if probabilities.shape[1] == 2:
        scores, happened = probabilities[:, 1], labels == 1
    else:
        scores, happened = probabilities.max(axis=1), labels == probabilities.argmax(axis=1)
    bins = np.minimum((scores * BINS).astype(int), BINS - 1)
    numbers = np.bincount(bins, minlength=BINS)
    sums = np.bincount(bins, scores, BINS), np.bincount(bins, happened, BINS)
    error = float(np.abs(sums[0] - sums[1]).sum() / len(scores))
    return [
        {
            "min": n / BINS,
            "max": (n + 1) / BINS,
            "number": int(numbers[n]),
            "mean": float(sums[0][n] / numbers[n]),
            "observed": float(sums[1][n] / numbers[n]),
        }
        for n in np.flatnonzero(numbers).tolist()
    ], error


def interval(share: float, number: int) -> tuple[float, float]:
    """Returns the Wilson 95% interval of a share of `number` rows."""
    center = share + Z**2 / (2 * number)
    half = Z * np.sqrt(share * (1 - share) / number + Z**2 / (4 * number**2))
    scale = 1 + Z**2 / number
    return float((center - half) / scale), float((center + half) / scale)


def by_length(lengths: np.ndarray, correct: np.ndarray) -> list[dict[str, float]]:
    """Returns the accuracy by review length, in bins that double: 8-15, 16-31, ...

    `low` and `high` are its 95% interval.

    Args:
      lengths: tokens of each review, <int64>[n], at least 1.
      correct: whether its predicted class is right, <bool>[n].
    """
    bins = np.frexp(lengths)[1] - 1
    rows = []
    for n in np.unique(bins).tolist():
        number, share = int(np.sum(bins == n)), float(np.mean(correct[bins == n]))
        low, high = interval(share, number)
        rows.append(
            {
                "min": 2**n,
                "max": 2 ** (n + 1) - 1,
                "number": number,
                "accuracy": share,
                "low": low,
                "high": high,
            }
        )
    return rows
