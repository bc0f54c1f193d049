"""Reads the files of `--stop_words` and `--replacements`.

TensorFlow is imported where it is first needed, so that a refusal is immediate.
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
LINE_END = re.compile("\r\n?|\n")  # `str.splitlines` knows others, which may be in words
# Words with one of these signs between them and no space, which cleaning would glue: a list
# in one line. Numbers are written so in texts, too: "1,000".
GLUED = re.compile(r"[^\W\d][^\w\s]*(?P<mark>[,;|])[^\w\s]*[^\W\d]")


def check(flags: DataFlags) -> None:
    """Raises `BadInput` if there are lists of words, but no words."""
    if flags.split == "character" and (flags.stop_words or flags.replacements):
        raise BadInput(
            "--split character: --stop_words and --replacements are of words: leave them out"
        )


def fingerprint(path: str | None) -> str | None:
    """Returns the SHA-256 of a file of words; `english` and None stand for themselves.

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
    """Returns flags as a manifest holds them: of files of words, the SHA-256."""
    return dataclasses.replace(
        flags,
        stop_words=fingerprint(flags.stop_words),
        replacements=fingerprint(flags.replacements),
    )


def text_options(flags: DataFlags) -> "transform.TextOptions":
    """Returns the flags that decide the ids of a text, as they were typed, with the words read.

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
    """Returns the words to remove, cleaned as text is: `Don't` is dont, as it is in a text.

    Args:
      path: a file of one word a line, `english` for the built-in list, or None.
      clean: as texts are cleaned.

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
    """Returns pairs of a token and the text that stands for it, both cleaned as text is.

    So `U.S.` is us, as it is in a text, and what stands for it stands for every us.

    Args:
      path: a file of lines "from, tab, to", or None.
      clean: as texts are cleaned.

    Raises:
      BadInput: if the file can't be read, or a line isn't of this form.
    """
    if path is None:
        return ()
    pairs: dict[str, str] = {}
    for where, line in _lines(path):
        columns = line.split("\t")
        if len(columns) != 2:
            raise BadInput(f"{where}: {len(columns)} columns, not from, tab, to")
        token, text = _one_token(columns[0], where, clean), _tokens(columns[1], where, clean)
        if pairs.setdefault(token, " ".join(text)) != " ".join(text):
            raise BadInput(f"{where}: {token} has another replacement further up")
    return tuple(sorted(pairs.items()))


def _lines(path: str) -> Iterator[tuple[str, str]]:
    """Yields the lines that hold words, and where each is; those that begin with # are comments."""
    try:
        text = storage.read_bytes(path).decode("utf-8-sig")
    except OSError as error:
        raise _unreadable(path, error) from None
    except UnicodeDecodeError:
        raise BadInput(f"the words in {path} aren't UTF-8: save the file as that") from None
    for number, line in enumerate(LINE_END.split(text), start=1):
        if line.strip() and not line.startswith("#"):
            yield f"{path}, line {number}", line


def _unreadable(path: str, error: OSError) -> BadInput:
    return BadInput(f"can't read the words in {path} ({error.strerror}): name a file")


def _tokens(text: str, where: str, clean: "transform.Tokenizer") -> list[str]:
    if glued := GLUED.search(text):
        raise BadInput(
            f"{where}: without {glued['mark']!r}, {text!r} isn't the words that it names: "
            "give each a line of its own, or a space"
        )
    return [token.decode() for token in clean([text]).flat_values.numpy()]


def _one_token(text: str, where: str, clean: "transform.Tokenizer") -> str:
    tokens = _tokens(text, where, clean)
    if len(tokens) != 1:
        raise BadInput(f"{where}: {text!r} is {len(tokens)} words once cleaned, not one")
    return tokens[0]
