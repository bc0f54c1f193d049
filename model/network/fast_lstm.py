"""A network of `lstm.build` in a form that a CPU trains faster.

Keras' LSTM multiplies its inputs by its kernel inside its loop, one token after the other. Here all
tokens of a batch are multiplied at once, ahead of the loop, so that only the product with the state
is left inside; and XLA compiles the step. Outputs, gradients and the steps of Adam are those of
Keras, up to rounding.

A table of the whole embedding times the kernel would be faster still. But its gradient is summed by
token, while Keras hands Adam one part for each time that a token occurs, and adds up the parts'
squares instead of squaring their sum: another training, with somewhat lower test accuracy.

A network with any layer that isn't known here is trained as Keras has it.
"""

import itertools

import keras
import tensorflow as tf

from textrecords.model_folder import Network, Training

# What an LSTM may be given and still be run by `_run_lstm`; all else has to be Keras' default.
FREE = ("name", "trainable", "units", "return_sequences", "seed")
FREE_SUFFIXES = ("_initializer", "_regularizer", "_constraint")  # of weights
OF_OUTPUTS = "activity_regularizer"


def to_train(model: keras.Model, network: Network, training: Training) -> keras.Model:
    """Returns what to call `fit` on, so that it trains `model`.

    It has the layers, the optimizer and the loss of `model`. On a GPU, where Keras takes cuDNN's
    LSTM, and for networks that XLA makes slower, bidirectional or pooled, or of layers that aren't
    known here, it is `model` itself.

    Args:
      model: a compiled network of `lstm.build`.
      network: its shape.
      training: how it is trained: batches of rows of like length are of several widths.
    """
    lstms = _lstms(model)
    if not lstms or tf.config.list_physical_devices("GPU"):
        return model
    width = None if training.bucket_by_length else network.max_len
    layers = [keras.Input([width], dtype="int32"), *model.layers]
    is_fast = not model.layers[0].mask_zero and all(map(_is_plain, lstms))
    trained = (FastSequential if is_fast else keras.Sequential)(layers)
    trained.compile(model.optimizer, model.loss, metrics=["accuracy"], jit_compile=True)
    return trained


def _lstms(model: keras.Model) -> list[keras.layers.LSTM]:
    """Returns the LSTMs of an embedding, LSTMs, and layers for their last outputs; else none."""
    if type(model) is not keras.Sequential or type(model.layers[0]) is not keras.layers.Embedding:
        return []
    lstms = [*itertools.takewhile(lambda it: type(it) is keras.layers.LSTM, model.layers[1:])]
    rest = model.layers[1 + len(lstms) :]
    if not all(type(layer) in (keras.layers.Dense, keras.layers.Dropout) for layer in rest):
        return []
    in_order = [True] * (len(lstms) - 1) + [False]
    return lstms if [layer.return_sequences for layer in lstms] == in_order else []


def _is_plain(lstm: keras.layers.LSTM) -> bool:
    """Tells whether an LSTM does no more than `_run_lstm` does."""
    default = keras.layers.LSTM(lstm.units).get_config()
    return all(
        value == default.get(name)
        for name, value in lstm.get_config().items()
        if name not in FREE and (not name.endswith(FREE_SUFFIXES) or name == OF_OUTPUTS)
    )


class FastSequential(keras.Sequential):
    """An embedding, plain LSTMs without a mask, and layers for their last outputs."""

    def call(self, tokens: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Maps <int32>[batch_size, max_len] to what the layers would give one after the other.

        `training` is passed on to them by Keras.
        """
        outputs = tf.transpose(tokens)  # the loops go along the first axis
        for layer in self.layers:
            is_lstm = isinstance(layer, keras.layers.LSTM)
            outputs = _run_lstm(layer, outputs) if is_lstm else layer(outputs)
        return outputs


def _run_lstm(lstm: keras.layers.LSTM, inputs: tf.Tensor) -> tf.Tensor:
    """Does what an LSTM does to inputs <float32>[max_len, batch_size, input size].

    Returns:
      Its last outputs, <float32>[batch_size, units], or those at every token if the layer returns
      sequences, <float32>[max_len, batch_size, units].
    """
    gates = inputs @ lstm.cell.kernel + lstm.cell.bias  # [max_len, batch_size, 4 * units]
    kernel = tf.convert_to_tensor(lstm.cell.recurrent_kernel)
    max_len = gates.shape[0]
    zeros = tf.zeros_like(gates[0, :, : lstm.units])
    steps = tf.TensorArray(tf.float32, max_len).unstack(gates)
    every = [tf.TensorArray(tf.float32, max_len)] if lstm.return_sequences else []

    def step(t, output, state, *every):
        update, forget, new, show = tf.split(steps.read(t) + output @ kernel, 4, axis=-1)
        state = tf.sigmoid(forget) * state + tf.sigmoid(update) * tf.tanh(new)
        output = tf.sigmoid(show) * tf.tanh(state)
        return t + 1, output, state, *(outputs.write(t, output) for outputs in every)

    _, output, _, *every = tf.while_loop(
        lambda t, *_: t < max_len, step, (0, zeros, zeros, *every), maximum_iterations=max_len
    )
    return every[0].stack() if every else output
