"""Stops a command on Ctrl-C and SIGTERM, and prints its last line."""

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from typing import NoReturn

SECONDS_TO_STOP = 5.0  # for cleaning up after a signal; the next run removes the rest
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
STDERR = 2  # the descriptor


class _Stop:
    """State of this process' stop; there is only one."""

    number: int | None = None  # kept, since Beam wraps the exception that a signal raises
    timer: threading.Timer | None = None
    deadline: float = 0.0  # of the timer
    message: str | None = None
    stderr: int = STDERR  # the descriptor that the last line goes to


def handle_stop() -> None:
    """Makes stop signals raise `KeyboardInterrupt`, and kill the process if that takes too long."""
    for number in STOP_SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _stop)


@contextlib.contextmanager
def delayed() -> Iterator[None]:
    """Delays stop signals until the end of the block.

    Libraries that are being loaded can ignore the exception that a signal raises, or crash on it; a
    forked process would handle the signal as the command does.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def received() -> int | None:
    """Returns the signal that is stopping this process, if any."""
    return _Stop.number


def say_at_end(message: str | None) -> None:
    """Sets the last line of a stopped command, for example on what it leaves running."""
    _Stop.message = message


def say_at_end_too(message: str) -> None:
    """Adds to the last line of a stopped command."""
    _Stop.message = message if _Stop.message is None else f"{_Stop.message}; {message}"


def extend(seconds: float) -> None:
    """Gives a process that is being stopped at least this many more seconds from now."""
    if _Stop.timer is not None:
        _Stop.timer.cancel()
        left = _Stop.deadline - time.monotonic()
        _start_timer(max(left, seconds + SECONDS_TO_STOP))


def end(number: int) -> NoReturn:
    """Ends the process at once, with its last line and the exit code that shells use for a signal.

    Skips Python's cleanup: with threads of TensorFlow still running, it sometimes exited with
    another code.
    """
    print_last("stopped" if _Stop.message is None else f"stopped: {_Stop.message}")
    os._exit(128 + number)


def print_last(line: str) -> None:
    """Prints the last line of a command that has failed, on standard error."""
    with (
        contextlib.suppress(OSError),
        open(_Stop.stderr, "w", errors="backslashreplace", closefd=False) as stream,
    ):
        stream.write(f"{line}\n")


def drop_stderr() -> int:
    """Drops whatever is written to the descriptor of stderr, until `restore_stderr`.

    Returns:
      A descriptor of where it went before.
    """
    before = os.dup(STDERR)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, STDERR)
    os.close(null)
    return before


def restore_stderr(before: int) -> None:
    """Undoes `drop_stderr`, given what it returned."""
    os.dup2(before, STDERR)
    os.close(before)


def mute() -> None:
    """Drops whatever threads and libraries write to standard error, except the last line."""
    if _Stop.stderr == STDERR:
        _Stop.stderr = drop_stderr()


def unmute() -> None:
    """Undoes `mute`, for a command that goes on, or fails in an unexpected way."""
    if _Stop.stderr != STDERR:
        restore_stderr(_Stop.stderr)
        _Stop.stderr = STDERR
        # It may be hidden, too.
        sys.stderr = open(STDERR, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115


def _stop(number: int, _: object) -> NoReturn:
    for each in STOP_SIGNALS:
        signal.signal(each, signal.SIG_IGN)  # a second one would disturb the cleanup
    _Stop.number = number
    _start_timer(SECONDS_TO_STOP)
    raise KeyboardInterrupt


def _start_timer(seconds: float) -> None:
    _Stop.deadline = time.monotonic() + seconds
    _Stop.timer = threading.Timer(seconds, end, [_Stop.number])
    _Stop.timer.daemon = True
    _Stop.timer.start()
