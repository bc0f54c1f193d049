"""`model.tensorboard`: the logs of a model, in TensorBoard."""

import re
import signal
import subprocess
import sys

import pytest

from model import tensorboard
from textrecords.errors import BadInput


def test_it_prints_its_address_and_no_messages_of_tensorflow(tmp_path):
    (tmp_path / "logs").mkdir()
    command = [sys.executable, "-m", "model.tensorboard", "--model_dir", str(tmp_path), "--port=0"]
    board = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    lines = []
    while not lines or " at http://" not in lines[-1]:
        lines.append(board.stderr.readline())
        assert lines[-1], lines
    assert not re.search(r"absl|cuda|oneDNN", "".join(lines))
    board.send_signal(signal.SIGINT)
    board.communicate(timeout=60)


def test_a_model_without_logs_is_refused(tmp_path):
    with pytest.raises(BadInput, match=r"no logs in .*: run `make train` first"):
        tensorboard.main(["--model_dir", str(tmp_path)])
