"""Interruptions at random moments: is a folder left complete, and does the next run recover?

A run replaces an old dataset or model. After the interruption one of the two has to be there,
complete; the next run has to reuse all finished shards, give the same bytes as an uninterrupted
run, and leave nothing else, neither next to the folder nor among the system's temporary files.
"""

import functools
import json
import os
import pathlib
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

from pipelines import sample
from textrecords import atomic, model_folder, spec
from textrecords.dataset import open_dataset
from textrecords.errors import Failure

OLD, NEW = "old one complete", "new one complete"
REUSED = f"{OLD}, shards reused"
NUM_REVIEWS = 60
NUM_SHARDS = 50  # of train, and of test: most of them empty
ENDS = {signal.SIGKILL: -9, signal.SIGINT: 130, signal.SIGTERM: 143}  # or 0 if it came too late
ERRORS = r"(stopped(: finished shards kept for the next run: .*)?\n)?"
SMALL = ("--max_len=20", "--embedding_dim=4", "--lstm_units=4", "--dense_units=4", "--epochs=3")

# What makes a folder.
COMMANDS = {
    "preprocess": ("pipelines.preprocess", "--input={root}/in", "--output={root}/out", "--force"),
    "train": ("model.train", "--records={root}/records", "--model_dir={root}/out", *SMALL),
}
# How the old one and the new one differ.
OLD_FLAGS = {"preprocess": ["--num_shards=1"], "train": ["--seed=1"]}
NEW_FLAGS = {
    "preprocess": [f"--num_shards={NUM_SHARDS}"],
    "train": ["--seed=2", "--checkpoint_every=1"],
}


def start(root: pathlib.Path, command: str, *flags: str) -> subprocess.Popen:
    (root / "temp").mkdir(exist_ok=True)
    module, *own = (part.format(root=root) for part in COMMANDS[command])
    return subprocess.Popen(
        [sys.executable, "-m", module, *own, *flags],
        env=os.environ | {"TMPDIR": str(root / "temp")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(root: pathlib.Path, command: str, *flags: str) -> str:
    """Runs a command; returns what identifies its output."""
    printed(root, command, *flags)
    return made(root, command)


def printed(root: pathlib.Path, command: str, *flags: str) -> str:
    """Runs a command; returns what it printed."""
    process = start(root, command, *flags)
    said, errors = process.communicate()
    if process.returncode:
        raise Failure(f"{command} failed: {errors.strip()}")
    return said


def finished(root: pathlib.Path) -> int:
    """Returns how many shards an interrupted run has finished."""
    out = str(root / "out")
    folders = [atomic.sibling(out, atomic.KEPT), *map(str, root.glob(".out.textrecords-new/*"))]
    return len({name for each in folders for name in atomic.noted(each, atomic.FINISHED)})


def made(root: pathlib.Path, command: str) -> str:
    """Returns what is there; raises `BadInput` if it's incomplete."""
    out = root / "out"
    if command == "preprocess":
        return open_dataset(str(out)).manifest.sha256
    model_folder.read(str(out))
    metrics = json.loads((out / model_folder.METRICS).read_text())
    return json.dumps(metrics["test"])  # to the last digit of the loss


@functools.cache
def ready(command: str) -> tuple[tempfile.TemporaryDirectory, str, str, float]:
    """Makes the old one, once per process.

    Returns:
      Its folder, what identifies the old and the new one, and the seconds that a run takes.
    """
    folder = tempfile.TemporaryDirectory(prefix="textrecords-soak-")
    root = pathlib.Path(folder.name)
    sample.write(str(root / "in"), count=NUM_REVIEWS, seed=0)
    if command == "train":
        run(root, "preprocess")
        os.rename(root / "out", root / "records")
    started = time.monotonic()
    new = run(root, command, *NEW_FLAGS[command])
    seconds = time.monotonic() - started
    old = run(root, command, *OLD_FLAGS[command])
    return folder, old, new, seconds


def _wait(rng: random.Random, root: pathlib.Path, process: subprocess.Popen) -> None:
    """Waits for a random moment of a run that writes its shards."""
    number = rng.randrange(2 * NUM_SHARDS)
    while process.poll() is None and finished(root) <= number:
        time.sleep(0.01)


def _trial(
    rng: random.Random, work_dir: str, *, command: str, number: signal.Signals, writes: bool = False
) -> str:
    folder, old, new, seconds = ready(command)
    root = pathlib.Path(work_dir)
    subprocess.run(["cp", "-a", f"{folder.name}/.", str(root)], check=True)
    process = start(root, command, *NEW_FLAGS[command])
    if writes:
        _wait(rng, root, process)
    else:
        time.sleep(rng.uniform(0, seconds))
    process.send_signal(number)
    _, errors = process.communicate()
    # Python's own start, before the command handles signals, takes a quarter of a second.
    begun = process.returncode in (0, ENDS[number])
    if not begun and process.returncode != -number:
        return f"WRONG: exit code {process.returncode}: {errors.strip()[-300:]}"
    if begun and number != signal.SIGKILL and not re.fullmatch(ERRORS, errors):
        return f"WRONG: it printed {errors.strip()[-300:]}"
    found = made(root, command)
    if found not in (old, new):
        return "WRONG: neither the old one nor the new one is there"
    number_left = finished(root)
    said = printed(root, command, *NEW_FLAGS[command])
    if made(root, command) != new:
        return "WRONG: the next run gave other bytes"
    if number_left and f"reused {number_left} of " not in said:
        return f"WRONG: not all of {number_left} finished shards were reused"
    left = {*os.listdir(root), *os.listdir(root / "temp")} - {*os.listdir(folder.name)}
    if left:
        return f"WRONG: {', '.join(sorted(left))} was left behind"
    if number_left:
        return REUSED
    return NEW if found == new else OLD


def _two_at_once(rng: random.Random, work_dir: str) -> str:
    """Starts two runs into one folder, the second a little later."""
    root = pathlib.Path(work_dir)
    sample.write(str(root / "in"), count=NUM_REVIEWS, seed=0)
    first = start(root, "preprocess", "--num_shards=1")
    time.sleep(rng.uniform(0, 2))
    second = start(root, "preprocess", "--num_shards=2")
    ended = [(process.communicate()[1], process.returncode) for process in (first, second)]
    shards = len(open_dataset(str(root / "out")).manifest.splits[spec.TRAIN].shards)
    refused = [errors for errors, code in ended if code == 2]
    if any(code not in (0, 2) for _, code in ended) or len(refused) == 2:
        return f"WRONG: {ended}"
    if any("another run is writing" not in errors for errors in refused):
        return f"WRONG: refused as {refused}"
    if refused and ended[shards - 1][1]:
        return "WRONG: what was refused is there"
    return "one refused, the other complete" if refused else "one after the other"


FAULTS: dict[str, Callable[[random.Random, str], str]] = {
    f"{number.name} while {command} runs": functools.partial(_trial, command=command, number=number)
    for command in COMMANDS
    for number in ENDS
} | {
    **{
        f"{number.name} while preprocess writes": functools.partial(
            _trial, command="preprocess", number=number, writes=True
        )
        for number in ENDS
    },
    "two preprocess at once": _two_at_once,
}
