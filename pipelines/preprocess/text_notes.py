"""What is worth a note about a single text; the notes are findings of the audit."""

import codecs
import itertools
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.preprocess import markup

MISREAD = "not in the encoding"
BYTE_ORDER_MARK = "byte order mark"
NUL = "NUL bytes"
MARKUP = "HTML"  # other than `<br />`
NO_TOKENS = "no tokens"
SHORT = "short"


class Note(NamedTuple):
    """One thing about one review.

    Attributes:
      what: a constant of this module.
      key: of the review.
      seems: the encoding that it seems to be in, if not in the one it's read by.
    """

    what: str
    key: bytes
    seems: str = ""


def of_texts(texts: pa.Array) -> dict[str, np.ndarray]:
    """Returns which of some texts, <binary>[n], are worth each note, <bool>[n]."""
    without_breaks = pc.replace_substring(texts, pattern="<br />", replacement=" ")
    html = rf"{markup.TAG}|{markup.ENTITY}"
    found = {
        BYTE_ORDER_MARK: pc.starts_with(texts, pattern=codecs.BOM_UTF8),
        NUL: pc.match_substring(texts, pattern=b"\0"),
        MARKUP: pc.match_substring_regex(without_breaks, pattern=html),
    }
    return {what: which.to_numpy(zero_copy_only=False) for what, which in found.items()}


def take(keys: Iterable[bytes], found: dict[str, np.ndarray]) -> Iterator[Note]:
    """Yields a note for each review of `keys` that is marked, <bool>[n]."""
    for what, which in found.items():
        yield from (Note(what, key) for key in itertools.compress(keys, which))
