"""Flags: argparse's parser with this project's refusals, and flags made of a dataclass's fields."""

import argparse
import dataclasses
import os
import shlex
import shutil
import sys
import types
import typing
from collections.abc import Callable
from typing import Annotated, Any, Literal, NoReturn, TypeVar, Union

from annotated_types import Interval

from textrecords import imports
from textrecords.errors import BadInput
from textrecords.field_types import MAX_INT, Path

T = TypeVar("T")

SCRIPT = "textrecords"  # of an installed package: `textrecords train` is `python -m model.train`

# The help of the flags of these names.
RECORDS = "what preprocess wrote"
MODEL_DIR = "what train wrote"
TEXT_COLUMN = (
    "of tables, what holds the texts; several are joined by a space (else text, review, content or "
    "sentence)"
)
DELIMITER = "what is between the cells of CSV (else the header tells)"
NO_VERIFY = "take the files as they are, and don't compare their SHA-256"


class _HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Shows defaults, but no `None`, which is the lack of one."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return action.help if action.default is None else super()._get_help_string(action)


class _Verbose(argparse.Action):
    """Shows logs from when the flag is read, and leaves no trace among the flags."""

    def __init__(self, **kwargs: Any):
        super().__init__(**{**kwargs, "default": argparse.SUPPRESS})

    def __call__(self, *_: Any) -> None:
        imports.show_logs()


class ArgumentParser(argparse.ArgumentParser):
    """argparse's parser, but an error is one line and no flag is guessed from a prefix."""

    def __init__(self, prog: str, **kwargs: Any):
        options = {"allow_abbrev": False, "formatter_class": _HelpFormatter, **kwargs}
        super().__init__(prog=_as_typed(prog), **options)
        help = "show what TensorFlow, Beam and other libraries log"
        self.add_argument("--verbose", action=_Verbose, nargs=0, help=help)

    def error(self, message: str) -> NoReturn:
        raise BadInput(f"{message} (see {help_command(self.prog)})")


def help_command(command: str) -> str:
    """Returns what is typed to see the flags of a command, with the program that runs this."""
    if _is_script():
        return f"{_program(sys.argv[0])} {sys.argv[1]} --help"
    return f"{_program(sys.executable)} -m {command} --help"


def _as_typed(command: str) -> str:
    """Returns a command's name: `model.train`, or `textrecords train`, if it was called so."""
    return f"{SCRIPT} {sys.argv[1]}" if _is_script() else command


def _is_script() -> bool:
    """Tells whether this process is the script that takes the name of a command."""
    return os.path.basename(sys.argv[0]) == SCRIPT and len(sys.argv) > 1


def _program(path: str) -> str:
    """Returns what is typed to run a program, as short as it runs here."""
    if path == shutil.which(os.path.basename(path)):
        return os.path.basename(path)
    if path.startswith(os.path.join(os.getcwd(), "")):
        path = os.path.relpath(path)
    return shlex.quote(path)


def path(text: str) -> str:
    """An argparse type: a path, in which `~` at the beginning is the home folder.

    The shell replaces it only where a word begins with it, and not in `--output=~/records`.
    """
    return os.path.expanduser(text)


def number(
    of: type = int, *, least: float, most: float = MAX_INT, below: float = float("inf")
) -> Callable[[str], float]:
    """Returns an argparse type: a number from `least` to `most`, and less than `below`."""

    def parse(text: str) -> float:
        value = of(text)
        if not (least <= value <= most and value < below):
            limit = f"less than {below}" if below <= most else f"at most {most}"
            raise argparse.ArgumentTypeError(f"must be at least {least} and {limit}, not {text}")
        return value

    parse.__name__ = of.__name__  # argparse names the type so in "invalid int value: 'x'"
    return parse


def flag(help: str, default: Any = dataclasses.MISSING, *, metavar: str | None = None) -> Any:
    """Returns a field of a dataclass that holds flags; without a default, the flag is required."""
    return dataclasses.field(default=default, metadata={"help": help, "metavar": metavar})


def check_delimiter(given: str | None) -> None:
    """Raises `BadInput` unless `--delimiter`, if it's given, is what CSV can have."""
    if given is None:
        return
    fits = given.isascii() and (given.isprintable() or given == "\t") and given != '"'
    if len(given) != 1 or not fits:
        raise BadInput(f"--delimiter {given} isn't a character that can be between cells")


def add_flags(parser: argparse._ActionsContainer, of: type) -> None:
    """Adds a flag for each field of a dataclass, with its type and limits, default and help."""
    hints = typing.get_type_hints(of, include_extras=True)
    for field in dataclasses.fields(of):
        options = {name: value for name, value in field.metadata.items() if value is not None}
        if field.default is dataclasses.MISSING:
            options["required"] = True
        else:
            options["default"] = field.default
        parser.add_argument(f"--{field.name}", **options, **_parsing(hints[field.name]))


def read_flags(args: argparse.Namespace, of: type[T]) -> T:
    """Returns the dataclass whose flags `add_flags` has added."""
    return of(**{field.name: getattr(args, field.name) for field in dataclasses.fields(of)})


def _parsing(hint: Any) -> dict[str, Any]:
    """Returns how argparse is to read a value of this type."""
    if typing.get_origin(hint) in (Union, types.UnionType):  # of something and `None`
        (hint,) = (each for each in typing.get_args(hint) if each is not types.NoneType)
    if hint == Path:
        return {"type": path}
    of, *details = typing.get_args(hint) if typing.get_origin(hint) is Annotated else [hint]
    if typing.get_origin(of) is Literal:
        return {"choices": typing.get_args(of)}
    if typing.get_origin(of) is tuple:
        return {"nargs": "+"}
    if of is bool:
        return {"action": details[0] if details else "store_true"}
    if of in (int, float):
        limits = next(each for each in details if isinstance(each, Interval))
        most = MAX_INT if limits.le is None else limits.le
        below = float("inf") if limits.lt is None else limits.lt
        return {"type": number(of, least=limits.ge, most=most, below=below)}
    return {}
