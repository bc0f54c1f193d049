"""The network: embedding, LSTM, a dense layer, the classes."""

import keras

from model.config import Network, Training


def build(network: Network, num_classes: int) -> keras.Model:
    """Returns a network with random weights.

    It takes tokens <int32>[batch_size, length], of any length. For two classes it gives the
    probability of class 1, <float32>[batch_size, 1]; for more, those of all,
    <float32>[batch_size, num_classes].
    """
    layers = [
        keras.Input([None], dtype="int32", name="tokens"),
        keras.layers.Embedding(
            network.max_tokens, network.embedding_dim, mask_zero=network.mask_padding
        ),
        *(_lstm(network, last=n == network.lstm_layers) for n in range(1, network.lstm_layers + 1)),
        keras.layers.Dense(network.dense_units, activation="relu"),
    ]
    if network.dense_dropout:
        layers.append(keras.layers.Dropout(network.dense_dropout))
    if num_classes == 2:
        layers.append(keras.layers.Dense(1, activation="sigmoid"))
    else:
        layers.append(keras.layers.Dense(num_classes, activation="softmax"))
    return keras.Sequential(layers)


def compile_model(model: keras.Model, training: Training, num_steps: int = 1) -> None:
    """Readies a network of `build` for training on labels <int64>[batch_size].

    Args:
      model: the network.
      training: how it is trained.
      num_steps: of the whole training, in which the learning rate decays.
    """
    if model.output_shape[-1] == 1:
        loss = keras.losses.BinaryCrossentropy()
    else:
        loss = keras.losses.SparseCategoricalCrossentropy()
    rate = _learning_rate(training, num_steps)
    adam = keras.optimizers.Adam(rate, clipnorm=training.clipnorm or None)
    model.compile(adam, loss, metrics=["accuracy"])


def _learning_rate(
    training: Training, num_steps: int
) -> float | keras.optimizers.schedules.LearningRateSchedule:
    schedules = keras.optimizers.schedules
    if training.decay == "linear":
        return schedules.PolynomialDecay(training.learning_rate, num_steps, end_learning_rate=0.0)
    if training.decay == "cosine":
        return schedules.CosineDecay(training.learning_rate, num_steps)
    return training.learning_rate


def predicted_classes(probabilities: keras.KerasTensor) -> keras.KerasTensor:
    """Returns the likeliest class of each row, as Keras' accuracy counts it.

    Args:
      probabilities: what a network of `build` gives, <float32>[batch_size, 1 or num_classes].

    Returns:
      The position of the class, <int32>[batch_size].
    """
    if probabilities.shape[-1] == 1:
        return keras.ops.cast(probabilities[:, 0] > 0.5, "int32")
    return keras.ops.argmax(probabilities, axis=-1)


def _lstm(network: Network, *, last: bool) -> keras.layers.Layer:
    """Returns one layer; all but the last pass on their outputs at every token."""
    layer = keras.layers.LSTM(
        network.lstm_units,
        return_sequences=not last,
        dropout=network.dropout,
        recurrent_dropout=network.recurrent_dropout,
    )
    return keras.layers.Bidirectional(layer) if network.bidirectional else layer
