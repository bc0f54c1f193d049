"""The report's numbers, on scores and tokens that can be reckoned by hand."""

import numpy as np
import pytest

from model import metrics
from model.report import influence, mistakes

POSITIVE = np.array([True, False, True, False])
SCORES = np.array([0.9, 0.8, 0.7, 0.1])


def test_a_roc_curve():
    false, true = metrics.roc(POSITIVE, SCORES)
    assert false.tolist() == [0, 0, 0.5, 0.5, 1]
    assert true.tolist() == [0, 0.5, 0.5, 1, 1]
    assert metrics.area(false, true) == 0.75  # of the four pairs, three are in order


def test_equal_scores_share_a_threshold():
    false, true = metrics.roc(POSITIVE, np.full(4, 0.5))
    assert (false.tolist(), true.tolist()) == ([0, 1], [0, 1])
    assert metrics.area(false, true) == 0.5


def test_a_precision_recall_curve():
    precision, recall = metrics.precision_recall(POSITIVE, SCORES)
    assert precision.tolist() == [1, 0.5, 2 / 3, 0.5]
    assert recall.tolist() == [0.5, 0.5, 1, 1]
    assert metrics.average_precision(precision, recall) == pytest.approx(5 / 6)


def test_a_long_curve_keeps_its_ends():
    [x, y] = metrics.thin(np.arange(1001), np.arange(1001) / 1000)
    assert len(x) == len(y) == 200
    assert (x[0], x[-1], y[0], y[-1]) == (0, 1000, 0, 1)
    assert metrics.thin(np.array([0, 1])) == [[0, 1]]


def test_calibration():
    scores = np.array([0.0, 0.05, 0.95, 1.0])
    probabilities = np.stack([1 - scores, scores], axis=1)
    bins, error = metrics.calibration(np.array([0, 1, 1, 1]), probabilities)
    assert bins == [
        {"min": 0, "max": 0.1, "number": 2, "mean": 0.025, "observed": 0.5},
        {"min": 0.9, "max": 1, "number": 2, "mean": 0.975, "observed": 1},
    ]
    assert error == pytest.approx((2 * 0.475 + 2 * 0.025) / 4)


def test_calibration_of_more_classes_is_that_of_the_most_likely():
    probabilities = np.array([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]])
    bins, error = metrics.calibration(np.array([0, 0]), probabilities)
    assert [(each["mean"], each["observed"]) for each in bins] == [(0.5, 1), (0.8, 0)]
    assert error == pytest.approx((0.5 + 0.8) / 2)


@pytest.mark.parametrize(
    ("labels", "scores", "expected"),
    [
        ([0, 0, 1, 1], [0.1, 0.2, 0.3, 0.4], 0.25),
        ([0, 0, 1, 1], [0.1, 0.4, 0.6, 0.9], 0.5),
        ([0, 1, 0, 1], [0.6, 0.7, 0.8, 0.9], 0.65),  # or 0.85, which gets as many right
        ([1, 1], [0.25, 0.75], 0.0),
        ([0, 0], [0.25, 0.75], 1.0),
        ([0, 1, 1], [0.25, 0.25, 0.25], 0.0),
        ([0, 1], [0.99999994, 1.0], 0.99999994),  # there is nothing between
    ],
)
def test_the_best_threshold_has_the_highest_accuracy(labels, scores, expected):
    found = metrics.best_threshold(np.array(labels), np.array(scores, np.float32))
    assert found == pytest.approx(expected, abs=1e-6)


def test_an_interval():
    """Those of Wilson's formula for 8 of 10, and for none and all of 10."""
    assert metrics.interval(0.8, 10) == pytest.approx((0.490162, 0.943318), abs=1e-6)
    assert metrics.interval(0, 10) == pytest.approx((0, 0.277533), abs=1e-6)
    assert metrics.interval(1, 10) == pytest.approx((0.722467, 1), abs=1e-6)


def test_accuracy_by_length():
    lengths = np.array([1, 2, 3, 7, 8, 15, 16])
    correct = np.array([True, True, False, False, True, True, True])
    rows = metrics.by_length(lengths, correct)
    assert [(r["min"], r["max"], r["number"], r["accuracy"]) for r in rows] == [
        (1, 1, 1, 1),
        (2, 3, 2, 0.5),
        (4, 7, 1, 0),
        (8, 15, 2, 1),
        (16, 31, 1, 1),
    ]
    assert (rows[1]["low"], rows[1]["high"]) == metrics.interval(0.5, 2)


def test_the_most_confident_errors_come_first():
    labels = np.array([0, 1, 0, 1])
    second = np.array([0.6, 0.1, 0.2, 0.7])
    probabilities = np.stack([1 - second, second], axis=1)
    predicted = np.array([1, 0, 0, 1])
    assert mistakes.find(labels, predicted, probabilities).tolist() == [1, 0]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("num_classes", [2, 4])
def test_the_best_temperature_is_the_one_that_labels_were_drawn_by(num_classes, temperature):
    logits = np.random.default_rng(0).normal(scale=2, size=[20_000, num_classes])
    right = np.exp(logits / temperature)
    right /= right.sum(axis=1, keepdims=True)
    draws = np.random.default_rng(1).uniform(size=[20_000, 1])
    labels = (draws > np.cumsum(right, axis=1)).sum(axis=1)
    given = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    found = metrics.best_temperature(labels, given)
    assert found == pytest.approx(temperature, rel=0.04)


@pytest.mark.parametrize(("labels", "limit"), [([0, 1], 0.05), ([1, 0], 20.0)])
def test_a_temperature_keeps_within_its_limits(labels, limit):
    given = np.array([[0.9, 0.1], [0.2, 0.8]], np.float32)
    assert metrics.best_temperature(np.array(labels), given) == pytest.approx(limit)


def test_influence_is_the_mean_change_of_the_log_odds():
    """The network adds up a weight for each word."""
    weights = np.array([0, 0, 1, -2, 0.5, 9])
    tokens = np.array([[2, 3, 0], [2, 4, 1], [3, 2, 4]] * 10 + [[5, 1, 1]], np.int32)

    def probabilities(tokens):
        second = 1 / (1 + np.exp(-weights[tokens].sum(axis=1)))
        return np.stack([1 - second, second], axis=1)

    found = influence.influence(probabilities, tokens)
    assert found.words.tolist() == [2, 3, 4]  # 5 occurs too rarely
    assert found.places.tolist() == [30, 20, 20]
    np.testing.assert_allclose(found.effects[:, 1], [1, -2, 0.5])
    np.testing.assert_allclose(found.effects[:, 0], [-1, 2, -0.5])
    names = ["", "", "good", "bad", "fine", "best"]
    assert influence.describe(found, names, ["neg", "pos"]) == [
        {"class": "neg", "words": [{"word": "bad", "effect": 2, "places": 20}]},
        {
            "class": "pos",
            "words": [
                {"word": "good", "effect": 1, "places": 30},
                {"word": "fine", "effect": 0.5, "places": 20},
            ],
        },
    ]


def test_no_word_occurs_often_enough():
    tokens = np.array([[2, 3]], np.int32)
    found = influence.influence(lambda tokens: np.full([len(tokens), 2], 0.5), tokens)
    assert found.words.tolist() == []
    assert influence.describe(found, [], ["neg", "pos"]) == [
        {"class": "neg", "words": []},
        {"class": "pos", "words": []},
    ]
