"""Runs the work of stages in helpers: forked processes, one for each core, at most eight.

Beam's local engine runs all stages in one process. It can run them in several, but each of these
imports TensorFlow and Beam anew, and all elements go through gRPC. Helpers are forked when
everything is imported, and get only the elements of the stages that use them.

Each has a pipe of its own, so that the command sees at once if a helper is killed. With the queue
of `concurrent.futures`, which all processes share, it could wait forever.
"""

import collections
import contextlib
import dataclasses
import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator
from multiprocessing import connection, reduction
from typing import Any, NoReturn

import apache_beam as beam
import tensorflow as tf
from apache_beam.transforms.window import GlobalWindows

from textrecords import app, concurrency, signals, storage
from textrecords.errors import BadInput, Failure

MAX_HELPERS = 8  # each takes memory, and with more than these other stages take most of the time
CPU_QUOTA = "/sys/fs/cgroup/cpu.max"  # microseconds of CPU, in microseconds
Work = Callable[..., Iterable[Any]]


@dataclasses.dataclass(eq=False)
class _Task:
    """What a helper was given.

    Attributes:
      outputs: received and not yet used; pickled, which takes a fraction of the memory.
      is_done: whether these are all.
      error: that ended it, if any.
    """

    outputs: collections.deque[bytes] = dataclasses.field(default_factory=collections.deque)
    is_done: bool = False
    error: Exception | None = None

    def take(self) -> Iterator[Any]:
        """Yields the outputs that have been received."""
        while self.outputs:
            yield reduction.ForkingPickler.loads(self.outputs.popleft())


class _Helpers:
    """Helpers, each busy with one task at most.

    Args:
      number: how many to fork.
      threads: for each operation of TensorFlow, in each of them.
    """

    def __init__(self, number: int, threads: int):
        forking = multiprocessing.get_context("fork")
        self._processes = []
        self._idle: list[connection.Connection] = []
        self._busy: dict[connection.Connection, _Task] = {}
        for _ in range(number):
            ours, theirs = forking.Pipe()
            args = (theirs, [*self._idle, ours], threads)
            self._processes.append(forking.Process(target=_serve, args=args, daemon=True))
            with signals.delayed():  # until the helper has its own handlers
                self._processes[-1].start()
            theirs.close()  # so that its end is seen here
            self._idle.append(ours)

    def __len__(self) -> int:
        return len(self._processes)

    @property
    def are_busy(self) -> bool:
        """Whether none is idle."""
        return not self._idle

    def start(self, work: Work, *args: Any) -> _Task:
        """Gives work to an idle helper."""
        pipe, task = self._idle.pop(), _Task()
        with _killed_as_failure():
            pipe.send((work, args))
        self._busy[pipe] = task
        return task

    def finish(self, task: _Task) -> Iterator[Any]:
        """Yields the outputs of a task as they come, or raises its error."""
        yield from task.take()
        while not task.is_done:
            self.receive()
            yield from task.take()
        if task.error:
            raise task.error

    def receive(self) -> None:
        """Waits for an output of any task, or the end of one."""
        for pipe in connection.wait(self._busy):
            task = self._busy[pipe]
            with _killed_as_failure():
                if output := pipe.recv_bytes():
                    task.outputs.append(output)
                    continue
                task.error = pipe.recv()
            task.is_done = True
            self._idle.append(pipe)
            del self._busy[pipe]

    def end(self) -> None:
        """Ends them, whatever they do: they could still be writing."""
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.join()


_running: list[_Helpers] = []  # those in use, if any


@contextlib.contextmanager
def started(uses_gpu: bool = False) -> Iterator[None]:
    """Starts helpers, which end with the block, where they pay and are safe.

    They are safe in a command, where TensorFlow hasn't started its own threads yet; on Linux, since
    libraries of macOS can crash in a forked process; and without Cloud Storage, whose clients have
    threads and connections.

    Args:
      uses_gpu: whether their work is faster on a GPU; they can't share one, so then there are none.
    """
    cores = _usable_cores()
    number = min(cores, MAX_HELPERS)
    is_remote = any(map(storage.is_remote, sys.argv))
    is_safe = app.is_command() and sys.platform == "linux" and not is_remote
    if number == 1 or not is_safe or (uses_gpu and tf.config.list_physical_devices("GPU")):
        yield
        return
    helpers = _Helpers(number, threads=cores // number)
    _running.append(helpers)
    try:
        yield
    finally:
        _running.pop()
        helpers.end()


def _usable_cores() -> int:
    """Returns how many cores this process may use, by the quota of a container as well."""
    cores = concurrency.usable_cores()
    with contextlib.suppress(OSError, ValueError):
        quota, period = map(int, storage.read_text(CPU_QUOTA).split())
        cores = min(cores, max(1, quota // period))
    return cores


def _serve(
    pipe: connection.Connection, others: list[connection.Connection], threads: int
) -> NoReturn:
    """Does what comes through a pipe, in a helper, as long as the command exists."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches it too, but the command decides
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, signals.STOP_SIGNALS)
    for each in others:
        each.close()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    with contextlib.suppress(EOFError, OSError):
        while True:
            _answer(pipe, *pipe.recv())
    os._exit(0)


def _end_with_parent() -> NoReturn:
    connection.wait([multiprocessing.parent_process().sentinel])
    os._exit(0)


def _answer(pipe: connection.Connection, work: Work, args: tuple[Any, ...]) -> None:
    """Sends each output of a task, then an empty message, and its error or None."""
    problem: Exception | None = None
    try:
        for output in work(*args):
            pipe.send(output)
    except (BadInput, Failure) as error:
        problem = error
    except Exception as error:  # TensorFlow's lose their messages when they are pickled
        problem = RuntimeError(f"{type(error).__name__}: {error}")
        problem.add_note(traceback.format_exc())
    pipe.send_bytes(b"")
    pipe.send(problem)


@contextlib.contextmanager
def _killed_as_failure() -> Iterator[None]:
    try:
        yield
    except (EOFError, OSError):
        raise Failure(
            "a helper process was killed, perhaps for lack of memory: run again, on fewer cores "
            "(taskset) or with more memory"
        ) from None


class FlatMap(beam.DoFn):
    """Does what `beam.FlatMap` does, in helpers if there are any. Outputs stay in order.

    Args:
      work: maps an element, and side inputs, to outputs. All are pickled, and metrics that it
        counts in helpers are lost.
    """

    def __init__(self, work: Work):
        super().__init__()
        self._work = work

    def start_bundle(self) -> None:
        self._tasks: collections.deque[_Task] = collections.deque()

    def process(self, element: Any, *side_inputs: Any) -> Iterator[Any]:
        if not _running:
            yield from self._work(element, *side_inputs)
            return
        helpers = _running[-1]
        while helpers.are_busy:
            helpers.receive()
            if self._tasks:  # for progress bars, and to hold less
                yield from self._tasks[0].take()
        self._tasks.append(helpers.start(self._work, element, *side_inputs))
        if len(self._tasks) > 2 * len(helpers):  # enough that none has to wait
            yield from helpers.finish(self._tasks.popleft())

    def finish_bundle(self) -> Iterator[Any]:
        while self._tasks:
            yield from map(_in_window, _running[-1].finish(self._tasks.popleft()))


def _in_window(output: Any) -> Any:
    if isinstance(output, beam.pvalue.TaggedOutput):
        return beam.pvalue.TaggedOutput(output.tag, GlobalWindows.windowed_value(output.value))
    return GlobalWindows.windowed_value(output)
