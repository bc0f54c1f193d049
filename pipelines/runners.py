"""Which of Beam's engines runs a pipeline, and how its failures are reported.

On Dataflow the workers are other machines: they get the code of this project as a package that Beam
builds and stages (`--setup_file`), or in a container (`--sdk_container_image`).
"""

import contextlib
import logging
import os
import tempfile
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import (
    GoogleCloudOptions,
    PipelineOptions,
    SetupOptions,
    StandardOptions,
    WorkerOptions,
)
from apache_beam.runners.dataflow.dataflow_runner import DataflowRuntimeException
from apache_beam.runners.runner import PipelineResult, PipelineState, create_runner

from textrecords import storage, terminal
from textrecords.errors import BadInput, Failure

# Which engine Beam's own DirectRunner is depends on the network: it tries to download one first.
LOCAL_RUNNERS = ("directrunner", "switchingdirectrunner", "fnapirunner")
DATAFLOW = "DataflowRunner"
DATAFLOW_NEEDS = ("project", "region", "temp_location")  # Beam would look for them elsewhere, too
SETUP_FILE = os.path.join(os.path.dirname(os.path.dirname(__file__)), "setup.py")
CONSOLE = "https://console.cloud.google.com/dataflow/jobs"


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
    if _is_dataflow(options):
        cloud = options.view_as(GoogleCloudOptions)
        missing = [name for name in DATAFLOW_NEEDS if getattr(cloud, name) is None]
        if missing:
            refuse(f"--runner {runner} needs --{missing[0]}")
        _ship_code(options)
    return options


def _is_dataflow(options: PipelineOptions) -> bool:
    return options.view_as(StandardOptions).runner.rpartition(".")[2].lower() == DATAFLOW.lower()


def _ship_code(options: PipelineOptions) -> None:
    """Has Beam stage this project, unless the user names another package or a container."""
    setup = options.view_as(SetupOptions)
    if setup.setup_file or options.view_as(WorkerOptions).sdk_container_image:
        return
    if not os.path.exists(SETUP_FILE):
        raise BadInput(
            f"no {SETUP_FILE} to send to Dataflow's workers: run in the project's own folder, or "
            "name --sdk_container_image"
        )
    setup.setup_file = SETUP_FILE


def run(build: Callable[[beam.Pipeline, str], None], options: PipelineOptions) -> None:
    """Builds a pipeline, runs it, and waits for its end.

    Args:
      build: adds the stages; it's given the pipeline and a folder for temporary files, which all
        workers see and which goes at the end.
      options: what `parse_options` returns.

    Raises:
      Failure: if a Dataflow job fails, and as the stages do.
    """
    for name in ("apache_beam", None):  # errors are raised, too; RunInference uses the root logger
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        with _temporary_folder(options) as temp_dir:
            pipeline = _pipeline(options)
            build(pipeline, temp_dir)
            result = pipeline.run()
            if _is_dataflow(options):
                _wait(result, options)
            else:
                result.wait_until_finish()
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


def _wait(result: PipelineResult, options: PipelineOptions) -> None:
    """Waits for the end of a Dataflow job; Ctrl-C cancels it."""
    cloud = options.view_as(GoogleCloudOptions)
    job = f"Dataflow job {result.job_id()}"
    console = f"{CONSOLE}/{cloud.region}/{result.job_id()}?project={cloud.project}"
    terminal.say(f"{job}: {console}")
    try:
        result.wait_until_finish()
    except DataflowRuntimeException as error:
        if error.result.state != PipelineState.FAILED:
            raise Failure(f"the {job} ended as {error.result.state}") from None
        # A worker's traceback, if there is any: its last line is the error itself.
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        why = f"see {console}" if lines[-1] == "None" else lines[-1]
        raise Failure(f"the {job} failed: {why}") from None
    except BaseException as error:  # a signal, or Beam can't reach the service any more
        try:
            result.cancel()
        except Exception:
            terminal.say(f"the {job} may still run: see {console}")
        if isinstance(error, AssertionError):
            raise Failure(f"lost contact with the {job}: run again") from None
        raise
