"""Flags: argparse with one-line errors, and flags generated from dataclass fields."""

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

# Help of the flags with these names.
RECORDS = "output folder of preprocess"
MODEL_DIR = "output folder of train"
TEXT_COLUMN = (
    "column of a table with the texts; several are joined by a space (default: text, review, "
    "content or sentence)"
)
DELIMITER = "separates the cells of CSV files (default: detected from the header)"
NO_VERIFY = "skip the comparison of the files' SHA-256"


class _HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Shows defaults, except `None`."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return action.help if action.default is None else super()._get_help_string(action)


class _Verbose(argparse.Action):
    """Shows logs as soon as the flag is parsed; stores nothing in the namespace."""

    def __init__(self, **kwargs: Any):
        super().__init__(**{**kwargs, "default": argparse.SUPPRESS})

    def __call__(self, *_: Any) -> None:
        imports.show_logs()


class ArgumentParser(argparse.ArgumentParser):
    """argparse's parser with one-line errors and without flag abbreviations."""

    def __init__(self, prog: str, **kwargs: Any):
        options = {"allow_abbrev": False, "formatter_class": _HelpFormatter, **kwargs}
        super().__init__(prog=_as_typed(prog), **options)
        help = "show the logs of TensorFlow, Beam and other libraries"
        self.add_argument("--verbose", action=_Verbose, nargs=0, help=help)

    def error(self, message: str) -> NoReturn:
        raise BadInput(f"{message} (see {help_command(self.prog)})")


def help_command(command: str) -> str:
    """Returns what to type to see the flags of a command."""
    if _is_script():
        return f"{_program(sys.argv[0])} {sys.argv[1]} --help"
    return f"{_program(sys.executable)} -m {command} --help"


def _as_typed(command: str) -> str:
    """Returns a command's name as it was typed: `model.train` or `textrecords train`."""
    return f"{SCRIPT} {sys.argv[1]}" if _is_script() else command


def _is_script() -> bool:
    """Returns whether this process runs the installed script, with a command's name."""
    return os.path.basename(sys.argv[0]) == SCRIPT and len(sys.argv) > 1


def _program(path: str) -> str:
    """Returns the shortest text to type that runs a program here."""
    if path == shutil.which(os.path.basename(path)):
        return os.path.basename(path)
    if path.startswith(os.path.join(os.getcwd(), "")):
        path = os.path.relpath(path)
    return shlex.quote(path)


def path(text: str) -> str:
    """An argparse type: a path; a leading `~` is the home folder.

    The shell expands `~` only at the start of a word, and not in `--output=~/records`.
    """
    return os.path.expanduser(text)


def number(
    of: type = int, *, minimum: float, maximum: float = MAX_INT, below: float = float("inf")
) -> Callable[[str], float]:
    """Returns an argparse type: a number from `minimum` to `maximum`, and less than `below`."""

    def parse(text: str) -> float:
        value = of(text)
        if not (minimum <= value <= maximum and value < below):
            limit = f"less than {below}" if below <= maximum else f"at most {maximum}"
            raise argparse.ArgumentTypeError(f"must be at least {minimum} and {limit}, not {text}")
        return value

    parse.__name__ = of.__name__  # for argparse's "invalid int value: 'x'"
    return parse


def flag(help: str, default: Any = dataclasses.MISSING, *, metavar: str | None = None) -> Any:
    """Returns a dataclass field that becomes a flag; without a default, the flag is required."""
    return dataclasses.field(default=default, metadata={"help": help, "metavar": metavar})


def check_delimiter(given: str | None) -> None:
    """Raises `BadInput` if `--delimiter` is given and can't separate the cells of CSV."""
    if given is None:
        return
    fits = given.isascii() and (given.isprintable() or given == "\t") and given != '"'
    if len(given) != 1 or not fits:
        raise BadInput(f"--delimiter {given} isn't a character that can separate cells")


def add_flags(parser: argparse._ActionsContainer, of: type) -> None:
    """Adds a flag for each field of a dataclass, with its type, limits, default and help."""
    hints = typing.get_type_hints(of, include_extras=True)
    for field in dataclasses.fields(of):
        options = {name: value for name, value in field.metadata.items() if value is not None}
        if field.default is dataclasses.MISSING:
            options["required"] = True
        else:
            options["default"] = field.default
        parser.add_argument(f"--{field.name}", **options, **_parsing(hints[field.name]))


def read_flags(args: argparse.Namespace, of: type[T]) -> T:
    """Returns the dataclass of the flags that `add_flags` has added."""
    return of(**{field.name: getattr(args, field.name) for field in dataclasses.fields(of)})


def _parsing(hint: Any) -> dict[str, Any]:
    """Returns the argparse options that parse a value of this type."""
    if typing.get_origin(hint) in (Union, types.UnionType):  # an optional type
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
        maximum = MAX_INT if limits.le is None else limits.le
        below = float("inf") if limits.lt is None else limits.lt
        return {"type": number(of, minimum=limits.ge, maximum=maximum, below=below)}
    return {}
