"""Evaluates a model on reviews that it wasn't trained on: loss, accuracy, confusion matrix.

TensorFlow is imported lazily, so that `--help` is immediate.
"""

import dataclasses
import functools
import operator
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from model import metrics
from textrecords import app, command_line, drift, imports, model_folder, spec, storage, terminal
from textrecords.command_line import flag
from textrecords.dataset import Dataset, open_dataset
from textrecords.errors import BadInput
from textrecords.field_types import Path
from textrecords.model_folder import ModelConfig

if TYPE_CHECKING:
    import keras

    from textrecords import input_pipeline

# Larger than in training, for speed: the result doesn't depend on it.
BATCH_SIZE = 512
MAX_COLUMNS = 10  # of a confusion matrix that is printed


@dataclasses.dataclass(frozen=True)
class Options:
    """The flags."""

    records: Path = flag(command_line.RECORDS, metavar="DIR")
    model_dir: Path = flag(command_line.MODEL_DIR, metavar="DIR")
    no_verify: bool = flag(command_line.NO_VERIFY, False)


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """The results of a model on a split."""

    loss: float
    accuracy: float
    confusion_matrix: list[list[int]]  # examples, by true class and then by predicted class
    calibration_error: float  # expected calibration error, between scores and observed shares
    profile: drift.Profile | None = None  # of the texts, to detect the drift of others

    @property
    def most_frequent(self) -> float:
        """The share of the most frequent class: the accuracy of always predicting it."""
        numbers = [sum(counts) for counts in self.confusion_matrix]
        return max(numbers) / sum(numbers)


def evaluate(model: "keras.Model", dataset: Dataset, config: ModelConfig) -> Evaluation:
    """Evaluates a compiled model on the test split; raises `BadInput` if there is none."""
    from textrecords import input_pipeline

    rows = input_pipeline.read_split(dataset, spec.TEST, config.network.input_size)
    results = [
        (labels, outputs, profile(tokens, outputs))
        for tokens, labels, outputs in _scored(model, rows, config)
    ]
    labels, outputs, profiles = zip(*results, strict=True)
    of_all = functools.reduce(operator.add, profiles)
    return compare(model, np.concatenate(labels), np.concatenate(outputs), of_all, config)


def best_threshold(model: "keras.Model", rows: "input_pipeline.Rows", config: ModelConfig) -> float:
    """Returns the threshold of `lstm.predicted_classes` with the highest accuracy on the rows.

    Among equally good ones it's the one closest to 0.5.
    """
    labels, outputs = _outputs(model, rows, config)
    return metrics.best_threshold(labels, outputs[:, 0])


def best_temperature(
    model: "keras.Model", rows: "input_pipeline.Rows", config: ModelConfig
) -> float:
    """Returns the divisor of the logits that minimizes the loss on the rows."""
    labels, outputs = _outputs(model, rows, config)
    return metrics.best_temperature(labels, probabilities(outputs))


def _outputs(
    model: "keras.Model", rows: "input_pipeline.Rows", config: ModelConfig
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the labels <int64>[n] and the network's outputs, <float32>[n, outputs]."""
    results = [(labels, outputs) for _, labels, outputs in _scored(model, rows, config)]
    labels, outputs = (np.concatenate(parts) for parts in zip(*results, strict=True))
    return labels, outputs


def _scored(
    model: "keras.Model", rows: "input_pipeline.Rows", config: ModelConfig
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yields tokens, labels and the network's outputs, batch by batch, in no particular order."""
    import tensorflow as tf

    from textrecords import input_pipeline

    # Not `predict_on_batch`, which is traced again for each width.
    tokens_of_any_width = [tf.TensorSpec([None, None], tf.int32)]
    call = functools.partial(model, training=False)
    score = tf.function(call, tokens_of_any_width, autograph=False)
    total = input_pipeline.num_batches(rows, BATCH_SIZE)
    if config.training.bucket_by_length:  # then the outputs don't depend on the padding
        batches = input_pipeline.shuffled_batches(rows, BATCH_SIZE, seed=0, by_length=True)
        batches = batches.take(total)
    else:
        batches = input_pipeline.batches(rows, BATCH_SIZE)
    with terminal.tracked(batches, "evaluating", total) as shown:
        for tokens, labels in shown:
            yield tokens.numpy(), labels.numpy(), score(tokens).numpy()


def profile(tokens: np.ndarray, outputs: np.ndarray) -> drift.Profile:
    """Returns the profile of texts: tokens <int32>[n, max_len], and a network's outputs."""
    return drift.Profile.of(tokens, outputs.max(axis=1))  # the second class of two


def probabilities(outputs: np.ndarray) -> np.ndarray:
    """Returns the probabilities of all classes, <float32>[n, num_classes], from the outputs."""
    if outputs.shape[1] > 1:
        return outputs
    return np.concatenate([1 - outputs, outputs], axis=1)


def compare(
    model: "keras.Model",
    labels: np.ndarray,
    outputs: np.ndarray,
    profile: drift.Profile,
    config: ModelConfig,
) -> Evaluation:
    """Evaluates the outputs of a compiled model against the labels, <int64>[n]."""
    from model.network import lstm

    num_classes = len(config.classes)
    predicted = np.asarray(lstm.predicted_classes(outputs, config.threshold))
    confusion_matrix = np.zeros([num_classes, num_classes], np.int64)
    np.add.at(confusion_matrix, (labels, predicted), 1)
    return Evaluation(
        loss=float(model.loss(labels, outputs)),
        accuracy=float(np.mean(labels == predicted)),
        confusion_matrix=confusion_matrix.tolist(),
        calibration_error=metrics.calibration(labels, probabilities(outputs))[1],
        profile=profile,
    )


def show(evaluation: Evaluation, classes: tuple[str, ...]) -> None:
    """Prints an evaluation."""
    matrix = evaluation.confusion_matrix
    if len(classes) <= MAX_COLUMNS:
        columns = ("class", *(f"predicted {name}" for name in classes))
        rows = [(name, *counts) for name, counts in zip(classes, matrix, strict=True)]
        terminal.show(columns, rows)
    else:
        rows = [
            (name, _confused_with(counts, label, classes), sum(counts), counts[label])
            for label, (name, counts) in enumerate(zip(classes, matrix, strict=True))
        ]
        terminal.show(("class", "most often confused with", "reviews", "correct"), rows, words=2)
    terminal.say(
        f"test loss {evaluation.loss:.4f}, test accuracy {evaluation.accuracy:.4f}, "
        f"calibration error {evaluation.calibration_error:.4f}; "
        f"share of the most frequent class {evaluation.most_frequent:.4f}"
    )


def _confused_with(counts: list[int], label: int, classes: tuple[str, ...]) -> str:
    """Returns the wrong class that is predicted most often for reviews of a class."""
    number, other = max((n, -of) for of, n in enumerate(counts) if of != label)
    return classes[-other] if number else "none"


def load_model(model_dir: str, config: ModelConfig) -> "keras.Model":
    """Rebuilds the trained network in `model_dir`, compiled; raises `BadInput`."""
    from model.network import lstm

    model = lstm.build(config.network, len(config.classes), config.temperature)
    path = os.path.join(model_dir, model_folder.WEIGHTS)
    try:
        with storage.local_copy(path) as weights:
            model.load_weights(weights)  # before compiling: a new optimizer's state wouldn't match
    except (OSError, ValueError) as error:
        raise BadInput(f"{path} can't be read ({error}): run `make train` again") from None
    lstm.compile_model(model, config.training)
    return model


def check_same_classes(config: ModelConfig, dataset: Dataset) -> None:
    """Raises `BadInput` if the labels of the records mean something else to the model."""
    if config.classes != dataset.classes:
        raise BadInput(
            f"the model has the classes {', '.join(config.classes)}, but the records have "
            f"{', '.join(dataset.classes)}: name the records it was trained on"
        )


def check_same_records(config: ModelConfig, dataset: Dataset) -> None:
    """Raises `BadInput` if the ids or labels of the records mean something else to the model."""
    check_same_classes(config, dataset)
    if config.vocabulary.sha256 != dataset.manifest.vocabulary.sha256:
        raise BadInput(
            "the vocabulary of the records isn't that of the model: name the records it was "
            "trained on"
        )
    check_long_enough(config, dataset)


def check_long_enough(config: ModelConfig, dataset: Dataset) -> None:
    """Raises `BadInput` if the records were truncated below what the model reads."""
    try:
        dataset.manifest.check_fits(config.network.input_size)
    except BadInput:
        raise BadInput(
            "the records were made shorter than what the model reads: name those it was trained on"
        ) from None


def main(argv: list[str]) -> None:
    parser = command_line.ArgumentParser(
        prog="model.evaluate", description="Evaluates a trained model on the test split."
    )
    command_line.add_flags(parser, Options)
    args = parser.parse_args(argv)
    dataset = open_dataset(args.records, verify=not args.no_verify)
    config = model_folder.read(args.model_dir, verify=not args.no_verify)
    check_same_records(config, dataset)
    with imports.quiet():
        model = load_model(args.model_dir, config)
    evaluation = evaluate(model, dataset, config)
    dataset.check_unchanged()
    show(evaluation, config.classes)


if __name__ == "__main__":
    app.run(main)
