"""A trained model, as a Python object that scores raw text with its SavedModel."""

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

BATCH_SIZE, BATCH_BYTES = (
    256,
    4 << 20,
)  # the maximum number of texts scored at once, and of their bytes

SCORE_TOKENS = "score_tokens"  # a signature

Signature = Callable[..., dict[str, "tf.Tensor"]]


def load_model(folder: str | os.PathLike[str], *, verify: bool = True) -> "Model":
    """Opens the model that `make train` wrote into a folder.

    Args:
      folder: the model, on this machine or in Cloud Storage.
      verify: whether to compare the checksums of all its files.

    Raises:
      BadInput: if there is no model, or it is damaged or can't be read by this version.
    """
    folder = os.fspath(folder)
    return Model(folder, model_folder.read(folder, verify=verify))


@dataclasses.dataclass(frozen=True)
class Prediction:
    """A model's prediction for a text.

    Attributes:
      label: the name of the predicted class.
      scores: the probability of each class, by name.
      score: of the second of two classes, or of the label with more classes.
    """

    label: str
    scores: dict[str, float]
    score: float


@dataclasses.dataclass(frozen=True)
class Word:
    """A token at its position in a text, and by how much it raises the log-odds of a class."""

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
        """The signatures of the SavedModel; raises `BadInput` if it can't be loaded."""
        tf = imports.tensorflow()
        path = os.path.join(self.folder, self.config.saved_model)
        try:
            return tf.saved_model.load(path).signatures
        except (OSError, tf.errors.OpError):
            raise BadInput(f"no complete model in {path}: run `make train` again") from None

    @functools.cached_property
    def network(self) -> "keras.Model":
        """The Keras model, to inspect, change or train further.

        It maps tokens <int32>[batch_size, max_len] to the probability of the second of two classes,
        <float32>[batch_size, 1], or of each of more, <float32>[batch_size, num_classes]. With
        `pooling` "last", rows may be of any length. It's compiled with Adam and the loss for labels
        <int64>[batch_size]; for other settings, recompile it. Raises `BadInput` if it can't be
        read.
        """
        with imports.quiet():
            import keras

            from textrecords import layers  # noqa: F401, named in the files of older models
        path = os.path.join(self.folder, model_folder.NETWORK)
        try:
            with storage.local_copy(path) as local:
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
        """The names of all ids of its graph; those of padding and OOV come first."""
        return token_names(os.path.join(self.folder, self.config.saved_model, spec.ASSET))

    def explain(self, text: str | bytes) -> list[Word]:
        """Returns the tokens of a text that the network sees, and their effects on its score.

        The text is scored again for each token, with OOV in its place. The effect is by how much
        that lowers the log-odds of the second of two classes, or of the label with more classes.
        OOV has none.

        Raises:
          BadInput: if the model is from a version that couldn't explain its scores.
        """
        if SCORE_TOKENS not in self.signatures:
            raise BadInput(f"{self.folder} can't explain its scores: run `make train` again")
        import tensorflow as tf

        from textrecords import occlusion

        def probabilities(tokens: "np.ndarray") -> "np.ndarray":
            outputs = self.signatures[SCORE_TOKENS](tokens=tf.constant(tokens))
            return outputs["scores" if "scores" in outputs else "score"].numpy()

        (encoded,) = text_source.to_bytes(text)
        row = self.signatures["tokenize"](text=tf.constant([encoded]))[spec.TOKENS].numpy()[0]
        effects = occlusion.effects(probabilities, row, BATCH_SIZE)
        return [
            Word(self.vocabulary[token], float(effect))
            for token, effect in zip(row.tolist(), effects, strict=True)
            if token != spec.PADDING_ID
        ]

    def rows(self, texts: Iterable[bytes]) -> Iterator[dict[str, Any]]:
        """Yields `text` and the outputs of `score_batch` for each text, in order.

        Texts are scored in batches: the first row comes after a batch is full or the texts end.
        """
        for batch in more_itertools.constrained_batches(
            texts, BATCH_BYTES, BATCH_SIZE, strict=False
        ):
            scored = score_batch(self.signatures["serving_default"], batch)
            for text, row in zip(batch, scored, strict=True):
                yield {"text": text.decode("utf-8", "replace"), **row}


def score_batch(serve: Signature, texts: Sequence[bytes]) -> Iterator[dict[str, Any]]:
    """Yields the outputs of the signature `serve` for each text, by name.

    These are `label`, `classes`, and `score` of the second of two classes or, with three or more
    classes, `scores` of all.
    """
    import tensorflow as tf

    yield from to_rows(serve(text=tf.constant(texts)))


def to_rows(outputs: Mapping[str, "tf.Tensor"]) -> Iterator[dict[str, Any]]:
    """Yields a row for each text from the outputs of a signature."""
    columns = {name: values.numpy().tolist() for name, values in sorted(outputs.items())}
    for values in zip(*columns.values(), strict=True):
        row = dict(zip(columns, values, strict=True))
        row["label"] = row["label"].decode()
        row["classes"] = [name.decode() for name in row["classes"]]
        yield row
