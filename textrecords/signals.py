"""How Ctrl-C and SIGTERM stop a command."""

import os
import signal
import threading
from typing import NoReturn

SECONDS_TO_STOP = 5.0  # for clearing up after a signal; the next run sweeps the rest
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class _Stop:
    """What is known of the stop of this process: there is one of it."""

    number: int | None = None  # Beam makes an exception of its own of what a signal raises
    timer: threading.Timer | None = None
    message: str | None = None


def handle_stop() -> None:
    """Has stop signals raise `KeyboardInterrupt`, and end the process if that takes too long."""
    for number in STOP_SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _stop)


def received() -> int | None:
    """Returns the number of the signal that stops this process, if there is one."""
    return _Stop.number


def say_at_end(message: str | None) -> None:
    """Sets what a stopped command says last, in a line: what it leaves running, say."""
    _Stop.message = message


def say_at_end_too(message: str) -> None:
    """Adds to what a stopped command says last."""
    _Stop.message = message if _Stop.message is None else f"{_Stop.message}; {message}"


def extend(seconds: float) -> None:
    """Gives a process that is being stopped so many seconds more, from now on."""
    if _Stop.timer is not None:
        _Stop.timer.cancel()
        _start_timer(seconds + SECONDS_TO_STOP)


def end(number: int) -> NoReturn:
    """Ends the process at once, with its last words, and the exit code that shells give a signal.

    Not by Python's own exit, while threads of TensorFlow may still run: now and then it ended by
    another code.
    """
    words = "stopped" if _Stop.message is None else f"stopped: {_Stop.message}"
    os.write(2, f"{words}\n".encode(errors="backslashreplace"))
    os._exit(128 + number)


def _stop(number: int, _: object) -> NoReturn:
    for each in STOP_SIGNALS:
        signal.signal(each, signal.SIG_IGN)  # a second one would disturb the clearing up
    _Stop.number = number
    _start_timer(SECONDS_TO_STOP)
    raise KeyboardInterrupt


def _start_timer(seconds: float) -> None:
    _Stop.timer = threading.Timer(seconds, end, [_Stop.number])
    _Stop.timer.daemon = True
    _Stop.timer.start()
