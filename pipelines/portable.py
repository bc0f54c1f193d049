"""Jobs on engines with a Beam job server: Flink, Spark, Prism and others.

On a cluster a worker is a process that runs `textrecords-worker`: this project is already installed
there, under the same path.
"""

import contextlib
import io
import json
import os
import re
import sysconfig
import time
import types
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any, TypeVar

import apache_beam as beam
import grpc
from apache_beam.options.pipeline_options import (
    FlinkRunnerOptions,
    PipelineOptions,
    PortableOptions,
    SparkRunnerOptions,
    StandardOptions,
)
from apache_beam.runners.portability import flink_runner, spark_runner
from apache_beam.runners.portability.job_server import JobServer
from apache_beam.runners.runner import PipelineResult, PipelineRunner
from apache_beam.runners.worker import sdk_worker
from apache_beam.utils import thread_pool_executor

from pipelines import flink
from textrecords import app, imports, signals, terminal
from textrecords.errors import BadInput, Failure

T = TypeVar("T")

WORKER = os.path.join(sysconfig.get_path("scripts"), "textrecords-worker")
# How long a worker waits for the next stage: a new one would have to import TensorFlow.
CACHE_MILLIS = 10_000
CANCEL_SECONDS = 60.0  # for a cancelled job to end
BUNDLE_SECONDS = 10.0  # for the bundles in this process to end after their engine has
# A worker's errors arrive as text: Python tracebacks, and the engine's Java ones.
OURS = re.compile(
    rf".*^{BadInput.__module__}\.(BadInput|Failure): (.*?)(?: \[while running |\Z)",
    re.DOTALL | re.MULTILINE,
)
# Otherwise the last error of whatever failed, or of the connection to the job server.
ANY = re.compile(r"^(?:Caused by: )?(?:[\w$]+\.)*[\w$]*(?:Error|Exception)\b.*$", re.MULTILINE)


def set_up(options: PipelineOptions) -> None:
    """Makes the machines of a cluster start workers, unless the user sets the environment."""
    flags = options.view_as(PortableOptions)
    if flags.environment_type or flags.job_endpoint or not _is_on_cluster(options):
        return
    if not os.path.exists(WORKER):
        raise BadInput(f"no {WORKER} for workers to run: reinstall this project (make setup)")
    flags.environment_type = "PROCESS"
    flags.environment_config = json.dumps({"command": WORKER})
    flags.environment_cache_millis = flags.environment_cache_millis or CACHE_MILLIS


def run(pipeline: beam.Pipeline) -> None:
    """Runs a pipeline and waits for its end; a signal also stops the job, wherever it runs.

    Raises:
      BadInput: if the engine is unavailable, or as a stage does.
      Failure: if the job fails.
    """
    options = pipeline.options
    runner = options.view_as(StandardOptions).runner  # read now, since Beam clears it
    cluster = flink.Cluster.of(options) if _is_flink_cluster(options) else None
    with (
        _hidden_stderr(),
        _bundles_ended(),
        _cancelled_if_it_fails(cluster),
        _job_server_of(pipeline.runner),
    ):
        _wait(_submit(pipeline, runner), runner)


@contextlib.contextmanager
def _cancelled_if_it_fails(cluster: flink.Cluster | None) -> Iterator[None]:
    """Cancels the job on a cluster, if there is one, if the block raises."""
    try:
        yield
    except BaseException:
        if cluster is not None:
            signals.extend(CANCEL_SECONDS)
            if not cluster.cancel(CANCEL_SECONDS):
                may_run = f"the Flink job {cluster.job} may still be running: see {cluster.url}"
                signals.say_at_end(terminal.one_line(may_run))
        raise


@contextlib.contextmanager
def _hidden_stderr() -> Iterator[None]:
    """Hides what a worker in this process prints, such as the errors that it passes on.

    In a command it stays hidden after a failure, since a thread may go on with a stage.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.redirect_stderr(io.StringIO()))
        try:
            yield
        except BaseException:
            if app.is_command():
                stack.pop_all()
                signals.mute()  # also what is logged, and where a progress bar has put stderr back
            raise


@contextlib.contextmanager
def _bundles_ended() -> Iterator[None]:
    """Waits, at the end of the block, for what workers in this process are still executing.

    A worker whose engine was killed or has cancelled the job goes on with what it has received of a
    bundle, and may write to folders that are about to be removed: Beam creates them again. What
    takes longer than `BUNDLE_SECONDS` may leave some, which the next run removes.
    """
    pool = _RememberingPool()
    module = types.SimpleNamespace(shared_unbounded_instance=lambda: pool)
    try:
        with imports.replaced(sdk_worker, "thread_pool_executor", module):
            yield
    finally:
        signals.extend(BUNDLE_SECONDS)
        pool.wait(BUNDLE_SECONDS)


class _RememberingPool(futures.Executor):
    """Beam's pool of threads, as a job's workers use it: remembers what they are executing.

    `shutdown` would wait, too, but does nothing in that pool, which Beam's servers share.
    """

    def __init__(self) -> None:
        self._pool = thread_pool_executor.shared_unbounded_instance()
        self._workers = self._pool._workers  # a worker logs their number
        self._running: set[futures.Future] = set()

    def submit(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> futures.Future[T]:
        future = self._pool.submit(function, *args, **kwargs)
        self._running.add(future)
        future.add_done_callback(self._running.discard)
        return future

    def wait(self, seconds: float) -> None:
        """Waits until nothing is running, also of what is submitted meanwhile."""
        end = time.monotonic() + seconds
        while (running := {*self._running}) and (left := end - time.monotonic()) > 0:
            futures.wait(running, left)


def _is_on_cluster(options: PipelineOptions) -> bool:
    """Returns whether workers run on the machines of a cluster, not in this process."""
    if _runner(options) == "sparkrunner":
        master = options.view_as(SparkRunnerOptions).spark_master_url
        return not re.match(spark_runner.LOCAL_MASTER_PATTERN, master)
    return _is_flink_cluster(options)


def _is_flink_cluster(options: PipelineOptions) -> bool:
    master = options.view_as(FlinkRunnerOptions).flink_master
    return _runner(options) == "flinkrunner" and master not in flink_runner.MAGIC_HOST_NAMES


def _runner(options: PipelineOptions) -> str:
    return options.view_as(StandardOptions).runner.rpartition(".")[2].lower()


@contextlib.contextmanager
def _job_server_of(runner: PipelineRunner) -> Iterator[None]:
    """Stops the job server that a runner starts in the block at its end.

    Beam would stop it at exit, after the folder of temporary files is removed, and would handle
    Ctrl-C itself. The job server takes down what runs in it: all of Prism, and Spark's driver.
    """
    chosen: list[JobServer] = []
    choose = getattr(runner, "default_job_server", None)

    def keep(options: PipelineOptions) -> JobServer:
        server = choose(options)
        chosen.append(
            getattr(server, "_job_server", server)
        )  # without the wrapper that stops it at exit
        return chosen[-1]

    runner.default_job_server = keep
    try:
        yield
    finally:
        signals.extend(CANCEL_SECONDS)
        for server in chosen:
            if getattr(server, "_server", None) is not None:  # it has started
                server.stop()


def _submit(pipeline: beam.Pipeline, runner: str) -> PipelineResult:
    """Starts a pipeline; raises `BadInput` if its runner is unavailable or refuses it."""
    try:
        return pipeline.run()
    except Exception as error:
        if signals.received() or isinstance(error, BadInput | Failure):
            raise
        why = _text(error).partition("\n")[0]
        raise BadInput(
            f"--runner {runner} is unavailable, or refuses the pipeline: {why}"
        ) from None


def _wait(result: PipelineResult, runner: str) -> None:
    try:
        result.wait_until_finish()
    except BaseException as error:
        if signals.received() is None and isinstance(error, Exception):
            raise _cause(_text(error), runner) from None
        raise


def _text(error: Exception) -> str:
    """Returns the message of an error, without what gRPC adds."""
    return error.details() if isinstance(error, grpc.Call) else str(error)


def error_of_ours(text: str) -> BadInput | Failure | None:
    """Returns the last error of this project's stages in a worker's text; None if there is none."""
    if ours := OURS.match(text):
        kind, message = ours.groups()
        return {"BadInput": BadInput, "Failure": Failure}[kind](message)
    return None


def _cause(error: str, runner: str) -> BadInput | Failure:
    """Returns why a job failed: the last error of this project's stages, or of anything else."""
    if ours := error_of_ours(error):
        return ours
    [*_, cause] = ANY.findall(error) or error.strip().splitlines() or ["unknown error"]
    return Failure(f"{runner}: the job failed: {cause}")
