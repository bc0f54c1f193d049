"""Shows a few texts that the network wasn't trained on, with its predictions."""

import itertools

import keras
import numpy as np

from model import evaluate
from model.network import lstm
from textrecords import input_pipeline, spec, terminal
from textrecords.dataset import Dataset
from textrecords.model_folder import ModelConfig

SHOWN = 5
MAX_CHARACTERS = 72  # of a text that is shown


def show(model: keras.Model, dataset: Dataset, config: ModelConfig) -> None:
    """Prints a few texts of test, else of validation, else of train, with true and predicted class.

    Args:
      model: a network of `lstm.build`.
      dataset: what it was trained on.
      config: what it was built from.
    """
    split = next(name for name in reversed(spec.SPLITS) if name in dataset.splits)
    tokens, labels = _rows(dataset, split, config)
    outputs = model.predict_on_batch(tokens)
    predicted = np.asarray(lstm.predicted_classes(outputs, config.threshold))
    scores = evaluate.probabilities(outputs)[np.arange(len(labels)), predicted]
    terminal.say(f"reviews of {split}, as the network reads them:")
    terminal.show(
        ("review", "class", "predicted", "score"),
        [
            (_text(dataset, row), config.classes[label], config.classes[taken], f"{score:.4f}")
            for row, label, taken, score in zip(tokens, labels, predicted, scores, strict=True)
        ],
        words=3,
    )


def _rows(dataset: Dataset, split: str, config: ModelConfig) -> tuple[np.ndarray, np.ndarray]:
    """Returns reviews of several classes, if the first ones have several.

    Returns:
      Tokens <int32>[n, max_len] and labels <int64>[n].
    """
    rows = input_pipeline.read_split(dataset, split, config.network.input_size)
    tokens, labels = next(iter(rows.blocks.rebatch(evaluate.BATCH_SIZE)))
    tokens, labels = tokens.numpy(), labels.numpy()
    by_class = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    in_turn = itertools.chain.from_iterable(itertools.zip_longest(*by_class))
    taken = [n for n in in_turn if n is not None][:SHOWN]
    return tokens[taken], labels[taken]


def _text(dataset: Dataset, tokens: np.ndarray) -> str:
    text = dataset.decode(tokens)
    return text if len(text) <= MAX_CHARACTERS else f"{text[:MAX_CHARACTERS]}…"
