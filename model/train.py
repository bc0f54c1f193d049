"""Trains a model on a dataset of `pipelines.preprocess` and exports it.

TensorFlow is imported lazily, so that `--help` is immediate.
"""

import argparse
import dataclasses
from typing import TYPE_CHECKING, Any

from model import evaluate, predict
from model.training import compile_cache, flags, memory, settings
from textrecords import (
    app,
    atomic,
    checksums,
    command_line,
    imports,
    json_files,
    model_folder,
    spec,
    storage,
    terminal,
    tokenizer_json,
)
from textrecords.command_line import flag
from textrecords.dataset import Dataset, open_dataset
from textrecords.field_types import Count, Path, Size
from textrecords.model_folder import ModelConfig, Network, Training

if TYPE_CHECKING:
    import keras

# The Keras tutorial scores these two: the first should be near 1, the second near 0. They are about
# films, so they only make sense for a model of IMDb's classes.
FILM_CLASSES = ("neg", "pos")
SENTENCES = (
    "i loved it! highly recommend it to anyone and everyone looking for a great movie to watch.",
    "this was awful! i hated it so much, nobody should watch this. the acting was terrible, "
    "the music was terrible, overall it was just bad.",
)


@dataclasses.dataclass(frozen=True)
class Options:
    """The flags that don't change what is trained."""

    records: Path = flag(command_line.RECORDS, metavar="DIR")
    model_dir: Path = flag("the folder to write", metavar="DIR")
    checkpoint_every: Count = flag(
        "steps between checkpoints, from which an interrupted training resumes; 0: once per epoch",
        0,
        metavar="STEPS",
    )
    gpus: Size = flag("number of GPUs of this machine that share each batch", 1)
    keep_checkpoint: bool = flag(
        "keep the last checkpoint in the model folder, to continue with more --epochs", False
    )
    no_resume: bool = flag("start over instead of resuming an interrupted training", False)
    version: Size = flag(
        "version of the model for TensorFlow Serving: a running server loads the highest", 1
    )
    cache: Path = flag("where to keep parsed reviews", "memory", metavar="memory|none|DIR")
    no_verify: bool = flag(command_line.NO_VERIFY, False)


def train(options: Options, network: Network, training: Training) -> None:
    """Trains on the train split, evaluates on the test split, writes the model folder.

    If there is a validation split, it decides when to stop and which epoch's weights are kept, so
    the test split is only used for the final evaluation.

    Args:
      options: the folders of dataset and model, and how to run the training.
      network: the shape of the network; `max_tokens` may exceed the size of the vocabulary.
      training: how to train it.

    Raises:
      BadInput: if there is no complete dataset, it was truncated below the size of the network,
        another training was interrupted here, there are fewer GPUs, or one folder is inside
        another.
      Failure: if the loss isn't finite.
    """
    model_dir = options.model_dir
    storage.check_path(storage.real(model_dir))
    cache = {} if options.cache in ("memory", "none") else {"cache": options.cache}
    storage.check_apart(records=options.records, model_dir=model_dir, **cache)
    dataset = open_dataset(options.records, verify=not options.no_verify)
    config = settings.configure(dataset, network, training)
    memory.check(config.network, config.training, dataset.num_examples(spec.TRAIN))
    if chosen := settings.describe_choice(network, config.network, dataset.manifest):
        terminal.say(chosen)
    with imports.quiet():
        from model.training import fit, held_out, replicas, tensorboard_logs

    replicas.check(options.gpus)
    _ = dataset.transform  # loaded before the training, in case it's incomplete
    holds, marker = model_folder.MODEL_FILES, model_folder.CONFIG
    with atomic.write_folder(model_dir, holds=holds, marker=marker) as new:
        state_dir = atomic.sibling(model_dir, model_folder.CHECKPOINTS)
        if options.no_resume:
            storage.remove_tree(state_dir)
        kept_dir = None if options.no_resume else f"{model_dir}/{model_folder.CHECKPOINT}"
        how = fit.FitOptions(
            state_dir, options.cache, options.checkpoint_every, options.gpus, kept_dir
        )
        with memory.errors_as_failures():
            fitted = fit.fit(dataset, config, how)
        model, config = _calibrated(fitted, config)
        config = _choose_threshold(model, fitted, config)
        config = dataclasses.replace(config, version=options.version)
        test = _evaluate(model, dataset, config)
        logs_dir = f"{state_dir}/{checksums.LOGS}"
        tensorboard_logs.write(logs_dir, model, fitted.rows[spec.TRAIN], dataset.vocabulary)
        results = {"test_loss": test.loss, "test_accuracy": test.accuracy} if test else {}
        tensorboard_logs.write_settings(logs_dir, config, results)
        dataset.check_unchanged()
        _write(new, model, dataset, config)
        json_files.write(f"{new}/{model_folder.METRICS}", _metrics(fitted, test))
        json_files.write(f"{new}/{model_folder.CONFIG}", config)
        if options.keep_checkpoint:
            fitted.checkpoints.keep(f"{new}/{model_folder.CHECKPOINT}")
        storage.rename(logs_dir, f"{new}/{checksums.LOGS}")
        checksums.write(new)
    storage.remove_tree(state_dir)
    if test:
        evaluate.show(test, dataset.classes)
    _show_learned(fitted, dataset)
    terminal.say(f"wrote {model_dir}")
    if config.classes == FILM_CLASSES:
        predict.show(model_dir, [[sentence.encode() for sentence in SENTENCES]])
    else:
        held_out.show(model, dataset, config)


def _show_learned(fitted: Any, dataset: Dataset) -> None:
    """Prints the accuracy on train, and that of always predicting the most frequent class."""
    split = dataset.manifest.splits[spec.TRAIN]
    name, number = max(split.class_examples.items(), key=lambda item: item[1])
    accuracy, share = fitted.history["accuracy"][fitted.best_epoch - 1], number / split.examples
    terminal.say(
        f"train accuracy {accuracy:.4f}; share of the most frequent class, {name}, {share:.4f}"
    )
    if accuracy <= share:
        terminal.say(
            "nothing was learned: always predicting that class is as accurate. Try more --epochs, "
            "a larger --learning_rate, --class_weights balanced, --preset tuned, or more texts"
        )


def _calibrated(fitted: Any, config: ModelConfig) -> tuple["keras.Model", ModelConfig]:
    """Returns the network to serve, and its settings."""
    from model.network import lstm

    if not config.training.calibrate:
        return fitted.model, config
    temperature = evaluate.best_temperature(fitted.model, fitted.rows[spec.VALIDATION], config)
    terminal.say(f"temperature of the logits: {temperature:.4f}")
    model = lstm.build(config.network, len(config.classes), temperature)
    model.set_weights(fitted.model.get_weights())
    lstm.compile_model(model, config.training)
    return model, dataclasses.replace(config, temperature=temperature)


def _choose_threshold(model: "keras.Model", fitted: Any, config: ModelConfig) -> ModelConfig:
    if not config.training.choose_threshold:
        return config
    threshold = evaluate.best_threshold(model, fitted.rows[spec.VALIDATION], config)
    terminal.say(f"threshold for the second class: {threshold:.4f}")
    return dataclasses.replace(config, threshold=threshold)


def _evaluate(
    model: "keras.Model", dataset: Dataset, config: ModelConfig
) -> evaluate.Evaluation | None:
    """Evaluates on the test split, if the dataset has one."""
    if spec.TEST not in dataset.splits:
        terminal.say("the dataset has no test split to evaluate on")
        return None
    return evaluate.evaluate(model, dataset, config)


def _metrics(fitted: Any, test: evaluate.Evaluation | None) -> dict[str, Any]:
    return {
        "history": fitted.history,
        "best_epoch": fitted.best_epoch,
        "test": dataclasses.asdict(test) if test else None,
    }


def _write(folder: str, model: "keras.Model", dataset: Dataset, config: ModelConfig) -> None:
    """Writes the weights, the Keras model and its tokenizer, and the SavedModel."""
    from model.training import export

    terminal.say("exporting")
    with atomic.write_file(f"{folder}/{model_folder.WEIGHTS}") as weights:
        model.save_weights(weights)
    export.save_network(model, f"{folder}/{model_folder.NETWORK}", config)
    _write_tokenizer(f"{folder}/{model_folder.TOKENIZER}", dataset, config)
    export.export(model, dataset.transform, f"{folder}/{config.saved_model}", config)


def _write_tokenizer(path: str, dataset: Dataset, config: ModelConfig) -> None:
    """Writes `tokenizer.json`, or reports why there is none."""
    flags = dataset.manifest.flags
    if obstacles := tokenizer_json.obstacles(flags):
        name = model_folder.TOKENIZER
        terminal.say(f"no {name}: it can't express {', '.join(obstacles)}")
        return
    size = config.network.input_size
    json_files.write(path, tokenizer_json.content(dataset.vocabulary, size, flags.split))


def parse_args(argv: list[str]) -> argparse.Namespace:
    """Returns the command's flags; those that aren't given come from the preset."""
    parser = command_line.ArgumentParser(
        prog="model.train",
        description="Trains an LSTM classifier and exports it as a SavedModel that takes raw text.",
    )
    command_line.add_flags(parser, Options)
    return flags.parse_args(parser, argv)


def main(argv: list[str]) -> None:
    args = parse_args(argv)
    options = command_line.read_flags(args, Options)
    with compile_cache.used():
        train(options, *flags.read_settings(args))


if __name__ == "__main__":
    app.run(main)
