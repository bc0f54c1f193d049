"""What conftest.py promises, tried in a checkout that isn't the one that is installed."""

import os
import pathlib
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent
TEST = """
import pathlib, subprocess, sys
import textrecords

def test_a_child_process_imports_what_its_test_imports(tmp_path):
    code = "import textrecords; print(textrecords.__file__)"
    done = subprocess.run([sys.executable, "-c", code], stdout=-1, text=True, cwd=tmp_path)
    assert done.stdout == f"{textrecords.__file__}\\n"
    assert pathlib.Path(textrecords.__file__).parents[1] == pathlib.Path(__file__).parents[1]
"""


@pytest.mark.parametrize("flag", ["-n0", "-n1"])
def test_a_checkout_is_tested_itself_from_whichever_folder(tmp_path, flag):
    for folder in ("textrecords", "tests"):
        (tmp_path / folder).mkdir()
    (tmp_path / "textrecords" / "__init__.py").touch()
    (tmp_path / "tests" / "test_it.py").write_text(TEST)
    shutil.copy(ROOT / "tests" / "conftest.py", tmp_path / "tests")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    done = subprocess.run(
        [pathlib.Path(sys.executable).with_name("pytest"), "-p", "xdist", flag],
        cwd=tmp_path / "tests",
        env=os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout
