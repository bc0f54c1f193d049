"""Real Flink, Spark and Prism: a master and two workers, where applicable."""

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request

import needs
import on_engine
import pytest
import test_reproducible
import test_score
from test_reproducible import FLAGS, ROOT, digests
from tiny_tree import write

from pipelines import sample
from pipelines.preprocess import __main__ as preprocess

pytestmark = pytest.mark.slow

made = test_reproducible.made

ERROR = (
    "error: 1 of 162 files of {source} aren't in utf-8: train/neg/odd\\n.txt (latin-1 or cp1252?); "
    "if most are in another encoding, give --encoding latin-1; to replace what can't be decoded, "
    "give --on_bad_text replace_all"
)
KEPT = r"finished shards kept for the next run: \d+ \(--no_resume starts over\)"


@pytest.fixture(scope="module", params=["prism", "flink", "spark"])
def engine(request, tmp_path_factory):
    with on_engine.up(request.param, tmp_path_factory.mktemp(request.param)) as engine:
        yield engine


def start(engine, source, target, *flags, command="pipelines.preprocess"):
    return subprocess.Popen(
        [
            *(sys.executable, "-m", command, "--input", source, "--output", target),
            *(*on_engine.flags(engine), *flags),
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def ended(process):
    """Waits for a command's end; returns its exit code and what it printed as errors."""
    _, errors = process.communicate(timeout=400)
    return process.returncode, errors


def test_the_sample_gives_the_same_bytes(engine, tmp_path):
    sample.main(["--output", str(tmp_path / "in")])
    preprocess.main(["--input", str(tmp_path / "in"), "--output", str(tmp_path / "local")])
    process = start(engine, tmp_path / "in", tmp_path / "out")
    assert ended(process) == (0, "")
    assert digests(tmp_path / "out") == digests(tmp_path / "local")
    assert sorted(os.listdir(tmp_path)) == ["in", "local", "out"]


def test_scores_are_those_of_a_local_run(engine, tmp_path):
    model_dir = test_score.trained(tmp_path / "trained", ("neg", "pos"))
    write(tmp_path / "in", test_score.TEXTS)
    expected = test_score.scored(tmp_path / "in", model_dir)
    flags = ["--model_dir", model_dir]
    process = start(engine, tmp_path / "in", tmp_path / "out", *flags, command="pipelines.score")
    assert ended(process) == (0, "")
    test_score.check_same(tmp_path / "out", expected)


def test_a_failing_stage_is_reported_in_one_line(engine, made, tmp_path):
    source, _ = made
    process = start(engine, source, tmp_path / "out", "--on_bad_text=fail")
    code, errors = ended(process)
    # An engine may be at the shards when another stage fails.
    assert code == 1
    assert re.fullmatch(f"{re.escape(ERROR.format(source=source))}(; {KEPT})?\n", errors)
    assert {*os.listdir(tmp_path)} <= {".out.textrecords-kept"}


def test_ctrl_c_stops_the_job(engine, made, tmp_path):
    on_engine.wait_for(lambda: not workers(engine))  # of the last job
    process = start(engine, made[0], tmp_path / "out", *FLAGS)
    on_engine.wait_for(lambda: is_working(engine, process, tmp_path))
    process.send_signal(signal.SIGINT)
    code, errors = ended(process)
    assert code == 130
    assert re.fullmatch(f"stopped(: {KEPT})?\n", errors)
    left = os.listdir(tmp_path)
    assert {*left} <= {".out.textrecords-kept"}
    assert jobs(engine) == []
    on_engine.wait_for(lambda: not workers(engine))
    assert os.listdir(tmp_path) == left  # and nobody writes there any more


def test_a_run_killed_midway_damages_nothing(engine, made, tmp_path):
    """Flink's task manager, Spark's executor, and Prism itself."""
    source, expected = made
    on_engine.wait_for(lambda: not workers(engine))  # of the last job
    process = start(engine, source, tmp_path / "out", *FLAGS)
    on_engine.wait_for(lambda: is_working(engine, process, tmp_path))
    machines = [each.pid for each in engine.workers]
    executors = on_engine.below(*machines, named="CoarseGrainedExecutorBackend")
    os.kill((executors or machines or prism(process))[0], signal.SIGKILL)
    code, errors = ended(process)
    if code == 0:
        assert digests(tmp_path / "out") == expected
    else:
        assert code == 1
        assert errors.startswith("error: ")
        assert errors.count("\n") == 1
        assert {*os.listdir(tmp_path)} <= {".out.textrecords-kept"}  # shards that were finished
    assert code == (0 if engine.runner == "SparkRunner" else 1)


def test_make_engine_prints_a_command_and_stops_what_it_started(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-m", "engines", "flink", "--folder", tmp_path],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while (said := process.stdout.readline()).startswith("getting "):
        pass
    if not said:
        needs.skip_without("flink engine", process.communicate()[1].strip())
    assert said.startswith('make preprocess RUNNER=FlinkRunner ARGS="--flink_master=localhost:')
    machines = on_engine.below(process.pid, named="TaskManagerRunner")
    assert len(machines) == 2
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60)[1] == "stopped\n"
    assert process.returncode == 130
    assert not any(os.path.exists(f"/proc/{pid}") for pid in machines)


def is_working(engine, process, folder):
    """Returns whether a job has begun to run stages; fails if the command has ended."""
    assert process.poll() is None, process.communicate()
    # Prism's worker is the command itself. It has begun when TensorFlow leaves its files.
    return workers(engine) or [*folder.rglob("__autograph_generated_file*")]


def workers(engine):
    return on_engine.below(*(each.pid for each in engine.workers), named="textrecords-worker")


def prism(process):
    return on_engine.below(process.pid, named="prism")


def jobs(engine):
    """Returns the jobs that a cluster has not ended."""
    if engine.runner == "FlinkRunner":
        found = ask(f"{engine.url}/jobs/overview")["jobs"]
        return [job for job in found if job["state"] not in ("FINISHED", "FAILED", "CANCELED")]
    return ask(f"{engine.url}/json/")["activeapps"] if engine.url else []


def ask(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.load(answer)
