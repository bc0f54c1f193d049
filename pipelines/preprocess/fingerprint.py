"""The fingerprint of an input's files."""

import hashlib
from collections.abc import Iterable

from textrecords.manifest import Fingerprint


def fingerprint(files: Iterable[tuple[bytes, bytes]]) -> Fingerprint:
    """Returns the fingerprint of files, each given by key and content."""
    return Fingerprint.of((len(content), _digest(key, content)) for key, content in files)


def _digest(key: bytes, content: bytes) -> bytes:
    prefix = b"%d:%b" % (len(key), key)
    return hashlib.sha256(prefix + hashlib.sha256(content).digest()).digest()
