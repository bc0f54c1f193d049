"""Reads the files of `--stop_words` and `--replacements`.

TensorFlow is imported lazily, so that errors about bad input are immediate.
"""

import dataclasses
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from textrecords import checksums, storage
from textrecords.errors import BadInput
from textrecords.manifest import DataFlags

if TYPE_CHECKING:
    from pipelines.preprocess import transform

BUILT_IN = "english"
LINE_END = re.compile("\r\n?|\n")  # `str.splitlines` has others, which may be in words
# Words separated by one of these marks without a space, which cleaning would join: a list on one
# line. Numbers are excluded, since texts also contain "1,000".
GLUED = re.compile(r"[^\W\d][^\w\s]*(?P<mark>[,;|])[^\w\s]*[^\W\d]")


def check(flags: DataFlags) -> None:
    """Raises `BadInput` if there are word lists, but texts are split into characters."""
    if flags.split == "character" and (flags.stop_words or flags.replacements):
        raise BadInput(
            "--split character: --stop_words and --replacements are lists of words: drop them"
        )


def fingerprint(path: str | None) -> str | None:
    """Returns the SHA-256 of a file of words; `english` and None are returned unchanged.

    Raises:
      BadInput: if the file can't be read.
    """
    if path is None or path == BUILT_IN:
        return path
    try:
        return checksums.sha256(path)
    except OSError as error:
        raise _unreadable(path, error) from None


def with_fingerprints(flags: DataFlags) -> DataFlags:
    """Returns flags as in a manifest, with the SHA-256 of files of words."""
    return dataclasses.replace(
        flags,
        stop_words=fingerprint(flags.stop_words),
        replacements=fingerprint(flags.replacements),
    )


def text_options(flags: DataFlags) -> "transform.TextOptions":
    """Returns the flags that determine the ids of a text, as typed, with the words read.

    Raises:
      BadInput: if a file of words can't be read or used.
    """
    from pipelines.preprocess import transform

    without_lists = transform.TextOptions(
        max_tokens=flags.max_tokens,
        max_len=flags.max_len,
        split=flags.split,
        strip_html=flags.strip_html,
        normalize_unicode=flags.normalize_unicode,
    )
    clean = transform.Tokenizer(without_lists)
    return dataclasses.replace(
        without_lists,
        stop_words=read_stop_words(flags.stop_words, clean),
        replacements=read_replacements(flags.replacements, clean),
    )


def read_stop_words(path: str | None, clean: "transform.Tokenizer") -> tuple[str, ...]:
    """Returns the words to remove, cleaned like text: `Don't` becomes dont.

    Args:
      path: a file with one word per line, `english` for the built-in list, or None.
      clean: cleans texts.

    Raises:
      BadInput: if the file can't be read, or a line isn't one word.
    """
    if path is None:
        return ()
    if path == BUILT_IN:
        from pipelines.preprocess import transform

        return transform.ENGLISH_STOP_WORDS
    return tuple(sorted({_one_token(line, where, clean) for where, line in _lines(path)}))


def read_replacements(
    path: str | None, clean: "transform.Tokenizer"
) -> tuple[tuple[str, str], ...]:
    """Returns (token, replacement), both cleaned like text.

    So `U.S.` becomes us, and its replacement replaces every us.

    Args:
      path: a file with lines of word, tab, replacement, or None.
      clean: cleans texts.

    Raises:
      BadInput: if the file can't be read, or a line isn't of this form.
    """
    if path is None:
        return ()
    found: dict[str, str] = {}
    for where, line in _lines(path):
        columns = line.split("\t")
        if len(columns) != 2:
            raise BadInput(f"{where}: {len(columns)} columns, not word, tab, replacement")
        token, text = _one_token(columns[0], where, clean), _tokens(columns[1], where, clean)
        if found.setdefault(token, " ".join(text)) != " ".join(text):
            raise BadInput(f"{where}: {token} has another replacement further up")
    return tuple(sorted(found.items()))


def _lines(path: str) -> Iterator[tuple[str, str]]:
    """Yields the location and text of each line with words; skips comments, which begin with #."""
    try:
        text = storage.read_bytes(path).decode("utf-8-sig")
    except OSError as error:
        raise _unreadable(path, error) from None
    except UnicodeDecodeError:
        raise BadInput(f"the words in {path} aren't UTF-8: save the file as UTF-8") from None
    for number, line in enumerate(LINE_END.split(text), start=1):
        if line.strip() and not line.startswith("#"):
            yield f"{path}, line {number}", line


def _unreadable(path: str, error: OSError) -> BadInput:
    return BadInput(f"can't read the words in {path} ({error.strerror}): name a file")


def _tokens(text: str, where: str, clean: "transform.Tokenizer") -> list[str]:
    if glued := GLUED.search(text):
        raise BadInput(
            f"{where}: cleaning removes {glued['mark']!r}, which joins the words of {text!r}: "
            "put each on its own line, or add a space"
        )
    return [token.decode() for token in clean([text]).flat_values.numpy()]


def _one_token(text: str, where: str, clean: "transform.Tokenizer") -> str:
    tokens = _tokens(text, where, clean)
    if len(tokens) != 1:
        raise BadInput(f"{where}: {text!r} is {len(tokens)} words after cleaning, not one")
    return tokens[0]
