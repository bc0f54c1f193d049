"""What surrounds a command makes no other one of it."""

import json
import os
import subprocess
import sys

import pytest
from tiny_tree import write

pytestmark = pytest.mark.integration

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
PARSE = """
from textrecords import app, json_files, manifest

app.run(lambda argv: print(json_files.parse(manifest._Format, '{"format_version": 3}')))
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


def test_a_command_looks_for_no_plugins_among_a_users_packages(tmp_path):
    # If pydantic loaded it, it would warn that there is no such module.
    plugin = "[pydantic]\nplugin = no_such_module:plugin\n"
    package = {"METADATA": "Name: package\nVersion: 1\n", "entry_points.txt": plugin}
    write(tmp_path, {f"package-1.dist-info/{name}": of for name, of in package.items()})
    assert run(PARSE, PYTHONPATH=str(tmp_path)) == "_Format(format_version=3)\n"


def test_a_home_that_cannot_be_written_leaves_no_traceback_and_no_files(tmp_path):
    (tmp_path / "new").mkdir()
    (tmp_path / "tmp").mkdir()
    surroundings = {"HOME": os.devnull, "TMPDIR": str(tmp_path / "tmp")}
    run(TEMPORARY, str(tmp_path / "new"), **surroundings)
    run(KERAS, **surroundings)
    assert os.listdir(tmp_path / "new") == os.listdir(tmp_path / "tmp") == []


LOADED = """
import sys
from textrecords import app, imports

def main(argv):
    with imports.quiet():
        import apache_beam.io.filesystems
        import keras
    unused = (*imports.UNUSED, "google.cloud.storage")
    print(*(name for name in unused if name in sys.modules))
    import google.cloud.storage, matplotlib, pandas, sklearn

app.run(main)
"""


def test_tensorflow_and_beam_are_loaded_without_what_a_command_does_not_use():
    assert run(LOADED, "--output=records") == "\n"
    assert run(LOADED, "--output=gs://bucket/records") == "google.cloud.storage\n"


PREPROCESSED = """
import os, sys
from pipelines.preprocess import __main__ as preprocess
from textrecords import app

if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # so that there are no helpers

def main(argv):
    preprocess.main(argv)
    unused = ("keras", "h5py", "PIL", "pandas", "IPython", "apitools", "google.auth")
    print(*(name for name in unused if name in sys.modules))
    import keras, h5py, PIL, pandas

app.run(main)
"""


def test_preprocessing_loads_no_keras_and_no_pandas(tmp_path):
    """Each takes a tenth of a second or more, in pandas' case in every helper."""
    write(tmp_path / "in", {f"train/{name}/{n}.txt": "a film" for name in "ab" for n in range(3)})
    out = run(PREPROCESSED, f"--input={tmp_path / 'in'}", f"--output={tmp_path / 'out'}")
    assert out.splitlines()[-1] == ""


TYPES = """
import sys, typing
from textrecords import imports

def is_one(name):
    return typing._type_convert(name) is typing._type_convert(name)

with imports.quiet():
    print(is_one("_atypes.Int32"), is_one("int"))
print(is_one("_atypes.Int32"), typing._type_convert("_atypes.Int32"))
"""


def test_only_tensorflows_named_types_are_converted_once_and_only_meanwhile():
    meanwhile = sys.version_info < (3, 12)
    assert run(TYPES) == f"{meanwhile} False\nFalse ForwardRef('_atypes.Int32')\n"


GARBAGE = """
import gc, weakref
from textrecords import imports

class Node: pass

imports.tensorflow()
node = Node()
node.itself, gone = node, weakref.ref(node)
gc.disable()
del node
with imports.quiet():
    import keras
gc.collect()
print(gone())
"""


def test_what_is_garbage_when_more_is_loaded_does_not_stay():
    assert run(GARBAGE) == "None\n"
