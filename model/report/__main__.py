"""Writes a page about a model: its data, training, results, most confident errors, and words.

TensorFlow is imported lazily, so that `--help` is immediate.
"""

import dataclasses
import os
from typing import Any

from model.report import build_report
from textrecords import (
    app,
    atomic,
    command_line,
    imports,
    json_files,
    model_folder,
    storage,
    terminal,
)
from textrecords.command_line import flag
from textrecords.dataset import open_dataset
from textrecords.errors import BadInput
from textrecords.field_types import Path
from textrecords.saved_model import load_model

SUFFIX = ".html"
PAGE = f"report{SUFFIX}"


@dataclasses.dataclass(frozen=True)
class Options:
    """The flags."""

    records: Path = flag(command_line.RECORDS, metavar="DIR")
    model_dir: Path = flag(command_line.MODEL_DIR, metavar="DIR")
    input: Path | None = flag(
        "folder of the texts (default: the one that the records were made from)",
        None,
        metavar="DIR",
    )
    output: Path | None = flag(
        "the page to write (default: next to the model folder, report.html, or <name>-report.html "
        "if that isn't named model)",
        None,
        metavar="FILE",
    )
    no_verify: bool = flag(command_line.NO_VERIFY, False)


def _check_output(path: str, *whole: str) -> None:
    """Raises `BadInput` for a page that can't be written, or would damage a folder."""
    parent = os.path.dirname(storage.real(path))
    if not path.endswith(SUFFIX):
        raise BadInput(f"--output {path}: name a file that ends in {SUFFIX}")
    if not storage.is_remote(path) and not os.path.isdir(parent):
        raise BadInput(f"--output {path}: there is no folder {parent}")
    for folder in map(storage.real, whole):
        if f"{parent}/".startswith(f"{folder}/"):
            raise BadInput(
                f"--output {path}: another file would damage {folder}: name another folder"
            )


def _show(split: str, result: dict[str, Any]) -> None:
    """Prints the metrics of each class, and the overall accuracy."""
    measures = ("precision", "recall", "f1")
    terminal.show(
        ("class", "reviews", *measures),
        (
            (of["name"], of["examples"], *(_share(of[measure]) for measure in measures))
            for of in result["classes"]
        ),
    )
    terminal.say(f"accuracy {result['accuracy']:.4f} on the {result['examples']:,} of {split}")


def _share(value: float | None) -> str:
    return "none" if value is None else f"{value:.4f}"


def main(argv: list[str]) -> None:
    parser = command_line.ArgumentParser(
        prog="model.report", description=__doc__.partition("\n")[0]
    )
    command_line.add_flags(parser, Options)
    args = parser.parse_args(argv)
    imports.check_installed("the report", "report")
    storage.check_store(args.output or "", args.input or "")
    if args.input is not None and not storage.is_folder(args.input):
        raise BadInput(f"no input folder {args.input}: name the one with the texts")
    output = args.output or model_folder.sibling(storage.real(args.model_dir), PAGE)
    _check_output(output, args.records, args.model_dir)
    dataset = open_dataset(args.records, verify=not args.no_verify)
    model = load_model(args.model_dir, verify=not args.no_verify)
    report = build_report.build(dataset, model, input_dir=args.input)
    with imports.quiet():
        from model.report import page
    text = page.render(report)
    json_files.write(output.removesuffix(SUFFIX) + ".json", report)
    atomic.write_text(output, text)
    _show(report["split"], report["result"])
    terminal.say(f"wrote {output}")


if __name__ == "__main__":
    app.run(main)
