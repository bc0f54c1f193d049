"""Local Flink and Spark clusters: a master and two workers each, in separate processes."""

import contextlib
import dataclasses
import json
import os
import pathlib
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

from engines import downloads
from textrecords import signals
from textrecords.errors import Failure

HOST = "localhost"
NUM_WORKERS = 2  # with one slot, or core, each
SECONDS_TO_START = 60
# Packages that Java 17 closes to reflection, which these engines use.
OPENED = (
    *("java.io", "java.lang", "java.lang.invoke", "java.lang.reflect", "java.net", "java.nio"),
    *("java.text", "java.time", "java.util", "java.util.concurrent"),
    *("java.util.concurrent.atomic", "java.util.concurrent.locks", "sun.nio.ch"),
)
FLINK_MASTER = "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint"
FLINK_WORKER = "org.apache.flink.runtime.taskexecutor.TaskManagerRunner"
FLINK_JOB_SERVER = "org.apache.beam.runners.flink.FlinkJobServerDriver"
FLINK_CONFIG = """
jobmanager.rpc.address: {host}
jobmanager.rpc.port: {rpc}
rest.address: {host}
rest.port: {rest}
io.tmp.dirs: {folder}/tmp
blob.storage.directory: {folder}/tmp
taskmanager.host: {host}
heartbeat.interval: 2000
taskmanager.numberOfTaskSlots: 1
taskmanager.cpu.cores: 1
# All of them, since Flink's scripts, which compute the missing ones, aren't used.
taskmanager.memory.framework.heap.size: 128m
taskmanager.memory.framework.off-heap.size: 128m
taskmanager.memory.task.heap.size: 512m
taskmanager.memory.task.off-heap.size: 128m
taskmanager.memory.managed.size: 512m
taskmanager.memory.network.min: 128m
taskmanager.memory.network.max: 128m
taskmanager.memory.jvm-metaspace.size: 256m
taskmanager.memory.jvm-overhead.min: 192m
taskmanager.memory.jvm-overhead.max: 192m
# Beam's classes are on the class path, so they and Beam's workers stay loaded between stages.
classloader.resolve-order: parent-first
"""
SPARK_MASTER = "org.apache.spark.deploy.master.Master"
SPARK_WORKER = "org.apache.spark.deploy.worker.Worker"
SPARK_JOB_SERVER = "org.apache.beam.runners.spark.SparkJobServerDriver"


@dataclasses.dataclass(frozen=True)
class Engine:
    """An engine that runs Beam pipelines.

    Attributes:
      runner: Beam's name for it.
      flags: Beam's other flags for it.
      url: of its web UI, or None if it has none.
      workers: its worker processes.
    """

    runner: str
    flags: tuple[str, ...]
    url: str | None = None
    workers: tuple[subprocess.Popen, ...] = ()


@contextlib.contextmanager
def prism(folder: pathlib.Path) -> Iterator[Engine]:
    """Yields Prism, which Beam starts on its own."""
    yield Engine("PrismRunner", (f"--prism_location={downloads.prism()}",))


@contextlib.contextmanager
def flink(folder: pathlib.Path) -> Iterator[Engine]:
    """Yields a Flink cluster that writes its logs to `folder`."""
    jar = downloads.job_server("beam-runners-flink-1.19", FLINK_JOB_SERVER)
    home = downloads.package("apache-flink-libraries", downloads.FLINK) / "pyflink" / "lib"
    beam = [path for path in jar.parent.glob("*.jar") if not path.name.startswith("flink-")]
    class_path = [*sorted(home.glob("*.jar")), *sorted(beam)]
    rpc, rest = _free_ports(2)
    config = FLINK_CONFIG.format(host=HOST, rpc=rpc, rest=rest, folder=folder)
    (folder / "flink-conf.yaml").write_text(config)
    with _Processes(folder) as processes:
        for main_class in (FLINK_MASTER, *[FLINK_WORKER] * NUM_WORKERS):
            processes.start_java(class_path, main_class, "--configDir", folder)
        url = f"http://{HOST}:{rest}"
        processes.wait(lambda: _get(f"{url}/overview")["slots-available"] == NUM_WORKERS)
        flags = (f"--flink_master={HOST}:{rest}", f"--flink_job_server_jar={jar}")
        yield Engine("FlinkRunner", flags, url, tuple(processes.started[1:]))


@contextlib.contextmanager
def spark(folder: pathlib.Path) -> Iterator[Engine]:
    """Yields a Spark cluster that writes its logs to `folder`."""
    home = downloads.package("pyspark", downloads.SPARK) / "pyspark"
    jars = (home / "jars").glob("*.jar")
    jar = downloads.job_server("beam-runners-spark-3", SPARK_JOB_SERVER, jars)
    port, web, *webs = _free_ports(2 + NUM_WORKERS)
    url, master = f"http://{HOST}:{web}", f"spark://{HOST}:{port}"
    environment = {
        "SPARK_HOME": str(home),
        "SPARK_SCALA_VERSION": "2.12",
        "SPARK_DIST_CLASSPATH": f"{jar.parent}/*",
    }
    with _Processes(folder, environment) as processes:
        start = processes.start_java
        class_path = [home / "jars" / "*"]
        ports = ("--port", port, "--webui-port", web)
        start(class_path, SPARK_MASTER, "--host", HOST, *ports)
        for own in webs:
            size = ("--cores", 1, "--memory", "1g", "--work-dir", folder / "work")
            start(class_path, SPARK_WORKER, "--host", HOST, "--webui-port", own, *size, master)
        processes.wait(lambda: _get(f"{url}/json/")["aliveworkers"] == NUM_WORKERS)
        flags = (f"--spark_master_url={master}", f"--spark_job_server_jar={jar}")
        yield Engine("SparkRunner", flags, url, tuple(processes.started[1:]))


ENGINES = {"flink": flink, "prism": prism, "spark": spark}


class _Processes:
    """The processes of a cluster, which are stopped at the end of the block, and their logs."""

    def __init__(self, folder: pathlib.Path, environment: dict[str, str] | None = None) -> None:
        self.started: list[subprocess.Popen] = []
        self._folder = folder
        self._environment = {**os.environ, **(environment or {})}

    def start_java(self, class_path: list[pathlib.Path], main_class: str, *args: object) -> None:
        """Starts a Java program in its own session, so that Ctrl-C doesn't reach it."""
        name = f"{len(self.started)}-{main_class.rpartition('.')[2]}"
        opened = [f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in OPENED]
        paths = {"CLASSPATH": os.pathsep.join(map(str, class_path))}
        try:
            with open(self._folder / f"{name}.log", "wb") as log:
                process = subprocess.Popen(
                    ["java", *opened, main_class, *map(str, args)],
                    cwd=self._folder,
                    env=self._environment | paths,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
        except FileNotFoundError:
            raise downloads.Unavailable("java isn't installed: install Java 17") from None
        self.started.append(process)

    def wait(self, is_up: Callable[[], bool]) -> None:
        """Waits until the cluster is up; raises `Failure` if a process ends or takes too long."""
        deadline = time.monotonic() + SECONDS_TO_START
        while time.monotonic() < deadline:
            if any(process.poll() is not None for process in self.started):
                break
            with contextlib.suppress(OSError, KeyError):
                if is_up():
                    return
            time.sleep(0.2)
        raise Failure(f"the cluster didn't start: see the logs in {self._folder}")

    def __enter__(self) -> "_Processes":
        return self

    def __exit__(self, *_: object) -> None:
        signals.extend(SECONDS_TO_START)
        for process in self.started:
            process.terminate()
        for process in self.started:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _free_ports(number: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for free in sockets:
            free.bind((HOST, 0))
        return [free.getsockname()[1] for free in sockets]


def _get(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(url, timeout=5) as answer:
        return json.load(answer)
