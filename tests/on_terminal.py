"""A command on a terminal."""

import codecs
import fcntl
import os
import pathlib
import pty
import struct
import subprocess
import sys
import termios

ROOT = pathlib.Path(__file__).parents[1]
COLUMNS = 100
# Of the variables that change the output on a terminal, only those that a test sets.
ENVIRONMENT = {
    name: value
    for name, value in os.environ.items()
    if name not in ("COLUMNS", "FORCE_COLOR", "LINES", "NO_COLOR")
} | {"TERM": "xterm"}


class Terminal:
    """A command on a terminal with `COLUMNS` columns; `shown` is all that it has written so far."""

    def __init__(self, *command, **environment):
        self._here, there = pty.openpty()
        fcntl.ioctl(there, termios.TIOCSWINSZ, struct.pack("HHHH", 40, COLUMNS, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, *map(str, command)],
            **dict.fromkeys(("stdin", "stdout", "stderr"), there),
            cwd=ROOT,
            env=ENVIRONMENT | environment,
            start_new_session=True,
        )
        os.close(there)
        self._decode = codecs.getincrementaldecoder("utf-8")().decode
        self.shown = ""

    def read_to(self, text):
        """Reads until `text` comes; returns what came before and with it, since the last time."""
        start = len(self.shown)
        while text not in self.shown[start:]:
            self.shown += self._decode(os.read(self._here, 4096))
        return self.shown[start:]

    def read_all(self):
        """Waits for the command's end; returns its exit code."""
        try:
            while content := os.read(self._here, 4096):
                self.shown += self._decode(content)
        except OSError:  # Linux's error once nobody has the terminal open any more
            os.close(self._here)
        return self.process.wait(timeout=60)

    def type(self, text):
        os.write(self._here, text.encode())
