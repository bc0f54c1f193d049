"""All that stands on the page, as one JSON object.

TensorFlow is imported where it is first needed, so that a refusal is immediate.
"""

import dataclasses
import os
import statistics
from typing import TYPE_CHECKING, Any

import numpy as np

from model import config, evaluate, predict
from pipelines import commands, contract, files, folders, reviews

if TYPE_CHECKING:
    import keras

    from model.report import results

# Of each epoch, as Keras names them.
MEASURED = ("loss", "accuracy", "val_loss", "val_accuracy")


@dataclasses.dataclass(frozen=True)
class Metrics:
    """What `model.train` measured: `history` by epoch, and whose weights it kept."""

    history: dict[str, list[float]]
    best_epoch: int


def describe(
    records_dir: str, model_dir: str, *, input_dir: str | None = None, verify: bool = True
) -> dict[str, Any]:
    """Returns all that stands on the page.

    Args:
      records_dir: the dataset that the model was trained on.
      model_dir: the model.
      input_dir: the folder with the texts; by default the one that the dataset was made of.
      verify: whether all files of both must be as they were written.

    Raises:
      BadInput: if one of them isn't whole, they don't fit, or there is nothing to evaluate on.
    """
    manifest = contract.read_manifest(records_dir, verify=verify)
    settings = config.read(model_dir, verify=verify)
    evaluate.check_same_records(settings, manifest)
    split = _split(records_dir, manifest)
    metrics = _read_metrics(model_dir)
    made_of = _made_of(records_dir)
    with commands.quiet_imports():
        from model import lstm
        from model.report import counts, results

    network, names = settings.network, _names(records_dir)
    counted = {name: counts.count(records_dir, manifest, name, network) for name in manifest.splits}
    model = evaluate.load_model(model_dir, settings)
    data = results.read(records_dir, manifest, split, network)
    commands.say(f"scoring {len(data.keys):,} reviews of {split}")
    outputs = results.outputs(model, data.tokens)
    evaluation = evaluate.compare(
        model,
        data.labels,
        outputs,
        num_classes=len(settings.classes),
        threshold=settings.threshold,
    )
    probabilities = evaluate.probabilities(outputs)
    predicted = np.asarray(lstm.predicted_classes(outputs, settings.threshold))
    texts = None
    if folder := input_dir or made_of:
        texts = reviews.Source(folder, manifest.flags.pattern, manifest.flags.encoding)
    report = {
        "title": commands.one_line(_title(made_of or os.path.join(records_dir, os.pardir))),
        "split": split,
        "binary": len(settings.classes) == 2,
        "same_records": settings.manifest_sha256 == manifest.sha256,
        "records_sha256": manifest.sha256,
        "weights": model.count_params(),
        "flags": _flags(settings),
        "data": counts.describe(manifest, counted, network),
        "training": _training(metrics, config.read_timing(os.path.join(model_dir, folders.LOGS))),
        "result": results.describe(evaluation, data, probabilities, predicted, settings.classes),
        "mistakes": _mistakes(model_dir, settings, data, predicted, probabilities, texts, names),
        "influence": _influence(model, settings, data, names),
    }
    contract.check_unchanged(records_dir, manifest)
    return report


def _mistakes(
    model_dir: str,
    settings: config.Config,
    data: "results.Reviews",
    predicted: np.ndarray,
    probabilities: np.ndarray,
    source: reviews.Source | None,
    names: list[str],
) -> list[dict[str, Any]]:
    """Returns the report's part on mistakes, with their texts if there is a source of them."""
    from model.report import mistakes

    found = mistakes.find(data.labels, predicted, probabilities)
    texts = {}
    if source is not None:
        texts = mistakes.read_texts(source, data, found, predict.load_signatures(model_dir))
    return mistakes.describe(found, data, predicted, probabilities, _shown(settings), texts, names)


def _influence(
    model: "keras.Model", settings: config.Config, data: "results.Reviews", names: list[str]
) -> dict[str, Any]:
    """Returns the report's part on words."""
    from model.report import influence, results

    sample = data.tokens[: influence.REVIEWS]
    commands.say(f"trying the words of {len(sample):,} of them")
    found = influence.influence(
        lambda tokens: evaluate.probabilities(results.outputs(model, tokens)), sample
    )
    return {
        "reviews": len(sample),
        "places": int(found.places.sum()),
        "words": len(found.words),
        "toward": influence.describe(found, names, _shown(settings)),
    }


def _shown(settings: config.Config) -> list[str]:
    """Returns the classes as they can be shown, in the order of the labels."""
    return [commands.one_line(name) for name in settings.classes]


def _split(records_dir: str, manifest: contract.Manifest) -> str:
    """Returns the split to evaluate on."""
    for split in (contract.TEST, contract.VALIDATION):
        if split in manifest.splits:
            return split
    raise commands.BadInput(
        f"{records_dir} holds neither a test nor a validation split: there is nothing to evaluate "
        "the model on"
    )


def _read_metrics(model_dir: str) -> Metrics:
    path = os.path.join(model_dir, config.METRICS)
    try:
        return contract.parse_json(Metrics, files.read_text(path))
    except (OSError, ValueError) as error:
        raise commands.BadInput(f"{path} can't be read ({error}): run `make train` again") from None


def _made_of(records_dir: str) -> str | None:
    """Returns the folder that a dataset was made of, if it tells."""
    try:
        text = files.read_text(os.path.join(records_dir, contract.RUN))
        return contract.parse_json(contract.Run, text).input
    except (OSError, ValueError):
        return None


def _title(folder: str) -> str:
    return os.path.basename(os.path.abspath(folder))


def _names(records_dir: str) -> list[str]:
    """Returns what to call each id."""
    vocabulary = contract.read_vocabulary(os.path.join(records_dir, contract.VOCABULARY))
    return ["[PAD]", "[OOV]", *(commands.one_line(os.fsdecode(token)) for token in vocabulary)]


def _flags(settings: config.Config) -> list[list[str]]:
    flags = dataclasses.asdict(settings.network) | dataclasses.asdict(settings.training)
    return [[name, str(value)] for name, value in flags.items()]


def _training(metrics: Metrics, timing: config.Timing | None) -> dict[str, Any]:
    """Returns the training's part of the report; `None` stands for what wasn't measured."""
    timing = timing or config.Timing()
    history = {name: metrics.history.get(name) for name in MEASURED}
    epochs = []
    for n in range(len(metrics.history["loss"])):
        timed = timing.epochs.get(n + 1)
        epochs.append(
            {
                "epoch": n + 1,
                **{name: values and values[n] for name, values in history.items()},
                "seconds": timed and timed.seconds,
                "validation_seconds": timed and timed.validation_seconds,
            }
        )
    most = max((epoch.steps for epoch in timing.epochs.values()), default=0)
    whole = [epoch.seconds for epoch in timing.epochs.values() if epoch.steps == most]
    median = statistics.median(whole) if whole else None
    known = median is not None and timing.input_seconds is not None
    return {
        "best_epoch": metrics.best_epoch,
        "epochs": epochs,
        "median_seconds": median,
        "input_seconds": timing.input_seconds,
        "input_share": timing.input_seconds / median if known else None,
        "step_share": max(1 - timing.input_seconds / median, 0.0) if known else None,
    }
