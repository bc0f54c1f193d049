"""Does to the project what should do no harm, again and again: `make soak`."""

import collections
import json
import pathlib
import random
import signal
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator

from rich import box, console, progress, table

from tests.soak import damage, stops, surroundings
from textrecords import app, command_line
from textrecords.errors import Failure

# Takes an empty folder to work in; returns the outcome of one trial.
Fault = Callable[[random.Random, str], str]

PARTS = {
    "datasets": damage.DATASETS,
    "models": damage.MODELS,
    "stops": stops.FAULTS,
    "surroundings": surroundings.FAULTS,
}
WIDTH = 120  # of the table, also where it isn't shown on a terminal
RESULTS = pathlib.Path(__file__).with_name("results.json")
PAGE = pathlib.Path(__file__).parents[2] / "docs" / "trials.md"

INTRODUCTION = """\
# Trials

*How often each fault was tried, and what came of it: made by `make soak`, which
[Trust](trust.md#trials) explains.*

{total:,} trials. The commands:

```sh
{commands}
```

"""


def main(argv: list[str]) -> None:
    args = _parser().parse_args(argv)
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    command = " ".join(["python -m tests.soak", *argv])
    wrong = []
    for part in args.only:
        faults = {name: each for name, each in PARTS[part].items() if args.fault in (None, name)}
        outcomes = {}
        for name, fault in faults.items():
            found = run_trials(name, fault, range(args.seed, args.seed + args.trials))
            outcomes[name] = dict(collections.Counter(found.values()).most_common())
            wrong += [
                f"{name}: {outcome}; repeat it: {repeat(part, name, seed)}"
                for seed, outcome in found.items()
                if outcome.startswith("WRONG")
            ]
        show(outcomes)
        if args.fault is None:
            results[part] = {"command": command, "outcomes": outcomes}
    RESULTS.write_text(json.dumps(results, indent=2) + "\n")
    PAGE.write_text(page(results))
    for each in wrong:
        print(each)
    if wrong:
        raise Failure(f"wrong outcomes: {len(wrong)}")


def run_trials(name: str, fault: Fault, seeds: Iterable[int]) -> dict[int, str]:
    """Tries a fault with each seed, and returns the outcomes."""
    outcomes = {}
    for seed in progress.track(list(seeds), name):
        with tempfile.TemporaryDirectory(prefix="textrecords-soak-") as work_dir:
            outcomes[seed] = fault(random.Random(f"{seed} {name}"), work_dir)
    return outcomes


def repeat(part: str, name: str, seed: int) -> str:
    """Returns the command that repeats a single trial."""
    return f"""make soak SEED={seed} ARGS="--only {part} --fault '{name}' --trials 1\""""


def show(outcomes: dict[str, dict[str, int]]) -> None:
    """Prints a table of the faults."""
    shown = table.Table("fault", box=box.MARKDOWN)
    shown.add_column("trials", justify="right")
    shown.add_column("outcome")
    for row in _rows(outcomes):
        shown.add_row(*row)
    console.Console(width=WIDTH).print(shown)


def page(results: dict[str, dict]) -> str:
    """Returns docs/trials.md, from all parts that were run."""
    outcomes = {
        name: counts for part in results.values() for name, counts in part["outcomes"].items()
    }
    introduction = INTRODUCTION.format(
        total=sum(sum(counts.values()) for counts in outcomes.values()),
        commands="\n".join(f".venv/bin/{part['command']}" for part in results.values()),
    )
    rows = "".join(
        f"| {name} | {trials} | {outcome} |\n" for name, trials, outcome in _rows(outcomes)
    )
    return f"{introduction}| fault | trials | outcome |\n|---|--:|---|\n{rows}"


def _rows(outcomes: dict[str, dict[str, int]]) -> Iterator[tuple[str, str, str]]:
    for name, counts in outcomes.items():
        outcome = "; ".join(f"{count} {outcome}" for outcome, count in counts.items())
        yield name, f"{sum(counts.values())}", outcome


def _parser() -> command_line.ArgumentParser:
    parser = command_line.ArgumentParser(prog="tests.soak", description=__doc__)
    number = command_line.number
    parser.add_argument("--trials", type=number(minimum=1), default=5, help="of each fault")
    parser.add_argument(
        "--seed",
        type=number(minimum=0),
        default=0,
        help="of the first trial; the next one's is 1 more",
    )
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="which parts")
    names = [name for part in PARTS.values() for name in part]
    parser.add_argument("--fault", choices=names, help="a single one; results.json stays as it is")
    return parser


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)
    # A shell starts what runs in the background with Ctrl-C ignored, and a child inherits that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    app.run(main)
