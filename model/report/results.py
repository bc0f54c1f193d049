"""What a model makes of one split, in numbers."""

import dataclasses
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from model import curves, evaluate, input_pipeline
from model.config import Network
from pipelines import commands, contract

CURVES = 10  # classes at most that have curves drawn


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


def read(records_dir: str, manifest: contract.Manifest, split: str, network: Network) -> Reviews:
    """Reads the reviews of one split; raises `BadInput` if there is no such split."""

    def parse(records: tf.Tensor) -> tuple[tf.Tensor, ...]:
        spec = {
            contract.KEY: tf.io.FixedLenFeature([], tf.string),
            contract.TOKENS: tf.io.RaggedFeature(tf.int64),
            contract.LABEL: tf.io.FixedLenFeature([], tf.int64),
        }
        features = tf.io.parse_example(records, spec)
        tokens = features[contract.TOKENS]
        fitted = input_pipeline.fit_tokens(
            tokens, max_tokens=network.max_tokens, max_len=network.max_len
        )
        return features[contract.KEY], fitted, tokens.row_lengths(), features[contract.LABEL]

    blocks = input_pipeline.read_records(records_dir, manifest, split).map(parse)
    columns = [np.concatenate(parts) for parts in zip(*blocks.as_numpy_iterator(), strict=True)]
    return Reviews(columns[0].tolist(), *columns[1:])


def outputs(model: keras.Model, tokens: np.ndarray) -> np.ndarray:
    """Returns what the network gives for ids <int32>[n, max_len]."""
    size = evaluate.BATCH_SIZE
    starts = range(0, len(tokens), size)
    parts = [model.predict_on_batch(tokens[start : start + size]) for start in starts]
    return np.concatenate(parts)


def describe(
    evaluation: evaluate.Evaluation,
    reviews: Reviews,
    probabilities: np.ndarray,
    predicted: np.ndarray,
    classes: tuple[str, ...],
) -> dict[str, Any]:
    """Returns the result's part of the report.

    Args:
      evaluation: of the split.
      reviews: of the split.
      probabilities: of all classes, <float32>[n, num_classes].
      predicted: the class that each is taken for, <int64>[n].
      classes: their names, in the order of the labels.
    """
    correct = reviews.labels == predicted
    low, high = curves.interval(evaluation.accuracy, len(correct))
    bins, _ = curves.calibration(reviews.labels, probabilities)
    return {
        "examples": len(correct),
        "accuracy": evaluation.accuracy,
        "accuracy_low": low,
        "accuracy_high": high,
        "loss": evaluation.loss,
        "confusion_matrix": evaluation.confusion_matrix,
        "classes": _by_class(np.array(evaluation.confusion_matrix), classes),
        "curves": _curves(reviews.labels, probabilities, classes),
        "calibration": bins,
        "calibration_error": evaluation.calibration_error,
        "lengths": curves.by_length(reviews.lengths, correct),
    }


def _by_class(confusion_matrix: np.ndarray, classes: tuple[str, ...]) -> list[dict[str, Any]]:
    """Returns precision and recall of each class; `None` where they'd be a share of nothing."""
    rows = []
    for label, name in enumerate(classes):
        hits = int(confusion_matrix[label, label])
        predicted, actual = (int(confusion_matrix.sum(axis)[label]) for axis in (0, 1))
        rows.append(
            {
                "name": commands.one_line(name),
                "examples": actual,
                "precision": hits / predicted if predicted else None,
                "recall": hits / actual if actual else None,
                "f1": 2 * hits / (predicted + actual) if predicted + actual else None,
            }
        )
    return rows


def _curves(
    labels: np.ndarray, probabilities: np.ndarray, classes: tuple[str, ...]
) -> list[dict[str, Any]]:
    """Returns the curves of the second class of two, or of each of up to `CURVES` classes."""
    shown = [1] if len(classes) == 2 else range(min(len(classes), CURVES))
    found = []
    for label in shown:
        positive = labels == label
        if positive.all() or not positive.any():  # there is nothing to tell apart
            continue
        scores = probabilities[:, label]
        false, true = curves.roc(positive, scores)
        precision, recall = curves.precision_recall(positive, scores)
        found.append(
            {
                "class": commands.one_line(classes[label]),
                "share": float(positive.mean()),
                "roc_auc": curves.area(false, true),
                "average_precision": curves.average_precision(precision, recall),
                "roc": curves.thin(false, true),
                "precision_recall": curves.thin(recall, precision),
            }
        )
    return found
