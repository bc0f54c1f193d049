"""A client of Flink's REST API, which asks for a cluster's slots and cancels jobs.

Beam's job server can't cancel: a job that it's asked to cancel runs to its end.
"""

import dataclasses
import http.client
import json
import time
import urllib.request
import uuid
from typing import Any

from apache_beam.options.pipeline_options import (
    FlinkRunnerOptions,
    GoogleCloudOptions,
    PipelineOptions,
)
from apache_beam.runners.portability import flink_runner

from textrecords.errors import BadInput

ANSWER_SECONDS = 10.0  # for one answer
ENDED = ("FINISHED", "FAILED", "CANCELED")


@dataclasses.dataclass(frozen=True)
class Cluster:
    """A cluster, and the job to run on it.

    Attributes:
      url: of its REST API and web UI.
      job: the unique name of the job.
    """

    url: str
    job: str

    @classmethod
    def of(cls, options: PipelineOptions) -> "Cluster":
        """Returns the cluster that the options name.

        The job gets a name, and as many parallel tasks as the cluster has slots, unless
        `--parallelism` is given.

        Raises:
          BadInput: if it can't be reached, or has no slots.
        """
        flags = options.view_as(FlinkRunnerOptions)
        named = options.view_as(GoogleCloudOptions)
        named.job_name = f"{named.job_name or 'textrecords'}-{uuid.uuid4().hex[:8]}"
        url = flink_runner.FlinkRunner.add_http_scheme(flags.flink_master).rstrip("/")
        cluster = cls(url, named.job_name)
        if flags.parallelism < 1:
            flags.parallelism = cluster._num_slots()
        return cluster

    def cancel(self, seconds: float) -> bool:
        """Cancels the job if it's running; returns whether the cluster confirms its end."""
        deadline = time.monotonic() + seconds
        asked = set()
        try:
            while time.monotonic() < deadline:
                running = self._running()
                for job in running - asked:
                    self._ask("PATCH", f"/jobs/{job}?mode=cancel")
                    asked.add(job)
                if not running:
                    return True
                time.sleep(0.2)
        except (OSError, http.client.HTTPException, ValueError, KeyError):
            pass
        return False

    def _num_slots(self) -> int:
        try:
            slots = self._ask("GET", "/overview")["slots-total"]
        except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
            raise BadInput(
                f"--runner FlinkRunner is unavailable: no Flink answers at {self.url}: {error}"
            ) from None
        if not slots:
            raise BadInput(
                f"the Flink cluster at {self.url} has no task slots: start task managers, or give "
                "--parallelism if the cluster starts them"
            )
        return slots

    def _running(self) -> set[str]:
        """Returns the ids of our running job: one or none."""
        jobs = self._ask("GET", "/jobs/overview")["jobs"]
        return {job["jid"] for job in jobs if job["name"] == self.job and job["state"] not in ENDED}

    def _ask(self, method: str, path: str) -> Any:
        request = urllib.request.Request(f"{self.url}{path}", method=method)
        with urllib.request.urlopen(request, timeout=ANSWER_SECONDS) as answer:
            return json.load(answer)
