"""Metrics and n-grams are those of scikit-learn and SciPy, whatever the scores and tokens."""

import types

import hypothesis
import keras
import numpy as np
import pytest
import sklearn.calibration
import sklearn.metrics
from hypothesis import strategies as st
from scipy import optimize, stats
from sklearn.feature_extraction.text import CountVectorizer

from model import evaluate, metrics
from model.report import results
from textrecords import layers

# With many that are equal, and none at the edge of a bin of the calibration.
SCORES = st.integers(0, 255).map(lambda n: (n + 0.3) / 256)
BINARY = st.lists(st.tuples(st.booleans(), SCORES), min_size=2, max_size=60).filter(
    lambda rows: len({positive for positive, _ in rows}) == 2
)
PROBABILITIES = st.lists(
    st.tuples(st.integers(0, 2), st.tuples(*[st.integers(1, 40)] * 3)), min_size=1, max_size=60
)


def columns(rows):
    labels, values = zip(*rows, strict=True)
    return np.array(labels), np.array(values, np.float32)


def normalized(weights):
    return weights / weights.sum(axis=1, keepdims=True)


@hypothesis.given(BINARY)
def test_curves_and_areas_are_those_of_scikit_learn(rows):
    positive, scores = columns(rows)
    false, true = metrics.roc(positive, scores)
    expected = sklearn.metrics.roc_curve(positive, scores, drop_intermediate=False)
    np.testing.assert_allclose([false, true], expected[:2])
    area = sklearn.metrics.roc_auc_score(positive, scores)
    assert metrics.area(false, true) == pytest.approx(area)
    precision, recall = metrics.precision_recall(positive, scores)
    # It begins with the lowest threshold, and adds the end of the curve.
    expected = sklearn.metrics.precision_recall_curve(positive, scores)
    np.testing.assert_allclose(
        [precision[::-1], recall[::-1]], [part[:-1] for part in expected[:2]]
    )
    average = sklearn.metrics.average_precision_score(positive, scores)
    assert metrics.average_precision(precision, recall) == pytest.approx(average)


@hypothesis.given(BINARY)
def test_no_threshold_is_more_accurate_by_scikit_learn_than_the_best(rows):
    positive, scores = columns(rows)

    def accuracy(threshold):
        return sklearn.metrics.accuracy_score(positive, scores > threshold)

    found = metrics.best_threshold(positive.astype(int), scores)
    distinct = np.unique(scores)
    others = [0.5, 0, 1, *(distinct[:-1] + distinct[1:]) / 2]
    best = max(map(accuracy, others))
    assert accuracy(found) == best
    nearest = min(abs(each - 0.5) for each in others if accuracy(each) == best)
    assert abs(found - 0.5) == pytest.approx(nearest)


@hypothesis.given(BINARY)
def test_calibration_of_two_classes_is_that_of_scikit_learn(rows):
    positive, scores = columns(rows)
    bins, error = metrics.calibration(positive.astype(int), np.stack([1 - scores, scores], axis=1))
    observed, mean = sklearn.calibration.calibration_curve(positive, scores, n_bins=metrics.BINS)
    np.testing.assert_allclose([each["observed"] for each in bins], observed)
    np.testing.assert_allclose([each["mean"] for each in bins], mean, rtol=1e-6)
    shares = np.array([each["number"] for each in bins]) / len(rows)
    assert error == pytest.approx(np.sum(shares * np.abs(observed - mean)), abs=1e-6)


@hypothesis.given(PROBABILITIES)
def test_calibration_of_three_classes_is_that_of_scikit_learn_for_the_most_likely(rows):
    labels, weights = columns(rows)
    probabilities = normalized(weights)
    highest = probabilities.max(axis=1)
    hypothesis.assume(np.abs(highest * 10 - np.round(highest * 10)).min() > 1e-3)  # at no edge
    right = probabilities.argmax(axis=1) == labels
    bins, _ = metrics.calibration(labels, probabilities)
    observed, mean = sklearn.calibration.calibration_curve(right, highest, n_bins=metrics.BINS)
    np.testing.assert_allclose([each["observed"] for each in bins], observed)
    np.testing.assert_allclose([each["mean"] for each in bins], mean, rtol=1e-6)


@hypothesis.settings(max_examples=20)
@hypothesis.given(PROBABILITIES)
def test_the_best_temperature_has_the_log_loss_of_the_best_of_scipy(rows):
    labels, weights = columns(rows)
    probabilities = normalized(weights)
    logits = np.log(probabilities.astype(np.float64))

    def loss(log_scale):
        scaled = normalized(np.exp(logits * np.exp(log_scale)))
        return sklearn.metrics.log_loss(labels, scaled, labels=[0, 1, 2])

    limits = [-np.log(each) for each in reversed(metrics.TEMPERATURES)]
    best = optimize.minimize_scalar(loss, bounds=limits, method="bounded").fun
    found = loss(-np.log(metrics.best_temperature(labels, probabilities)))
    assert found <= best + 1e-6


@hypothesis.given(st.integers(1, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_interval_of_a_share_is_that_of_scipy(of):
    hits, number = of
    expected = stats.binomtest(hits, number).proportion_ci(method="wilson")
    assert metrics.interval(hits / number, number) == pytest.approx(
        (expected.low, expected.high), abs=1e-6
    )


@hypothesis.given(PROBABILITIES)
def test_an_evaluation_of_three_classes_is_that_of_scikit_learn(rows):
    labels, weights = columns(rows)
    outputs = normalized(weights)
    model = types.SimpleNamespace(loss=keras.losses.SparseCategoricalCrossentropy())
    config = types.SimpleNamespace(classes=("a", "b", "c"), threshold=0.5)
    found = evaluate.compare(model, labels, outputs, None, config)
    every, predicted = [0, 1, 2], outputs.argmax(axis=1)
    expected = sklearn.metrics.confusion_matrix(labels, predicted, labels=every)
    assert found.confusion_matrix == expected.tolist()
    assert found.accuracy == pytest.approx(sklearn.metrics.accuracy_score(labels, predicted))
    loss = sklearn.metrics.log_loss(labels, outputs, labels=every)
    assert found.loss == pytest.approx(loss, rel=1e-5)
    of_classes = results._by_class(np.array(found.confusion_matrix), config.classes)
    expected = sklearn.metrics.precision_recall_fscore_support(
        labels, predicted, labels=every, zero_division=np.nan
    )
    for name, values in zip(("precision", "recall", "f1", "examples"), expected, strict=True):
        of_each = [np.nan if row[name] is None else row[name] for row in of_classes]
        np.testing.assert_allclose(of_each, values)


@hypothesis.given(BINARY, st.sampled_from([0.5, 0.2, 0.7]))
def test_an_evaluation_of_two_classes_is_that_of_scikit_learn(rows, threshold):
    positive, scores = columns(rows)
    model = types.SimpleNamespace(loss=keras.losses.BinaryCrossentropy())
    config = types.SimpleNamespace(classes=("a", "b"), threshold=threshold)
    found = evaluate.compare(model, positive.astype(int), scores[:, None], None, config)
    predicted = scores > threshold
    expected = sklearn.metrics.confusion_matrix(positive, predicted, labels=[False, True])
    assert found.confusion_matrix == expected.tolist()
    assert found.accuracy == pytest.approx(sklearn.metrics.accuracy_score(positive, predicted))
    assert found.loss == pytest.approx(sklearn.metrics.log_loss(positive, scores), rel=1e-4)


@hypothesis.settings(max_examples=20)
@hypothesis.given(
    st.lists(st.lists(st.integers(1, 12), max_size=8), min_size=1, max_size=8),
    st.sampled_from([20, 3]),
)
def test_the_n_grams_of_reviews_are_those_that_scikit_learn_counts(reviews, bits):
    tokens = np.zeros([len(reviews), 8], np.int32)
    for row, review in zip(tokens, reviews, strict=True):
        row[: len(review)] = review
    layer = layers.NGramWeights(1, bits)
    layer.build((None, None))
    buckets, sizes = layer.count(tokens)

    def in_bucket(n_gram):
        """Returns the bucket of a word, or of a bigram, which no other bigram of a review has."""
        row = np.array([[*map(int, n_gram.split())]], np.int32)
        words, bigrams = map(np.asarray, layer._buckets(row))
        return int(bigrams[0, 0] if " " in n_gram else words[0, 0])

    analyzer = CountVectorizer(
        analyzer="word", token_pattern=r"\d+", ngram_range=(1, 2)
    ).build_analyzer()
    expected = [
        sorted({in_bucket(n_gram) for n_gram in analyzer(" ".join(map(str, review)))})
        for review in reviews
    ]
    assert [part.tolist() for part in np.split(buckets, np.cumsum(sizes)[:-1])] == expected
    if bits == 20 and any(reviews):
        vectorizer = CountVectorizer(token_pattern=r"\d+", ngram_range=(1, 2), binary=True)
        counted = vectorizer.fit_transform(" ".join(map(str, review)) for review in reviews)
        assert sizes.tolist() == counted.sum(axis=1).A1.tolist()
        assert len({*buckets.tolist()}) == len(vectorizer.vocabulary_)
