"""Builds the content of the report page, as one JSON object.

TensorFlow is imported lazily, so that errors about bad input are immediate.
"""

import dataclasses
import os
import statistics
from typing import TYPE_CHECKING, Any

from model import evaluate
from textrecords import (
    checksums,
    drift,
    imports,
    json_files,
    model_folder,
    spec,
    terminal,
    text_source,
)
from textrecords.dataset import Dataset
from textrecords.errors import BadInput
from textrecords.manifest import RunInfo
from textrecords.model_folder import ModelConfig
from textrecords.saved_model import Model

if TYPE_CHECKING:
    import keras

    from model.report import results

# Keras' names of each epoch's metrics.
MEASURED = ("loss", "accuracy", "val_loss", "val_accuracy")


@dataclasses.dataclass(frozen=True)
class Metrics:
    """The metrics of `model.train`: `history` by epoch, and the epoch whose weights it kept."""

    history: dict[str, list[float]]
    best_epoch: int


def build(dataset: Dataset, model: Model, *, input_dir: str | None = None) -> dict[str, Any]:
    """Returns the content of the page.

    Args:
      dataset: the dataset that the model was trained on.
      model: the model.
      input_dir: the folder with the texts; by default the one that the dataset was made from.

    Raises:
      BadInput: if dataset and model don't match, or there is nothing to evaluate on.
    """
    config = model.config
    evaluate.check_same_records(config, dataset)
    split = _split(dataset)
    metrics = _read_metrics(model.folder)
    run = RunInfo.read(dataset.folder)
    made_of = run and run.input
    with imports.quiet():
        from model.report import counts, results

    counted = {name: counts.count(dataset, name, config.network) for name in dataset.splits}
    network = evaluate.load_model(model.folder, config)
    reviews = results.read(dataset, split, config.network)
    terminal.say(f"scoring {len(reviews.keys):,} reviews of {split}")
    scored = results.score(network, reviews, config)
    profile = evaluate.profile(reviews.tokens, scored.outputs)
    evaluation = evaluate.compare(network, reviews.labels, scored.outputs, profile, config)
    names = [terminal.one_line(name) for name in dataset.vocabulary]
    folder = input_dir or made_of
    source = dataset.manifest.flags.source(folder) if folder else None
    report = {
        "title": terminal.one_line(_title(made_of or os.path.join(dataset.folder, os.pardir))),
        "split": split,
        "binary": len(config.classes) == 2,
        "same_records": config.manifest_sha256 == dataset.manifest.sha256,
        "records_sha256": dataset.manifest.sha256,
        "weights": network.count_params(),
        "flags": _flags(config),
        "data": counts.describe(dataset.manifest, counted, config.network),
        "training": _training(metrics, model.folder),
        "result": results.describe(evaluation, scored),
        "drift": _drift(model.folder, evaluation.profile),
        "mistakes": _mistakes(model, scored, source, names),
        "influence": _influence(network, scored, names),
    }
    dataset.check_unchanged()
    return report


def _mistakes(
    model: Model, scored: "results.Scored", source: text_source.Source | None, names: list[str]
) -> list[dict[str, Any]]:
    """Returns the report's section on mistakes, with their texts if there is a source."""
    from model.report import mistakes

    found = mistakes.find(scored.reviews.labels, scored.predicted, scored.probabilities)
    texts = {}
    if source is not None:
        texts = mistakes.read_texts(source, scored.reviews, found, model.signatures)
    return mistakes.describe(found, scored, texts, names)


def _influence(
    network: "keras.Model", scored: "results.Scored", names: list[str]
) -> dict[str, Any]:
    """Returns the report's section on words."""
    from model.report import influence, results

    sample = scored.reviews.tokens[: influence.REVIEWS]
    terminal.say(f"trying the words of {len(sample):,} of them")
    found = influence.influence(
        lambda tokens: evaluate.probabilities(results.outputs(network, tokens)), sample
    )
    return {
        "reviews": len(sample),
        "places": int(found.places.sum()),
        "words": len(found.words),
        "toward": influence.describe(found, names, scored.class_names),
    }


def _drift(model_dir: str, found: drift.Profile) -> dict[str, Any] | None:
    """Returns the drift from the texts that the model was tested on, if these are known."""
    known = model_folder.read_profile(model_dir)
    return known and {
        "limits": {"some": drift.SOME, "much": drift.MUCH},
        "psi": drift.compare(found, known),
        "oov_share": found.oov_share,
        "known_oov_share": known.oov_share,
    }


def _split(dataset: Dataset) -> str:
    """Returns the split to evaluate on."""
    for split in (spec.TEST, spec.VALIDATION):
        if split in dataset.splits:
            return split
    raise BadInput(
        f"{dataset.folder} has neither a test nor a validation split, so there is nothing to "
        "evaluate the model on: preprocess with --test, for example --test 0.2, and train again"
    )


def _read_metrics(model_dir: str) -> Metrics:
    path = os.path.join(model_dir, model_folder.METRICS)
    try:
        return json_files.read(Metrics, path)
    except (OSError, ValueError) as error:
        raise BadInput(f"{path} can't be read ({error}): run `make train` again") from None


def _title(folder: str) -> str:
    return os.path.basename(os.path.abspath(folder))


def _flags(config: ModelConfig) -> list[list[str]]:
    flags = dataclasses.asdict(config.network) | dataclasses.asdict(config.training)
    return [[name, str(value)] for name, value in flags.items()]


def _training(metrics: Metrics, model_dir: str) -> dict[str, Any]:
    """Returns the report's section on the training, with `None` for what wasn't measured."""
    from model.training import timing

    logs_dir = os.path.join(model_dir, checksums.LOGS)
    measured = timing.read_timing(logs_dir) or timing.Timing()
    history = {name: metrics.history.get(name) for name in MEASURED}
    epochs = []
    for n in range(len(metrics.history["loss"])):
        timed = measured.epochs.get(n + 1)
        epochs.append(
            {
                "epoch": n + 1,
                **{name: values and values[n] for name, values in history.items()},
                "seconds": timed and timed.seconds,
                "validation_seconds": timed and timed.validation_seconds,
            }
        )
    steps = max((epoch.steps for epoch in measured.epochs.values()), default=0)
    whole = [epoch.seconds for epoch in measured.epochs.values() if epoch.steps == steps]
    median = statistics.median(whole) if whole else None
    known = median is not None and measured.input_seconds is not None
    return {
        "best_epoch": metrics.best_epoch,
        "epochs": epochs,
        "median_seconds": median,
        "input_seconds": measured.input_seconds,
        "input_share": measured.input_seconds / median if known else None,
        "step_share": max(1 - measured.input_seconds / median, 0.0) if known else None,
    }
