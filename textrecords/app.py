"""Runs a command: its exit code, and the one line that reports an error."""

import atexit
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import NoReturn

from textrecords import imports, signals, terminal
from textrecords.errors import BadInput, Failure

_commands: list[str] = []  # the one that this process runs, if any


def run(main: Callable[[list[str]], None]) -> NoReturn:
    """Runs a command, and exits with 2 for bad input or 1 for a failure.

    As in shells, the exit code is 130 after Ctrl-C, 143 after SIGTERM, and 141 for a closed pipe.
    """
    _commands.append(sys.argv[0])
    _ready_streams()
    signals.handle_stop()
    imports.set_keras_up()
    imports.leave_unused(sys.argv)
    try:
        main(sys.argv[1:])
        sys.stdout.flush()
        if number := signals.received():  # and some library ignored the exception
            signals.end(number)
        _end()
    except BrokenPipeError:  # such as `| head`; without this, Python would flush again at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except (Exception, KeyboardInterrupt) as error:
        if signals.received() or isinstance(error, KeyboardInterrupt):
            with contextlib.suppress(OSError):
                sys.stdout.flush()
            signals.end(signals.received() or signal.SIGINT)
        if not isinstance(error, BadInput | Failure | OSError):
            signals.unmute()
            raise
        with contextlib.suppress(OSError):
            sys.stdout.close()  # otherwise Python would retry at exit, and fail again
        signals.print_last(f"error: {terminal.one_line(error)}")
        # Skips Python's cleanup: a thread still running a stage of an engine that has gone away
        # can crash in it.
        os._exit(2 if isinstance(error, BadInput) else 1)


def is_command() -> bool:
    """Returns whether this process is a command's, not a user's own that imports this package."""
    return bool(_commands)


def _end() -> NoReturn:
    """Ends the process with 0, as Python does, but without its cleanup of all objects.

    With TensorFlow loaded, that takes 0.15 s, and can crash in its threads.
    """
    threading._shutdown()  # waits for threads
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _ready_streams() -> None:
    """Makes the standard streams accept any text, and reopens those that are closed.

    Otherwise the next opened files would get their descriptors, and libraries would write to them.
    """
    # The last of the standard descriptors is that of stderr.
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= signals.STDERR:
        pass
    os.close(descriptor)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")
