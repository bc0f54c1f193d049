"""Writes docs/flags.md, the table of all flags, from the parsers of the commands: `make docs`."""

import argparse
import importlib
import pathlib
import re
from unittest import mock

from pipelines import command
from textrecords import app, command_line

PAGE = pathlib.Path(__file__).with_suffix(".md")
HEAD = """# All flags

`make docs` writes this page from the commands' parsers. With `make`, flags go into `ARGS="..."`;
with the package installed, they follow the command: `textrecords train --help`. `--help` and
`--verbose`, which shows what libraries log, are flags of all commands. Required flags are **bold**;
the `make` targets set them.
"""
OF_TRAIN = ("network", "training")  # groups of flags that tune takes, too
UNLISTED = ("help", "verbose")


class _Parser(Exception):
    """Carries a parser out of the command that has made it."""

    def __init__(self, parser: argparse.ArgumentParser):
        super().__init__()
        self.parser = parser


def parser_of(module: str) -> argparse.ArgumentParser:
    """Returns the parser of a command, with all its flags; the command does nothing else."""

    def stop(parser: argparse.ArgumentParser, *_: object) -> None:
        raise _Parser(parser)

    with mock.patch.object(command_line.ArgumentParser, "print_help", stop):
        try:
            importlib.import_module(module).main(["--help"])
        except _Parser as found:
            return found.parser
    raise ValueError(f"{module} has no --help")


def page() -> str:
    """Returns the whole page."""
    sections = (_section(name, each.module) for name, each in command.COMMANDS.items())
    return "\n".join([HEAD, *sections])


def _section(name: str, module: str) -> str:
    parser = parser_of(module)
    lines = [f"## {name}", "", _escaped(" ".join((parser.description or "").split())), ""]
    for group in parser._action_groups:
        actions = [each for each in group._group_actions if each.dest not in UNLISTED]
        if not actions:
            continue
        if name == "tune" and group.title in OF_TRAIN:
            whose = f"The [{group.title}](#{group.title}) flags of `train` apply to every trial."
            lines += [whose, ""]
            continue
        if group.title not in ("options", "positional arguments"):
            lines += [f"### {group.title}" if name == "train" else f"**{group.title}**", ""]
        lines += ["| flag | default | |", "|---|---|---|", *map(_row, actions), ""]
    return "\n".join(lines)


def _row(action: argparse.Action) -> str:
    names = ", ".join(f"`{_typed(action, name)}`" for name in action.option_strings)
    names = names or f"`{action.metavar}`"
    shown = f"**{names}**" if action.required and action.option_strings else names
    help = (action.help or "") % {}  # `%%` is a percent sign
    return f"| {shown} | {_default(action)} | {_escaped(help)} |"


def _typed(action: argparse.Action, name: str) -> str:
    """Returns a flag with what follows it."""
    if action.nargs == 0:
        return name
    if action.choices:
        value = r"\|".join(map(str, action.choices))
    else:
        value = (action.metavar or action.dest.upper()).replace("|", r"\|")
    return f"{name} {value}{' ...' if action.nargs == '+' else ''}"


def _default(action: argparse.Action) -> str:
    value = action.default
    if value is None or value == argparse.SUPPRESS or value is False or action.required:
        return ""
    if isinstance(value, list | tuple):
        value = " ".join(map(str, value))
    return f"`{value}`"


def _escaped(text: str) -> str:
    """Returns text that Markdown shows as it is."""
    return re.sub(r"([|<*\[])", r"\\\1", text)


def main(argv: list[str]) -> None:
    parser = command_line.ArgumentParser(prog="docs.flags", description=__doc__)
    parser.parse_args(argv)
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    app.run(main)
