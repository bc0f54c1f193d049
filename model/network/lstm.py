"""The network: embedding, LSTM, dense layer, classes, and optional n-gram weights."""

import keras

from textrecords import layers, spec
from textrecords.model_folder import Network, Training


def build(network: Network, num_classes: int, temperature: float = 1.0) -> keras.Model:
    """Returns a network with random weights.

    It takes tokens <int32>[batch_size, length], of any length. For two classes it returns the
    probability of class 1, <float32>[batch_size, 1]; for more, those of all classes,
    <float32>[batch_size, num_classes]. The logits are divided by `temperature` (Guo et al., 2017).
    """
    outputs = 1 if num_classes == 2 else num_classes
    activation = "sigmoid" if outputs == 1 else "softmax"
    scaled = [keras.layers.Rescaling(1 / temperature), keras.layers.Activation(activation)]
    is_scaled = temperature != 1
    if network.pooling == "max_mean":
        return _pooled(network, outputs, scaled if is_scaled else scaled[1:])
    layers = [
        keras.Input([None], dtype="int32", name="tokens"),
        keras.layers.Embedding(
            network.max_tokens, network.embedding_dim, mask_zero=network.mask_padding
        ),
        *_lstms(network, last_returns_sequences=False),
        *_dense(network),
        # Keep this order of creation: the layers' random weights depend on it.
        keras.layers.Dense(outputs, activation=None if is_scaled else activation),
        *(scaled if is_scaled else []),
    ]
    return keras.Sequential(layers)


def _pooled(
    network: Network, outputs: int, to_probabilities: list[keras.layers.Layer]
) -> keras.Model:
    """Returns a network that uses all outputs of its LSTM, not only the last one."""
    tokens = keras.Input([None], dtype="int32", name="tokens")
    known = min(network.embedding_tokens or network.max_tokens, network.max_tokens)
    known = max(known, spec.NUM_RESERVED)
    embedded = keras.layers.Embedding(known, network.embedding_dim)(layers.Frequent(known)(tokens))
    read = keras.layers.SpatialDropout1D(network.embedding_dropout)(embedded)
    if network.ngram_bits:
        weights, ngram_logits = layers.NGramWeights(outputs, network.ngram_bits)(tokens)
        read = keras.layers.Concatenate()([read, weights])
    if network.chunk_len:
        read = layers.Chunks(network.chunk_len)(read, tokens)
    for layer in _lstms(network, last_returns_sequences=True):
        read = layer(read)
    pooled = layers.Pool()(read, tokens)
    for layer in _dense(network):
        pooled = layer(pooled)
    logits = keras.layers.Dense(outputs)(pooled)
    if network.ngram_bits:
        logits = keras.layers.Add()([logits, ngram_logits])
    for layer in to_probabilities:
        logits = layer(logits)
    return keras.Model(tokens, logits)


def _lstms(network: Network, *, last_returns_sequences: bool) -> list[keras.layers.Layer]:
    """Returns the LSTMs; all except the last return their outputs at every token."""
    layers = []
    for n in range(1, network.lstm_layers + 1):
        layer = keras.layers.LSTM(
            network.lstm_units,
            return_sequences=n < network.lstm_layers or last_returns_sequences,
            dropout=network.dropout,
            recurrent_dropout=network.recurrent_dropout,
        )
        layers.append(keras.layers.Bidirectional(layer) if network.bidirectional else layer)
    return layers


def _dense(network: Network) -> list[keras.layers.Layer]:
    layers = []
    if network.dense_units:
        layers.append(keras.layers.Dense(network.dense_units, activation="relu"))
    if network.dense_dropout:
        layers.append(keras.layers.Dropout(network.dense_dropout))
    return layers


def compile_model(model: keras.Model, training: Training, num_steps: int = 1) -> None:
    """Compiles a network of `build` for training on labels <int64>[batch_size].

    Args:
      model: the network.
      training: how it is trained.
      num_steps: of the whole training, over which the learning rate decays.
    """
    if model.output_shape[-1] == 1:
        loss = keras.losses.BinaryCrossentropy()
    else:
        loss = keras.losses.SparseCategoricalCrossentropy()
    rate = _learning_rate(training, num_steps)
    optimizer = type(keras.optimizers.get(training.optimizer))
    clipped = optimizer(rate, clipnorm=training.clipnorm or None)
    model.compile(clipped, loss, metrics=["accuracy"])


def _learning_rate(
    training: Training, num_steps: int
) -> float | keras.optimizers.schedules.LearningRateSchedule:
    schedules = keras.optimizers.schedules
    if training.decay == "linear":
        return schedules.PolynomialDecay(training.learning_rate, num_steps, end_learning_rate=0.0)
    if training.decay == "cosine":
        return schedules.CosineDecay(training.learning_rate, num_steps)
    return training.learning_rate


def predicted_classes(
    probabilities: keras.KerasTensor, threshold: float = 0.5
) -> keras.KerasTensor:
    """Returns the class of each row, by default the most likely one, as in Keras' accuracy.

    Args:
      probabilities: the output of a network of `build`, <float32>[batch_size, 1 or num_classes].
      threshold: the second of two classes is predicted above this probability.

    Returns:
      The position of the class, <int32>[batch_size].
    """
    if probabilities.shape[-1] == 1:
        return keras.ops.cast(probabilities[:, 0] > threshold, "int32")
    return keras.ops.argmax(probabilities, axis=-1)
