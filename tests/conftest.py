"""What holds for all tests: child processes run this checkout, whichever one is installed."""

import os
import pathlib

ROOT = pathlib.Path(__file__).parent.parent

before = os.environ.get("PYTHONPATH")
os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), *([before] if before else [])])
