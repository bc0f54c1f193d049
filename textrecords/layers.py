"""Custom Keras layers: importing this module registers them for `keras.models.load_model`."""

from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from textrecords import spec

N_GRAMS = "n_grams"  # the name of that layer
FOLDS = 5
FACTORS = -1640531535, 2048144777  # odd, with bits spread over all 32: for a multiplicative hash


@keras.saving.register_keras_serializable("textrecords")
class Frequent(keras.layers.Layer):
    """Makes all tokens <int32>[batch_size, length] OOV except the most frequent ones."""

    def __init__(self, number: int, **kwargs: Any):
        super().__init__(**kwargs)
        self._number = number

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "number": self._number}

    def call(self, tokens: keras.KerasTensor) -> keras.KerasTensor:
        return ops.where(tokens < self._number, tokens, spec.OOV_ID)


@keras.saving.register_keras_serializable("textrecords")
class Chunks(keras.layers.Layer):
    """Cuts reviews into chunks that are read in parallel, which takes fewer steps.

    A method of Johnson and Zhang (2016).
    """

    def __init__(self, chunk_len: int, **kwargs: Any):
        super().__init__(**kwargs)
        self._chunk_len = chunk_len

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "chunk_len": self._chunk_len}

    def call(self, inputs: keras.KerasTensor, tokens: keras.KerasTensor) -> keras.KerasTensor:
        """Returns <float32>[chunks, chunk_len, size], with zeros for padding.

        Args:
          inputs: the vectors of the tokens, <float32>[batch_size, length, size].
          tokens: <int32>[batch_size, length].
        """
        inputs = ops.where((tokens != spec.PADDING_ID)[:, :, None], inputs, 0.0)
        missing = -ops.shape(tokens)[1] % self._chunk_len
        padded = ops.pad(inputs, [[0, 0], [0, missing], [0, 0]])
        return ops.reshape(padded, [-1, self._chunk_len, inputs.shape[-1]])


@keras.saving.register_keras_serializable("textrecords")
class Pool(keras.layers.Layer):
    """Takes the maximum and the mean of an LSTM's outputs at a review's tokens, without padding."""

    def call(self, outputs: keras.KerasTensor, tokens: keras.KerasTensor) -> keras.KerasTensor:
        """Returns <float32>[batch_size, 2 * units].

        Args:
          outputs: <float32>[chunks, chunk_len, units]; a chunk may be a whole row.
          tokens: <int32>[batch_size, length].
        """
        length, chunk_len = ops.shape(tokens)[1], ops.shape(outputs)[1]
        padded_length = -(-length // chunk_len) * chunk_len
        outputs = ops.reshape(outputs, [-1, padded_length, outputs.shape[-1]])[:, :length]
        is_token = (tokens != spec.PADDING_ID)[:, :, None]
        highest = ops.max(ops.where(is_token, outputs, -1.0), axis=1)  # an LSTM's minimum
        number = ops.sum(ops.cast(is_token, outputs.dtype), axis=1)
        mean = ops.sum(ops.where(is_token, outputs, 0.0), axis=1) / ops.maximum(number, 1.0)
        return ops.concatenate([highest, mean], axis=-1)


@keras.saving.register_keras_serializable("textrecords")
class NGramWeights(keras.layers.Layer):
    """Weights of words and bigrams, hashed into buckets; each counts once per review.

    A class's logit is the sum of the weights of a review's n-grams, divided by the square root of
    their number. `model.network.n_gram_weights` fits the weights, and training doesn't change them.
    Since other layers are trained on the same reviews, the weights are cross-fitted: reviews are
    assigned to folds by the sum of their ids, and in training a review gets the weights fitted to
    all folds except its own, which can't have memorized it. In inference it gets their mean.
    Weight files hold only the mean, so after loading one, training uses the mean as well.

    Args:
      outputs: 1 for two classes, else their number.
      bits: the logarithm to base 2 of the number of buckets.
    """

    def __init__(self, outputs: int, bits: int, **kwargs: Any):
        super().__init__(**{"trainable": False, "name": N_GRAMS, **kwargs})
        self._outputs = outputs
        self._bits = bits
        self._none = 2**bits  # the bucket of padding

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "outputs": self._outputs, "bits": self._bits}

    def build(self, _: tuple[int | None, ...]) -> None:
        mean, folds = [self._none, self._outputs], [FOLDS * self._none, self._outputs]
        self.ngram_weights = self.add_weight(shape=mean, initializer="zeros", name="scores")
        self.fold_weights = self.add_weight(shape=folds, initializer="zeros", name="fold_scores")

    def save_own_variables(self, store: dict[str, np.ndarray]) -> None:
        store["scores"] = self.ngram_weights.numpy()

    def load_own_variables(self, store: Mapping[str, np.ndarray]) -> None:
        self.ngram_weights.assign(store["scores"])
        self.fold_weights.assign(np.tile(store["scores"], (FOLDS, 1)))

    def call(
        self, tokens: keras.KerasTensor, training: bool | None = None
    ) -> tuple[keras.KerasTensor, keras.KerasTensor]:
        """Looks up the n-grams of tokens <int32>[batch_size, length].

        Returns:
          The weights of the word and the bigram at each token, <float32>[batch_size, length,
          2 * outputs], and the logits, <float32>[batch_size, outputs].
        """
        if training:
            start = fold(tokens)[:, None] * self._none
            return self.score(tokens, lambda at: ops.take(self.fold_weights, start + at, axis=0))
        return self.score(tokens, lambda at: ops.take(self.ngram_weights, at, axis=0))

    def score(
        self,
        tokens: keras.KerasTensor,
        look_up: Callable[[keras.KerasTensor], keras.KerasTensor],
    ) -> tuple[keras.KerasTensor, keras.KerasTensor]:
        """Returns what `call` does, with another table of weights.

        Args:
          tokens: <int32>[batch_size, length].
          look_up: maps buckets <int32>[batch_size, n] to weights <float32>[batch_size, n, outputs].
        """
        words, bigrams = self._buckets(tokens)

        def weights(buckets: keras.KerasTensor) -> keras.KerasTensor:
            found = look_up(buckets % self._none)
            return ops.where(buckets[:, :, None] < self._none, found, 0.0)

        buckets, counts = self._distinct(words, bigrams)
        total = ops.sum(ops.where(counts[:, :, None], weights(buckets), 0.0), axis=1)
        number = ops.sum(ops.cast(counts, "float32"), axis=1, keepdims=True)
        at_tokens = ops.concatenate([weights(words), weights(bigrams)], axis=-1)
        return at_tokens, total / ops.sqrt(ops.maximum(number, 1.0))

    def assign(self, tables: np.ndarray) -> None:
        """Sets the weights.

        Args:
          tables: for each fold the weights fitted without its reviews, <float32>[FOLDS, 2**bits,
            outputs].
        """
        self.ngram_weights.assign(np.mean(tables, axis=0))
        self.fold_weights.assign(np.concatenate(tables))

    def count(self, tokens: keras.KerasTensor) -> tuple[np.ndarray, np.ndarray]:
        """Returns the distinct n-grams of reviews, tokens <int32>[n, length].

        Returns:
          The buckets of all reviews, concatenated, <int32>[total], and the number of each review's,
          <int64>[n].
        """
        buckets, counts = map(np.asarray, self._distinct(*self._buckets(tokens)))
        return buckets[counts], counts.sum(axis=1)

    def _buckets(self, tokens: keras.KerasTensor) -> tuple[keras.KerasTensor, keras.KerasTensor]:
        """Returns the bucket of each word, and of its bigram with the next word."""
        following = ops.pad(tokens[:, 1:], [[0, 0], [0, 1]])
        nothing = ops.zeros_like(tokens)
        padding = spec.PADDING_ID
        words = ops.where(tokens != padding, self._hash(tokens, nothing), self._none)
        bigrams = ops.where(following != padding, self._hash(tokens, following), self._none)
        return words, bigrams

    def _hash(self, first: keras.KerasTensor, second: keras.KerasTensor) -> keras.KerasTensor:
        # int32 wraps around. A difference, since Keras would take the sum with a single row for a
        # bias, which not every backend supports for integers.
        mixed = first * FACTORS[0] - second * FACTORS[1]
        return ops.right_shift(mixed, 32 - self._bits) % self._none  # never negative

    def _distinct(
        self, words: keras.KerasTensor, bigrams: keras.KerasTensor
    ) -> tuple[keras.KerasTensor, keras.KerasTensor]:
        """Returns the buckets of each review, sorted, and which of them count."""
        buckets = ops.sort(ops.concatenate([words, bigrams], axis=1), axis=1)
        before = ops.pad(buckets[:, :-1], [[0, 0], [1, 0]], constant_values=-1)  # no bucket
        return buckets, ops.logical_and(buckets != before, buckets < self._none)


def fold(tokens: keras.KerasTensor) -> keras.KerasTensor:
    """Returns each review's fold, <int32>[batch_size]; it doesn't depend on the padding."""
    return ops.sum(tokens, axis=1) % FOLDS
