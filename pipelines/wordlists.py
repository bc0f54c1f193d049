"""Reads the files of `--stop_words` and `--replacements`."""

import hashlib
from typing import Any

import tensorflow as tf

from pipelines import contract, transform


def read_stop_words(path: str | None) -> tuple[str, ...]:
    """Returns the words to remove, cleaned as text is.

    Args:
      path: a file of one word a line, `english` for the built-in list, or None.

    Raises:
      BadInput: if the file can't be read, or a line isn't one word.
    """
    if path is None:
        return ()
    if path == "english":
        return transform.ENGLISH_STOP_WORDS
    words = {_one_token(line, f"{path}, line {n}") for n, line in _lines(path) if line.strip()}
    return tuple(sorted(words))


def read_replacements(path: str | None) -> tuple[tuple[str, str], ...]:
    """Returns pairs of a token and the text that stands for it, both cleaned as text is.

    Args:
      path: a file of lines "from, tab, to", or None.

    Raises:
      BadInput: if the file can't be read, or a line isn't of this form.
    """
    if path is None:
        return ()
    pairs: dict[str, str] = {}
    for n, line in _lines(path):
        if not line.strip():
            continue
        where = f"{path}, line {n}"
        columns = line.split("\t")
        if len(columns) != 2:
            raise contract.BadInput(f"{where}: {len(columns)} columns, not from, tab, to")
        token, text = _one_token(columns[0], where), " ".join(_tokens(columns[1]))
        if pairs.setdefault(token, text) != text:
            raise contract.BadInput(f"{where}: {token} has another replacement further up")
    return tuple(sorted(pairs.items()))


def fingerprint(words: tuple[Any, ...]) -> dict[str, Any]:
    """Returns what the manifest keeps of the words to remove, or of the replacements."""
    return {"count": len(words), "sha256": hashlib.sha256(repr(words).encode()).hexdigest()}


def _lines(path: str) -> list[tuple[int, str]]:
    try:
        with open(path, encoding="utf-8") as file:
            return list(enumerate(file.read().splitlines(), start=1))
    except (OSError, UnicodeDecodeError) as error:
        raise contract.BadInput(f"can't read the words in {path}: {error}") from None


def _tokens(text: str) -> list[str]:
    return [t.decode() for t in tf.strings.split(transform.standardize(text)).numpy()]


def _one_token(text: str, where: str) -> str:
    tokens = _tokens(text)
    if len(tokens) != 1:
        raise contract.BadInput(f"{where}: {text!r} is {len(tokens)} words once cleaned, not one")
    return tokens[0]
