"""A real engine for tests, and the processes that it has started."""

import collections
import contextlib
import pathlib
import time

import needs

from engines import clusters, downloads


@contextlib.contextmanager
def up(name, folder):
    """Yields an engine of `clusters.ENGINES`, or skips the test if it can't be had."""
    with contextlib.ExitStack() as stack:
        try:
            engine = stack.enter_context(clusters.ENGINES[name](folder))
        except downloads.Unavailable as error:
            needs.skip_without(f"{name} engine", str(error))
        yield engine


def flags(engine):
    return ["--runner", engine.runner, *engine.flags]


def below(*parents, named):
    """Returns the ids of the processes below these whose command line has that in it."""
    children = collections.defaultdict(dict)
    for path in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended
            parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            children[parent][int(path.name)] = (path / "cmdline").read_text()
    found, level = {}, dict.fromkeys(parents)
    while level := {pid: line for parent in level for pid, line in children[parent].items()}:
        found |= level
    return [pid for pid, line in found.items() if named in line]


def wait_for(what, seconds=120):
    """Returns what `what` returns, once that is something."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := what():
            return found
        time.sleep(0.2)
    raise TimeoutError(f"{what} gives nothing in {seconds} s")
