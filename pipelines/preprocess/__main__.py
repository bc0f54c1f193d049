"""Turns text files or tables into a dataset: TFRecords, a vocabulary and a transform graph.

TensorFlow and Beam are imported lazily, so that errors about bad input are immediate.
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
    # Parsed early, in case they are misspelled.
    beam_options = _beam_options(options, beam_flags) if beam_flags or elsewhere else None
    list_elsewhere = _list_by(beam_options, options.output) if elsewhere else None
    atomic.recover(options.output)
    if not options.force and staleness.is_up_to_date(options, flags, limits, list_elsewhere):
        terminal.say(f"{options.output} is up to date with {options.input}")
        if not options.if_needed:  # otherwise an interrupted run with other flags may still resume
            atomic.forget(options.output)
        return
    tree = find_input(options.input, flags)
    if not options.force:
        staleness.check_replaceable(options, flags)
    terminal.say(f"preprocessing {options.input}")
    summary.show_input(tree, flags)
    holds, marker = spec.DATASET_FILES, spec.MANIFEST
    with (
        _report_kept(options.output),
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
            summary.show_reused(manifest, output_dir)
        metadata.check_not_empty(manifest)
        tfds_files.write(output_dir, manifest)
        croissant.write(output_dir, manifest, options.license)
        run_info.write(options.input, output_dir, started)
        checksums.write(output_dir, manifest.shard_sums())
    summary.show(manifest, tree.source.items, options.output, time.time() - started)


def _left(options: Options) -> tuple[str, ...]:
    """Returns the folders with finished shards of interrupted runs."""
    if options.no_resume:
        storage.remove_tree(atomic.sibling(options.output, atomic.KEPT))
        return ()
    return atomic.left_to(options.output)


@contextlib.contextmanager
def _report_kept(output: str) -> Iterator[None]:
    """Makes a run that is interrupted or fails report how many shards the next one can reuse."""
    try:
        yield
    except BadInput:
        raise
    except (Exception, KeyboardInterrupt) as error:
        number = len(atomic.noted(atomic.sibling(output, atomic.KEPT), atomic.FINISHED))
        kept = f"finished shards kept for the next run: {number:,} (--no_resume starts over)"
        if number and signals.received():
            signals.say_at_end_too(kept)
        elif number and isinstance(error, Failure):
            raise Failure(f"{error}; {kept}") from None
        raise


def _beam_options(options: Options, beam_flags: list[str]) -> "PipelineOptions":
    with imports.quiet("keras", "h5py", "PIL"):  # for tf.Transform, TensorFlow loads tf_keras
        from pipelines import runners
        from pipelines.preprocess import pipeline  # noqa: F401, imports TensorFlow
    return runners.parse_options(options.runner, beam_flags, "pipelines.preprocess")


def _list_by(beam_options: "PipelineOptions", output: str) -> staleness.ListAll:
    """Returns a function that lists an input on the workers of an engine."""
    from pipelines.preprocess import pipeline

    folder, name = os.path.split(storage.real(output))  # a folder that all workers see
    path = os.path.join(folder, f".{name}.textrecords-listed-{uuid.uuid4().hex}.json")
    return functools.partial(pipeline.list_on_workers, options=beam_options, path=path)


def _data_flags(args: argparse.Namespace) -> DataFlags:
    """Returns the flags that shape the data, as typed."""
    if sys.getfilesystemencoding() != "utf-8":
        raise BadInput("file names aren't UTF-8 here: set PYTHONUTF8=1")
    if not args.pattern.isprintable():
        raise BadInput(f"--pattern {args.pattern} isn't printable")
    flags = command_line.read_flags(args, DataFlags)
    command_line.check_delimiter(flags.delimiter)
    word_lists.check(flags)
    split_assignment.Shares.from_flags(flags)  # raises if they leave nothing for train
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
