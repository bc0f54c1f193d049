"""The mistakes that a model was surest of, with their texts."""

import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from model.report import results
from textrecords import spec, storage, terminal, text_source

SHOWN = 10
LONGEST = 600  # characters of a text that are shown


def find(labels: np.ndarray, predicted: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Returns the positions of the reviews taken for another class, the surest first.

    Args:
      labels: <int64>[n].
      predicted: the class that each is taken for, <int64>[n].
      probabilities: of all classes, <float32>[n, num_classes].
    """
    wrong = np.flatnonzero(predicted != labels)
    return wrong[np.argsort(-probabilities[wrong, predicted[wrong]], kind="stable")[:SHOWN]]


def describe(
    found: np.ndarray, scored: results.Scored, texts: dict[int, str], names: list[str]
) -> list[dict[str, Any]]:
    """Returns the report's part on mistakes.

    Args:
      found: positions, from `find`.
      scored: the reviews, and what they are taken for.
      texts: of reviews by their positions, from `read_texts`.
      names: of all ids, for where it isn't.
    """
    data, classes = scored.reviews, scored.class_names
    rows = []
    for n in found.tolist():
        text, predicted = texts.get(n), scored.predicted[n]
        shown = _tokens(data.tokens[n], names) if text is None else visible(text)
        rows.append(
            {
                "key": terminal.one_line(os.fsdecode(data.keys[n])),
                "class": classes[data.labels[n]],
                "predicted": classes[predicted],
                "score": round(float(scored.probabilities[n, predicted]), 6),
                "tokens": int(data.lengths[n]),
                "is_text": text is not None,
                "text": shown[:LONGEST] + "…" * (len(shown) > LONGEST),
            }
        )
    return rows


def read_texts(
    source: text_source.Source,
    data: results.Reviews,
    found: np.ndarray,
    signatures: Mapping[str, Callable[..., dict[str, tf.Tensor]]],
) -> dict[int, str]:
    """Returns the texts of reviews by their positions, but those that are there no more.

    Args:
      source: the folder that they may lie in.
      data: the reviews.
      found: their positions.
      signatures: of the SavedModel: a text that doesn't have the review's tokens isn't its own.
    """
    keys = {n: data.keys[n] for n in found.tolist() if is_inside(source, data.keys[n])}
    contents = {
        unread.key: content
        for unread, content in source.read_good(map(text_source.Unread, keys.values()), {})
    }
    read = {n: source.decode(contents[key])[0] for n, key in keys.items() if key in contents}
    if not read:
        return {}
    tokens = signatures["tokenize"](text=tf.constant([*read.values()]))[spec.TOKENS].numpy()
    return {
        n: text.decode()
        for (n, text), row in zip(read.items(), tokens, strict=True)
        if np.array_equal(row, data.tokens[n])
    }


def is_inside(source: text_source.Source, key: bytes) -> bool:
    """Tells whether a key leads to no place but one in the folder.

    Keys come from records that may be anybody's.
    """
    if b"\0" in key or key.startswith(b"/") or b".." in key.split(b"/"):
        return False
    if storage.is_remote(source.input_dir):
        return True
    root = os.path.realpath(os.fsencode(source.input_dir))
    return os.path.realpath(source.path(key)).startswith(os.path.join(root, b""))


def visible(text: str) -> str:
    """Returns a text with its lines as they are, and other control characters escaped."""
    return "\n".join(map(terminal.one_line, text.split("\n")))


def _tokens(tokens: np.ndarray, names: list[str]) -> str:
    return " ".join(names[token] for token in tokens if token != spec.PADDING_ID)
