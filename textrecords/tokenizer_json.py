"""`tokenizer.json`: cleaning and vocabulary in the form that Hugging Face's `tokenizers` reads.

It gives the ids that the transform graph gives, padded and cut as a network takes them. There is
one exception: no rule applies to an empty text, so give `text or "!"`, which is of no tokens, too.

Its regular expressions mean the same to Oniguruma, which `tokenizers` has in Python, to Rust and
to JavaScript: hence no `^`, which is the beginning of a line to some.
"""

import string
from collections.abc import Sequence
from typing import Any

from textrecords import cleaning, spec
from textrecords.manifest import DataFlags

Rule = dict[str, Any]

BEGIN, END = r"(?<![\s\S])", r"(?![\s\S])"  # of the text
BYTE_ORDER_MARK = "\ufeff"
SPACE = r"[ \t\n\x0B\f\r]"  # ASCII's, at which TensorFlow splits
# Stands for a text of no tokens: punctuation, so that no token is the same.
NO_TOKENS = "!"
# The flags of preprocess that have no like here: entities are characters by their number, the case
# of Greek depends on what stands around, and only the graph holds the lists of words.
INEXPRESSIBLE = ("strip_html", "normalize_unicode", "stop_words", "replacements")


def obstacles(flags: DataFlags) -> list[str]:
    """Returns the flags, as they are typed, because of which there can be no `tokenizer.json`."""
    return [f"--{name}" for name in INEXPRESSIBLE if getattr(flags, name)]


def content(vocabulary: Sequence[str], size: spec.InputSize, split: str) -> dict[str, Any]:
    """Returns what stands in the file.

    Args:
      vocabulary: the names of all ids, those of padding and OOV first.
      size: what a network takes of a text.
      split: as in `DataFlags`; the flags of `obstacles` aren't set.
    """
    padding, oov = vocabulary[: spec.NUM_RESERVED]
    return {
        "version": "1.0",
        "truncation": {
            "direction": "Right",
            "max_length": size.max_len,
            "strategy": "LongestFirst",
            "stride": 0,
        },
        "padding": {
            "strategy": {"Fixed": size.max_len},
            "direction": "Right",
            "pad_to_multiple_of": None,
            "pad_id": spec.PADDING_ID,
            "pad_type_id": 0,
            "pad_token": padding,
        },
        "added_tokens": [],  # what a text has in brackets is text
        "normalizer": {"type": "Sequence", "normalizers": _cleaning(split)},
        "pre_tokenizer": _splitting(split),
        "post_processor": None,
        "decoder": None,
        "model": {
            "type": "WordLevel",
            "vocab": {token: n for n, token in enumerate(vocabulary[: size.max_tokens])},
            "unk_token": oov,
        },
    }


def _cleaning(split: str) -> list[Rule]:
    """Returns the rules that do to a text what `Tokenizer.standardize` of preprocess does."""
    is_character = split == "character"
    mark = cleaning.PUNCTUATION
    vanishing = mark if is_character else f"(?:{mark}|{SPACE})"
    return [
        # Not by nothing: a text of a byte order mark alone would be empty.
        _replace(f"{BEGIN}{BYTE_ORDER_MARK}", NO_TOKENS),
        _replace(cleaning.LINE_BREAK, " "),
        *([_replace(cleaning.LINE_END, " ")] if is_character else []),
        # ASCII's letters alone, as TensorFlow does; `Lowercase` knows others.
        *map(_replace, string.ascii_uppercase, string.ascii_lowercase),
        _replace(f"{BEGIN}{vanishing}+{END}", NO_TOKENS),
        _replace(rf"(?<=[\s\S]){mark}|{mark}(?=[\s\S])", ""),  # all, but for a single one
    ]


def _splitting(split: str) -> Rule:
    pattern, behavior = {
        "whitespace": (f"{SPACE}+", "Removed"),
        "character": (r"[\s\S]", "Isolated"),
    }[split]
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": behavior, "invert": False}


def _replace(pattern: str, by: str) -> Rule:
    return {"type": "Replace", "pattern": {"Regex": pattern}, "content": by}
