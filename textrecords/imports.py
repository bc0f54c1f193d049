"""Imports of TensorFlow and Beam, without their messages."""

import contextlib
import functools
import gc
import logging
import os
import signal
import sys
from collections.abc import Iterator
from types import ModuleType

from textrecords import signals

_verbose = False


def show_logs() -> None:
    """Has TensorFlow, Beam and other libraries say what they log: `--verbose`."""
    global _verbose
    _verbose = True
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "0"
    logging.basicConfig(level=logging.INFO)


@contextlib.contextmanager
def quiet_logs() -> Iterator[None]:
    """Hides what libraries log, but for `--verbose`: what fails is raised as an exception, too."""
    before = logging.root.manager.disable
    if not _verbose:
        logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Imports TensorFlow or Beam without their messages, and a good deal faster.

    They make a million objects that stay. Looking through these for garbage, while they load, time
    and again while a pipeline runs, and once more at exit, would take seconds.

    A signal waits for the end: their libraries can crash if Python is stopped while it loads them.
    """
    gc.disable()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals.STOP_SIGNALS)
    try:
        with _silence():
            yield
    finally:
        gc.freeze()
        gc.enable()
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@functools.cache
def tensorflow() -> ModuleType:
    """Returns TensorFlow, imported by `quiet` the first time."""
    with quiet():
        import tensorflow
    return tensorflow


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Hides what TensorFlow's libraries print while they load, unless TF_CPP_MIN_LOG_LEVEL is set.

    They write to the file descriptor before any log level is in force, so only it can be closed.
    """
    if "TF_CPP_MIN_LOG_LEVEL" in os.environ:
        yield
        return
    # Not 2: to CUDA it's an error if there is no GPU. What fails is raised as an exception, too.
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    sys.stderr.flush()
    stderr = os.dup(2)
    with open(os.devnull, "wb") as devnull:
        os.dup2(devnull.fileno(), 2)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(stderr, 2)
        os.close(stderr)
