"""Which encoding a file seems to be in that isn't in the one it's read by."""

import codecs

# UTF-32's of little end begins with UTF-16's.
MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
# Where a byte is NUL in each group of four if characters are ASCII's, as most of any markup, digits
# and spaces are, too.
NULS = {
    "utf-32-le": (False, True, True, True),
    "utf-32-be": (True, True, True, False),
    "utf-16-le": (False, True, False, True),
    "utf-16-be": (True, False, True, False),
}
LOOKED_AT = 4096  # bytes of a file, from its start
SINGLE_BYTE = "latin-1 or cp1252"  # no one can tell: any bytes are text in these
UNKNOWN = "unknown"


def wider(content: bytes) -> str | None:
    """Returns which of UTF-16 and UTF-32 a file seems to be in, if it seems to be in any."""
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
    """Returns which encoding a file that couldn't be decoded seems to be in."""
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
