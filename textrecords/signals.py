"""How Ctrl-C and SIGTERM stop a command."""

import os
import signal
import threading
from typing import NoReturn

SECONDS_TO_STOP = 5.0  # for clearing up after a signal; the next run sweeps the rest
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)

# The signal that stops this process, if any: Beam makes an exception of its own of what one raises.
_received: list[int] = []


def handle_stop() -> None:
    """Has stop signals raise `KeyboardInterrupt`, and end the process if that takes too long."""
    for number in STOP_SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _stop)


def received() -> int | None:
    """Returns the number of the signal that stops this process, if there is one."""
    return _received[0] if _received else None


def end(number: int) -> NoReturn:
    """Ends the process at once, with the exit code that shells give a signal.

    Not by Python's own exit, while threads of TensorFlow may still run: now and then it ended by
    another code.
    """
    os._exit(128 + number)


def _stop(number: int, _: object) -> NoReturn:
    for each in STOP_SIGNALS:
        signal.signal(each, signal.SIG_IGN)  # a second one would disturb the clearing up
    _received.append(number)
    last = threading.Timer(SECONDS_TO_STOP, _end_late, [number])
    last.daemon = True
    last.start()
    raise KeyboardInterrupt


def _end_late(number: int) -> NoReturn:
    os.write(2, b"stopped\n")
    end(number)
