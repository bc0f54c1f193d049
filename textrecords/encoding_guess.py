"""Guesses the encoding of a file that doesn't seem to be in the one it's read with."""

import codecs

# UTF-32 first: its little-endian mark begins with that of UTF-16.
MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
# Which bytes in each group of four are NUL if the characters are ASCII, as markup, digits and
# spaces mostly are.
NULS = {
    "utf-32-le": (False, True, True, True),
    "utf-32-be": (True, True, True, False),
    "utf-16-le": (False, True, False, True),
    "utf-16-be": (True, False, True, False),
}
LOOKED_AT = 4096  # bytes of a file, from its start
SINGLE_BYTE = "latin-1 or cp1252"  # can't be distinguished: any bytes are valid in both
UNKNOWN = "unknown"


def wider(content: bytes) -> str | None:
    """Returns the variant of UTF-16 or UTF-32 that a file seems to be in; None if in neither."""
    for mark, name in MARKS.items():
        if content.startswith(mark):
            return name
    if b"\0" not in content:
        return None
    start = content[:LOOKED_AT]
    shares = [_share_of_nul(start[n::4]) for n in range(4)]
    for name, nuls in NULS.items():
        if all((share > 0.5) == nul for share, nul in zip(shares, nuls, strict=True)):
            return name
    return None


def guess(content: bytes) -> str:
    """Returns the encoding that a file that couldn't be decoded seems to be in."""
    if name := wider(content):
        return name
    try:
        content.decode()
    except UnicodeDecodeError:
        letters = sum(byte >= 0x80 for byte in content[:LOOKED_AT])
        return SINGLE_BYTE if letters < len(content[:LOOKED_AT]) / 3 else UNKNOWN
    return "utf-8"


def _share_of_nul(content: bytes) -> float:
    return content.count(0) / max(1, len(content))
