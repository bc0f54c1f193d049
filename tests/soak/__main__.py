"""Does to the project what should do no harm, again and again: `make soak`."""

import collections
import json
import pathlib
import random
import signal
import sys
import tempfile
from collections.abc import Callable

from rich import box, console, progress, table

from tests.soak import damage, stops, surroundings
from textrecords import app, command_line
from textrecords.errors import Failure

# Takes an empty folder to work in; returns the outcome of one trial.
Fault = Callable[[random.Random, str], str]

PARTS = {"damage": damage.FAULTS, "stops": stops.FAULTS, "surroundings": surroundings.FAULTS}
WIDTH = 120  # of the table, also where it isn't shown on a terminal
RESULTS = pathlib.Path(__file__).with_name("results.json")


def main(argv: list[str]) -> None:
    args = _parser().parse_args(argv)
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    command = " ".join(["python -m tests.soak", *argv])
    for part in args.only:
        outcomes = {
            name: _trials(name, fault, trials=args.trials, seed=args.seed)
            for name, fault in PARTS[part].items()
        }
        results[part] = {"command": command, "seed": args.seed, "outcomes": outcomes}
    RESULTS.write_text(json.dumps(results, indent=2) + "\n")
    for part in args.only:
        show(results[part]["outcomes"])
    wrong = [
        f"{name}: {outcome}"
        for part in args.only
        for name, outcomes in results[part]["outcomes"].items()
        for outcome in outcomes
        if outcome.startswith("WRONG")
    ]
    if wrong:
        raise Failure(f"{len(wrong)} kinds of wrong outcomes; {wrong[0]}")


def _trials(name: str, fault: Fault, *, trials: int, seed: int) -> dict[str, int]:
    """Tries a fault; returns how often each outcome came."""
    rng = random.Random(f"{seed} {name}")
    outcomes: collections.Counter[str] = collections.Counter()
    for _ in progress.track(range(trials), name):
        with tempfile.TemporaryDirectory(prefix="textrecords-soak-") as work_dir:
            outcomes[fault(rng, work_dir)] += 1
    return dict(outcomes.most_common())


def show(outcomes: dict[str, dict[str, int]]) -> None:
    """Prints a table of the faults."""
    shown = table.Table("fault", box=box.MARKDOWN)
    shown.add_column("trials", justify="right")
    shown.add_column("outcome")
    for name, counts in outcomes.items():
        told = ", ".join(f"{count} {outcome}" for outcome, count in counts.items())
        shown.add_row(name, f"{sum(counts.values())}", told)
    console.Console(width=WIDTH).print(shown)


def _parser() -> command_line.ArgumentParser:
    parser = command_line.ArgumentParser(prog="tests.soak", description=__doc__)
    number = command_line.number
    parser.add_argument("--trials", type=number(minimum=1), default=5, help="of each fault")
    parser.add_argument("--seed", type=number(minimum=0), default=0, help="of all that is random")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="which parts")
    return parser


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)
    # A shell starts what runs in the background with Ctrl-C ignored, and a child inherits that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    app.run(main)
