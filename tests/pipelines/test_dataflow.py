"""Jobs that Beam's DataflowRunner submits to a fake service, which executes them."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import dataflow
import pytest
import test_reproducible
import test_score
from apache_beam.options.pipeline_options import SetupOptions
from test_reproducible import FLAGS, ROOT, digests
from tiny_tree import write

from pipelines import runners
from textrecords.errors import BadInput

pytestmark = pytest.mark.slow

made = test_reproducible.made
PROJECT = ["--project=a-project", "--region=us-central1"]
CLOUD = [*PROJECT, "--temp_location=gs://bucket/temp"]


def start(service, source, target, *flags, command="pipelines.preprocess"):
    """Has a command submit a job from another folder than this project's."""
    staged = target.parent / "staged"
    staged.mkdir()
    return subprocess.Popen(
        [
            *(sys.executable, "-m", command),
            *("--input", source, "--output", target),
            *(f"--temp_location={staged}", f"--staging_location={staged}"),
            *(*service.flags, *PROJECT, *flags),
        ],
        cwd=target.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def submit(service, source, target, *flags, **command):
    """Waits for the command's end; returns its exit code, what it printed, and what it staged."""
    process = start(service, source, target, *flags, **command)
    out, errors = process.communicate(timeout=300)
    staged = target.parent / "staged"
    names = {path.name for path in staged.rglob("*") if path.is_file()}
    return process.returncode, out, errors, names


def test_a_dataflow_job_gives_the_same_bytes(made, tmp_path):
    source, expected = made
    flags = [
        "--job_name=reviews",
        "--num_workers=3",
        "--max_num_workers=7",
        "--machine_type=n2-highmem-4",
        "--labels=team=films",
        "--service_account_email=worker@a-project",
    ]
    with dataflow.service() as service:
        code, out, errors, staged = submit(service, source, tmp_path / "out", *FLAGS, *flags)
    assert code == 0, errors + service.error
    assert digests(tmp_path / "out") == expected
    assert f"jobs/us-central1/{dataflow.ID}?project=a-project" in out
    assert {"pipeline.pb", "requirements.txt", "workflow.tar.gz"} <= staged
    job = service.job
    assert (job["name"], job["labels"]) == ("reviews", {"team": "films"})
    environment = job["environment"]
    assert environment["serviceAccountEmail"] == "worker@a-project"
    [pool] = environment["workerPools"]
    assert pool["machineType"] == "n2-highmem-4"
    assert (pool["numWorkers"], pool["autoscalingSettings"]["maxNumWorkers"]) == (3, 7)
    packages = {package["name"] for package in pool["packages"]}
    assert {"requirements.txt", "workflow.tar.gz"} <= packages
    [listed] = (tmp_path / "staged").rglob("requirements.txt")
    lines = listed.read_text().splitlines()
    assert {line.partition(" ;")[0] for line in lines} == locked("requirements-worker.lock")
    assert not [line for line in lines if "--hash" in line or line.endswith("\\")]


def test_a_job_whose_workers_lack_the_code_fails_in_one_line(made, tmp_path):
    source, _ = made
    container = ["--sdk_container_image=example/without-it", "--sdk_location=container"]
    with dataflow.service() as service:
        code, _, errors, staged = submit(service, source, tmp_path / "out", *container)
    assert "workflow.tar.gz" not in staged
    [pool] = service.job["environment"]["workerPools"]
    assert pool["sdkHarnessContainerImages"][0]["containerImage"] == "example/without-it"
    assert code == 1
    assert errors.splitlines() == [
        f"error: the Dataflow job {dataflow.ID} failed: ModuleNotFoundError: No module named "
        "'pipelines'"
    ]
    assert sorted(os.listdir(tmp_path)) == ["staged"]


def test_a_dataflow_job_scores_as_a_local_one(tmp_path):
    model_dir = test_score.trained(tmp_path / "trained", ("neg", "pos"))
    write(tmp_path / "in", test_score.TEXTS)
    expected = test_score.scored(tmp_path / "in", model_dir)
    with dataflow.service() as service:
        flags = ["--model_dir", model_dir]
        code, _, errors, _ = submit(
            service, tmp_path / "in", tmp_path / "out", *flags, command="pipelines.score"
        )
    assert code == 0, errors + service.error
    test_score.check_same(tmp_path / "out", expected)


def lines(errors):
    """Returns what was printed, without the output of the package build."""
    return [line for line in errors.splitlines() if not line.startswith("* ")]


def wait_for_job(service, process):
    deadline = time.monotonic() + 120
    while not service.asked and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)


@pytest.mark.parametrize("answers", ["prompt", "slow"])
def test_ctrl_c_cancels_the_job(made, tmp_path, answers):
    """A slow service takes longer for an answer than a stopped command takes otherwise to end."""
    with dataflow.service(executes=False, answers=answers) as service:
        process = start(service, made[0], tmp_path / "out")
        wait_for_job(service, process)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, lines(errors)) == (130, ["stopped"])
    assert service.state == dataflow.CANCELLED
    assert os.listdir(tmp_path) == ["staged"]


@pytest.mark.parametrize("dead", [False, True])
def test_a_job_that_cannot_be_cancelled_is_named_last(made, tmp_path, dead):
    """Because the service refuses, or can't be reached any more."""
    with dataflow.service(executes=False, answers="refuses") as service:
        process = start(service, made[0], tmp_path / "out")
        wait_for_job(service, process)
        if dead:
            service.shutdown()
            service.server_close()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=90)
    assert process.returncode == 130
    assert lines(errors)[-1] == (
        f"stopped: the Dataflow job {dataflow.ID} may still be running: see "
        "https://console.cloud.google.com/dataflow/jobs/us-central1/"
        f"{dataflow.ID}?project=a-project, or stop it with `gcloud dataflow jobs cancel "
        f"{dataflow.ID} --region=us-central1 --project=a-project`"
    )
    assert service.state == dataflow.RUNNING
    assert os.listdir(tmp_path) == ["staged"]


def test_a_cancelled_job_is_reported_in_one_line(made, tmp_path):
    with dataflow.service(executes=False) as service:
        process = start(service, made[0], tmp_path / "out")
        wait_for_job(service, process)
        service.state = dataflow.CANCELLED
        _, errors = process.communicate(timeout=120)
    assert process.returncode == 1
    assert lines(errors) == [f"error: the Dataflow job {dataflow.ID} ended as CANCELLED"]


def parse(*flags):
    return runners.parse_options("DataflowRunner", list(flags), "pipelines.preprocess")


def test_the_code_is_shipped_unless_there_is_a_container():
    setup_file = parse(*CLOUD).view_as(SetupOptions).setup_file
    assert pathlib.Path(setup_file) == ROOT / "setup.py"
    own = parse(*CLOUD, "--setup_file=own/setup.py").view_as(SetupOptions)
    assert own.setup_file == "own/setup.py"
    assert not parse(*CLOUD, "--sdk_container_image=x").view_as(SetupOptions).setup_file


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (PROJECT, "DataflowRunner needs --temp_location"),
        (CLOUD[2:], "DataflowRunner needs --project"),
        (
            [*CLOUD, "--no_wait_until_finish"],
            "has to be checked at the end",
        ),
    ],
)
def test_what_dataflow_would_refuse_is_refused_at_once(flags, message):
    with pytest.raises(BadInput, match=message) as error:
        parse(*flags)
    assert "\n" not in str(error.value)


def test_workers_get_a_users_own_packages_in_addition_to_the_locked_ones(tmp_path):
    own = tmp_path / "own.txt"
    own.write_text("my-package==1.0\n")
    options = parse(*CLOUD, f"--requirements_file={own}")
    with runners.dataflow._worker_packages(options):
        path = pathlib.Path(options.view_as(SetupOptions).requirements_file)
        listed = path.read_text().splitlines()
    assert listed[-1] == "my-package==1.0"
    assert {each.partition(";")[0].strip() for each in listed[:-1]} == locked(
        "requirements-worker.lock"
    )


def test_a_list_of_packages_that_is_not_there_is_refused(tmp_path):
    options = parse(*CLOUD, f"--requirements_file={tmp_path}/own.txt")
    with (
        pytest.raises(BadInput, match=r"--requirements_file .*own.txt can't be read"),
        runners.dataflow._worker_packages(options),
    ):
        pass


def locked(name):
    lines = (ROOT / name).read_text().splitlines()
    return {line.partition(";")[0].strip(" \\") for line in lines if line[:1].isalpha()}


def test_the_container_has_the_locked_packages_except_for_tests_and_reports():
    everything, workers = locked("requirements.lock"), locked("requirements-worker.lock")
    assert workers < everything
    extras = {each.partition("==")[0] for each in everything - workers}
    assert {"matplotlib", "optuna", "playwright", "pytest", "scikit-learn"} <= extras
    assert "requirements-worker.lock" in (ROOT / "worker.Dockerfile").read_text()


def test_the_container_has_the_locked_version_of_beam():
    [beam] = (each for each in locked("requirements-worker.lock") if each.startswith("apache-beam"))
    first = (ROOT / "worker.Dockerfile").read_text().partition("\n")[0]
    assert first == f"FROM apache/beam_python3.11_sdk:{beam.partition('==')[2]}"
