"""Which of Beam's engines runs a pipeline, and how its failures are reported."""

import contextlib
import tempfile
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import (
    GoogleCloudOptions,
    PipelineOptions,
    StandardOptions,
)
from apache_beam.runners.runner import create_runner

from pipelines import dataflow
from textrecords import imports, storage
from textrecords.errors import BadInput, Failure

# Which engine Beam's own DirectRunner is depends on the network: it tries to download one first.
LOCAL_RUNNERS = ("directrunner", "switchingdirectrunner", "fnapirunner")


def parse_options(runner: str, flags: list[str], command: str) -> PipelineOptions:
    """Returns Beam's options for `command`; raises `BadInput` for a flag that can't be used."""

    def refuse(message: str) -> None:
        raise BadInput(f"{message} (see python -m {command} --help)")

    parsers: list[Any] = []
    PipelineOptions([]).get_all_options(add_extra_args_fn=parsers.append)
    parsers[0].error = refuse
    _, unknown = parsers[0].parse_known_args(flags)
    if unknown:
        refuse(f"neither this command nor Beam knows {' '.join(unknown)}")
    name = "FnApiRunner" if runner.lower() in LOCAL_RUNNERS else runner
    try:
        create_runner(name)
    except (AttributeError, ImportError, ValueError) as error:
        refuse(f"--runner {runner}: {error}")
    options = PipelineOptions(flags, runner=name)
    if options.view_as(StandardOptions).no_wait_until_finish:
        refuse("--no_wait_until_finish: what the job writes is checked at its end")
    if dataflow.is_chosen(options):
        if missing := dataflow.missing_flag(options):
            refuse(f"--runner {runner} needs --{missing}")
        dataflow.ship_code(options)
    return options


def run(build: Callable[[beam.Pipeline, str], None], options: PipelineOptions) -> None:
    """Builds a pipeline, runs it, and waits for its end.

    Args:
      build: adds the stages; it's given the pipeline and a folder for temporary files, which all
        workers see and which goes at the end.
      options: what `parse_options` returns.

    Raises:
      Failure: if a Dataflow job fails, and as the stages do.
    """
    try:
        with imports.quiet_logs(), _temporary_folder(options) as temp_dir:
            pipeline = _pipeline(options)
            build(pipeline, temp_dir)
            if dataflow.is_chosen(options):
                dataflow.run(pipeline, options)
            else:
                pipeline.run().wait_until_finish()
    except Failure as error:  # without the name of the stage, which Beam adds
        raise Failure(str(error).partition(" [while running")[0]) from None


def _pipeline(options: PipelineOptions) -> beam.Pipeline:
    try:
        return beam.Pipeline(options=options)
    except ValueError as error:  # of Beam's checks of the flags, some of which ask the network
        raise BadInput(" ".join(str(error).split())) from None


@contextlib.contextmanager
def _temporary_folder(options: PipelineOptions) -> Iterator[str]:
    shared = options.view_as(GoogleCloudOptions).temp_location
    if shared is None or not storage.is_remote(shared):
        with tempfile.TemporaryDirectory() as folder:
            yield folder
        return
    folder = f"{shared.rstrip('/')}/textrecords-{uuid.uuid4().hex}"
    try:
        yield folder
    finally:
        storage.remove_tree(folder)
