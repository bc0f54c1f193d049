"""What words and pairs of words tell by themselves, as NB-SVM (Wang and Manning, 2012) has it."""

from collections.abc import Callable, Iterable

import keras
import numpy as np

from textrecords import layers

STEPS = 60  # of each logistic regression
MOMENTUM = 0.9
DECAY = 1e-6  # of its weights
POWER_STEPS = 8  # to know how large its steps may be


def adapt(model: keras.Model, batches: Iterable) -> None:
    """Fits the n-grams of a network, if it has any.

    Args:
      model: the network.
      batches: all of train, (tokens <int32>[n, length], labels <int64>[n]).
    """
    for layer in model.layers:
        if isinstance(layer, layers.NGrams):
            fit(layer, batches)


def fit(layer: layers.NGrams, batches: Iterable) -> None:
    """Fits the scores of a layer, once for each fold that is left out."""
    parts = [(*layer.count(tokens), labels) for tokens, labels in batches]
    buckets, sizes, folds, labels = (np.concatenate(part) for part in zip(*parts, strict=True))
    num_buckets, outputs = layer.scores.shape
    classes = [1] if outputs == 1 else range(outputs)
    tables = []
    for fold in range(layers.FOLDS):
        others = folds != fold
        data = buckets[np.repeat(others, sizes)], sizes[others]
        fitted = [_nb_svm(*data, labels[others] == n, num_buckets) for n in classes]
        tables.append(np.stack(fitted, axis=1))
    layer.assign(tables)


def _nb_svm(
    buckets: np.ndarray, sizes: np.ndarray, positive: np.ndarray, num_buckets: int
) -> np.ndarray:
    """Fits a logistic regression, by descent along gradients of all reviews, with momentum.

    Each n-gram is scaled by how much more often it stands in one class than in the others, so that
    rare and neutral ones hardly move.

    Args:
      buckets: those of all reviews, one review after the other.
      sizes: how many each has, at least 1.
      positive: which reviews are of the class, <bool>[number of reviews].
      num_buckets: how many there are.

    Returns:
      The score of each bucket, <float32>[num_buckets].
    """
    if not len(sizes):  # all reviews are in one fold
        return np.zeros(num_buckets, np.float32)
    starts = np.cumsum(sizes) - sizes
    length = 1 / np.sqrt(sizes)

    def count(values: np.ndarray) -> np.ndarray:
        return np.bincount(buckets, np.repeat(values, sizes), num_buckets)

    inside, outside = count(positive) + 1, count(~positive) + 1
    ratios = np.log(inside / inside.sum()) - np.log(outside / outside.sum())

    def logits(weights: np.ndarray) -> np.ndarray:
        return np.add.reduceat((weights * ratios)[buckets], starts) * length

    def back(errors: np.ndarray) -> np.ndarray:
        return count(errors * length) * ratios / len(sizes)

    rate = 1 / max(_greatest_curvature(logits, back, num_buckets), 1e-12)
    weights, speed = np.zeros(num_buckets), np.zeros(num_buckets)
    for _ in range(STEPS):
        errors = positive - (1 + np.tanh(logits(weights) / 2)) / 2  # of the sigmoid
        speed = MOMENTUM * speed + rate * (back(errors) - DECAY * weights)
        weights += speed
    return (weights * ratios).astype(np.float32)


def _greatest_curvature(
    logits: Callable[[np.ndarray], np.ndarray],
    back: Callable[[np.ndarray], np.ndarray],
    num_buckets: int,
) -> float:
    """Returns about the greatest second derivative of the loss, by the power method."""
    direction, norm = np.ones(num_buckets), 0.0
    for _ in range(POWER_STEPS):
        direction = back(logits(direction))
        norm = float(np.linalg.norm(direction))
        if not norm:
            return 0.0
        direction /= norm
    return norm / 4  # a sigmoid's slope is a quarter at most
