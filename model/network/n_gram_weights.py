"""Fits n-gram weights, of words and bigrams: NB-SVM (Wang and Manning, 2012), with liblinear.

Reviews are read batch by batch, but liblinear takes their n-grams all at once. The fit needs about
55 bytes for each distinct n-gram of a review, 13 KB for a review of 230 words.

Only `model.training.fit` imports this module, and only for a network with such weights, since
nothing else needs scikit-learn.
"""

from collections.abc import Iterable

import keras
import numpy as np
from scipy import sparse
from sklearn.linear_model import LogisticRegression

from textrecords import layers
from textrecords.errors import Failure

C = 50.0  # the inverse strength of L2 regularization
MAX_ITERATIONS = 1000  # about twenty are needed
MAX_NGRAMS = np.iinfo(np.int32).max  # liblinear has 32-bit indices
SEED = 0  # of the order in which liblinear visits the reviews


def adapt(model: keras.Model, batches: Iterable) -> None:
    """Fits the n-gram weights of a network to the train split.

    Args:
      model: a network of `lstm.build` with n-gram weights.
      batches: of the whole split, (tokens <int32>[n, length], labels <int64>[n]).

    Raises:
      Failure: if there are more n-grams than liblinear takes.
    """
    layer = model.get_layer(layers.N_GRAMS)
    parts = [(*layer.count(tokens), labels, layers.fold(tokens)) for tokens, labels in batches]
    buckets, sizes, labels, folds = (np.concatenate(part) for part in zip(*parts, strict=True))
    num_buckets, outputs = layer.ngram_weights.shape
    layer.assign(fit(_features(buckets, sizes, num_buckets), labels, folds, outputs))


def _features(buckets: np.ndarray, sizes: np.ndarray, num_buckets: int) -> sparse.csr_array:
    """Returns the n-grams of each review as features, of 1 over the square root of their number.

    Args:
      buckets: of all reviews, concatenated, <int32>[total].
      sizes: the number of each review's n-grams, <int64>[number of reviews].
      num_buckets: the number of all buckets.

    Returns:
      <float64>[number of reviews, num_buckets].
    """
    if len(buckets) > MAX_NGRAMS:
        raise Failure(
            f"train has {len(buckets):,} n-grams, and liblinear takes at most {MAX_NGRAMS:,}: try "
            "a smaller --max_len, or --ngram_bits 0"
        )
    values = np.repeat(1 / np.sqrt(np.maximum(sizes, 1)), sizes)
    starts = np.append(0, np.cumsum(sizes)).astype(np.int32)
    return sparse.csr_array((values, buckets, starts), shape=(len(sizes), num_buckets))


def fit(
    features: sparse.csr_array, labels: np.ndarray, folds: np.ndarray, outputs: int
) -> np.ndarray:
    """Fits a table of weights for each fold, to the reviews of all other folds.

    Args:
      features: <float64>[number of reviews, num_buckets].
      labels: <int64>[number of reviews].
      folds: the fold of each review, <int32>[number of reviews].
      outputs: 1 for two classes, else their number, for one-vs-rest.

    Returns:
      <float32>[FOLDS, num_buckets, outputs].
    """
    classes = [1] if outputs == 1 else range(outputs)
    tables = np.zeros([layers.FOLDS, features.shape[1], outputs], np.float32)
    for fold, table in enumerate(tables):
        others = folds != fold
        known = features[others]
        for output, label in enumerate(classes):
            table[:, output] = _nb_svm(known, labels[others] == label)
    return tables


def _nb_svm(features: sparse.csr_array, positive: np.ndarray) -> np.ndarray:
    """Fits a logistic regression on features scaled by their log-count ratios.

    Rare and neutral n-grams are scaled down, so that they hardly matter.

    Args:
      features: <float64>[number of reviews, num_buckets].
      positive: whether each review is of the class, <bool>[number of reviews].

    Returns:
      The weight of each bucket, <float32>[num_buckets]: 0 where no review has an n-gram, and all 0
      if there are no reviews, or they are of a single class.
    """
    weights = np.zeros(features.shape[1], np.float32)
    if positive.all() or not positive.any():
        return weights
    inside, outside = (
        np.bincount(features[rows].indices, minlength=len(weights))
        for rows in (positive, ~positive)
    )
    columns = np.flatnonzero(inside + outside)  # liblinear's time and memory grow with their number
    ratios = (_log_shares(inside) - _log_shares(outside))[columns]
    scaled = features[:, columns]
    scaled.data *= ratios[scaled.indices]
    # With far more features than reviews the dual problem is faster to solve.
    regression = LogisticRegression(
        solver="liblinear",
        dual=True,
        C=C,
        fit_intercept=False,
        max_iter=MAX_ITERATIONS,
        random_state=SEED,
    )
    weights[columns] = regression.fit(scaled, positive).coef_[0] * ratios
    return weights


def _log_shares(counts: np.ndarray) -> np.ndarray:
    """Returns the logarithm of each n-gram's share of all, with add-one smoothing."""
    return np.log((counts + 1) / (counts.sum() + len(counts)))
