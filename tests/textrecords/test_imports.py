"""What surrounds a command makes no other one of it."""

import json
import os
import subprocess
import sys

KERAS = """
import json
from textrecords import app, imports

def main(argv):
    with imports.quiet():
        import keras
    config = keras.config
    print(json.dumps([
        config.backend(), config.floatx(), config.epsilon(), config.image_data_format(),
        config.max_epochs(), str(config.dtype_policy().name),
    ]))

app.run(main)
"""
TEMPORARY = """
import sys
from textrecords import atomic, imports

with atomic._temporary_files(sys.argv[1]), imports.quiet():
    import keras
"""


def run(program, *args, **environ):
    command = [sys.executable, "-c", program, *args]
    done = subprocess.run(command, env=os.environ | environ, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_a_users_keras_configuration_changes_nothing(tmp_path):
    folder = tmp_path / "home" / ".keras"
    folder.mkdir(parents=True)
    settings = {"backend": "jax", "floatx": "float16", "epsilon": 0.1}
    content = json.dumps({**settings, "image_data_format": "channels_first"})
    (folder / "keras.json").write_text(content)
    environ = {"HOME": str(tmp_path / "home"), "KERAS_BACKEND": "torch", "KERAS_MAX_EPOCHS": "1"}
    expected = ["tensorflow", "float32", 1e-7, "channels_last", None, "float32"]
    assert json.loads(run(KERAS, **environ)) == expected
    assert json.loads(run(KERAS, **environ, KERAS_HOME=str(folder))) == expected
    assert (folder / "keras.json").read_text() == content


def test_a_home_that_cannot_be_written_leaves_no_traceback_and_no_files(tmp_path):
    (tmp_path / "new").mkdir()
    (tmp_path / "tmp").mkdir()
    surroundings = {"HOME": os.devnull, "TMPDIR": str(tmp_path / "tmp")}
    run(TEMPORARY, str(tmp_path / "new"), **surroundings)
    run(KERAS, **surroundings)
    assert os.listdir(tmp_path / "new") == os.listdir(tmp_path / "tmp") == []
