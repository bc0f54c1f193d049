"""Turns a folder of text files into a dataset: TFRecords, a vocabulary and a transform graph.

TensorFlow and Beam are imported once there is something to do, so that a refusal is immediate.
"""

import argparse
import contextlib
import dataclasses
import functools
import os
import sys
import time
import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pipelines import run_info, summary
from pipelines.preprocess import croissant, split_assignment, staleness, tfds_files, word_lists
from pipelines.preprocess.find_input import find_input
from pipelines.preprocess.options import Options
from pipelines.unfit_files import Limits
from textrecords import (
    app,
    atomic,
    checksums,
    command_line,
    imports,
    signals,
    spec,
    storage,
    terminal,
    text_source,
)
from textrecords.dataset import open_dataset
from textrecords.errors import BadInput, Failure
from textrecords.manifest import DataFlags

if TYPE_CHECKING:
    from apache_beam.options.pipeline_options import PipelineOptions


def main(argv: list[str]) -> None:
    started = time.time()
    args, beam_flags = _parser().parse_known_args(argv)
    imports.check_installed("preprocess", "preprocess")
    options, limits = (command_line.read_flags(args, of) for of in (Options, Limits))
    flags = _data_flags(args)
    storage.check_store(options.input)
    storage.check_path(storage.real(options.output))
    storage.check_apart(input=options.input, output=options.output)
    elsewhere = options.runner != Options.runner
    # They may be misspelt.
    beam_options = _beam_options(options, beam_flags) if beam_flags or elsewhere else None
    list_elsewhere = _list_by(beam_options, options.output) if elsewhere else None
    atomic.recover(options.output)
    if not options.force and staleness.is_up_to_date(options, flags, limits, list_elsewhere):
        terminal.say(f"{options.output} is up to date with {options.input}")
        if not options.if_needed:  # else a stopped run with other flags may go on
            atomic.forget(options.output)
        return
    tree = find_input(options.input, flags)
    if not options.force:
        staleness.check_replaceable(options, flags)
    terminal.say(f"preprocessing {options.input}")
    summary.show_input(tree, flags)
    holds, marker = spec.DATASET_FILES, spec.MANIFEST
    with (
        _say_what_is_kept(options.output),
        atomic.write_folder(options.output, holds=holds, marker=marker) as output_dir,
    ):
        beam_options = beam_options or _beam_options(options, beam_flags)
        from pipelines.preprocess import metadata, pipeline, plan

        left = _left(options)
        planned = plan.Plan.make(limits, flags, tree, output_dir, left)
        with summary.show_progress(output_dir):
            pipeline.run(planned, beam_options)
        storage.remove_tree(os.path.join(output_dir, spec.TEXTS))
        manifest = open_dataset(output_dir, verify=False).manifest
        if left:
            summary.show_taken_up(manifest, output_dir)
        metadata.check_not_empty(manifest)
        tfds_files.write(output_dir, manifest)
        croissant.write(output_dir, manifest, options.license)
        run_info.write(options.input, output_dir, started)
        checksums.write(output_dir, manifest.shard_sums())
    summary.show(manifest, tree.source.items, options.output, time.time() - started)


def _left(options: Options) -> tuple[str, ...]:
    """Returns the folders with shards that runs which were stopped have finished."""
    if options.no_resume:
        storage.remove_tree(atomic.beside(options.output, atomic.KEPT))
        return ()
    return atomic.left_to(options.output)


@contextlib.contextmanager
def _say_what_is_kept(output: str) -> Iterator[None]:
    """Has a run that is stopped, or fails, say at its end how many shards the next one takes up."""
    try:
        yield
    except BadInput:
        raise
    except (Exception, KeyboardInterrupt) as error:
        number = len(atomic.noted(atomic.beside(output, atomic.KEPT), atomic.FINISHED))
        kept = f"finished shards kept for the next run: {number:,} (--no_resume starts anew)"
        if number and signals.received():
            signals.say_at_end_too(kept)
        elif number and isinstance(error, Failure):
            raise Failure(f"{error}; {kept}") from None
        raise


def _beam_options(options: Options, beam_flags: list[str]) -> "PipelineOptions":
    with imports.quiet():
        from pipelines import runners
        from pipelines.preprocess import pipeline  # noqa: F401, all that loads TensorFlow
    return runners.parse_options(options.runner, beam_flags, "pipelines.preprocess")


def _list_by(beam_options: "PipelineOptions", output: str) -> staleness.ListAll:
    """Returns what has the workers of an engine list an input."""
    from pipelines.preprocess import pipeline

    folder, name = os.path.split(storage.real(output))  # which they all see
    path = os.path.join(folder, f".{name}.textrecords-listed-{uuid.uuid4().hex}.json")
    return functools.partial(pipeline.list_on_workers, options=beam_options, path=path)


def _data_flags(args: argparse.Namespace) -> DataFlags:
    """Returns the flags that shape the data, as they were typed."""
    if sys.getfilesystemencoding() != "utf-8":
        raise BadInput("file names aren't UTF-8 here: set PYTHONUTF8=1")
    if not args.pattern.isprintable():
        raise BadInput(f"--pattern {args.pattern} isn't printable")
    flags = command_line.read_flags(args, DataFlags)
    command_line.check_delimiter(flags.delimiter)
    word_lists.check(flags)
    split_assignment.Shares.from_flags(flags)  # refuses those that leave nothing for train
    return dataclasses.replace(
        flags,
        classes=tuple(flags.classes) if flags.classes else None,
        text_column=tuple(flags.text_column) if flags.text_column else None,
        encoding=text_source.encoding(flags.encoding),
    )


def _parser() -> command_line.ArgumentParser:
    parser = command_line.ArgumentParser(
        prog="pipelines.preprocess",
        description=(
            "Turns <input>/<split>/<class>/*.txt, or <input>/<class>/*.txt with --test, or tables "
            "(CSV, TSV, JSON lines, Parquet) into TFRecords, a vocabulary and a transform graph. "
            "Flags that aren't listed here go to Apache Beam."
        ),
    )
    command_line.add_flags(parser, Options)
    command_line.add_flags(parser, Limits)
    command_line.add_flags(parser.add_argument_group("data"), DataFlags)
    return parser


if __name__ == "__main__":
    app.run(main)
