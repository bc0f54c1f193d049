"""`tokenizer.json`: cleaning and vocabulary in the format of Hugging Face's `tokenizers`.

It gives the same ids as the transform graph, padded and cut to the network's input. There is one
exception: no rule applies to an empty text, so pass `text or "!"`, which has no tokens either.

Its regular expressions mean the same in Oniguruma, which `tokenizers` uses in Python, in Rust and
in JavaScript: hence no `^`, which matches at line starts in some of them.
"""

import string
from collections.abc import Sequence
from typing import Any

from textrecords import cleaning, spec
from textrecords.manifest import DataFlags

Rule = dict[str, Any]

BEGIN, END = r"(?<![\s\S])", r"(?![\s\S])"  # of the text
BYTE_ORDER_MARK = "\ufeff"
SPACE = r"[ \t\n\x0B\f\r]"  # ASCII's, where TensorFlow splits
# Represents a text without tokens: punctuation, so that it can't be a token.
NO_TOKENS = "!"
# The flags of preprocess that can't be expressed: entities are numbers of characters, the case of
# Greek letters depends on their context, and only the graph has the word lists.
INEXPRESSIBLE = ("strip_html", "normalize_unicode", "stop_words", "replacements")


def obstacles(flags: DataFlags) -> list[str]:
    """Returns the flags, as typed, that rule out a `tokenizer.json`."""
    return [f"--{name}" for name in INEXPRESSIBLE if getattr(flags, name)]


def content(vocabulary: Sequence[str], size: spec.InputSize, split: str) -> dict[str, Any]:
    """Returns the content of the file.

    Args:
      vocabulary: the names of all ids, those of padding and OOV first.
      size: the network's input size.
      split: as in `DataFlags`; none of the flags of `obstacles` is set.
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
        "added_tokens": [],  # text in brackets stays text
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
    """Returns the rules that clean a text like `Tokenizer.standardize` of preprocess."""
    is_character = split == "character"
    mark = cleaning.PUNCTUATION
    vanishing = mark if is_character else f"(?:{mark}|{SPACE})"
    return [
        # Not with nothing: a text with only a byte order mark would become empty.
        _replace(f"{BEGIN}{BYTE_ORDER_MARK}", NO_TOKENS),
        _replace(cleaning.LINE_BREAK, " "),
        *([_replace(cleaning.LINE_END, " ")] if is_character else []),
        # Only ASCII letters, like TensorFlow; `Lowercase` changes others, too.
        *map(_replace, string.ascii_uppercase, string.ascii_lowercase),
        _replace(f"{BEGIN}{vanishing}+{END}", NO_TOKENS),
        _replace(rf"(?<=[\s\S]){mark}|{mark}(?=[\s\S])", ""),  # all, unless it's the only character
    ]


def _splitting(split: str) -> Rule:
    pattern, behavior = {
        "whitespace": (f"{SPACE}+", "Removed"),
        "character": (r"[\s\S]", "Isolated"),
    }[split]
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": behavior, "invert": False}


def _replace(pattern: str, by: str) -> Rule:
    return {"type": "Replace", "pattern": {"Regex": pattern}, "content": by}
