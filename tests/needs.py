"""What a test does without something that it needs."""

import os

import pytest


def skip_without(what: str, remedy: str) -> None:
    """Skips a test for want of something; in CI, where all is to be tried, that is a failure."""
    message = f"there is no {what}: {remedy}"
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)
