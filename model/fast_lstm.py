"""A network of `lstm.build` in a form that a CPU trains faster.

Keras' LSTM multiplies embeddings by its kernel inside its loop, one token after the other. Here the
whole embedding is multiplied by the kernel once a step, which makes a table to look ids up in; only
the product with the state is left in the loop. XLA compiles the step.

Outputs and gradients are those of Keras, up to rounding. The steps of Adam differ a little for the
embedding: the table's gradient is summed by token, while Keras hands the optimizer one part for
each time that a token occurs, and it adds up the parts' squares instead of squaring their sum.
"""

import keras
import tensorflow as tf

from model.config import Network, Training


def to_train(model: keras.Model, network: Network, training: Training) -> keras.Model:
    """Returns what to call `fit` on, so that it trains `model`.

    It has the layers, the optimizer and the loss of `model`. On a GPU, where Keras takes cuDNN's
    LSTM, and for a bidirectional network, which XLA makes slower, it is `model` itself.

    Args:
      model: a compiled network of `lstm.build`.
      network: its shape.
      training: how it will be trained.
    """
    if network.bidirectional or tf.config.list_physical_devices("GPU"):
        return model
    layers = [keras.Input([network.max_len], dtype="int32"), *model.layers]
    if network.mask_padding or network.dropout or network.recurrent_dropout:
        trained = keras.Sequential(layers)
    else:
        # A table of more rows than a batch has tokens costs more than it saves.
        folded = network.max_tokens <= training.batch_size * network.max_len
        trained = FastSequential(layers, folded=folded)
    trained.compile(model.optimizer, model.loss, metrics=["accuracy"], jit_compile=True)
    return trained


class FastSequential(keras.Sequential):
    """An embedding, LSTMs without masks and dropout, and layers for their last outputs."""

    def __init__(self, layers: list[keras.layers.Layer], *, folded: bool) -> None:
        """Takes the layers; if `folded`, the embedding is multiplied before ids are looked up."""
        super().__init__(layers)
        self.folded = folded

    def call(self, tokens: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Maps <int32>[batch_size, max_len] to what the layers would give one after the other.

        `training` is passed on to them by Keras.
        """
        embedding, first, *rest = self.layers
        embeddings = tf.convert_to_tensor(embedding.embeddings)
        ids = tf.transpose(tokens)  # the loop goes along the first axis
        if self.folded:
            outputs = _recur(first, tf.gather(_gates(first, embeddings), ids))
        else:
            outputs = _recur(first, _gates(first, tf.gather(embeddings, ids)))
        for layer in rest:
            if isinstance(layer, keras.layers.LSTM):
                outputs = _recur(layer, _gates(layer, outputs))
            else:
                outputs = layer(outputs)
        return outputs


def _gates(lstm: keras.layers.LSTM, inputs: tf.Tensor) -> tf.Tensor:
    """Returns what inputs add to the four gates, <float32>[..., 4 * units]."""
    return inputs @ lstm.cell.kernel + lstm.cell.bias


def _recur(lstm: keras.layers.LSTM, gates: tf.Tensor) -> tf.Tensor:
    """Runs the loop of an LSTM over gates <float32>[max_len, batch_size, 4 * units].

    Returns:
      Its last outputs, <float32>[batch_size, units], or those at every token if the layer returns
      sequences, <float32>[max_len, batch_size, units].
    """
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
