"""What words and pairs of words tell by themselves, as NB-SVM (Wang and Manning, 2012) has it."""

from collections.abc import Callable, Iterable, Mapping

import keras
import numpy as np
from keras import ops

from pipelines import contract

FOLDS = 5
STEPS = 60  # of each logistic regression
MOMENTUM = 0.9
DECAY = 1e-6  # of its weights
POWER_STEPS = 8  # to know how large its steps may be
FACTORS = -1640531535, -2048144777  # odd, and spread over 32 bits: a hash by multiplication


class NGrams(keras.layers.Layer):
    """Scores of words and of pairs of words, hashed into buckets; each counts once a review.

    A class's logit is the sum of a review's scores, over the square root of their number. `adapt`
    fits the scores, and training leaves them alone. To be of use to layers that are trained on the
    same reviews, they are fitted several times: reviews are in folds, by the sum of their ids, and
    in training a review is scored by what all folds but its own have told, else it would be known
    by heart. Otherwise it's scored by the mean, which is all that files of weights hold.

    Args:
      outputs: 1 for two classes, else their number.
      bits: of the number of buckets.
    """

    def __init__(self, outputs: int, bits: int):
        super().__init__(trainable=False, name="n_grams")
        self._outputs = outputs
        self._bits = bits
        self._none = 2**bits  # stands for what isn't there

    def build(self, _: tuple[int | None, ...]) -> None:
        scores, folds = [self._none, self._outputs], [FOLDS * self._none, self._outputs]
        self.scores = self.add_weight(shape=scores, initializer="zeros", name="scores")
        self.fold_scores = self.add_weight(shape=folds, initializer="zeros", name="fold_scores")

    def save_own_variables(self, store: dict[str, np.ndarray]) -> None:
        store["scores"] = self.scores.numpy()

    def load_own_variables(self, store: Mapping[str, np.ndarray]) -> None:
        self.scores.assign(store["scores"])

    def call(
        self, tokens: keras.KerasTensor, training: bool | None = None
    ) -> tuple[keras.KerasTensor, keras.KerasTensor]:
        """Looks the n-grams of tokens <int32>[batch_size, length] up.

        Returns:
          The scores of the words and of the pairs where they stand, <float32>[batch_size, length,
          2 * outputs], and the logits, <float32>[batch_size, outputs].
        """
        words, pairs = self._buckets(tokens)
        table = self.fold_scores if training else self.scores
        start = _fold(tokens)[:, None] * self._none if training else 0

        def scores(buckets: keras.KerasTensor) -> keras.KerasTensor:
            found = ops.take(table, start + buckets % self._none, axis=0)
            return ops.where(buckets[:, :, None] < self._none, found, 0.0)

        buckets, counts = self._distinct(words, pairs)
        total = ops.sum(ops.where(counts[:, :, None], scores(buckets), 0.0), axis=1)
        number = ops.sum(ops.cast(counts, "float32"), axis=1, keepdims=True)
        at_tokens = ops.concatenate([scores(words), scores(pairs)], axis=-1)
        return at_tokens, total / ops.sqrt(ops.maximum(number, 1.0))

    def adapt(self, batches: Iterable[tuple[keras.KerasTensor, keras.KerasTensor]]) -> None:
        """Fits the scores to all of (tokens <int32>[n, length], labels <int64>[n])."""
        parts = [(*self._counted(tokens), labels, _fold(tokens)) for tokens, labels in batches]
        buckets, sizes, labels, folds = (np.concatenate(part) for part in zip(*parts, strict=True))
        classes = [1] if self._outputs == 1 else range(self._outputs)
        tables = []
        for fold in range(FOLDS):
            others = folds != fold
            data = buckets[np.repeat(others, sizes)], sizes[others]
            fitted = [_nb_svm(*data, labels[others] == n, self._none) for n in classes]
            tables.append(np.stack(fitted, axis=1))
        self.scores.assign(np.mean(tables, axis=0))
        self.fold_scores.assign(np.concatenate(tables))

    def _counted(self, tokens: keras.KerasTensor) -> tuple[np.ndarray, np.ndarray]:
        """Returns the buckets of all reviews, one after the other, and how many each has."""
        buckets, counts = map(np.asarray, self._distinct(*self._buckets(tokens)))
        return buckets[counts], counts.sum(axis=1)

    def _buckets(self, tokens: keras.KerasTensor) -> tuple[keras.KerasTensor, keras.KerasTensor]:
        """Returns the bucket of each word, and of each with the one behind it."""
        behind = ops.pad(tokens[:, 1:], [[0, 0], [0, 1]])
        nothing = ops.zeros_like(tokens)
        padding = contract.PADDING_ID
        words = ops.where(tokens != padding, self._hash(tokens, nothing), self._none)
        pairs = ops.where(behind != padding, self._hash(tokens, behind), self._none)
        return words, pairs

    def _hash(self, first: keras.KerasTensor, second: keras.KerasTensor) -> keras.KerasTensor:
        mixed = first * FACTORS[0] + second * FACTORS[1]  # wraps around, as int32 does
        return ops.bitwise_and(ops.right_shift(mixed, 32 - self._bits), self._none - 1)

    def _distinct(
        self, words: keras.KerasTensor, pairs: keras.KerasTensor
    ) -> tuple[keras.KerasTensor, keras.KerasTensor]:
        """Returns the buckets of each review, sorted, and which of them count."""
        buckets = ops.sort(ops.concatenate([words, pairs], axis=1), axis=1)
        is_new = buckets[:, 1:] != buckets[:, :-1]
        is_new = ops.pad(is_new, [[0, 0], [1, 0]], constant_values=True)
        return buckets, is_new & (buckets < self._none)


def adapt(model: keras.Model, batches: Iterable) -> None:
    """Fits the n-grams of a network, if it has any, to the batches of train."""
    for layer in model.layers:
        if isinstance(layer, NGrams):
            layer.adapt(batches)


def _fold(tokens: keras.KerasTensor) -> keras.KerasTensor:
    """Returns each review's fold, <int32>[batch_size]; how far it's padded makes no difference."""
    return ops.sum(tokens, axis=1) % FOLDS


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
