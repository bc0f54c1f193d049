"""The fingerprint of an input's files."""

import hashlib
from collections.abc import Iterable

from textrecords.manifest import Fingerprint


def fingerprint(files: Iterable[tuple[bytes, bytes]]) -> Fingerprint:
    """Returns the fingerprint of files, each given by key and content."""
    number = size = total = 0
    for key, content in files:
        digest = hashlib.sha256(b"%d:%b" % (len(key), key) + hashlib.sha256(content).digest())
        number += 1
        size += len(content)
        total += int.from_bytes(digest.digest(), "big")
    return Fingerprint(number, size, f"{total % 2**256:064x}")
