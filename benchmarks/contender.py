"""The command line of the contenders of `benchmarks.preprocess`; costs them next to nothing."""

import argparse
from collections.abc import Callable


def main(run: Callable[[str, str, list[str]], None]) -> None:
    """Calls `run` with the folders of input and output, and the classes, as they were given."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--input", required=True)
    parser.add_argument("--output", required=True)
    parser.add_argument("--classes", nargs="+", default=["neg", "pos"])
    args = parser.parse_args()
    run(args.input, args.output, args.classes)
