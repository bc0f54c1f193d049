"""Facts about a single run: where, when and from what its results were made."""

import datetime
import importlib.metadata
import os
import platform
import time

from textrecords import checksums, json_files, spec, storage, terminal
from textrecords.errors import BadInput
from textrecords.manifest import RunInfo

PACKAGES = ("apache-beam", "tensorflow", "tensorflow-transform", "pyarrow")


def write(input_path: str, output_dir: str, started: float) -> None:
    """Writes facts about a run that started at a time in seconds since the epoch."""
    run_info = RunInfo(
        input=terminal.one_line(storage.absolute(input_path)),
        started=datetime.datetime.fromtimestamp(started, datetime.UTC).isoformat(),
        seconds=round(time.time() - started, 1),
        host=platform.node(),
        python=platform.python_version(),
        packages={name: importlib.metadata.version(name) for name in PACKAGES},
    )
    json_files.write(os.path.join(checksums.about(output_dir), spec.RUN), run_info)


def check_same_input(input_path: str, output_dir: str, what: str) -> None:
    """Raises `BadInput` if an output folder has results of another input.

    Args:
      input_path: the input of this run.
      output_dir: the folder to replace, if it exists.
      what: the kind of results, for the message.
    """
    run = RunInfo.read(output_dir)
    if run and storage.real(run.input) != terminal.one_line(storage.real(input_path)):
        raise BadInput(
            f"{output_dir} contains the {what} of {run.input}: name another --output, or give "
            "--force to replace it"
        )
