"""Runs a command: its exit code, and the one line that reports an error."""

import contextlib
import os
import signal
import sys
from collections.abc import Callable
from typing import NoReturn

from textrecords import imports, signals, terminal
from textrecords.errors import BadInput, Failure

STDERR = 2  # the last of the standard descriptors


def run(main: Callable[[list[str]], None]) -> NoReturn:
    """Runs a command: exit code 2 for bad input, 1 for a failure.

    As shells have it, 130 is for Ctrl-C, 143 for SIGTERM, and 141 for a closed pipe.
    """
    _ready_streams()
    signals.handle_stop()
    imports.set_keras_up()
    imports.leave_unused(sys.argv)
    try:
        main(sys.argv[1:])
        sys.stdout.flush()
    except BrokenPipeError:  # `head`, say, has read enough; Python would flush the rest at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except (Exception, KeyboardInterrupt) as error:
        if signals.received() or isinstance(error, KeyboardInterrupt):
            with contextlib.suppress(OSError):
                sys.stdout.flush()
            signals.end(signals.received() or signal.SIGINT)
        if not isinstance(error, BadInput | Failure | OSError):
            raise
        with contextlib.suppress(OSError):
            sys.stdout.close()  # or Python would try at exit, and fail again, if that is the error
        print(f"error: {terminal.one_line(error)}", file=sys.stderr, flush=True)
        # Not by Python's own exit: a thread that still runs a stage, of an engine that has gone,
        # can crash there.
        os._exit(2 if isinstance(error, BadInput) else 1)
    sys.exit(0)


def _ready_streams() -> None:
    """Has the standard streams take any text, and opens those that are closed.

    Else the next files to be opened would get their descriptors, and libraries would write there.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= STDERR:
        pass
    os.close(descriptor)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")
