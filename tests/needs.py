"""What a test does without something that it needs."""

import importlib
import os
import types

import pytest


def package(name: str) -> types.ModuleType:
    """Returns a package of an extra, imported; without it, the test is skipped."""
    try:
        return importlib.import_module(name)
    except ImportError:
        skip_without(f"package {name}", "run `make setup`")


def skip_without(what: str, remedy: str) -> None:
    """Skips a test for want of something; in CI, where all is to be tried, that is a failure."""
    message = f"there is no {what}: {remedy}"
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message, allow_module_level=True)
