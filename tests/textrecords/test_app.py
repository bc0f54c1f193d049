"""How a command ends: exit code, and what it prints."""

import os
import shlex
import signal
import subprocess
import sys

import pytest

from textrecords import signals


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


def test_a_command_is_stopped_even_if_a_library_ignores_the_signal():
    program = """
import os, signal
from textrecords import app
class Careless:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
def main(argv):
    Careless()
    print("went on")
app.run(main)
"""
    buffered = {**os.environ, "PYTHONUNBUFFERED": ""}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, env=buffered)
    assert (done.returncode, done.stdout) == (143, "went on\n")
    assert done.stderr.startswith("Exception ignored in")
    assert done.stderr.endswith("stopped\n")


def test_an_error_ends_a_command_whatever_threads_still_do():
    """At Python's own exit they can crash, and the code would be another one."""
    program = """
import atexit, os
from textrecords import app
from textrecords.errors import Failure
atexit.register(os.abort)
def main(argv):
    print("said before")
    raise Failure("no")
app.run(main)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (1, "said before\n", "error: no\n")


def test_a_command_ends_after_its_threads_without_the_cleanup_of_objects():
    program = """
import atexit, os, threading, time
from textrecords import app
class Crash:
    def __del__(self):
        os.abort()
crash = Crash()
atexit.register(print, "registered", end="")
def work():
    time.sleep(0.2)
    print("worked")
def main(argv):
    threading.Thread(target=work).start()
    print("said")
app.run(main)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "said\nworked\nregistered", "")


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


def test_a_command_that_cleans_up_for_too_long_is_killed():
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


ODD = "import sys; from textrecords import app, terminal; app.run(lambda argv: {})"


@pytest.mark.parametrize(
    ("encoding", "printed"),
    [
        ("ascii", b"caf\\xe9 \\u2603\n"),
        ("latin-1", b"caf\xe9 \\u2603\n"),
        ("utf-8", "café ☃\n".encode()),
    ],
)
def test_what_an_encoding_lacks_is_escaped(encoding, printed):
    program = ODD.format("(terminal.say('café ☃'), print('café ☃', file=sys.stderr))")
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, env=environment)
    assert (done.returncode, done.stdout, done.stderr) == (0, printed, printed)


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_closed_stream_is_no_error_and_no_file_takes_its_place(tmp_path, closed):
    opened = f"open({str(tmp_path / 'f')!r}, 'w').fileno() > 2 or 1/0"
    body = f"(print('x'), print('y', file=sys.stderr), {opened})"
    command = f"{sys.executable} -c {shlex.quote(ODD.format(body))} {closed}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "f").read_text() == ""


def test_verbose_shows_what_libraries_log():
    program = (
        "import logging; from textrecords import app, command_line, imports\n"
        "def main(argv):\n"
        "    args = command_line.ArgumentParser(prog='x').parse_args(argv)\n"
        "    assert not vars(args)\n"
        "    with imports.quiet_logs(): logging.info('from a library')\n"
        "    assert logging.root.manager.disable == 0\n"
        "app.run(main)"
    )
    quiet, verbose = (
        subprocess.run([sys.executable, "-c", program, *flags], capture_output=True, text=True)
        for flags in ([], ["--verbose"])
    )
    assert (quiet.returncode, quiet.stderr) == (0, "")
    assert (verbose.returncode, verbose.stderr) == (0, "INFO:root:from a library\n")


def test_more_time_to_stop_never_shortens_what_was_given_before(monkeypatch):
    monkeypatch.setattr(signals._Stop, "timer", None)
    signals._start_timer(5)
    try:
        signals.extend(60)
        signals.extend(10)
        assert 60 < signals._Stop.timer.interval <= 60 + signals.SECONDS_TO_STOP
    finally:
        signals._Stop.timer.cancel()
