"""Settings for all tests.

Child processes run this checkout, whichever one is installed; property tests are deterministic.
"""

import os
import pathlib

import hypothesis

ROOT = pathlib.Path(__file__).parent.parent

before = os.environ.get("PYTHONPATH")
os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), *([before] if before else [])])

# Always the same examples, so that a run doesn't depend on luck.
hypothesis.settings.register_profile(
    "steady",
    derandomize=True,
    deadline=None,
    suppress_health_check=list(hypothesis.HealthCheck),
)
hypothesis.settings.register_profile(
    "long", hypothesis.settings.get_profile("steady"), max_examples=10_000
)
hypothesis.settings.load_profile("steady")
