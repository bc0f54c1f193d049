"""Searches for the best settings."""

import dataclasses
import os

from model.training import flags
from model.tune import search, search_space
from textrecords import app, command_line, imports, storage
from textrecords.command_line import flag
from textrecords.dataset import open_dataset
from textrecords.field_types import Path, Size


@dataclasses.dataclass(frozen=True)
class Options:
    """The flags other than those of network and training."""

    records: Path = flag(
        "output folder of preprocess with a validation split, such as --validation 0.2",
        metavar="DIR",
    )
    output: Path = flag("the folder that keeps the search", metavar="DIR")
    over: tuple[str, ...] = flag(
        "what to search: lists such as lstm_units=32,64, ranges such as dropout=0..0.5, switches "
        "such as bidirectional=yes,no",
        search.OVER,
        metavar="FLAG=VALUES",
    )
    trials: Size = flag("total number of trials, including earlier runs", 20)
    no_verify: bool = flag(command_line.NO_VERIFY, False)


def main(argv: list[str]) -> None:
    parser = command_line.ArgumentParser(prog=search.PROG, description=__doc__.partition("\n")[0])
    command_line.add_flags(parser, Options)
    args = flags.parse_args(parser, argv)
    imports.check_installed("the search", "tune")
    storage.check_local(args.output)
    storage.check_path(args.output)
    if storage.real(args.records) != os.path.join(storage.real(args.output), search.RECORDS):
        storage.check_apart(records=args.records, output=args.output)
    settings, over = flags.read_settings(args), search_space.parse(args.over)
    dataset = open_dataset(args.records, verify=not args.no_verify)
    space = search_space.Space(dataset, *settings, over)
    search.search(space, args.output, trials=args.trials)


if __name__ == "__main__":
    app.run(main)
