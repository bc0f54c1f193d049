"""The command `textrecords` of an installed package, which runs the others by name.

Listing them imports only the standard library, so that it is immediate.
"""

import argparse
import importlib
import sys
from typing import NamedTuple


class Command(NamedTuple):
    """The module of a command, and its help."""

    module: str
    help: str


COMMANDS = {
    "download": Command("pipelines.download", "download the IMDb reviews"),
    "sample": Command("pipelines.sample", "write generated movie reviews to train and test on"),
    "preprocess": Command("pipelines.preprocess.__main__", "turn texts into records"),
    "inspect": Command("pipelines.inspect_records", "print a few records as text"),
    "train": Command("model.train", "train a model on records and export it"),
    "tune": Command("model.tune.__main__", "search for the best settings of train"),
    "evaluate": Command("model.evaluate", "evaluate a model on the test split"),
    "report": Command("model.report.__main__", "write a page about a model"),
    "tensorboard": Command("model.tensorboard", "show the logs of a model"),
    "predict": Command("model.predict", "score texts, or the lines of standard input"),
    "convert": Command("model.convert", "write a model for ONNX Runtime or LiteRT"),
    "score": Command("pipelines.score.__main__", "score many text files or tables"),
    "verify": Command("pipelines.verify.__main__", "prove that all stages agree on every token"),
}
PROG = "textrecords"


def main() -> None:
    if sys.argv[1:] in (["--help"], ["-h"]):
        _parser().print_help()
        return
    from textrecords import app

    app.run(run)


def run(argv: list[str]) -> None:
    """Runs a command; raises `BadInput` if the first argument isn't one."""
    from textrecords.errors import BadInput

    name = argv[0] if argv else None
    if name not in COMMANDS:
        what = f"no command {name}" if name else "no command given"
        raise BadInput(f"{what}: name one of {', '.join(COMMANDS)} (see {PROG} --help)")
    importlib.import_module(COMMANDS[name].module).main(argv[1:])


def _parser() -> argparse.ArgumentParser:
    """Returns the parser that prints the help."""
    width = max(map(len, COMMANDS)) + 2
    lines = (f"  {name:<{width}}{command.help}" for name, command in COMMANDS.items())
    return argparse.ArgumentParser(
        prog=PROG,
        usage=f"{PROG} COMMAND ...",
        description="Records, vocabulary and models of texts.",
        epilog="\n".join([f"commands ({PROG} COMMAND --help lists the flags of each):", *lines]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


if __name__ == "__main__":
    main()
