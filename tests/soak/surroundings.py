"""Trouble around a running preprocess: the disk fills up; reviews vanish, or become other things.

The run has to end with a complete dataset, or report in one line why it failed and leave the old
one; once the trouble is over, the next run has to succeed.
"""

import contextlib
import functools
import os
import pathlib
import random
import shutil
import subprocess
import time
from collections.abc import Callable

from tests.soak import stops

REPORTED = f"reported in one line, {stops.OLD}"
LONGEST_S = 120
DISK_BYTES = 16 << 20

# Makes trouble in the folder of a trial; returns what ends it.
Trouble = Callable[[random.Random, pathlib.Path], Callable[[], object]]


def _trial(rng: random.Random, work_dir: pathlib.Path, *, trouble: Trouble) -> str:
    folder, old, new, seconds = stops.ready("preprocess")
    root = pathlib.Path(work_dir)
    subprocess.run(["cp", "-a", f"{folder.name}/.", str(root)], check=True)
    names = os.listdir(root)
    process = stops.start(root, "preprocess", *stops.NEW_FLAGS["preprocess"])
    time.sleep(rng.uniform(0, seconds))
    end = trouble(rng, root)
    try:
        _, errors = process.communicate(timeout=LONGEST_S)
    except subprocess.TimeoutExpired:
        process.kill()
        return "WRONG: it hangs"
    end()
    if process.returncode not in (0, 1, 2):
        return f"WRONG: exit code {process.returncode}: {errors.strip()[-300:]}"
    if process.returncode and (errors.count("\n") != 1 or not errors.startswith("error: ")):
        return f"WRONG: it printed {errors.strip()[-300:]}"
    found = stops.made(root, "preprocess")
    next_made = stops.run(root, "preprocess", *stops.NEW_FLAGS["preprocess"])
    if found not in ((old,) if process.returncode else (new, next_made)):
        return "WRONG: something else is there"
    left = {*os.listdir(root), *os.listdir(root / "temp")} - {*names, "temp"}
    if left:
        return f"WRONG: {', '.join(sorted(left))} was left behind"
    return REPORTED if process.returncode else stops.NEW


def _on_a_disk_of_its_own(rng: random.Random, work_dir: pathlib.Path, *, trouble: Trouble) -> str:
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(work_dir)]
    if subprocess.run(mount, capture_output=True).returncode:
        return "not tried: no right to mount a disk"
    try:
        return _trial(rng, work_dir, trouble=trouble)
    finally:
        subprocess.run(["umount", "--lazy", str(work_dir)], check=True)


def _fill(rng: random.Random, root: pathlib.Path) -> Callable[[], object]:
    """Leaves less room than a dataset takes."""
    filler = root / "in" / "filler"
    free = shutil.disk_usage(root).free - rng.randrange(200_000)
    with contextlib.suppress(OSError):
        filler.write_bytes(bytes(max(0, free)))
    return filler.unlink


def _review(rng: random.Random, root: pathlib.Path) -> pathlib.Path:
    return rng.choice(sorted((root / "in").rglob("*.txt")))


def _vanish(rng: random.Random, root: pathlib.Path) -> Callable[[], object]:
    _review(rng, root).unlink()
    return lambda: None


def _rewrite(rng: random.Random, root: pathlib.Path) -> Callable[[], object]:
    _review(rng, root).write_text("another text altogether")
    return lambda: None


def _turn(rng: random.Random, root: pathlib.Path) -> Callable[[], object]:
    """Replaces a review with something else."""
    path = _review(rng, root)
    path.unlink()
    rng.choice(
        (
            lambda: os.mkfifo(path),
            lambda: path.mkdir(),
            lambda: path.symlink_to(path),
            lambda: path.symlink_to("/dev/zero"),
            lambda: path.symlink_to("/proc/self/mem"),
            lambda: (path.touch(), os.truncate(path, 1 << 30)),
        )
    )()
    return path.unlink if path.is_file() else lambda: None  # the rest is left out


def _take_away(rng: random.Random, root: pathlib.Path) -> Callable[[], object]:
    """Takes a folder away for a while."""
    folder = root / rng.choice(["in", "in/train/neg", "in/test/pos"])
    os.rename(folder, root / "temp" / "away")
    return functools.partial(os.rename, root / "temp" / "away", folder)


FAULTS: dict[str, Callable[[random.Random, pathlib.Path], str]] = {
    f"{what} while preprocess runs": functools.partial(trial, trouble=trouble)
    for what, trial, trouble in (
        ("the disk fills up", _on_a_disk_of_its_own, _fill),
        ("a review vanishes", _trial, _vanish),
        ("a review changes", _trial, _rewrite),
        ("a review becomes a pipe, a loop or 1 GB", _trial, _turn),
        ("a folder vanishes", _trial, _take_away),
    )
}
