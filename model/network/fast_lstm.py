"""A network of `lstm.build` in a form that trains and scores faster on CPUs.

Keras' LSTM multiplies its inputs by its kernel inside its loop, one token after the other. Here all
tokens of a batch are multiplied at once, before the loop, so that only the product with the state
remains inside; and XLA compiles the step. Outputs, gradients and the steps of Adam equal those of
Keras, up to rounding.

If the vocabulary is smaller than a batch, all of its embeddings are multiplied instead of the
batch's, and the gradient of the kernel is summed by token first. The gradient of the embeddings
isn't: Keras passes Adam one part per occurrence of a token, and Adam adds up the squares of the
parts, so that their sum would give other steps.

To score, each step of the loop looks up its rows of that product, so that they aren't all copied.

Networks with other layers are trained and scored by plain Keras.
"""

import itertools
from collections.abc import Callable

import keras
import tensorflow as tf

from textrecords.model_folder import Network, Training

XLA = True  # compiles the step
# The arguments of an LSTM that `_run_lstm` supports; all others must have Keras' defaults.
FREE = ("name", "trainable", "units", "return_sequences", "seed")
FREE_SUFFIXES = ("_initializer", "_regularizer", "_constraint")  # of weights
OF_OUTPUTS = "activity_regularizer"
# What the gates get at a step, <int32>[] -> <float32>[batch_size, 4 * units].
Gates = Callable[[tf.Tensor], tf.Tensor]


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
    if not _lstms(model) or tf.config.list_physical_devices("GPU"):
        return model
    width = None if training.bucket_by_length else network.max_len
    layers = [keras.Input([width], dtype="int32"), *model.layers]
    if _is_supported(model):
        trained = FastSequential(layers, training.batch_size * network.max_len)
    else:
        trained = keras.Sequential(layers)
    trained.compile(model.optimizer, model.loss, metrics=["accuracy"], jit_compile=XLA)
    return trained


def to_serve(model: keras.Model) -> keras.Model:
    """Returns the model that scores tokens of any length as `model` does; it shares the layers.

    It is `model` itself on a GPU, and for networks that `FastSequential` doesn't support.
    """
    if not _is_supported(model) or tf.config.list_physical_devices("GPU"):
        return model
    return FastSequential([keras.Input([None], dtype="int32"), *model.layers])


def _is_supported(model: keras.Model) -> bool:
    """Returns whether `FastSequential` computes what a network does."""
    lstms = _lstms(model)
    return bool(lstms) and not model.layers[0].mask_zero and all(map(_is_plain, lstms))


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
    """An embedding, plain LSTMs without a mask, and layers that take their last outputs.

    Args:
      layers: as in Keras.
      num_tokens: of a full batch of the longest rows, in training.
    """

    def __init__(self, layers: list[keras.layers.Layer], num_tokens: int = 0):
        super().__init__(layers)
        self._by_token = self.layers[0].input_dim < num_tokens

    def call(self, tokens: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Maps <int32>[batch_size, max_len] to the output of the layers in sequence.

        Keras passes `training` on to them.
        """
        embedding, first, *rest = self.layers
        tokens = tf.transpose(tokens)  # the loops run along the first axis
        if not training:
            gates = _look_up(embedding, first, tokens)
        elif self._by_token:
            table = tf.convert_to_tensor(embedding.embeddings)
            weights = map(tf.convert_to_tensor, (first.cell.kernel, first.cell.bias))
            gates = _steps(_project_by_token(embedding(tokens), *weights, table, tokens))
        else:
            gates = _steps(_project(first, embedding(tokens)))
        outputs = _run_lstm(first, gates, tokens)
        for layer in rest:
            if isinstance(layer, keras.layers.LSTM):
                outputs = _run_lstm(layer, _steps(_project(layer, outputs)), tokens)
            else:
                outputs = layer(outputs)
        return outputs


def _steps(gates: tf.Tensor) -> Gates:
    """Returns the steps of <float32>[max_len, batch_size, 4 * units]."""
    return tf.TensorArray(gates.dtype, _length(gates)).unstack(gates).read


def _length(values: tf.Tensor) -> int | tf.Tensor:
    """Returns the size of the first axis, as a number if it's known: XLA needs that."""
    return values.shape[0] or tf.shape(values)[0]


def _look_up(
    embedding: keras.layers.Embedding, lstm: keras.layers.LSTM, tokens: tf.Tensor
) -> Gates:
    """Returns the steps of tokens <int32>[max_len, batch_size], without any gradient."""

    def by_token() -> tuple[tf.Tensor, tf.Tensor]:
        return _project(lstm, tf.convert_to_tensor(embedding.embeddings)), tokens

    def by_place() -> tuple[tf.Tensor, tf.Tensor]:
        places = tf.reshape(tf.range(tf.size(tokens)), tf.shape(tokens))
        return _project(lstm, embedding(tf.reshape(tokens, [-1]))), places

    rows, ids = tf.cond(tf.size(tokens) > embedding.input_dim, by_token, by_place)
    return lambda t: tf.gather(rows, ids[t])


def _project(lstm: keras.layers.LSTM, inputs: tf.Tensor) -> tf.Tensor:
    """Maps <float32>[..., input size] to what the gates get of it, <float32>[..., 4 * units]."""
    return inputs @ lstm.cell.kernel + lstm.cell.bias


@tf.custom_gradient
def _project_by_token(
    vectors: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor, table: tf.Tensor, tokens: tf.Tensor
) -> tuple[tf.Tensor, Callable[[tf.Tensor], tuple[tf.Tensor | None, ...]]]:
    """Does `_project` for the vectors of tokens, <int32>[max_len, batch_size].

    Args:
      vectors: of the tokens, which get a gradient.
      kernel, bias: of the LSTM.
      table: the vectors of all tokens, which get no gradient, <float32>[max_tokens, input size].
      tokens: of the batch.
    """

    def gradient(of_gates: tf.Tensor) -> tuple[tf.Tensor | None, ...]:
        rows, ids = tf.reshape(of_gates, [-1, kernel.shape[1]]), tf.reshape(tokens, [-1])
        by_token = tf.math.unsorted_segment_sum(rows, ids, table.shape[0])
        of_vectors = tf.matmul(of_gates, kernel, transpose_b=True)
        of_kernel = tf.matmul(table, by_token, transpose_a=True)
        return of_vectors, of_kernel, tf.reduce_sum(by_token, axis=0), None, None

    return tf.gather(table @ kernel + bias, tokens), gradient


def _run_lstm(lstm: keras.layers.LSTM, gates: Gates, tokens: tf.Tensor) -> tf.Tensor:
    """Applies an LSTM to what its gates get of its inputs.

    Args:
      lstm: the layer.
      gates: what they get at each step.
      tokens: of the batch, <int32>[max_len, batch_size].

    Returns:
      Its last outputs, <float32>[batch_size, units], or the outputs at every token if the layer
      returns sequences, <float32>[max_len, batch_size, units].
    """
    kernel = tf.convert_to_tensor(lstm.cell.recurrent_kernel)
    max_len = _length(tokens)
    zeros = tf.zeros([tf.shape(tokens)[1], lstm.units])
    every = [tf.TensorArray(tf.float32, max_len)] if lstm.return_sequences else []

    def step(t, output, state, *every):
        update, forget, new, show = tf.split(gates(t) + output @ kernel, 4, axis=-1)
        state = tf.sigmoid(forget) * state + tf.sigmoid(update) * tf.tanh(new)
        output = tf.sigmoid(show) * tf.tanh(state)
        return t + 1, output, state, *(outputs.write(t, output) for outputs in every)

    _, output, _, *every = tf.while_loop(
        lambda t, *_: t < max_len, step, (0, zeros, zeros, *every), maximum_iterations=max_len
    )
    return every[0].stack() if every else output
