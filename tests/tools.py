"""Environments with tools of others that read what this project writes."""

import os
import pathlib
import re
import subprocess
import sys
import sysconfig

import needs

ROOT = pathlib.Path(__file__).parent.parent
UV = pathlib.Path(sys.executable).parent / "uv"
AS_OF = "2026-11-20"  # later releases of any package are excluded, so that none fails a test
LOCKED = re.compile(r"^[\w.-]+==\S+.*?(?= \\$|$)", re.MULTILINE)


def install(folder, *packages, beside_ours=False):
    """Makes an environment with packages from PyPI, and returns its interpreter.

    Args:
      folder: where to make it.
      packages: as pip takes them.
      beside_ours: whether to add them to the packages of this environment.
    """
    run(UV, "venv", "--quiet", "--python", sys.executable, folder)
    python = folder / "bin" / "python"
    options = ["--quiet", "--python", python]
    if not beside_ours:
        options += ["--exclude-newer", AS_OF]
    else:  # which may be locked later than that
        constraints = folder / "constraints.txt"
        constraints.write_text("\n".join(LOCKED.findall((ROOT / "requirements.lock").read_text())))
        options += ["--constraint", constraints]
        (site,) = folder.glob("lib/*/site-packages")
        (site / "ours.pth").write_text(sysconfig.get_path("purelib"))
    done = subprocess.run(
        [UV, "pip", "install", *options, *packages], capture_output=True, text=True
    )
    if done.returncode:
        needs.skip_without(" ".join(packages), done.stderr)
    return python


def run(*command, **options):
    """Runs a command and returns what it printed; fails the test if it fails."""
    env = {name: text for name, text in os.environ.items() if name != "PYTHONHOME"}
    options = {"env": {**env, "TF_CPP_MIN_LOG_LEVEL": "3"}, **options}
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
