"""Searches for the best settings."""

import os

from model.training import flags
from model.tune import search, search_space
from textrecords import app, command_line, imports, storage
from textrecords.dataset import open_dataset


def main(argv: list[str]) -> None:
    parser = command_line.ArgumentParser(prog=search.PROG, description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add(
        "--records",
        type=command_line.path,
        required=True,
        metavar="DIR",
        help="of preprocess with --validation 0.2, say",
    )
    add(
        "--output",
        type=command_line.path,
        required=True,
        metavar="DIR",
        help="the folder that keeps the search",
    )
    add(
        "--over",
        nargs="+",
        default=search.OVER,
        metavar="FLAG=VALUES",
        help="what is searched: lists as lstm_units=32,64, ranges as dropout=0..0.5, switches as "
        "bidirectional=yes,no",
    )
    add("--trials", type=command_line.number(least=1), default=20, help="in all, with earlier runs")
    add("--no_verify", action="store_true", help=command_line.NO_VERIFY)
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
