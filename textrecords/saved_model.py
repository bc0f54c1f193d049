"""A trained model, as a Python object: it scores raw text by its SavedModel."""

import dataclasses
import functools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import more_itertools

from textrecords import imports, model_folder, spec, storage, text_source
from textrecords.dataset import token_names
from textrecords.errors import BadInput
from textrecords.model_folder import ModelConfig

if TYPE_CHECKING:
    import keras
    import numpy as np
    import tensorflow as tf

BATCH_SIZE, BATCH_BYTES = 256, 4 << 20  # texts scored at once, and all their bytes, at most

SCORE_TOKENS = "score_tokens"  # the signature

Signature = Callable[..., dict[str, "tf.Tensor"]]


def load_model(folder: str | os.PathLike[str], *, verify: bool = True) -> "Model":
    """Opens the model that `make train` wrote into a folder.

    Args:
      folder: the model, on this machine or in Cloud Storage.
      verify: whether all its files must be as they were written.

    Raises:
      BadInput: if there is no model, a damaged one, or one that this version can't read.
    """
    folder = os.fspath(folder)
    return Model(folder, model_folder.read(folder, verify=verify))


@dataclasses.dataclass(frozen=True)
class Prediction:
    """What a model makes of a text.

    Attributes:
      label: the name of the class.
      scores: the probability of each class, by its name.
      score: that of the second class of two, else that of the label.
    """

    label: str
    scores: dict[str, float]
    score: float


@dataclasses.dataclass(frozen=True)
class Word:
    """A token of a text, and by how much it raises the log-odds of a class where it is."""

    token: str
    effect: float


@dataclasses.dataclass(frozen=True, repr=False)
class Model:
    """A folder with a trained network, and the settings that describe it."""

    folder: str
    config: ModelConfig

    def __repr__(self) -> str:
        size = self.config.network.input_size
        return (
            f"Model({self.folder!r}, classes={list(self.classes)}, "
            f"max_tokens={size.max_tokens}, max_len={size.max_len})"
        )

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes; a class's position is its label."""
        return self.config.classes

    @functools.cached_property
    def signatures(self) -> Mapping[str, Signature]:
        """The signatures of the SavedModel; raises `BadInput` if it isn't whole."""
        tf = imports.tensorflow()
        path = os.path.join(self.folder, self.config.saved_model)
        try:
            return tf.saved_model.load(path).signatures
        except (OSError, tf.errors.OpError):
            raise BadInput(f"no whole model in {path}: run `make train` again") from None

    @functools.cached_property
    def network(self) -> "keras.Model":
        """The Keras model, to look at, to change, or to train on.

        It maps tokens <int32>[batch_size, max_len] to the probability of the second class,
        <float32>[batch_size, 1], or of three or more, <float32>[batch_size, num_classes]. Rows may
        be of any length if it reads no more than the last output of its LSTM (`pooling`). It's
        compiled with Adam and the loss for labels <int64>[batch_size]; for other settings, compile
        it again. Raises `BadInput` if it can't be read.
        """
        with imports.quiet():
            import keras

            from textrecords import layers  # noqa: F401, which the files of older models name
        path = os.path.join(self.folder, model_folder.NETWORK)
        try:
            with storage.at_hand(path) as local:
                network = keras.models.load_model(local, compile=False)
        except (OSError, ValueError) as error:
            raise BadInput(f"{path} can't be read ({error}): run `make train` again") from None
        kind = "binary" if len(self.classes) == 2 else "sparse_categorical"
        network.compile("adam", f"{kind}_crossentropy", metrics=["accuracy"])
        return network

    def predict(self, texts: str | bytes | Sequence[str | bytes]) -> list[Prediction]:
        """Scores one or more texts, in their order; bytes that aren't UTF-8 are replaced."""
        predictions = []
        for row in self.rows(text_source.to_bytes(texts)):
            scores = row["scores"] if "scores" in row else [1 - row["score"], row["score"]]
            by_class = dict(zip(row["classes"], scores, strict=True))
            score = row.get("score", by_class[row["label"]])
            predictions.append(Prediction(row["label"], by_class, score))
        return predictions

    @functools.cached_property
    def vocabulary(self) -> tuple[str, ...]:
        """The names of all ids that its graph gives; those of padding and OOV come first."""
        return token_names(os.path.join(self.folder, self.config.saved_model, spec.ASSET))

    def explain(self, text: str | bytes) -> list[Word]:
        """Returns the tokens of a text that the network sees, and what each does to its score.

        The network is asked again for each token, with OOV in its place. The effect is by how much
        that lowers the log-odds of the second of two classes, or else of the label. OOV has none.

        Raises:
          BadInput: if the model is of a version that couldn't explain its scores.
        """
        if SCORE_TOKENS not in self.signatures:
            raise BadInput(f"{self.folder} can't explain its scores: run `make train` again")
        import tensorflow as tf

        from textrecords import occlusion

        def probabilities(tokens: "np.ndarray") -> "np.ndarray":
            outputs = self.signatures[SCORE_TOKENS](tokens=tf.constant(tokens))
            return outputs[next(iter({"score", "scores"} & outputs.keys()))].numpy()

        (encoded,) = text_source.to_bytes(text)
        row = self.signatures["tokenize"](text=tf.constant([encoded]))[spec.TOKENS].numpy()[0]
        effects = occlusion.effects(probabilities, row, BATCH_SIZE)
        return [
            Word(self.vocabulary[token], float(effect))
            for token, effect in zip(row.tolist(), effects, strict=True)
            if token != spec.PADDING_ID
        ]

    def rows(self, texts: Iterable[bytes]) -> Iterator[dict[str, Any]]:
        """Yields `text` and what `score_batch` does of each, in order.

        Nothing is yielded until there are more texts than are scored at once, or all.
        """
        for batch in more_itertools.constrained_batches(
            texts, BATCH_BYTES, BATCH_SIZE, strict=False
        ):
            scored = score_batch(self.signatures["serving_default"], batch)
            for text, row in zip(batch, scored, strict=True):
                yield {"text": text.decode("utf-8", "replace"), **row}


def score_batch(serve: Signature, texts: Sequence[bytes]) -> Iterator[dict[str, Any]]:
    """Yields what the signature `serve` gives for each text, by the name of the output.

    That is `label`, `classes` and `score`, of the second class; with three or more classes it's
    `scores`, one a class.
    """
    import tensorflow as tf

    yield from to_rows(serve(text=tf.constant(texts)))


def to_rows(outputs: Mapping[str, "tf.Tensor"]) -> Iterator[dict[str, Any]]:
    """Yields a row for each text of what a signature gives."""
    columns = {name: values.numpy().tolist() for name, values in sorted(outputs.items())}
    for values in zip(*columns.values(), strict=True):
        row = dict(zip(columns, values, strict=True))
        row["label"] = row["label"].decode()
        row["classes"] = [name.decode() for name in row["classes"]]
        yield row
