"""Reads the files of `--stop_words` and `--replacements`.

TensorFlow is imported where it is first needed, so that a refusal is immediate.
"""

import dataclasses

from textrecords import checksums
from textrecords.errors import BadInput
from textrecords.manifest import DataFlags

BUILT_IN = "english"


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
        raise BadInput(f"can't read the words in {path}: {error.strerror}") from None


def with_fingerprints(flags: DataFlags) -> DataFlags:
    """Returns flags as a manifest holds them: of files of words, the SHA-256."""
    return dataclasses.replace(
        flags,
        stop_words=fingerprint(flags.stop_words),
        replacements=fingerprint(flags.replacements),
    )


def read_stop_words(path: str | None) -> tuple[str, ...]:
    """Returns the words to remove, cleaned as text is.

    Args:
      path: a file of one word a line, `english` for the built-in list, or None.

    Raises:
      BadInput: if the file can't be read, or a line isn't one word.
    """
    if path is None:
        return ()
    if path == BUILT_IN:
        from pipelines.preprocess import transform

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
            raise BadInput(f"{where}: {len(columns)} columns, not from, tab, to")
        token, text = _one_token(columns[0], where), " ".join(_tokens(columns[1]))
        if pairs.setdefault(token, text) != text:
            raise BadInput(f"{where}: {token} has another replacement further up")
    return tuple(sorted(pairs.items()))


def _lines(path: str) -> list[tuple[int, str]]:
    try:
        with open(path, encoding="utf-8") as file:
            return list(enumerate(file.read().splitlines(), start=1))
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"can't read the words in {path}: {error}") from None


def _tokens(text: str) -> list[str]:
    import tensorflow as tf

    from pipelines.preprocess import transform

    return [t.decode() for t in tf.strings.split(transform.standardize(text)).numpy()]


def _one_token(text: str, where: str) -> str:
    tokens = _tokens(text)
    if len(tokens) != 1:
        raise BadInput(f"{where}: {text!r} is {len(tokens)} words once cleaned, not one")
    return tokens[0]
