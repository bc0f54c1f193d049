"""The results of a model on one split."""

import dataclasses
import functools
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from model import evaluate, metrics
from model.network import lstm
from textrecords import input_pipeline, record_io, spec, terminal
from textrecords.dataset import Dataset
from textrecords.model_folder import ModelConfig, Network

CURVES = 10  # the maximum number of classes with curves


@dataclasses.dataclass(frozen=True)
class Reviews:
    """The reviews of one split, in the order of the records.

    Attributes:
      keys: their files.
      tokens: ids as the network reads them, <int32>[n, max_len].
      lengths: tokens of the whole review, <int64>[n].
      labels: <int64>[n].
    """

    keys: list[bytes]
    tokens: np.ndarray
    lengths: np.ndarray
    labels: np.ndarray


@dataclasses.dataclass(frozen=True)
class Scored:
    """The reviews of one split, and a network's outputs for them.

    Attributes:
      reviews: the reviews.
      outputs: of the network, <float32>[n, 1 or num_classes].
      config: of the model.
    """

    reviews: Reviews
    outputs: np.ndarray
    config: ModelConfig

    @functools.cached_property
    def probabilities(self) -> np.ndarray:
        """The probabilities of all classes, <float32>[n, num_classes]."""
        return evaluate.probabilities(self.outputs)

    @functools.cached_property
    def predicted(self) -> np.ndarray:
        """The predicted class of each review, <int64>[n]."""
        return np.asarray(lstm.predicted_classes(self.outputs, self.config.threshold))

    @property
    def class_names(self) -> list[str]:
        """The classes as they can be shown, in the order of the labels."""
        return [terminal.one_line(name) for name in self.config.classes]


def read(dataset: Dataset, split: str, network: Network) -> Reviews:
    """Reads the reviews of one split; raises `BadInput` if there is no such split."""

    def parse(records: tf.Tensor) -> tuple[tf.Tensor, ...]:
        features = record_io.parse(records)
        tokens = features[spec.TOKENS]
        fitted = input_pipeline.fit_tokens(tokens, network.input_size)
        return features[spec.KEY], fitted, tokens.row_lengths(), features[spec.LABEL]

    blocks = record_io.read(dataset, split).map(parse)
    columns = [np.concatenate(parts) for parts in zip(*blocks.as_numpy_iterator(), strict=True)]
    return Reviews(columns[0].tolist(), *columns[1:])


def score(network: keras.Model, reviews: Reviews, config: ModelConfig) -> Scored:
    """Returns the reviews with the network's outputs."""
    return Scored(reviews, outputs(network, reviews.tokens), config)


def outputs(model: keras.Model, tokens: np.ndarray) -> np.ndarray:
    """Returns the network's outputs for ids <int32>[n, max_len]."""
    size = evaluate.BATCH_SIZE
    starts = range(0, len(tokens), size)
    parts = [model.predict_on_batch(tokens[start : start + size]) for start in starts]
    return np.concatenate(parts)


def describe(evaluation: evaluate.Evaluation, scored: Scored) -> dict[str, Any]:
    """Returns the report's section on results, from the evaluation of a split and its reviews."""
    reviews = scored.reviews
    correct = reviews.labels == scored.predicted
    low, high = metrics.interval(evaluation.accuracy, len(correct))
    bins, _ = metrics.calibration(reviews.labels, scored.probabilities)
    return {
        "examples": len(correct),
        "accuracy": evaluation.accuracy,
        "accuracy_low": low,
        "accuracy_high": high,
        "loss": evaluation.loss,
        "confusion_matrix": evaluation.confusion_matrix,
        "classes": _by_class(np.array(evaluation.confusion_matrix), scored.class_names),
        "curves": _curves(reviews.labels, scored.probabilities, scored.class_names),
        "calibration": bins,
        "calibration_error": evaluation.calibration_error,
        "lengths": metrics.by_length(reviews.lengths, correct),
    }


def _by_class(confusion_matrix: np.ndarray, classes: list[str]) -> list[dict[str, Any]]:
    """Returns precision and recall of each class; `None` where they are undefined."""
    rows = []
    for label, name in enumerate(classes):
        hits = int(confusion_matrix[label, label])
        predicted, actual = (int(confusion_matrix.sum(axis)[label]) for axis in (0, 1))
        rows.append(
            {
                "name": name,
                "examples": actual,
                "precision": hits / predicted if predicted else None,
                "recall": hits / actual if actual else None,
                "f1": 2 * hits / (predicted + actual) if predicted + actual else None,
            }
        )
    return rows


def _curves(
    labels: np.ndarray, probabilities: np.ndarray, classes: list[str]
) -> list[dict[str, Any]]:
    """Returns the curves of the second class of two, or of each of up to `CURVES` classes."""
    shown = [1] if len(classes) == 2 else range(min(len(classes), CURVES))
    found = []
    for label in shown:
        positive = labels == label
        if positive.all() or not positive.any():  # nothing to distinguish
            continue
        scores = probabilities[:, label]
        false, true = metrics.roc(positive, scores)
        precision, recall = metrics.precision_recall(positive, scores)
        found.append(
            {
                "class": classes[label],
                "share": float(positive.mean()),
                "roc_auc": metrics.area(false, true),
                "average_precision": metrics.average_precision(precision, recall),
                "roc": metrics.thin(false, true),
                "precision_recall": metrics.thin(recall, precision),
            }
        )
    return found
