"""A fake Dataflow service, which executes the jobs that Beam's runner submits.

Each worker is a process with the packages of this environment but without this project, which it
gets from the sdist that was staged with the job.
"""

import contextlib
import http.server
import json
import pathlib
import subprocess
import sys
import tempfile
import threading
import time
from urllib import parse

import json_service
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability import python_urns
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

WORKERS = 2
SLOW_SECONDS = 6
ID = "2026-01-01_00_00_00-1"
DONE, FAILED, RUNNING, CANCELLED = (
    f"JOB_STATE_{state}" for state in ("DONE", "FAILED", "RUNNING", "CANCELLED")
)


class Service(http.server.ThreadingHTTPServer):
    """Takes one job over HTTP and executes it.

    Args:
      executes: whether it runs the job, or leaves it running for ever.
      answers: how it takes what is asked of it once the job is submitted: it's "slow", taking 6 s
        for each answer, or "refuses" to cancel; else it's "prompt".

    Attributes:
      job: what was submitted, as JSON, or None.
      state: of the job.
      error: what made it fail.
      asked: whether it was asked for the job's state.
    """

    def __init__(self, *, executes=True, answers="prompt"):
        super().__init__(("localhost", 0), _Handler)
        self.executes = executes
        self.answers = answers
        self.job = None
        self.state = RUNNING
        self.error = ""
        self.asked = False

    @property
    def flags(self):
        """The flags that have Beam submit to this service."""
        return [
            "--runner=DataflowRunner",
            f"--dataflow_endpoint=http://localhost:{self.server_port}",
            "--no_auth",
        ]

    def execute(self):
        try:
            with tempfile.TemporaryDirectory() as folder:
                _execute(pathlib.Path(self._option("stagingLocation")), pathlib.Path(folder))
            self.state = DONE
        except Exception as error:
            self.error, self.state = str(error), FAILED

    def _option(self, name):
        options = self.job["environment"]["sdkPipelineOptions"]["options"]
        snake = "".join(f"_{c.lower()}" if c.isupper() else c for c in name)
        return options.get(name) or options[snake]


def _execute(staged, folder):
    """Runs a staged pipeline in processes that start outside of this project's folder."""
    proto = beam_runner_api_pb2.Pipeline.FromString((staged / "pipeline.pb").read_bytes())
    installed = folder / "installed"
    installed.mkdir()
    if (staged / "workflow.tar.gz").exists():
        pip = [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--no-build-isolation",
        ]
        subprocess.run([*pip, "--target", installed, staged / "workflow.tar.gz"], check=True)
    # A worker first removes this project from its path.
    (installed / "worker.py").write_text(WORKER.format(path=str(installed)))
    command = f"{sys.executable} -E {installed / 'worker.py'}"  # -E: without PYTHONPATH
    for environment in proto.components.environments.values():
        del environment.dependencies[:]
        environment.urn = python_urns.SUBPROCESS_SDK
        environment.payload = f"cd {folder} && {command}".encode()
    options = PipelineOptions(direct_num_workers=WORKERS)
    FnApiRunner().run_via_runner_api(proto, options).wait_until_finish()


WORKER = """
import sys
sys.meta_path = [finder for finder in sys.meta_path if "__editable__" not in repr(finder)]
sys.path[0] = {path!r}
from apache_beam.runners.worker import sdk_worker_main
sdk_worker_main.main(sys.argv)
"""


class _Handler(json_service.Handler):
    """The part of the service's interface that Beam's runner uses."""

    def do_POST(self):
        self.server.job = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.server.executes:
            threading.Thread(target=self.server.execute, daemon=True).start()
        self.answer({**self._job(), "name": self.server.job["name"]})

    def do_GET(self):
        self.server.asked = True
        if self.server.answers == "slow":
            time.sleep(SLOW_SECONDS)
        path = parse.urlsplit(self.path).path
        if path.endswith("/messages"):
            error = {
                "id": "1",
                "time": "2026-01-01T00:00:00Z",
                "messageText": self.server.error,
                "messageImportance": "JOB_MESSAGE_ERROR",
            }
            self.answer({"jobMessages": [error] if self.server.error else []})
        else:
            self.answer({} if path.endswith("/metrics") else self._job())

    def do_PUT(self):
        if self.server.answers == "refuses":
            self.answer({"error": {"message": "no permission"}}, status=403)
            return
        if self.server.answers == "slow":
            time.sleep(SLOW_SECONDS)
        self.server.state = CANCELLED
        self.answer(self._job())

    def _job(self):
        return {"id": ID, "projectId": "p", "currentState": self.server.state}


@contextlib.contextmanager
def service(**flags):
    """Yields a running `Service`."""
    with json_service.serving(Service(**flags)) as server:
        yield server
