"""Requests to a Flink cluster, and reports of failing jobs; without an engine."""

import contextlib
import http.server
import json
import os
import subprocess
import sys
import threading
import types
from concurrent import futures

import grpc
import json_service
import pytest
from apache_beam.options.pipeline_options import (
    FlinkRunnerOptions,
    GoogleCloudOptions,
    PipelineOptions,
    PortableOptions,
)
from apache_beam.runners.worker import sdk_worker
from on_terminal import Terminal

from pipelines import flink, portable, runners
from textrecords.errors import BadInput, Failure

TRACEBACK = """Traceback (most recent call last):
  File "worker.py", line 1, in run
{module}.{name}: {message}

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "worker.py", line 2, in run
{module}.{name}: {message} [while running 'Check']

\tat org.apache.beam.Worker.run(Worker.java:1)
"""


class Rest(json_service.Handler):
    """Flink's interface, as far as it's asked; a job that is cancelled ends if the server obeys."""

    def do_GET(self):
        server = self.server
        if self.path == "/overview":
            self.answer({"slots-total": server.slots})
        else:
            names = enumerate(server.states)
            jobs = [
                {"jid": str(n), "name": f"job-{n}", "state": server.states[n]} for n, _ in names
            ]
            self.answer({"jobs": jobs})

    def do_PATCH(self):
        number, _, mode = self.path.removeprefix("/jobs/").partition("?")
        assert mode == "mode=cancel"
        self.server.asked.append(number)
        if self.server.obeys:
            self.server.states[int(number)] = "CANCELED"
        self.answer({})


@contextlib.contextmanager
def rest(*, slots=2, obeys=True, states=("RUNNING", "RUNNING")):
    with json_service.serving(http.server.ThreadingHTTPServer(("localhost", 0), Rest)) as server:
        server.slots, server.obeys, server.states, server.asked = slots, obeys, list(states), []
        yield server


def options(server, *flags):
    return PipelineOptions([f"--flink_master=localhost:{server.server_port}", *flags])


def test_a_job_has_a_name_of_its_own_and_takes_all_slots():
    with rest(slots=5) as server:
        given = options(server, "--job_name=reviews")
        cluster, other = flink.Cluster.of(given), flink.Cluster.of(options(server))
    assert given.view_as(FlinkRunnerOptions).parallelism == 5
    assert given.view_as(GoogleCloudOptions).job_name == cluster.job
    assert cluster.job.startswith("reviews-")
    assert other.job.startswith("textrecords-")
    assert cluster.url == f"http://localhost:{server.server_port}"


def test_parallelism_that_is_named_stays():
    with rest(slots=0) as server:
        given = options(server, "--parallelism=3")
        flink.Cluster.of(given)
    assert given.view_as(FlinkRunnerOptions).parallelism == 3


def test_a_cluster_without_task_managers_is_refused():
    with (
        rest(slots=0) as server,
        pytest.raises(BadInput, match="has no task slots: start task managers"),
    ):
        flink.Cluster.of(options(server))


def test_a_cluster_that_is_not_there_is_refused():
    with rest() as server:
        given = options(server)
    with pytest.raises(BadInput, match="no Flink answers at http://localhost:") as error:
        flink.Cluster.of(given)
    assert "\n" not in str(error.value)


def test_only_our_job_is_cancelled():
    with rest() as server:
        cluster = flink.Cluster(f"http://localhost:{server.server_port}", "job-1")
        assert cluster.cancel(10)
        assert cluster.cancel(10)
    assert server.states == ["RUNNING", "CANCELED"]
    assert server.asked == ["1"]


def test_a_job_that_may_still_be_running_is_reported():
    with rest(obeys=False) as server:
        cluster = flink.Cluster(f"http://localhost:{server.server_port}", "job-1")
        assert not cluster.cancel(0.5)
    assert not cluster.cancel(0.5)


@pytest.mark.parametrize("kind", [BadInput, Failure])
@pytest.mark.parametrize("message", ["no word is left", "a\nb.txt: gone"])
def test_a_failing_stage_is_reported_with_its_message(kind, message):
    text = TRACEBACK.format(module=kind.__module__, name=kind.__name__, message=message)
    told = portable._cause(f"Error received from SDK harness: {text}", "FlinkRunner")
    assert (type(told), str(told)) == (kind, message)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (TRACEBACK.format(module="x", name="GoneError", message="lost"), "x.GoneError: lost"),
        ("java.lang.IllegalStateException: Process died", "Process died"),
        (
            "a.FirstException: x\n\tat y\nCaused by: b.LastException: z\n\tat y",
            "b.LastException: z",
        ),
        ("unknown error", "unknown error"),
        ("", "unknown error"),
    ],
)
def test_any_other_failure_is_one_line(error, message):
    told = portable._cause(error, "SparkRunner")
    assert type(told) is Failure
    assert str(told).startswith("SparkRunner: the job failed: ")
    assert message in str(told)
    assert "\n" not in str(told)


LOSES_ITS_ENGINE = """
import logging, sys, threading, time, types
from textrecords import app, imports, signals, terminal
with imports.quiet():
    from apache_beam.options.pipeline_options import PipelineOptions
    from pipelines import portable

stop = threading.Event()

def work():
    while not stop.is_set():
        logging.error("as a worker logs")
        print("as a worker prints", file=sys.stderr)

worker = threading.Thread(target=work, daemon=True)

def run():
    worker.start()
    time.sleep(0.1)
    raise {error}

def main(argv):
    job = types.SimpleNamespace(wait_until_finish=run)
    pipeline = types.SimpleNamespace(run=lambda: job, runner=types.SimpleNamespace())
    pipeline.options = PipelineOptions([], runner="PrismRunner")
    with terminal.progress(lambda: ("working", 1, 2)):
        time.sleep(1)
        with imports.quiet_logs():
            portable.run(pipeline)

{end}
"""


@pytest.mark.integration
@pytest.mark.parametrize(
    ("error", "printed"),
    [
        ("RuntimeError('Socket closed')", "error: PrismRunner: the job failed: Socket closed\n"),
        ("KeyboardInterrupt", "stopped\n"),
    ],
)
def test_a_worker_that_goes_on_in_a_command_that_fails_prints_nothing(error, printed):
    program = LOSES_ITS_ENGINE.format(error=error, end="app.run(main)")
    command = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert command.stderr == printed
    on_terminal = Terminal("-c", program)
    on_terminal.read_all()
    assert "as a worker" not in on_terminal.shown
    assert on_terminal.shown.endswith(printed.replace("\n", "\r\n"))


GOES_ON = """
def other(argv):
    try:
        main(argv)
    except portable.Failure:
        stop.set()
        worker.join()
        {then}

app.run(other)
"""


@pytest.mark.integration
@pytest.mark.parametrize(
    ("then", "end"),
    [
        ("raise KeyError('unexpected')", "KeyError: 'unexpected'\n"),
        ("signals.unmute(); print('and on', file=sys.stderr)", "and on\n"),
    ],
)
def test_a_command_has_its_errors_back_where_they_are_needed(then, end):
    end_of = GOES_ON.format(then=then)
    program = LOSES_ITS_ENGINE.format(error="RuntimeError('Socket closed')", end=end_of)
    command = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert command.stderr.endswith(end)
    assert "as a worker" not in command.stderr


def waiting_in(wait):
    """Returns a pipeline whose job is waited for by a call."""
    job = types.SimpleNamespace(wait_until_finish=wait)
    options = PipelineOptions([], runner="PrismRunner")
    return types.SimpleNamespace(run=lambda: job, runner=types.SimpleNamespace(), options=options)


def test_a_process_of_ones_own_keeps_its_stderr():
    def fail():
        print("hidden", file=sys.stderr)
        raise RuntimeError("Socket closed")

    before = sys.stderr
    with pytest.raises(Failure, match="Socket closed"):
        portable.run(waiting_in(fail))
    assert sys.stderr is before


@pytest.fixture
def engine():
    """Returns the address of a server to which workers can connect."""
    server = grpc.server(futures.ThreadPoolExecutor(1))
    address = f"localhost:{server.add_insecure_port('localhost:0')}"
    server.start()
    yield address
    server.stop(grace=None)


@pytest.fixture
def busy(engine, tmp_path):
    """Returns a function that starts a worker which writes a file, and an event to wait no longer.

    Without the event, the file is written after the seconds that the function gets.
    """
    end = threading.Event()

    def start(name, seconds):
        def write():
            end.wait(seconds)
            (tmp_path / name).touch()

        worker = sdk_worker.SdkHarness(engine, worker_id=name)
        worker._worker_thread_pool.submit(write)
        worker._worker_thread_pool.shutdown()  # as it does when the engine has gone

    yield start, end
    end.set()


@pytest.mark.parametrize("error", [RuntimeError("Socket closed"), KeyboardInterrupt(), None])
def test_a_job_ends_after_what_workers_in_this_process_are_still_writing(tmp_path, busy, error):
    start, _ = busy

    def wait():
        for name in ("one", "two"):
            start(name, 0.5)
        if error:
            raise error

    before = sdk_worker.thread_pool_executor
    with contextlib.suppress(Failure, KeyboardInterrupt):
        portable.run(waiting_in(wait))
    assert sorted(os.listdir(tmp_path)) == ["one", "two"]
    assert sdk_worker.thread_pool_executor is before


def test_a_worker_that_goes_on_for_too_long_is_not_waited_for(monkeypatch, tmp_path, busy):
    start, _ = busy
    monkeypatch.setattr(portable, "BUNDLE_SECONDS", 0.1)
    portable.run(waiting_in(lambda: start("late", 600)))
    assert os.listdir(tmp_path) == []


def test_other_jobs_of_this_process_are_not_waited_for(tmp_path, busy):
    start, _ = busy
    start("other", 600)
    portable.run(waiting_in(lambda: None))
    assert os.listdir(tmp_path) == []


def test_a_job_on_a_cluster_is_cancelled_before_its_workers_here_are_waited_for(
    monkeypatch, tmp_path, busy
):
    start, end = busy

    class Cluster:
        def cancel(self, seconds):
            end.set()
            return True

    def fail():
        start("late", 600)
        raise RuntimeError("Socket closed")

    monkeypatch.setattr(portable, "_is_flink_cluster", lambda options: True)
    monkeypatch.setattr(flink.Cluster, "of", lambda options: Cluster())
    monkeypatch.setattr(portable, "BUNDLE_SECONDS", 60)
    with pytest.raises(Failure, match="Socket closed"):
        portable.run(waiting_in(fail))
    assert os.listdir(tmp_path) == ["late"]


@pytest.mark.parametrize(
    ("runner", "flags", "environment"),
    [
        ("FlinkRunner", ["--flink_master=host:8081"], "PROCESS"),
        ("SparkRunner", ["--spark_master_url=spark://host:7077"], "PROCESS"),
        ("FlinkRunner", ["--flink_master=h:1", "--environment_type=DOCKER"], "DOCKER"),
        ("FlinkRunner", [], None),
        ("SparkRunner", [], None),
        ("PrismRunner", [], None),
        ("FnApiRunner", [], None),
    ],
)
def test_workers_on_a_cluster_are_processes_unless_others_are_named(
    monkeypatch, runner, flags, environment
):
    monkeypatch.setattr(portable, "WORKER", __file__)
    chosen = runners.parse_options(runner, flags, "pipelines.preprocess").view_as(PortableOptions)
    assert chosen.environment_type == environment
    if environment == "PROCESS":
        assert json.loads(chosen.environment_config) == {"command": __file__}
        assert chosen.environment_cache_millis == portable.CACHE_MILLIS


def test_an_installation_without_the_worker_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(portable, "WORKER", str(tmp_path / "none"))
    with pytest.raises(BadInput, match=r"no .*none for workers to run: reinstall this project"):
        runners.parse_options("FlinkRunner", ["--flink_master=host:8081"], "pipelines.preprocess")
