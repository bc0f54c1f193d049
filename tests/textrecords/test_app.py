"""How a command ends: exit code, and what it prints."""

import signal
import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("body", "code", "stderr"),
    [
        ("pass", 0, ""),
        ("raise BadInput('a\\nb')", 2, "error: a\\nb\n"),
        ("raise Failure('no')", 1, "error: no\n"),
        ("raise KeyboardInterrupt", 130, "stopped\n"),
        ("open('/nowhere')", 1, "error: [Errno 2] No such file or directory: '/nowhere'\n"),
        ("import os; print('x' * 9); os.close(1); raise BrokenPipeError", 141, None),
    ],
)
def test_how_a_command_ends(body, code, stderr):
    imports = "from textrecords import app; from textrecords.errors import BadInput, Failure"
    program = f"{imports}\ndef main(argv): {body}\napp.run(main)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == code
    assert stderr in (None, done.stderr)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)]
)
def test_a_signal_ends_a_command_in_one_line(number, code):
    program = f"""
import os
from textrecords import app, imports
def main(argv):
    try:
        os.kill(os.getpid(), {number:d})
    except BaseException as error:
        raise RuntimeError("as Beam does it") from error
app.run(main)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr == ("" if number == signal.SIGKILL else "stopped\n")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_waits_until_libraries_are_loaded(number, code):
    program = f"""
import os
from textrecords import app, imports
def main(argv):
    with imports.quiet():
        os.kill(os.getpid(), {number:d})
        print("loaded")
    print("not reached")
app.run(main)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (code, "loaded\n", "stopped\n")


def test_a_command_that_clears_up_for_long_is_ended_all_the_same():
    program = """
import os, threading
from textrecords import app, signals
signals.SECONDS_TO_STOP = 0.1
def main(argv):
    try:
        os.kill(os.getpid(), 15)
    finally:
        os.kill(os.getpid(), 2)
        threading.Event().wait()
app.run(main)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (143, "stopped\n")


def test_output_that_nothing_takes_ends_a_command_in_one_line():
    program = "from textrecords import app\napp.run(lambda argv: print('x'))"
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-c", program], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert (done.returncode, done.stderr) == (1, "error: [Errno 28] No space left on device\n")
