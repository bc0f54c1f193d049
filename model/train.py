"""Trains a model on a dataset of `pipelines.preprocess` and exports it.

TensorFlow is imported where it is first needed, so that `--help` is immediate.
"""

import argparse
import dataclasses
import functools
import json
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from model import config, evaluate, predict, presets
from pipelines import commands, contract, files, folders

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

    from model import input_pipeline

PROG = "model.train"

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
      resume: go on with a training that was stopped.
      verify: whether all files of the dataset must be as they were written.

    Raises:
      BadInput: if there is no whole dataset, it was cut below the size of the network, or another
        training was stopped here.
      Failure: if the loss isn't finite.
    """
    folders.check_path(folders.real(model_dir))
    manifest = contract.read_manifest(records_dir, verify=verify)
    config.check_fits(manifest, network)
    if training.choose_threshold and (
        contract.VALIDATION not in manifest.splits or len(manifest.classes) != 2
    ):
        raise commands.BadInput(
            "--choose_threshold needs two classes and a validation split: preprocess with "
            "--validation 0.1, say"
        )
    max_tokens = min(network.max_tokens, manifest.vocabulary.size)
    network = dataclasses.replace(network, max_tokens=max_tokens)
    with commands.quiet_imports():
        import keras

        from model import export, fast_lstm, fit, input_pipeline, logs

    size = {"max_tokens": network.max_tokens, "max_len": network.max_len}
    read = functools.partial(input_pipeline.read_split, records_dir, manifest, **size)
    transform = export.load_transform(records_dir)
    described = config.Config(
        network, training, manifest.classes, manifest.vocabulary, manifest.sha256
    )
    keras.utils.set_random_seed(training.seed)
    with folders.whole_folder(model_dir, holds=config.MODEL_FILES, marker=config.CONFIG) as new:
        state_dir = folders.beside(model_dir, config.CHECKPOINTS)
        if not resume:
            files.remove_tree(state_dir)
        splits = [s for s in (contract.TRAIN, contract.VALIDATION) if s in manifest.splits]
        rows = {split: read(split, cache=cache) for split in splits}
        steps_per_epoch = input_pipeline.num_batches(rows[contract.TRAIN], training.batch_size)
        model = _build(described, steps_per_epoch * training.epochs)
        trained = fast_lstm.to_train(model, network, training)
        history = fit.fit(
            trained,
            rows,
            described,
            state_dir,
            class_examples=manifest.splits[contract.TRAIN].class_examples,
            checkpoint_every=checkpoint_every,
        )
        if training.choose_threshold:
            threshold = evaluate.best_threshold(model, rows[contract.VALIDATION])
            commands.say(f"the second class is taken above a score of {threshold:.4f}")
            described = dataclasses.replace(described, threshold=threshold)
        test = _evaluate(model, read, manifest, described.threshold)
        vocabulary = contract.read_vocabulary(os.path.join(records_dir, contract.VOCABULARY))
        logs.write(f"{state_dir}/{folders.LOGS}", model, rows[contract.TRAIN], vocabulary)
        contract.check_unchanged(records_dir, manifest)
        _write(new, model, transform, described, {**history, "test": test})
        files.rename(f"{state_dir}/{folders.LOGS}", f"{new}/{folders.LOGS}")
        folders.write_sums(new)
    files.remove_tree(state_dir)
    commands.say(f"wrote {model_dir}")


def _build(described: config.Config, num_steps: int) -> "keras.Model":
    from model import lstm

    model = lstm.build(described.network, len(described.classes))
    lstm.compile_model(model, described.training, num_steps)
    model.summary()
    return model


def _evaluate(
    model: "keras.Model",
    read: Callable[[str], "input_pipeline.Rows"],
    manifest: contract.Manifest,
    threshold: float,
) -> dict[str, Any] | None:
    """Evaluates on the test split, if the dataset has one."""
    if contract.TEST not in manifest.splits:
        commands.say("the dataset has no test split to evaluate on")
        return None
    evaluation = evaluate.evaluate(
        model, read(contract.TEST), num_classes=len(manifest.classes), threshold=threshold
    )
    evaluate.show(evaluation, manifest.classes)
    return dataclasses.asdict(evaluation)


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
    chooser = commands.ArgumentParser(prog=PROG, add_help=False)
    _add_preset(chooser)
    preset = chooser.parse_known_args(argv)[0].preset
    settings = _settings_parser()
    flags = commands.ArgumentParser(
        prog=PROG,
        parents=[settings],
        description="Trains an LSTM classifier and exports it as a SavedModel that takes raw text.",
    )
    _add_preset(flags)
    add = flags.add_argument
    add("--records", required=True, metavar="DIR", help="what preprocess wrote")
    add("--model_dir", required=True, metavar="DIR", help="the folder to write")
    add(
        "--checkpoint_every",
        type=commands.number(least=0),
        default=0,
        metavar="STEPS",
        help="how often to save what a stopped training goes on from; 0: at the end of each epoch",
    )
    add("--no_resume", dest="resume", action="store_false", help="start anew, whatever was stopped")
    add("--cache", default="memory", metavar="memory|none|DIR", help="where to keep parsed reviews")
    add("--no_verify", action="store_true", help=commands.NO_VERIFY)
    defaults = [*presets.read(presets.TUTORIAL), *presets.read(preset)]
    try:
        flags.set_defaults(**vars(settings.parse_args(defaults)))
    except commands.BadInput as error:
        raise commands.BadInput(f"--preset {preset}: {error}") from None
    return flags.parse_args(argv)


def _add_preset(flags: commands.ArgumentParser) -> None:
    names = ", ".join(presets.names())
    flags.add_argument(
        "--preset",
        default=presets.TUTORIAL,
        metavar="NAME|FILE",
        help=f"what the flags below are unless they are given: {names}, or a file of such flags",
    )


def _settings_parser() -> commands.ArgumentParser:
    """Returns the parser of all that a preset may hold."""
    number, share = commands.number, commands.number(float, least=0, below=1)
    flags = commands.ArgumentParser(prog=PROG, add_help=False)
    switch = {"action": argparse.BooleanOptionalAction}

    add = flags.add_argument_group("network").add_argument
    add("--max_tokens", type=number(least=3), help="ids, with padding and OOV")
    add("--max_len", type=number(least=1), help="tokens a review is cut or padded to")
    add("--embedding_dim", type=number(least=1), help="numbers a token")
    add(
        "--embedding_tokens",
        type=number(least=0),
        help="ids that the embedding tells apart, the most frequent ones; 0: all",
    )
    add("--embedding_dropout", type=share, help="of the embedding's numbers, for a whole review")
    add("--mask_padding", **switch, help="the LSTM skips padding")
    add("--lstm_units", type=number(least=1), help="units a layer and direction")
    add("--lstm_layers", type=number(least=1), help="LSTMs on top of each other")
    add("--bidirectional", **switch, help="the LSTMs read both ways")
    add("--dropout", type=share, help="of each LSTM's inputs")
    add("--recurrent_dropout", type=share, help="of each LSTM's own state")
    add(
        "--pooling",
        choices=config.POOLINGS,
        help="which outputs of the last LSTM count: the last, or the maximum and mean of all",
    )
    add(
        "--piece_len", type=number(least=0), help="tokens a piece, all pieces read at once; 0: none"
    )
    add(
        "--ngram_bits",
        type=number(least=0, most=config.MOST_NGRAM_BITS),
        help="of the number of scores of words and of pairs beside the LSTM; 0: none",
    )
    add("--dense_units", type=number(least=0), help="units behind the LSTMs; 0: no such layer")
    add("--dense_dropout", type=share, help="of the outputs of that layer, or of the LSTMs")

    add = flags.add_argument_group("training").add_argument
    add("--learning_rate", type=number(float, least=1e-9, most=1), help="of Adam")
    add("--decay", choices=config.DECAYS, help="of the learning rate, to 0 at the last step")
    add("--clipnorm", type=number(float, least=0), help="of gradients; 0: no limit")
    add(
        "--class_weights",
        choices=config.CLASS_WEIGHTS,
        help="balanced: every class counts alike, however many reviews it has (but not in the "
        "fitting of --ngram_bits)",
    )
    add("--batch_size", type=number(least=1), help="reviews a step")
    add(
        "--bucket_by_length",
        **switch,
        help="put reviews of like length into a batch, and cut it to them",
    )
    add("--epochs", type=number(least=1), help="times to go through all reviews")
    add(
        "--patience",
        type=number(least=1),
        help="epochs to go on without a smaller validation loss, if there is a validation split",
    )
    add(
        "--choose_threshold",
        **switch,
        help="take the score above which it's the second class from the validation split",
    )
    add("--seed", type=number(least=0), help="of weights and shuffling")
    return flags


def settings(args: argparse.Namespace) -> tuple[config.Network, config.Training]:
    """Returns the network and the training that the flags ask for."""

    def only(of: type) -> Any:
        return of(**{field.name: getattr(args, field.name) for field in dataclasses.fields(of)})

    return only(config.Network), only(config.Training)


def main(argv: list[str]) -> None:
    args = parse_args(argv)
    network, training = settings(args)
    config.check(network, training)
    train(
        args.records,
        args.model_dir,
        network=network,
        training=training,
        cache=args.cache,
        checkpoint_every=args.checkpoint_every,
        resume=args.resume,
        verify=not args.no_verify,
    )
    predict.show(args.model_dir, [sentence.encode() for sentence in SENTENCES])


if __name__ == "__main__":
    commands.run(main)
