"""Trains a model on a dataset of `pipelines.preprocess` and exports it.

TensorFlow is imported where it is first needed, so that `--help` is immediate.
"""

import argparse
import dataclasses
import json
import os
from typing import TYPE_CHECKING, Any

from model import config, evaluate, flags, predict
from pipelines import commands, contract, files, folders

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

# The Keras tutorial scores these two: the first should come out near 1, the second near 0.
SENTENCES = (
    "i loved it! highly recommend it to anyone and everyone looking for a great movie to watch.",
    "this was awful! i hated it so much, nobody should watch this. the acting was terrible, "
    "the music was terrible, overall it was just bad.",
)


def train(
    records_dir: str,
    model_dir: str,
    *,
    network: config.Network,
    training: config.Training,
    cache: str,
    checkpoint_every: int = 0,
    gpus: int = 1,
    resume: bool = True,
    verify: bool = True,
) -> None:
    """Trains on the train split, evaluates on the test split, writes the model folder.

    If there is a validation split, it decides when to stop and which epoch's weights are kept, so
    that the test split is used for nothing but the last evaluation.

    Args:
      records_dir: the dataset.
      model_dir: the folder to make, or to replace once all is done.
      network: the shape of the network; `max_tokens` may be more than the vocabulary holds.
      training: how to train it.
      cache: as in `input_pipeline.read_split`.
      checkpoint_every: steps from one checkpoint to the next, or 0 for the ends of epochs alone.
      gpus: how many of the machine's GPUs share each batch.
      resume: go on with a training that was stopped.
      verify: whether all files of the dataset must be as they were written.

    Raises:
      BadInput: if there is no whole dataset, it was cut below the size of the network, another
        training was stopped here, or there are fewer GPUs.
      Failure: if the loss isn't finite.
    """
    folders.check_path(folders.real(model_dir))
    manifest = contract.read_manifest(records_dir, verify=verify)
    described = config.describe(manifest, network, training)
    with commands.quiet_imports():
        from model import export, fit, logs, replicas

    replicas.check(gpus)
    transform = export.load_transform(records_dir)
    with folders.whole_folder(model_dir, holds=config.MODEL_FILES, marker=config.CONFIG) as new:
        state_dir = folders.beside(model_dir, config.CHECKPOINTS)
        if not resume:
            files.remove_tree(state_dir)
        fitted = fit.fit(
            records_dir,
            manifest,
            described,
            state_dir,
            cache=cache,
            checkpoint_every=checkpoint_every,
            gpus=gpus,
        )
        model, rows = fitted.model, fitted.rows
        if training.choose_threshold:
            threshold = evaluate.best_threshold(model, rows[contract.VALIDATION])
            commands.say(f"the second class is taken above a score of {threshold:.4f}")
            described = dataclasses.replace(described, threshold=threshold)
        test = _evaluate(model, records_dir, manifest, described)
        vocabulary = contract.read_vocabulary(os.path.join(records_dir, contract.VOCABULARY))
        logs.write(f"{state_dir}/{folders.LOGS}", model, rows[contract.TRAIN], vocabulary)
        contract.check_unchanged(records_dir, manifest)
        metrics = {
            "history": fitted.history,
            "best_epoch": fitted.best_epoch,
            "test": dataclasses.asdict(test) if test else None,
        }
        _write(new, model, transform, described, metrics)
        files.rename(f"{state_dir}/{folders.LOGS}", f"{new}/{folders.LOGS}")
        folders.write_sums(new)
    files.remove_tree(state_dir)
    if test:
        evaluate.show(test, manifest.classes)
    commands.say(f"wrote {model_dir}")


def _evaluate(
    model: "keras.Model",
    records_dir: str,
    manifest: contract.Manifest,
    described: config.Config,
) -> evaluate.Evaluation | None:
    """Evaluates on the test split, if the dataset has one."""
    from model import input_pipeline

    if contract.TEST not in manifest.splits:
        commands.say("the dataset has no test split to evaluate on")
        return None
    rows = input_pipeline.read_split(
        records_dir,
        manifest,
        contract.TEST,
        max_tokens=described.network.max_tokens,
        max_len=described.network.max_len,
    )
    return evaluate.evaluate(
        model, rows, num_classes=len(manifest.classes), threshold=described.threshold
    )


def _write(
    folder: str,
    model: "keras.Model",
    transform: "tf.Module",
    described: config.Config,
    metrics: dict[str, Any],
) -> None:
    """Writes all of the model folder but the logs."""
    from model import export

    commands.say("exporting")
    with folders.whole_file(f"{folder}/{config.WEIGHTS}") as weights:
        model.save_weights(weights)
    export.export(
        model,
        transform,
        f"{folder}/{config.SERVING}",
        network=described.network,
        classes=described.classes,
        threshold=described.threshold,
    )
    _write_json(f"{folder}/{config.METRICS}", metrics)
    _write_json(f"{folder}/{config.CONFIG}", dataclasses.asdict(described))


def _write_json(path: str, content: dict[str, Any]) -> None:
    files.write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def parse_args(argv: list[str]) -> argparse.Namespace:
    """Returns the command's flags; those that aren't given are the preset's."""
    parser = commands.ArgumentParser(
        prog="model.train",
        description="Trains an LSTM classifier and exports it as a SavedModel that takes raw text.",
    )
    add = parser.add_argument
    add("--records", required=True, metavar="DIR", help="what preprocess wrote")
    add("--model_dir", required=True, metavar="DIR", help="the folder to write")
    add(
        "--checkpoint_every",
        type=commands.number(least=0),
        default=0,
        metavar="STEPS",
        help="how often to save what a stopped training goes on from; 0: at the end of each epoch",
    )
    add(
        "--gpus",
        type=commands.number(least=1),
        default=1,
        help="how many of the machine's GPUs share each batch",
    )
    add("--no_resume", dest="resume", action="store_false", help="start anew, whatever was stopped")
    add("--cache", default="memory", metavar="memory|none|DIR", help="where to keep parsed reviews")
    add("--no_verify", action="store_true", help=commands.NO_VERIFY)
    return flags.parse_args(parser, argv)


def main(argv: list[str]) -> None:
    args = parse_args(argv)
    network, training = flags.settings(args)
    train(
        args.records,
        args.model_dir,
        network=network,
        training=training,
        cache=args.cache,
        checkpoint_every=args.checkpoint_every,
        gpus=args.gpus,
        resume=args.resume,
        verify=not args.no_verify,
    )
    predict.show(args.model_dir, [sentence.encode() for sentence in SENTENCES])


if __name__ == "__main__":
    commands.run(main)
