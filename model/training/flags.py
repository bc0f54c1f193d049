"""The flags of network and training: presets, and flags that override them."""

import argparse

from model import presets
from model.training import settings
from textrecords import command_line
from textrecords.errors import BadInput
from textrecords.model_folder import Network, Training


def parse_args(parser: command_line.ArgumentParser, argv: list[str]) -> argparse.Namespace:
    """Adds the flags of network and training to those of a command, and parses all.

    The flags of network and training that aren't given come from the preset.

    Raises:
      BadInput: if a flag or the preset is invalid.
    """
    chooser = command_line.ArgumentParser(prog=parser.prog, add_help=False)
    _add_preset(chooser)
    preset = chooser.parse_known_args(argv)[0].preset
    preset_parser = command_line.ArgumentParser(prog=parser.prog, add_help=False)
    for each in (preset_parser, parser):
        command_line.add_flags(each.add_argument_group("network"), Network)
        command_line.add_flags(each.add_argument_group("training"), Training)
    _add_preset(parser)
    try:
        parser.set_defaults(**vars(preset_parser.parse_args(presets.read(preset))))
    except BadInput as error:
        raise BadInput(f"--preset {preset}: {error}") from None
    return parser.parse_args(argv)


def read_settings(args: argparse.Namespace) -> tuple[Network, Training]:
    """Returns the network and the training that the flags ask for.

    Raises:
      BadInput: if flags can't be combined.
    """
    network = command_line.read_flags(args, Network)
    training = command_line.read_flags(args, Training)
    settings.check_compatible(network, training)
    return network, training


def to_preset(network: Network, training: Training) -> str:
    """Returns the content of a preset file with exactly these settings."""
    lines = []
    for name, value in {**vars(network), **vars(training)}.items():
        if value is None:  # chosen based on the records
            continue
        if isinstance(value, bool):
            lines.append(f"--{name}" if value else f"--no-{name}")
        else:
            lines.append(f"--{name} {value}")
    return "\n".join(lines) + "\n"


def _add_preset(parser: command_line.ArgumentParser) -> None:
    names = ", ".join(presets.names())
    parser.add_argument(
        "--preset",
        type=command_line.path,
        default=presets.TUTORIAL,
        metavar="NAME|FILE",
        help=f"the defaults of the flags below: {names}, or a file with such flags",
    )
