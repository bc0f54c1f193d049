"""Runs the work of stages in helpers: forked processes, one for each core.

Beam's local engine runs all stages in one process. It can run them in several, but each of these
imports TensorFlow and Beam anew, and all elements go through gRPC. Helpers are forked when
everything is imported, and get only the elements of the stages that use them.
"""

import collections
import contextlib
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent import futures
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import connection
from typing import Any

import apache_beam as beam
import tensorflow as tf
from apache_beam.transforms.window import GlobalWindows

from textrecords import app
from textrecords.errors import BadInput, Failure

MAX_HELPERS = 8  # each takes memory, and with more than these other stages take most of the time
_pools: list[futures.ProcessPoolExecutor] = []  # the one in use, if any


@contextlib.contextmanager
def started(uses_gpu: bool = False) -> Iterator[None]:
    """Starts helpers, which end with the block, where they pay and are safe.

    They are safe in a command, where TensorFlow has no threads yet, and on Linux: libraries of
    macOS can crash in a forked process.

    Args:
      uses_gpu: whether their work is faster on a GPU; they can't share one, so then there are none.
    """
    cores = _usable_cores()
    number = min(cores, MAX_HELPERS)
    is_safe = app.is_command() and sys.platform == "linux"
    if number == 1 or not is_safe or (uses_gpu and tf.config.list_physical_devices("GPU")):
        yield
        return
    forking, threads = multiprocessing.get_context("fork"), cores // number
    with futures.ProcessPoolExecutor(number, forking, _set_up, (threads,)) as pool:
        pool.submit(os.getpid).result()  # forks all of them
        _pools.append(pool)
        try:
            yield
        except BaseException:
            for helper in multiprocessing.active_children():
                helper.kill()  # they could still be writing
            raise
        finally:
            _pools.remove(pool)


def _usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1


def _set_up(threads: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches them too, but the command decides
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    connection.wait([multiprocessing.parent_process().sentinel])
    os._exit(1)


class FlatMap(beam.DoFn):
    """Does what `beam.FlatMap` does, in helpers if there are any. Outputs stay in order.

    Args:
      work: maps an element, and side inputs, to outputs. All are pickled, and metrics that it
        counts in helpers are lost.
    """

    def __init__(self, work: Callable[..., Iterable[Any]]):
        super().__init__()
        self._work = work

    def start_bundle(self) -> None:
        self._coming: collections.deque[futures.Future[list[Any]]] = collections.deque()

    def process(self, element: Any, *side_inputs: Any) -> Iterator[Any]:
        if not _pools:
            yield from self._work(element, *side_inputs)
            return
        self._coming.append(_pools[-1].submit(_do, self._work, element, *side_inputs))
        if len(self._coming) > 2 * MAX_HELPERS:  # enough that none has to wait
            yield from _outputs(self._coming.popleft())

    def finish_bundle(self) -> Iterator[Any]:
        while self._coming:
            yield from map(_in_window, _outputs(self._coming.popleft()))


def _do(work: Callable[..., Iterable[Any]], *args: Any) -> list[Any]:
    try:
        return [*work(*args)]
    except (BadInput, Failure):
        raise
    except Exception as error:  # TensorFlow's lose their messages when they are pickled
        raise RuntimeError(f"{type(error).__name__}: {error}") from error


def _outputs(coming: futures.Future[list[Any]]) -> list[Any]:
    try:
        return coming.result()
    except BrokenProcessPool:
        raise Failure("one of its processes was killed, perhaps for lack of memory") from None


def _in_window(output: Any) -> Any:
    if isinstance(output, beam.pvalue.TaggedOutput):
        return beam.pvalue.TaggedOutput(output.tag, GlobalWindows.windowed_value(output.value))
    return GlobalWindows.windowed_value(output)
