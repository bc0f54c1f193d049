"""Scores any number of texts with a trained model.

TensorFlow and Beam are imported lazily, so that errors about bad input are immediate.
"""

import argparse
import collections
import contextlib
import dataclasses
import os
import re
import time
from typing import TYPE_CHECKING, Literal

from pipelines import run_info, summary
from pipelines.score import text_files
from pipelines.tables import table_files
from pipelines.unfit_files import Limits
from textrecords import (
    app,
    atomic,
    checksums,
    command_line,
    drift,
    imports,
    json_files,
    model_folder,
    spec,
    storage,
    terminal,
    text_source,
)
from textrecords.command_line import flag
from textrecords.errors import Failure
from textrecords.field_types import NumShards, Path

if TYPE_CHECKING:
    from pipelines.score import text_tables

OF_TABLES = ("text_column", "key_column", "keep_columns", "delimiter")
FORMATS = ("jsonl", "parquet")
SHARDS = rf"scores-\d{{5}}-of-\d{{5}}\.({'|'.join(FORMATS)})"
# In older versions, the metadata was next to the scores.
ABOUT_FILES = "|".join((spec.AUDIT, *map(re.escape, ("scores.json", spec.RUN, checksums.SUMS))))
FILES = f"{SHARDS}|{checksums.ABOUT}|{ABOUT_FILES}"


@dataclasses.dataclass(frozen=True)
class Options:
    """The flags other than Beam's."""

    input: Path = flag(
        "a folder with *.txt files, a quoted pattern such as 'x/**/*.text', or tables",
        metavar="DIR|GLOB|TABLE",
    )
    output: Path = flag("the folder to write or to replace as a whole", metavar="DIR")
    model_dir: Path = flag(command_line.MODEL_DIR, metavar="DIR")
    text_column: tuple[str, ...] | None = flag(command_line.TEXT_COLUMN, None, metavar="NAME")
    key_column: str | None = flag(
        "column with unique keys for the scores (default: keys such as reviews.csv#12)",
        None,
        metavar="NAME",
    )
    keep_columns: tuple[str, ...] | None = flag(
        "other columns to write with each score", None, metavar="NAME"
    )
    delimiter: str | None = flag(command_line.DELIMITER, None, metavar="CHARACTER")
    format: Literal[FORMATS] = flag("of the files to write", "jsonl")
    encoding: str = flag("of the files to read", "utf-8")
    num_shards: NumShards | None = flag("files to write (default: one per 10,000 texts)", None)
    force: bool = flag("replace the scores of another input", False)
    runner: str = flag("Beam's runner; DirectRunner is the local engine", "DirectRunner")
    no_verify: bool = flag(command_line.NO_VERIFY, False)


def main(argv: list[str]) -> None:
    started = time.time()
    args, beam_flags = _parser().parse_known_args(argv)
    imports.check_installed("score", "preprocess")
    storage.check_store(args.input)
    model_dir = storage.absolute(args.model_dir)
    config = model_folder.read(model_dir, verify=not args.no_verify)
    storage.check_path(storage.real(args.output))
    storage.check_apart(model_dir=model_dir, output=args.output)
    texts = _find_texts(args)
    storage.check_apart(input=args.input, output=args.output)
    if not args.force:
        run_info.check_same_input(args.input, args.output, "scores")
    with imports.quiet():
        from pipelines import runners
        from pipelines.score import pipeline as scoring
        from pipelines.score import scorer
    options = runners.parse_options(args.runner, beam_flags, "pipelines.score")
    texts.check_any()
    is_older = storage.is_file(os.path.join(args.output, checksums.SUMS))
    marker = checksums.SUMS if is_older else f"{checksums.ABOUT}/{checksums.SUMS}"
    with atomic.write_folder(args.output, holds=FILES, marker=marker) as output_dir:
        plan = scoring.Plan(
            texts=texts.stored_in(output_dir),
            scorer=scorer.Scorer(os.path.join(model_dir, config.saved_model)),
            classes=config.classes,
            model_sha256=_model_sha256(model_dir),
            output_dir=output_dir,
            num_shards=args.num_shards,
            suffix=args.format,
            limits=command_line.read_flags(args, Limits),
            known=model_folder.read_profile(model_dir),
        )
        storage.make_folder(plan.about_dir)
        with _show_scoring(scoring.SEEN):
            runners.run(lambda pipeline, _: scoring.build(pipeline, plan), options, uses_gpu=True)
        storage.remove_tree(os.path.join(output_dir, spec.TEXTS))
        if _model_sha256(model_dir) != plan.model_sha256:
            raise Failure(f"{args.model_dir} was replaced while it was in use: run again")
        scored = json_files.read(scoring.Summary, os.path.join(plan.about_dir, scoring.SUMMARY))
        run_info.write(args.input, output_dir, started)
        checksums.write(output_dir, {shard.file: shard.sha256 for shard in scored.shards})
    seconds = time.time() - started
    terminal.show(("label", "texts"), scored.labels.items())
    if scored.bad_files:
        named = os.path.join(args.output, checksums.ABOUT, summary.named(scored.audit_shards))
        items = texts.source.items
        terminal.say(f"skipped {scored.bad_files:,}: {items} that can't be read, named in {named}")
    summary.show_misread(scored.misread_files, args.encoding)
    if scored.profile and plan.known:
        for line in drift.describe(scored.profile, plan.known, f"the test of {args.model_dir}"):
            terminal.say(line)
    terminal.say(f"wrote {scored.texts:,} scores to {args.output} in {seconds:.1f} s")


def _find_texts(args: argparse.Namespace) -> "text_files.TextFiles | text_tables.TextTables":
    """Returns the texts that `--input` names; raises `BadInput`."""
    command_line.check_delimiter(args.delimiter)
    folder, files = (
        ("", []) if storage.is_folder(args.input) else table_files.find_files(args.input)
    )
    if files:
        from pipelines.score import text_tables  # here, since importing Arrow is slow

        return text_tables.open_tables(folder, files, args)
    table_files.check_none_given(args.input, {name: getattr(args, name) for name in OF_TABLES})
    return text_files.parse_input(args.input, args.encoding)


def _show_scoring(seen: collections.Counter[str]) -> contextlib.AbstractContextManager[None]:
    """Shows how many texts have been listed, then scored, if this process does it."""
    before = text_source.SEEN["listed"]

    def look() -> terminal.Done:
        listed = text_source.SEEN["listed"] - before
        if not seen["scored"]:
            return "listing files", listed, None
        return "scoring texts", seen["scored"], listed or None

    return terminal.progress(look)


def _model_sha256(model_dir: str) -> str:
    return checksums.sha256(os.path.join(model_dir, checksums.SUMS))


def _parser() -> command_line.ArgumentParser:
    parser = command_line.ArgumentParser(
        prog="pipelines.score",
        description=(
            "Scores text files with a trained model. Flags that aren't listed here go to Apache "
            "Beam."
        ),
    )
    command_line.add_flags(parser, Options)
    command_line.add_flags(parser, Limits)
    return parser


if __name__ == "__main__":
    app.run(main)
