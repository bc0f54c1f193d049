"""Jobs on Dataflow: ships the code to workers, waits for the end, and cancels jobs.

The workers are other machines: they get this project's code as a package that Beam builds and
stages (`--setup_file`), or in a container (`--sdk_container_image`). The package is accompanied by
a list of other packages to install, since Beam installs it without extras.
"""

import contextlib
import os
import tempfile
import threading
from collections.abc import Iterator

import apache_beam as beam
from apache_beam.options.pipeline_options import (
    GoogleCloudOptions,
    PipelineOptions,
    SetupOptions,
    StandardOptions,
    WorkerOptions,
)
from apache_beam.runners.dataflow.dataflow_runner import DataflowRuntimeException
from apache_beam.runners.portability.stager import SKIP_REQUIREMENTS_CACHE
from apache_beam.runners.runner import PipelineResult, PipelineState

from pipelines import portable
from textrecords import signals, storage, terminal
from textrecords.errors import BadInput, Failure

RUNNER = "DataflowRunner"
REQUIRED = ("project", "region", "temp_location")  # without them, Beam would look elsewhere
PROJECT = os.path.dirname(os.path.dirname(__file__))
SETUP_FILE = os.path.join(PROJECT, "setup.py")
LOCK = os.path.join(PROJECT, "requirements-worker.lock")
CONSOLE = "https://console.cloud.google.com/dataflow/jobs"
CANCEL_SECONDS = 60.0  # for the service to confirm that a job is cancelled


def is_chosen(options: PipelineOptions) -> bool:
    """Returns whether a pipeline with these options runs on Dataflow."""
    return options.view_as(StandardOptions).runner.rpartition(".")[2].lower() == RUNNER.lower()


def missing_flag(options: PipelineOptions) -> str | None:
    """Returns the first flag that Dataflow needs and that isn't given; None if there is none."""
    cloud = options.view_as(GoogleCloudOptions)
    return next((name for name in REQUIRED if getattr(cloud, name) is None), None)


def ship_code(options: PipelineOptions) -> None:
    """Makes Beam stage this project, unless the user names another package or a container."""
    setup = options.view_as(SetupOptions)
    if setup.setup_file or options.view_as(WorkerOptions).sdk_container_image:
        return
    for path in (SETUP_FILE, LOCK):
        if not os.path.exists(path):
            raise BadInput(
                f"no {path} to send to Dataflow's workers: run from the project's checkout, or "
                "give --sdk_container_image"
            )
    setup.setup_file = SETUP_FILE


def run(pipeline: beam.Pipeline, options: PipelineOptions) -> None:
    """Submits a job and waits for its end; a signal cancels it.

    Raises:
      Failure: if the job fails, is cancelled, or can't be monitored any more.
    """
    cloud = options.view_as(GoogleCloudOptions)
    at_console = f"see {terminal.one_line(f'{CONSOLE}?project={cloud.project}')}"
    signals.say_at_end(f"if the job was already submitted, it is running: {at_console}")
    with _worker_packages(pipeline.options):
        result = pipeline.run()
    signals.say_at_end(None)
    job = f"Dataflow job {result.job_id()}"
    console = f"{CONSOLE}/{cloud.region}/{result.job_id()}?project={cloud.project}"
    terminal.say(f"{job}: {console}")
    try:
        result.wait_until_finish()
    except DataflowRuntimeException as error:
        raise portable.error_of_ours(str(error)) or Failure(_why(error, job, console)) from None
    except BaseException as error:  # a signal, or Beam lost the connection to the service
        may_run = None
        if not _cancel(result):
            may_run = (
                f"the {job} may still be running: see {console}, or stop it with `gcloud dataflow "
                f"jobs cancel {result.job_id()} --region={cloud.region} --project={cloud.project}`"
            )
        if signals.received() is None and isinstance(error, Exception):
            fate = may_run or "it was cancelled, run again"
            raise Failure(f"lost contact with the {job}: {fate}") from None
        signals.say_at_end(may_run and terminal.one_line(may_run))
        raise


@contextlib.contextmanager
def _worker_packages(options: PipelineOptions) -> Iterator[None]:
    """Makes workers that get this project's package also install the packages locked for them.

    Without the hashes, which would require locking the extras as well. Packages that the user lists
    are added.
    """
    setup = options.view_as(SetupOptions)
    if not setup.setup_file or not os.path.samefile(setup.setup_file, SETUP_FILE):
        yield
        return
    with open(LOCK, encoding="utf-8") as lock, tempfile.NamedTemporaryFile("w") as listed:
        packages = [line.rstrip(" \\\n") for line in lock if line[0].isalpha()]
        if setup.requirements_file:
            packages.append(_own_packages(setup.requirements_file))
        listed.write("\n".join(packages))
        listed.flush()
        setup.requirements_file = listed.name
        setup.requirements_cache = SKIP_REQUIREMENTS_CACHE  # workers download them themselves
        yield


def _own_packages(path: str) -> str:
    try:
        return storage.read_text(path)
    except (OSError, ValueError) as error:
        raise BadInput(f"--requirements_file {path} can't be read ({error})") from None


def _why(error: DataflowRuntimeException, job: str, console: str) -> str:
    """Returns why a job didn't succeed."""
    if error.result.state != PipelineState.FAILED:
        return f"the {job} ended as {error.result.state}"
    # A worker's traceback, if any: its last line is the error.
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"the {job} failed: {f'see {console}' if lines[-1] == 'None' else lines[-1]}"


def _cancel(result: PipelineResult) -> bool:
    """Cancels a job; returns whether the service has confirmed it.

    The cancellation is the first request: `result.cancel` would ask for the job's state first.
    """
    signals.extend(CANCEL_SECONDS)
    client, confirmed = result._runner.dataflow_client, threading.Event()

    def request() -> None:
        with contextlib.suppress(Exception):
            if client.modify_job_state(result.job_id(), "JOB_STATE_CANCELLED"):
                confirmed.set()

    sender = threading.Thread(target=request, daemon=True)
    sender.start()
    sender.join(CANCEL_SECONDS)
    return confirmed.is_set()
