"""The flags that say what is trained, and how: presets, and what is changed of them."""

import argparse
import dataclasses
from typing import Any

from model import config, presets
from pipelines import commands


def parse_args(flags: commands.ArgumentParser, argv: list[str]) -> argparse.Namespace:
    """Parses the flags of a command, and those of network and training, which it adds.

    Of the latter, those that aren't given are the preset's.

    Raises:
      BadInput: if a flag, or the preset, isn't one.
    """
    chooser = commands.ArgumentParser(prog=flags.prog, add_help=False)
    _add_preset(chooser)
    preset = chooser.parse_known_args(argv)[0].preset
    settings_only = commands.ArgumentParser(prog=flags.prog, add_help=False)
    for parser in (settings_only, flags):
        _add_settings(parser)
    _add_preset(flags)
    defaults = [*presets.read(presets.TUTORIAL), *presets.read(preset)]
    try:
        flags.set_defaults(**vars(settings_only.parse_args(defaults)))
    except commands.BadInput as error:
        raise commands.BadInput(f"--preset {preset}: {error}") from None
    return flags.parse_args(argv)


def settings(args: argparse.Namespace) -> tuple[config.Network, config.Training]:
    """Returns the network and the training that the flags ask for.

    Raises:
      BadInput: if flags don't go together.
    """

    def only(of: type) -> Any:
        return of(**{field.name: getattr(args, field.name) for field in dataclasses.fields(of)})

    network, training = only(config.Network), only(config.Training)
    config.check(network, training)
    return network, training


def preset(network: config.Network, training: config.Training) -> str:
    """Returns the content of a preset file that gives just these settings."""
    lines = []
    for name, value in {**vars(network), **vars(training)}.items():
        if isinstance(value, bool):
            lines.append(f"--{name}" if value else f"--no-{name}")
        else:
            lines.append(f"--{name} {value}")
    return "\n".join(lines) + "\n"


def _add_preset(flags: commands.ArgumentParser) -> None:
    names = ", ".join(presets.names())
    flags.add_argument(
        "--preset",
        default=presets.TUTORIAL,
        metavar="NAME|FILE",
        help=f"what the flags below are unless they are given: {names}, or a file of such flags",
    )


def _add_settings(flags: commands.ArgumentParser) -> None:
    """Adds all that a preset may hold."""
    number, share = commands.number, commands.number(float, least=0, below=1)
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
