"""How good scores are: ROC and precision-recall curves, calibration, intervals."""

import numpy as np

from textrecords import occlusion

POINTS = 200  # at most, of a curve that is drawn
BINS = 10  # of a calibration
Z = 1.959964  # of a 95% interval
TEMPERATURES = 0.05, 20.0  # the least and the most that logits are divided by
BISECTIONS = 40  # to find the best one to eleven digits


def thresholds(positive: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Counts what is taken for positive at each threshold, from the highest score down.

    Args:
      positive: which rows are, <bool>[n].
      scores: <float>[n]; rows of equal scores are taken together.

    Returns:
      How many of them aren't positive, and how many are, both <int64>[thresholds].
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
    """Returns the area under a curve whose points are joined by lines."""
    return float(np.trapezoid(y, x))


def average_precision(precision: np.ndarray, recall: np.ndarray) -> float:
    """Returns the mean of the precisions, each weighted by the recall that it adds."""
    return float(np.sum(np.diff(recall, prepend=0) * precision))


def thin(*values: np.ndarray) -> list[list[float]]:
    """Leaves of a curve's points, given by their coordinates, no more than are drawn."""
    number = len(values[0])
    kept = np.unique(np.linspace(0, number - 1, min(number, POINTS)).round().astype(int))
    return [np.round(each[kept], 5).tolist() for each in values]


def best_threshold(labels: np.ndarray, scores: np.ndarray) -> float:
    """Returns the threshold above which most scores are of label 1, and below it of label 0.

    Of several as good it's the one that is nearest to a half.

    Args:
      labels: 0 or 1, <int64>[n].
      scores: <float32>[n].
    """
    order = np.argsort(scores)
    ordered = scores[order]
    # A half, below and above all, and between two scores that differ, rounded as scores are.
    lower, upper = (part[np.diff(ordered) > 0] for part in (ordered[:-1], ordered[1:]))
    middle = (lower + upper) / 2
    between = np.where(middle < upper, middle, lower)
    candidates = np.concatenate([np.array([0.5, 0.0, 1.0], scores.dtype), between])
    below = np.searchsorted(ordered, candidates, side="right")  # how many aren't above
    ones = np.append(0, np.cumsum(labels[order]))
    correct = (below - ones[below]) + (ones[-1] - ones[below])
    best = candidates[correct == correct.max()]
    return float(best[np.argmin(np.abs(best - 0.5))])


def best_temperature(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Returns what to divide the logits by, so that the cross-entropy is the least.

    A method of Guo et al. (2017), "On Calibration of Modern Neural Networks".

    Args:
      labels: <int64>[n].
      probabilities: of all classes, <float32>[n, num_classes].
    """
    logits = np.log(np.clip(probabilities.astype(np.float64), occlusion.SMALLEST, 1))
    right = logits[np.arange(len(labels)), labels]

    def slope(scale: float) -> float:
        """Returns the derivative of the cross-entropy by what logits are multiplied by."""
        weights = np.exp(scale * (logits - logits.max(axis=1, keepdims=True)))
        means = (weights * logits).sum(axis=1) / weights.sum(axis=1)
        return float(np.mean(means - right))

    # The cross-entropy is convex in the scale, so that its slope rises.
    most, least = 1 / TEMPERATURES[0], 1 / TEMPERATURES[1]
    for _ in range(BISECTIONS):
        middle = np.sqrt(least * most)
        least, most = (least, middle) if slope(middle) > 0 else (middle, most)
    return float(1 / np.sqrt(least * most))


def calibration(
    labels: np.ndarray, probabilities: np.ndarray
) -> tuple[list[dict[str, float]], float]:
    """Compares the probabilities of the second of two classes with how often it was that.

    Of three or more classes, those of the likeliest.

    Args:
      labels: <int64>[n].
      probabilities: of all classes, <float32>[n, num_classes].

    Returns:
      The bins of equal width that hold any: `least` and `most` score, `number` of rows, `mean`
      score and `observed` share. And the expected calibration error: how far the two are apart,
      on average over all rows.
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
            "least": n / BINS,
            "most": (n + 1) / BINS,
            "number": int(numbers[n]),
            "mean": float(sums[0][n] / numbers[n]),
            "observed": float(sums[1][n] / numbers[n]),
        }
        for n in np.flatnonzero(numbers).tolist()
    ], error


def interval(share: float, number: int) -> tuple[float, float]:
    """Returns Wilson's 95% interval of a share of so many rows."""
    centre = share + Z**2 / (2 * number)
    half = Z * np.sqrt(share * (1 - share) / number + Z**2 / (4 * number**2))
    scale = 1 + Z**2 / number
    return float((centre - half) / scale), float((centre + half) / scale)


def by_length(lengths: np.ndarray, correct: np.ndarray) -> list[dict[str, float]]:
    """Returns the accuracy of reviews of like length, in bins that double: 8-15, 16-31, ...

    `low` and `high` are its 95% interval.

    Args:
      lengths: tokens a review, <int64>[n], at least 1.
      correct: whether its class was found, <bool>[n].
    """
    bins = np.frexp(lengths)[1] - 1
    rows = []
    for n in np.unique(bins).tolist():
        number, share = int(np.sum(bins == n)), float(np.mean(correct[bins == n]))
        low, high = interval(share, number)
        rows.append(
            {
                "least": 2**n,
                "most": 2 ** (n + 1) - 1,
                "number": number,
                "accuracy": share,
                "low": low,
                "high": high,
            }
        )
    return rows
