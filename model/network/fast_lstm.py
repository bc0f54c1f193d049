"""A network of `lstm.build` in a form that trains faster on CPUs.

Keras' LSTM multiplies its inputs by its kernel inside its loop, one token after the other. Here all
tokens of a batch are multiplied at once, before the loop, so that only the product with the state
remains inside; and XLA compiles the step. Outputs, gradients and the steps of Adam equal those of
Keras, up to rounding.

Precomputing the product of the whole embedding and the kernel would be even faster. But then the
gradient is summed by token, while Keras passes Adam one part per occurrence of a token, and Adam
adds up the squares of the parts instead of squaring their sum: a different training, with somewhat
lower test accuracy.

Networks with other layers are trained by plain Keras.
"""

import itertools

import keras
import tensorflow as tf

from textrecords.model_folder import Network, Training

XLA = True  # compiles the step
# The arguments of an LSTM that `_run_lstm` supports; all others must have Keras' defaults.
FREE = ("name", "trainable", "units", "return_sequences", "seed")
FREE_SUFFIXES = ("_initializer", "_regularizer", "_constraint")  # of weights
OF_OUTPUTS = "activity_regularizer"


def to_train(model: keras.Model, network: Network, training: Training) -> keras.Model:
    """Returns the model whose `fit` trains `model`.

    It shares the layers, the optimizer and the loss of `model`. It is `model` itself on a GPU,
    where Keras uses cuDNN's LSTM; for bidirectional or pooled networks, which XLA makes slower; and
    for networks with other layers.

    Args:
      model: a compiled network of `lstm.build`.
      network: its shape.
      training: how it is trained; with `bucket_by_length`, batches have several widths.
    """
    lstms = _lstms(model)
    if not lstms or tf.config.list_physical_devices("GPU"):
        return model
    width = None if training.bucket_by_length else network.max_len
    layers = [keras.Input([width], dtype="int32"), *model.layers]
    is_fast = not model.layers[0].mask_zero and all(map(_is_plain, lstms))
    trained = (FastSequential if is_fast else keras.Sequential)(layers)
    trained.compile(model.optimizer, model.loss, metrics=["accuracy"], jit_compile=XLA)
    return trained


def _lstms(model: keras.Model) -> list[keras.layers.LSTM]:
    """Returns the LSTMs of a stack of embedding, LSTMs and dense layers; none for others."""
    if type(model) is not keras.Sequential or type(model.layers[0]) is not keras.layers.Embedding:
        return []
    lstms = [*itertools.takewhile(lambda it: type(it) is keras.layers.LSTM, model.layers[1:])]
    rest = model.layers[1 + len(lstms) :]
    if not all(type(layer) in (keras.layers.Dense, keras.layers.Dropout) for layer in rest):
        return []
    in_order = [True] * (len(lstms) - 1) + [False]
    return lstms if [layer.return_sequences for layer in lstms] == in_order else []


def _is_plain(lstm: keras.layers.LSTM) -> bool:
    """Returns whether `_run_lstm` supports an LSTM."""
    default = keras.layers.LSTM(lstm.units).get_config()
    return all(
        value == default.get(name)
        for name, value in lstm.get_config().items()
        if name not in FREE and (not name.endswith(FREE_SUFFIXES) or name == OF_OUTPUTS)
    )


class FastSequential(keras.Sequential):
    """An embedding, plain LSTMs without a mask, and layers that take their last outputs."""

    def call(self, tokens: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Maps <int32>[batch_size, max_len] to the output of the layers in sequence.

        Keras passes `training` on to them.
        """
        outputs = tf.transpose(tokens)  # the loops run along the first axis
        for layer in self.layers:
            is_lstm = isinstance(layer, keras.layers.LSTM)
            outputs = _run_lstm(layer, outputs) if is_lstm else layer(outputs)
        return outputs


def _run_lstm(lstm: keras.layers.LSTM, inputs: tf.Tensor) -> tf.Tensor:
    """Applies an LSTM to inputs <float32>[max_len, batch_size, input size].

    Returns:
      Its last outputs, <float32>[batch_size, units], or the outputs at every token if the layer
      returns sequences, <float32>[max_len, batch_size, units].
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
