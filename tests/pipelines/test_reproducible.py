"""The same files and flags give the same bytes, on every engine."""

import contextlib
import hashlib
import operator
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import pytest
from tiny_tree import write

from pipelines import places
from pipelines.preprocess import __main__ as preprocess
from pipelines.preprocess import audit, review_batches
from textrecords import spec, text_source

pytestmark = pytest.mark.slow

ROOT = pathlib.Path(__file__).parents[2]
FLAGS = ["--num_shards=3", "--validation=0.2", "--drop_duplicates", "--max_tokens=40"]
WORDS = (
    "good",
    "bad",
    "ugly",
    "film",
    "plot",
    "<br />",
    "Café",
    "it's",
    "naïve",
    "😀",
    "x1",
    "THE",
    "end",
)
TREE = {
    f"{split}/{name}/{n}.txt": " ".join(WORDS[(n + start) * k % 13] for k in range(n % 9))
    for split in ("train", "test")
    for start, name in enumerate(("neg", "pos"))
    for n in range(40)
} | {"train/neg/odd\n.txt": b"caf\xe9", "train/pos/deep/er.txt": "good good"}
# What this input has always given, by data version: on any machine, with any Python.
SHARDS_AND_VOCABULARY = {4: "afa60d69700a2bf5009e91aa80839e4f295ab988d4cc2455c52876c96b69a3d1"}


def digests(folder):
    """Returns the SHA-256 of everything that the manifest describes, and of the manifest."""
    names = [spec.MANIFEST, spec.SCHEMA, spec.VOCABULARY]
    names += sorted(path.name for path in folder.glob("*-of-*"))
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}


def run(source, target, *flags):
    preprocess.main(["--input", str(source), "--output", str(target), *FLAGS, *flags])
    return digests(target)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    write(folder / "in", TREE)
    return folder / "in", run(folder / "in", folder / "out")


def test_the_bytes_have_not_changed(made):
    _, expected = made
    described = (spec.MANIFEST, spec.SCHEMA, "audit-00000-of-00001.jsonl")
    assert {*described} < expected.keys()
    parts = [f"{name} {digest}" for name, digest in expected.items() if name not in described]
    assert len(parts) == 10
    assert (
        hashlib.sha256("\n".join(parts).encode()).hexdigest()
        == (SHARDS_AND_VOCABULARY[spec.DATA_VERSION])
    )


def test_another_run_and_another_folder_give_the_same_bytes(made, tmp_path):
    source, expected = made
    assert run(source, tmp_path / "out") == expected
    write(tmp_path / "elsewhere" / "deeper", dict(reversed(TREE.items())))
    assert run(tmp_path / "elsewhere" / "deeper", tmp_path / "out", "--force") == expected


def test_listing_order_and_the_sizes_of_elements_leave_the_bytes_alone(made, tmp_path, monkeypatch):
    source, expected = made
    forth = text_source.Source.walk

    def backwards(*args):
        return iter(sorted(forth(*args), key=operator.itemgetter(0), reverse=True))

    monkeypatch.setattr(text_source.Source, "walk", backwards)
    monkeypatch.setattr(places, "LISTED_TOGETHER", 3)
    monkeypatch.setattr(review_batches, "BATCH_SIZE", 2)
    monkeypatch.setattr(audit, "REVIEWS_PER_BUCKET", 10)
    assert run(source, tmp_path / "out") == expected


@contextlib.contextmanager
def job_service():
    """Yields the flags of a Beam job server and a worker pool in separate processes."""
    with contextlib.ExitStack() as stack:
        ports = []
        for module, flag in [
            ("apache_beam.runners.portability.local_job_service_main", "--port"),
            ("apache_beam.runners.worker.worker_pool_main", "--service_port"),
        ]:
            with socket.socket() as free:
                free.bind(("localhost", 0))
                ports.append(free.getsockname()[1])
            # The pool starts workers as `python`, by the path.
            path = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
            process = subprocess.Popen(
                [sys.executable, "-m", module, flag, str(ports[-1])],
                cwd=ROOT,
                env={**os.environ, "PATH": path},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            stack.callback(os.killpg, process.pid, signal.SIGKILL)
            _wait_for(ports[-1])
        yield [
            "--runner=PortableRunner",
            f"--job_endpoint=localhost:{ports[0]}",
            "--environment_type=EXTERNAL",
            f"--environment_config=localhost:{ports[1]}",
        ]


def _wait_for(port):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("localhost", port)):
            return
        time.sleep(0.1)
    raise TimeoutError(f"nothing listens on port {port}")


@pytest.mark.parametrize(
    "flags",
    [
        ["--direct_num_workers=1"],
        ["--runner=BundleBasedDirectRunner"],
        ["--runner=PortableRunner", "--job_endpoint=embed", "--environment_type=LOOPBACK"],
    ],
)
def test_every_runner_gives_the_same_bytes(made, tmp_path, flags):
    source, expected = made
    assert run(source, tmp_path / "out", *flags) == expected


def test_two_worker_processes_give_the_same_bytes(made, tmp_path):
    flags = ["--direct_running_mode=multi_processing", "--direct_num_workers=2"]
    assert run_command(made[0], tmp_path / "out", *flags) == made[1]


def test_a_job_server_and_a_worker_pool_give_the_same_bytes(made, tmp_path):
    with job_service() as flags:
        assert run_command(made[0], tmp_path / "out", *flags) == made[1]


def run_command(source, target, *flags):
    command = [sys.executable, "-m", "pipelines.preprocess", "--input", source, "--output", target]
    done = subprocess.run(
        [*command, *FLAGS, *flags], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return digests(target)
