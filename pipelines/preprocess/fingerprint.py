"""The fingerprint of an input's files."""

import hashlib
from collections.abc import Iterable

from textrecords.manifest import Fingerprint
from textrecords.text_source import Source, Unread


def fingerprint(source: Source, reviews: Iterable[tuple[Unread, bytes]]) -> Fingerprint:
    """Returns the fingerprint of reviews of a source, each with its bytes."""
    return Fingerprint.of(
        (len(content), _digest(source.identity(review), content)) for review, content in reviews
    )


def _digest(identity: bytes, content: bytes) -> bytes:
    prefix = b"%d:%b" % (len(identity), identity)
    return hashlib.sha256(prefix + hashlib.sha256(content).digest()).digest()
