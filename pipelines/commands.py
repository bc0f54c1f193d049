"""How every command reads its flags, speaks, and ends."""

import argparse
import contextlib
import functools
import gc
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

SECONDS_TO_STOP = 5.0  # for clearing up after a signal; the next run sweeps the rest
LARGEST = 2**31 - 1  # of a flag: TensorFlow counts many things by 32 bits
STOPPING = (signal.SIGINT, signal.SIGTERM)


class BadInput(Exception):
    """A user's mistake; the message is one line: what is wrong, where, and what to do."""


class Failure(Exception):
    """A failure while running that needs no traceback; the message is one line, as above."""


# The help of the flag of that name.
NO_VERIFY = "take the files as they are, and don't compare their SHA-256"


class _HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Shows defaults, but no `None`, which is the lack of one."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return action.help if action.default is None else super()._get_help_string(action)


class ArgumentParser(argparse.ArgumentParser):
    """argparse's parser, but an error is one line and no flag is guessed from a prefix."""

    def __init__(self, **kwargs: Any):
        super().__init__(allow_abbrev=False, formatter_class=_HelpFormatter, **kwargs)

    def error(self, message: str) -> NoReturn:
        raise BadInput(f"{message} (see python -m {self.prog} --help)")


def number(
    of: type = int, *, least: float, most: float = LARGEST, below: float = float("inf")
) -> Callable[[str], float]:
    """Returns an argparse type: a number from `least` to `most`, and less than `below`."""

    def parse(text: str) -> float:
        value = of(text)
        if not (least <= value <= most and value < below):
            limit = f"less than {below}" if below <= most else f"at most {most}"
            raise argparse.ArgumentTypeError(f"must be at least {least} and {limit}, not {text}")
        return value

    parse.__name__ = of.__name__  # argparse names the type so in "invalid int value: 'x'"
    return parse


def one_line(text: object) -> str:
    """Returns `text` with control characters and stray bytes escaped, safe on a terminal."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(text))


def say(text: object) -> None:
    """Prints a line, whatever names and texts stand in it."""
    print(one_line(text))


def run(main: Callable[[list[str]], None]) -> NoReturn:
    """Runs a command: exit code 2 for bad input, 1 for a failure.

    As shells have it, 130 is for Ctrl-C, 143 for SIGTERM, and 141 for a closed pipe.
    """
    stops: list[int] = []  # Beam makes an exception of its own of what a signal raises
    for number in STOPPING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, functools.partial(_stop, stops))
    try:
        main(sys.argv[1:])
        sys.stdout.flush()
    except BrokenPipeError:  # `head`, say, has read enough; Python would flush the rest at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except (Exception, KeyboardInterrupt) as error:
        if stops or isinstance(error, KeyboardInterrupt):
            print("stopped", file=sys.stderr, flush=True)
            with contextlib.suppress(OSError):
                sys.stdout.flush()
            # Not by Python's own exit, while threads of TensorFlow may still run: now and then it
            # ended by another code.
            os._exit(128 + (stops.pop() if stops else signal.SIGINT))
        if not isinstance(error, BadInput | Failure | OSError):
            raise
        with contextlib.suppress(OSError):
            sys.stdout.close()  # or Python would try at exit, and fail again, if that is the error
        print(f"error: {one_line(error)}", file=sys.stderr)
        sys.exit(2 if isinstance(error, BadInput) else 1)
    sys.exit(0)


def _stop(stops: list[int], number: int, _: object) -> NoReturn:
    """Ends what runs, as Ctrl-C does; and the process, should that take too long."""
    for each in STOPPING:
        signal.signal(each, signal.SIG_IGN)  # a second one would disturb the clearing up
    stops.append(number)
    last = threading.Timer(SECONDS_TO_STOP, _end, [stops, number])
    last.daemon = True
    last.start()
    raise KeyboardInterrupt


def _end(stops: list[int], number: int) -> NoReturn:
    if stops:  # it isn't told yet
        os.write(2, b"stopped\n")
    os._exit(128 + number)


@contextlib.contextmanager
def quiet_imports() -> Iterator[None]:
    """Imports TensorFlow or Beam without their messages, and a good deal faster.

    They make a million objects that stay. Looking through these for garbage, while they load, time
    and again while a pipeline runs, and once more at exit, would take seconds.

    A signal waits for the end: their libraries can crash if Python is stopped while it loads them.
    """
    gc.disable()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
    try:
        with _silence():
            yield
    finally:
        gc.freeze()
        gc.enable()
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


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
