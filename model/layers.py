"""Layers that Keras lacks."""

import keras
from keras import ops

from pipelines import contract


class Frequent(keras.layers.Layer):
    """Makes all but the most frequent of tokens <int32>[batch_size, length] OOV."""

    def __init__(self, number: int):
        super().__init__()
        self._number = number

    def call(self, tokens: keras.KerasTensor) -> keras.KerasTensor:
        return ops.where(tokens < self._number, tokens, contract.OOV_ID)


class Pieces(keras.layers.Layer):
    """Cuts reviews into pieces that are read at once, for so many steps fewer.

    A method of Johnson and Zhang (2016).
    """

    def __init__(self, piece_len: int):
        super().__init__()
        self._piece_len = piece_len

    def call(self, inputs: keras.KerasTensor, tokens: keras.KerasTensor) -> keras.KerasTensor:
        """Returns <float32>[pieces, piece_len, size], with zeros for padding, however far it goes.

        Args:
          inputs: what stands for the tokens, <float32>[batch_size, length, size].
          tokens: <int32>[batch_size, length].
        """
        inputs = ops.where((tokens != contract.PADDING_ID)[:, :, None], inputs, 0.0)
        missing = -ops.shape(inputs)[1] % self._piece_len
        padded = ops.pad(inputs, [[0, 0], [0, missing], [0, 0]])
        return ops.reshape(padded, [-1, self._piece_len, inputs.shape[-1]])


class Pool(keras.layers.Layer):
    """Takes the maximum and the mean of what LSTMs give at a review's tokens, without padding."""

    def call(self, outputs: keras.KerasTensor, tokens: keras.KerasTensor) -> keras.KerasTensor:
        """Returns <float32>[batch_size, 2 * units].

        Args:
          outputs: <float32>[pieces, piece_len, units], or of whole rows.
          tokens: <int32>[batch_size, length].
        """
        batch_size, length = ops.shape(tokens)
        outputs = ops.reshape(outputs, [batch_size, -1, outputs.shape[-1]])[:, :length]
        is_token = (tokens != contract.PADDING_ID)[:, :, None]
        highest = ops.max(ops.where(is_token, outputs, -1.0), axis=1)  # an LSTM gives no less
        number = ops.sum(ops.cast(is_token, outputs.dtype), axis=1)
        mean = ops.sum(ops.where(is_token, outputs, 0.0), axis=1) / ops.maximum(number, 1.0)
        return ops.concatenate([highest, mean], axis=-1)
