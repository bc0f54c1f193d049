"""Starts an engine on this machine, prints a command that uses it, and waits for Ctrl-C."""

import pathlib
import signal
import sys

from engines import clusters
from textrecords import app, command_line, terminal


def main(argv: list[str]) -> None:
    parser = command_line.ArgumentParser(prog="engines", description=__doc__)
    parser.add_argument("engine", choices=clusters.ENGINES)
    parser.add_argument("--folder", default="out/engine", help="folder for its logs", metavar="DIR")
    args = parser.parse_args(argv)
    folder = pathlib.Path(args.folder).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    with clusters.ENGINES[args.engine](folder) as engine:
        terminal.say(f'make preprocess RUNNER={engine.runner} ARGS="{" ".join(engine.flags)}"')
        if engine.url:
            terminal.say(f"{args.engine} is running: see {engine.url}; press Ctrl-C to stop it")
            sys.stdout.flush()
            signal.pause()


if __name__ == "__main__":
    app.run(main)
