"""The most confident errors of a model, with their texts."""

import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from model.report import results
from textrecords import spec, storage, terminal, text_source

SHOWN = 10
MAX_CHARACTERS = 600  # of a text that is shown


def find(labels: np.ndarray, predicted: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Returns the positions of misclassified reviews, the most confident first.

    Args:
      labels: <int64>[n].
      predicted: the predicted classes, <int64>[n].
      probabilities: of all classes, <float32>[n, num_classes].
    """
    wrong = np.flatnonzero(predicted != labels)
    return wrong[np.argsort(-probabilities[wrong, predicted[wrong]], kind="stable")[:SHOWN]]


def describe(
    found: np.ndarray, scored: results.Scored, texts: dict[int, str], names: list[str]
) -> list[dict[str, Any]]:
    """Returns the report's section on mistakes.

    Args:
      found: positions, from `find`.
      scored: the reviews and their predictions.
      texts: of reviews by position, from `read_texts`.
      names: of all ids, for reviews without a text.
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
                "text": shown[:MAX_CHARACTERS] + "…" * (len(shown) > MAX_CHARACTERS),
            }
        )
    return rows


def read_texts(
    source: text_source.Source,
    data: results.Reviews,
    found: np.ndarray,
    signatures: Mapping[str, Callable[..., dict[str, tf.Tensor]]],
) -> dict[int, str]:
    """Returns the texts of reviews by position, without those that no longer exist.

    Args:
      source: the folder of the texts.
      data: the reviews.
      found: their positions.
      signatures: of the SavedModel, to skip texts whose tokens aren't those of the review.
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
    """Returns whether a key's path is inside the folder.

    Keys come from records, which may be untrusted.
    """
    if b"\0" in key or key.startswith(b"/") or b".." in key.split(b"/"):
        return False
    if storage.is_remote(source.input_dir):
        return True
    root = os.path.realpath(os.fsencode(source.input_dir))
    return os.path.realpath(source.path(key)).startswith(os.path.join(root, b""))


def visible(text: str) -> str:
    """Returns a text with line breaks kept, and other control characters escaped."""
    return "\n".join(map(terminal.one_line, text.split("\n")))


def _tokens(tokens: np.ndarray, names: list[str]) -> str:
    return " ".join(names[token] for token in tokens if token != spec.PADDING_ID)
