"""Times this project side by side with the usual alternatives: `make bench`.

The contenders of a part take turns, so that a temporary slowdown of the machine affects all.
"""

import datetime
import importlib
import importlib.metadata
import json
import os
import pathlib
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any

import rich
from rich import box, progress, table

from pipelines import sample
from pipelines.preprocess import input_tree
from textrecords import app, command_line, text_source
from textrecords.errors import BadInput

RESULTS = pathlib.Path(__file__).with_name("results.json")
SAMPLE_COUNT = 50_000  # generated reviews, if no folder is given
PACKAGES = ("apache-beam", "keras", "pyarrow", "tensorflow", "tensorflow-transform")
# Those that start processes come first: a process's peak memory includes that of its parent at that
# time, and this process is small until it loads TensorFlow.
PARTS = ("scale", "preprocess", "score", "startup", "tables", "feed", "step", "length")
DEFAULT_PARTS = PARTS[1:]

Contender = Callable[[], dict[str, Any]]  # does the work once; returns what else was measured


def main(argv: list[str]) -> None:
    args = _parser().parse_args(argv)
    if args.input:
        input_tree.find_reviews(text_source.Source(args.input))
    with tempfile.TemporaryDirectory(prefix="textrecords-") as work_dir:
        input_dir = args.input or os.path.join(work_dir, "sample")
        if not args.input and set(args.only) != {"scale"}:
            sample.write(input_dir, count=SAMPLE_COUNT, seed=0)
        run = {
            "command": " ".join(["python -m benchmarks.run", *argv]),
            "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
            "machine": machine(),
            "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
            "input": args.input or f"{SAMPLE_COUNT:,} generated reviews",
            "repeats": args.repeats,
        }
        # Keeps the results of parts that aren't run.
        results = json.loads(args.output.read_text()) if args.output.exists() else {}
        for name in [part for part in PARTS if part in args.only]:
            print(f"{name}: preparing")
            part = importlib.import_module(f"benchmarks.{name}")
            source = args.counts if name == "scale" else input_dir
            contenders, facts = part.contenders(source, tempfile.mkdtemp(dir=work_dir))
            measured = summarize(measure(contenders, args.repeats))
            results[name] = {**run, "facts": facts, "contenders": measured}
            args.output.write_text(json.dumps(results, indent=2, ensure_ascii=False) + "\n")
            show(name, facts, measured)
    print(f"wrote {args.output}")


def measure(contenders: dict[str, Contender], repeats: int) -> dict[str, list[dict[str, Any]]]:
    """Runs all contenders in turn, for `repeats` rounds; returns each run's measurements."""
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in contenders}
    for _ in progress.track(range(repeats), "timing"):
        for name, contender in contenders.items():
            started = time.perf_counter()
            measured = contender()
            runs[name].append({"seconds": time.perf_counter() - started, **measured})
    return runs


def summarize(runs: dict[str, list[dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    """Returns the medians of each contender; `ratio` is its time over the first contender's."""
    medians = {
        name: {key: statistics.median(run[key] for run in measured) for key in measured[0]}
        for name, measured in runs.items()
    }
    first = next(iter(medians.values()))
    return {
        name: {
            "median": median,
            "reviews_per_second": median["reviews"] / median["seconds"],
            "ratio": median["seconds"] / first["seconds"],
            "runs": runs[name],
        }
        for name, median in medians.items()
    }


def show(part: str, facts: dict[str, Any], measured: dict[str, dict[str, Any]]) -> None:
    """Prints a part's results as Markdown, for the documentation."""
    shown = table.Table(title=part, title_justify="left", caption_justify="left", box=box.MARKDOWN)
    captions = (f"{name.replace('_', ' ')}: {value:,.5g}" for name, value in facts.items())
    shown.caption = ", ".join(captions)
    shown.add_column("contender")
    for name in ("seconds", "minimum to maximum", "reviews/s", "time ratio"):
        shown.add_column(name, justify="right", no_wrap=True)
    has_peak = all("peak_mib" in result["median"] for result in measured.values())
    if has_peak:
        shown.add_column("peak MiB", justify="right", no_wrap=True)
    for name, result in measured.items():
        seconds = [run["seconds"] for run in result["runs"]]
        row = [
            f"{result['median']['seconds']:.2f}",
            f"{min(seconds):.2f} to {max(seconds):.2f}",
            f"{result['reviews_per_second']:,.0f}",
            f"{result['ratio']:.2f}",
        ]
        peak = [f"{result['median']['peak_mib']:,.0f}"] if has_peak else []
        shown.add_row(name, *row, *peak)
    rich.print(shown)


def machine() -> dict[str, Any]:
    """Returns the hardware and system that the times depend on."""
    cpuinfo = pathlib.Path("/proc/cpuinfo")  # only on Linux
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    models = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": models[0] if models else platform.processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(memory / 2**30, 1),
        "os": platform.platform(),
        "python": platform.python_version(),
    }


def _parts(text: str) -> list[str]:
    names = text.split(",")
    if unknown := sorted(set(names) - set(PARTS)):
        raise BadInput(f"--only {unknown[0]}: the parts are {', '.join(PARTS)}")
    return names


def _counts(text: str) -> list[int]:
    return [command_line.number(minimum=6)(count) for count in text.split(",")]


def _parser() -> command_line.ArgumentParser:
    parser = command_line.ArgumentParser(
        prog="benchmarks.run",
        description="Times this project side by side with the usual alternatives.",
    )
    add = parser.add_argument
    add(
        "--input",
        type=command_line.path,
        metavar="DIR",
        help="the reviews (default: a large generated sample)",
    )
    add(
        "--only", type=_parts, default=",".join(DEFAULT_PARTS), help=f"parts, of {', '.join(PARTS)}"
    )
    add(
        "--repeats",
        type=command_line.number(minimum=1),
        default=5,
        help="rounds; medians are shown",
    )
    add("--counts", type=_counts, default="50000,200000", help="generated reviews for scale")
    add("--output", type=pathlib.Path, default=RESULTS, metavar="FILE", help="the file to write")
    return parser


if __name__ == "__main__":
    app.run(main)
