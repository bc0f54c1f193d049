"""Settings for all tests.

Child processes run this checkout, whichever one is installed; property tests are deterministic.
"""

import os
import pathlib
import sys

import hypothesis
import pytest

ROOT = pathlib.Path(__file__).parent.parent

before = os.environ.get("PYTHONPATH")
os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), *([before] if before else [])])

# Tests neither use what trainings have compiled nor fill the user's cache.
os.environ["TF_XLA_FLAGS"] = "--tf_xla_persistent_cache_directory="

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
# For `make mutants`, which only asks whether a test fails.
hypothesis.settings.register_profile(
    "unshrunk",
    hypothesis.settings.get_profile("steady"),
    phases=(hypothesis.Phase.explicit, hypothesis.Phase.generate),
)
hypothesis.settings.load_profile("steady")

# XLA takes seconds to compile a training, and 30 MB that its process never gives back. These tests
# are about it, or compare weights bit for bit; commands that run in other processes use it, too.
WITH_XLA = {"test_checkpoints", "test_fast_lstm", "test_replicas"}


@pytest.fixture(autouse=True, scope="module")
def xla(request):
    """Trains without XLA in most tests of this process."""
    name = pathlib.Path(request.module.__file__).stem
    fast_lstm = sys.modules.get("model.network.fast_lstm")
    with pytest.MonkeyPatch.context() as patched:
        if fast_lstm:
            patched.setattr(fast_lstm, "XLA", name in WITH_XLA)
        yield
