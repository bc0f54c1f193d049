"""Helpers do the work of a stage as the stage itself would, and end with their command."""

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
import time

import apache_beam as beam
import pytest
from apache_beam.metrics.metric import MetricsFilter
from apache_beam.testing.util import assert_that, equal_to
from tiny_tree import write

from pipelines import helpers, runners
from pipelines.list_files import ListFiles
from pipelines.places import Place
from textrecords import app, spec, text_source
from textrecords.errors import BadInput, Failure

KILLED = "^a helper process was killed, perhaps for lack of memory: run again, on fewer"
LARGE = 100_000_000  # bytes, far more than fit into a pipe
STOPPING = """
import os, sys, time
from pipelines import helpers
from textrecords import app

def main(argv):
    with helpers.started():
        print(*[each.pid for each in helpers.multiprocessing.active_children()], flush=True)
        time.sleep(100)

app.run(main)
"""


STARTING = """
import multiprocessing.util, os, signal, time
from textrecords import app, imports
with imports.quiet():
    from pipelines import helpers

def main(argv):
    os.sched_getaffinity = lambda process: {0, 1}
    helpers.CPU_QUOTA = "/no/such/file"
    # In the helper, before it ignores Ctrl-C; the command gets it as well.
    multiprocessing.util.register_after_fork(
        main, lambda _: os.killpg(os.getpgid(0), signal.SIGINT)
    )
    with helpers.started():
        time.sleep(100)

app.run(main)
"""


@pytest.fixture
def command(monkeypatch):
    """Makes this process seem to be a command's, on two cores."""
    monkeypatch.setattr(app, "_commands", ["test"])
    monkeypatch.setattr("os.sched_getaffinity", lambda process: {0, 1})
    monkeypatch.setattr(helpers, "CPU_QUOTA", "/no/such/file")
    # Here, unlike in a command, TensorFlow may have its threads.
    threading = "tensorflow.config.threading.set_intra_op_parallelism_threads"
    monkeypatch.setattr(threading, lambda number: None)


def repeat(element, times):
    yield from [element] * times
    yield beam.pvalue.TaggedOutput("times", (element, times))
    yield beam.pvalue.TaggedOutput("process", os.getpid())


def refuse(element):
    yield element
    raise BadInput(f"{element} is bad")


def fail(element):
    yield element
    raise KeyError(element)


def die(element):
    yield element
    os.kill(os.getpid(), signal.SIGKILL)


def fail_to_answer(element):
    yield lambda: element  # can't be pickled


def wait_after(element):
    yield element
    yield element
    time.sleep(1000)


def answer_at_length(element):
    yield bytes(LARGE)


@contextlib.contextmanager
def answering():
    """Yields helpers of which one is sending an answer, with its task."""
    with helpers.started():
        [running] = helpers._running
        task = running.start(answer_at_length, "x")
        [pipe] = running._busy
        assert pipe.poll(60)
        yield running, task


def test_a_stage_yields_the_same_in_helpers(command):
    elements = [f"element {n}" for n in range(50)]
    with helpers.started(), beam.Pipeline(runner="FnApiRunner") as pipeline:
        times = beam.pvalue.AsSingleton(pipeline | "Times" >> beam.Create([2]))
        given = (
            pipeline
            | beam.Create(elements)
            | beam.ParDo(helpers.FlatMap(repeat), times).with_outputs(
                "times", "process", main="repeated"
            )
        )
        assert_that(given.repeated, equal_to(elements * 2), label="Repeated")
        expected = [(element, 2) for element in elements]
        assert_that(given.times, equal_to(expected), label="Tagged")
        here = os.getpid()
        elsewhere = given["process"] | beam.Map(lambda process: process != here)
        assert_that(elsewhere, equal_to([True] * 50), label="Elsewhere")


def test_outputs_stay_in_order(command):
    stage, waiting = helpers.FlatMap(repeat), 4  # two for each helper
    with helpers.started():
        stage.start_bundle()
        during = [each for n in range(waiting + 2) for each in stage.process(n, 1)]
        at_end = [*stage.finish_bundle()]
    early = [each for each in during if isinstance(each, int)]
    assert early[:2] == [0, 1]
    late = [each.value for each in at_end if not isinstance(each, beam.pvalue.TaggedOutput)]
    assert early + late == [*range(waiting + 2)]
    assert all(each.value.windows == at_end[0].windows for each in at_end[1:3])


@pytest.mark.parametrize(
    ("work", "error", "message"),
    [
        (refuse, BadInput, "^x is bad$"),
        (fail, RuntimeError, "^KeyError: 'x'"),
        (fail_to_answer, RuntimeError, "pickle"),
        (die, Failure, KILLED),
    ],
)
def test_an_error_in_a_helper_is_one_of_the_stage(command, work, error, message):
    stage = helpers.FlatMap(work)
    with pytest.raises(error, match=message), helpers.started():
        stage.start_bundle()
        assert [*stage.process("x")] == []
        list(stage.finish_bundle())
    assert multiprocessing.active_children() == []


def test_an_answer_of_any_length_arrives(command):
    with answering() as (running, task):
        assert [*running.finish(task)] == [bytes(LARGE)]


def test_outputs_arrive_as_they_are_made_and_are_held_pickled(command):
    with helpers.started():
        [running] = helpers._running
        task = running.start(wait_after, [b"0123456789"] * 1000)
        outputs = running.finish(task)
        assert next(outputs) == [b"0123456789"] * 1000
        assert not task.is_done
        assert not task.outputs
        running.receive()
        [held] = task.outputs
        assert isinstance(held, bytes)
        assert len(held) < 4000  # equal elements are pickled once
        assert next(outputs) == [b"0123456789"] * 1000
        assert not task.is_done


def test_outputs_come_while_all_helpers_are_busy(command):
    stage = helpers.FlatMap(wait_after)
    with helpers.started():
        stage.start_bundle()
        assert [*stage.process("a"), *stage.process("b")] == []
        waiting = stage.process("c")
        assert [next(waiting), next(waiting)] == ["a", "a"]


def test_files_that_helpers_list_are_counted_in_the_command(command, tmp_path):
    write(tmp_path, {"a/1.txt": "x", "a/2.txt": "y", "b/1.txt": "z", "b/odd": ""})
    before = text_source.SEEN["listed"]
    places = [Place("a", "a"), Place("b", "b")]
    pipeline = beam.Pipeline(runner="FnApiRunner")
    _ = pipeline | ListFiles(text_source.Source(str(tmp_path)), places)
    with helpers.started():
        done = pipeline.run()
    counted = done.metrics().query(MetricsFilter().with_name("files_listed"))["counters"]
    assert sum(each.committed for each in counted) == 3
    assert text_source.SEEN["listed"] - before == 3


def test_a_helper_that_is_killed_while_it_answers_is_a_failure(command):
    with answering() as (running, task):
        for helper in multiprocessing.active_children():
            helper.kill()
        with pytest.raises(Failure, match=KILLED):
            list(running.finish(task))


def test_a_helper_that_is_killed_between_two_tasks_is_a_failure(command):
    with helpers.started():
        for helper in multiprocessing.active_children():
            helper.kill()
            helper.join()
        with pytest.raises(Failure, match=KILLED):
            helpers._running[-1].start(repeat, "x", 1)


def test_an_error_elsewhere_ends_helpers_that_are_answering(command):
    with pytest.raises(BadInput, match=r"^elsewhere$"), answering():
        raise BadInput("elsewhere")
    assert multiprocessing.active_children() == []


def test_what_went_wrong_in_a_helper_is_shown_where_it_happened(command):
    with helpers.started(), pytest.raises(RuntimeError) as error:
        list(helpers._running[-1].finish(helpers._running[-1].start(fail, "x")))
    [note] = error.value.__notes__
    assert "raise KeyError(element)" in note


def test_helpers_are_gone_after_the_block_and_stages_work_without(command):
    with helpers.started():
        assert len(multiprocessing.active_children()) == 2
    assert multiprocessing.active_children() == []
    stage = helpers.FlatMap(repeat)
    stage.start_bundle()
    *repeated, _, process = stage.process("x", 3)
    assert (repeated, process.value) == (["x"] * 3, os.getpid())
    assert [*stage.finish_bundle()] == []


@pytest.mark.parametrize(
    ("what", "value"),
    [
        ("os.sched_getaffinity", lambda process: {3}),
        ("textrecords.app._commands", []),
        ("sys.argv", ["test", "--input=gs://bucket/folder"]),
        ("sys.platform", "darwin"),
    ],
)
def test_nothing_is_forked_where_it_does_not_pay_or_is_not_safe(command, monkeypatch, what, value):
    monkeypatch.setattr(what, value)
    with helpers.started():
        assert multiprocessing.active_children() == []


@pytest.mark.parametrize(
    ("quota", "number"),
    [("max 100000\n", 2), ("200000 100000\n", 2), ("199999 100000\n", 0), ("5000 100000\n", 0)],
)
def test_a_quota_of_the_cpu_counts_as_fewer_cores(command, monkeypatch, tmp_path, quota, number):
    (tmp_path / "cpu.max").write_text(quota)
    monkeypatch.setattr(helpers, "CPU_QUOTA", str(tmp_path / "cpu.max"))
    with helpers.started():
        assert len(multiprocessing.active_children()) == number


@pytest.mark.parametrize(("uses_gpu", "number"), [(True, 0), (False, 2)])
def test_work_that_is_faster_on_a_gpu_stays_there(command, monkeypatch, uses_gpu, number):
    monkeypatch.setattr("tensorflow.config.list_physical_devices", lambda kind: [kind])
    with helpers.started(uses_gpu):
        assert len(multiprocessing.active_children()) == number


def test_there_are_at_most_so_many_helpers(command, monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda process: range(100))
    with helpers.started():
        assert len(multiprocessing.active_children()) == helpers.MAX_HELPERS


@pytest.mark.parametrize(
    ("flags", "number"),
    [
        ([], 2),
        (["--direct_num_workers=2"], 0),
        (["--direct_num_workers=0"], 0),
        (["--direct_running_mode=multi_processing"], 0),
    ],
)
def test_the_local_engine_has_helpers_unless_it_has_workers(command, flags, number):
    options = runners.parse_options("DirectRunner", flags, "pipelines.preprocess")
    with runners._helpers(options, uses_gpu=True):
        assert len(multiprocessing.active_children()) == number


@pytest.mark.integration
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_helpers_end_with_their_command(number):
    with subprocess.Popen(
        [sys.executable, "-c", STOPPING], stdout=subprocess.PIPE, text=True
    ) as command:
        forked = [*map(int, command.stdout.readline().split())]
        command.send_signal(number)
    cores = helpers._usable_cores()
    assert len(forked) == (min(cores, helpers.MAX_HELPERS) if cores > 1 else 0)
    deadline = time.time() + 30
    while any(map(_exists, forked)) and time.time() < deadline:
        time.sleep(0.05)
    assert [*filter(_exists, forked)] == []


@pytest.mark.integration
def test_ctrl_c_while_helpers_are_started_stops_the_command_in_one_line():
    command = [sys.executable, "-c", STARTING]
    done = subprocess.run(command, capture_output=True, text=True, start_new_session=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "stopped\n")


def _exists(process):
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, 0)
        return True
    return False


@pytest.mark.integration
def test_records_are_the_same_with_helpers(tmp_path):
    texts = {
        f"{split}/{name}/{n}.txt": f"{name} film {n}" + " again" * (n % 3)
        for split in ("train", "test")
        for name in ("bad", "good")
        for n in range(40)
    }
    write(tmp_path / "in", {**texts, "train/bad/copy.txt": "good film 1 again"})
    written = {}
    for cores in (1, 2):
        usable = [*os.sched_getaffinity(0)][:cores]
        out = tmp_path / f"with {cores}"
        subprocess.run(
            [
                *(sys.executable, "-m", "pipelines.preprocess", "--num_shards=3", "--min_tokens=4"),
                *("--input", str(tmp_path / "in"), "--output", str(out)),
            ],
            check=True,
            preexec_fn=lambda usable=usable: os.sched_setaffinity(0, usable),
        )
        paths = [*out.glob("*.tfrecord"), *out.glob("audit*"), out / spec.MANIFEST]
        written[cores] = {path.name: path.read_bytes() for path in paths}
    assert len(written[1]) == 8
    assert written[1] == written[2]
