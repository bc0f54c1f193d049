import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf
from test_lstm import SMALL, TRAINING

from model.network import fast_lstm, lstm

pytestmark = pytest.mark.slow

TOKENS = np.array(
    [[1, 2, 3, 0], [8, 7, 0, 0], [4, 0, 0, 0], [5, 5, 5, 5], [0, 0, 0, 0], [2, 8, 1, 6]], np.int32
)
LABELS = np.array([0, 1, 1, 0, 1, 0])


def forms(network, num_classes=2):
    """Returns a network of random weights, biases too, and what trains it."""
    keras.utils.set_random_seed(0)
    model = lstm.build(network, num_classes)
    rng = np.random.default_rng(0)
    model.set_weights([rng.normal(size=w.shape) for w in model.get_weights()])
    lstm.compile_model(model, TRAINING)
    return model, fast_lstm.to_train(model, network, TRAINING)


@tf.function
def outputs_and_gradients(model, tokens, labels):
    with tf.GradientTape() as tape:
        outputs = model(tokens, training=True)
        loss = model.loss(labels, outputs)
    return outputs, tape.gradient(loss, [variable.value for variable in model.trainable_variables])


@pytest.mark.parametrize(
    ("shape", "num_classes"),
    [
        ({}, 2),
        ({}, 3),
        ({"lstm_layers": 3}, 2),
        ({"max_len": 1}, 2),
        ({"embedding_dim": 1, "lstm_units": 1}, 3),
        ({"max_tokens": 12}, 2),
        ({"max_tokens": 12, "lstm_layers": 3}, 2),
    ],
)
def test_outputs_and_gradients_are_those_of_keras(shape, num_classes):
    network = dataclasses.replace(SMALL, **shape)
    model, fast = forms(network, num_classes)
    tokens = TOKENS[:, : network.max_len]
    expected, expected_gradients = outputs_and_gradients(model, tokens, LABELS)
    found, gradients = outputs_and_gradients(fast, tokens, LABELS)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert tf.convert_to_tensor(gradients[0]).numpy().any()
    for ours, keras_own in zip(gradients, expected_gradients, strict=True):
        ours, keras_own = tf.convert_to_tensor(ours), tf.convert_to_tensor(keras_own)
        np.testing.assert_allclose(ours, keras_own, atol=1e-5)


@pytest.mark.parametrize("shape", [{}, {"lstm_layers": 3}, {"dense_units": 0, "lstm_units": 1}])
@pytest.mark.parametrize("num_classes", [2, 3])
@pytest.mark.parametrize("copies", [1, 2])  # fewer tokens than the vocabulary has, and more
def test_what_is_served_scores_like_keras(shape, num_classes, copies):
    network = dataclasses.replace(SMALL, max_tokens=30, **shape)
    model, _ = forms(network, num_classes)
    served = fast_lstm.to_serve(model)
    assert isinstance(served, fast_lstm.FastSequential)
    assert [id(weight) for weight in served.weights] == [id(weight) for weight in model.weights]
    signature = [tf.TensorSpec([None, None], tf.int32)]
    score = tf.function(lambda tokens: served(tokens, training=False), input_signature=signature)
    for length in (1, 3, 4, 9):
        tokens = np.resize(TOKENS, [copies * len(TOKENS), length])
        expected = model(tokens, training=False)
        assert expected.numpy().std() > 0
        np.testing.assert_allclose(score(tokens), expected, atol=1e-6)
    assert score(TOKENS[:0]).shape == [0, 1 if num_classes == 2 else num_classes]


@pytest.mark.parametrize(
    "shape",
    [
        {"mask_padding": True},
        {"bidirectional": True},
        {"pooling": "max_mean"},
        {"recurrent_dropout": 0.1},
    ],
)
def test_other_networks_are_served_by_keras(shape):
    model, _ = forms(dataclasses.replace(SMALL, **shape))
    assert fast_lstm.to_serve(model) is model


def test_on_a_gpu_keras_serves(monkeypatch):
    model, _ = forms(SMALL)
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [kind])
    assert fast_lstm.to_serve(model) is model


def test_what_is_trained_are_the_networks_own_variables():
    model, fast = forms(SMALL)
    assert isinstance(fast, fast_lstm.FastSequential)
    assert [id(weight) for weight in fast.weights] == [id(weight) for weight in model.weights]
    assert fast.optimizer is model.optimizer
    before = model.get_weights()
    fast.fit(TOKENS, LABELS, batch_size=4, verbose=0)  # the last batch is smaller
    assert all((old != new).any() for old, new in zip(before, model.get_weights(), strict=True))
    assert model.optimizer.iterations == 2
    np.testing.assert_allclose(
        model.predict_on_batch(TOKENS), fast.predict_on_batch(TOKENS), atol=1e-5
    )


@pytest.mark.parametrize("shape", [{}, {"lstm_layers": 2}])
def test_ten_steps_of_adam_give_the_weights_of_keras(shape):
    network = dataclasses.replace(SMALL, **shape)
    model, _ = forms(network)
    _, fast = forms(network)
    for trained in (model, fast):
        trained.fit(TOKENS, LABELS, epochs=10, verbose=0)
    for ours, keras_own in zip(fast.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_allclose(ours, keras_own, atol=1e-3)


@pytest.mark.parametrize(("max_tokens", "by_token"), [(59, True), (60, False)])
def test_an_epoch_of_adam_gives_the_weights_of_keras(max_tokens, by_token):
    network = dataclasses.replace(SMALL, max_tokens=max_tokens, max_len=20, lstm_layers=2)
    rng = np.random.default_rng(0)
    tokens = np.minimum(rng.zipf(1.2, [121, 20]), max_tokens - 1).astype(np.int32)
    labels = rng.integers(0, 2, 121)
    assert TRAINING.batch_size * network.max_len == 60
    weights = []
    for fast in (False, True):
        keras.utils.set_random_seed(0)
        model = lstm.build(network, 2)
        training = dataclasses.replace(TRAINING, learning_rate=0.001)
        lstm.compile_model(model, training)
        trained = fast_lstm.to_train(model, network, training) if fast else model
        trained.fit(tokens, labels, batch_size=TRAINING.batch_size, verbose=0)
        weights.append(model.get_weights())
    assert trained._by_token == by_token
    for keras_own, ours in zip(*weights, strict=True):
        np.testing.assert_allclose(ours, keras_own, atol=1e-5)


def test_dense_dropout_works_in_training_alone():
    _, fast = forms(dataclasses.replace(SMALL, dense_dropout=0.5))
    serving = fast(TOKENS, training=False).numpy()
    assert (fast(TOKENS, training=True).numpy() != serving).any()
    assert (fast(TOKENS, training=False).numpy() == serving).all()


@pytest.mark.parametrize(
    ("shape", "is_fast"),
    [
        ({"lstm_layers": 2, "dense_dropout": 0.1}, True),
        ({"dropout": 0.1, "recurrent_dropout": 0.1}, False),
        ({"mask_padding": True}, False),
    ],
)
def test_every_form_that_xla_compiles_learns_its_labels(shape, is_fast):
    model, trained = forms(dataclasses.replace(SMALL, **shape))
    assert trained.jit_compile
    assert isinstance(trained, fast_lstm.FastSequential) == is_fast
    trained.fit(TOKENS, LABELS, batch_size=6, epochs=60, verbose=0)
    assert model.evaluate(TOKENS, LABELS, verbose=0)[1] == 1


def test_a_masked_network_takes_batches_of_several_widths():
    network = dataclasses.replace(SMALL, mask_padding=True)
    training = dataclasses.replace(TRAINING, bucket_by_length=True)
    model, _ = forms(network)
    trained = fast_lstm.to_train(model, network, training)
    for width in 2, 3:
        assert trained.train_on_batch(TOKENS[:3, :width], LABELS[:3])
    cut, whole = (model.predict(TOKENS[1:3, :width], verbose=0) for width in (2, 4))
    np.testing.assert_allclose(cut, whole, atol=1e-6)


def test_a_bidirectional_network_is_trained_as_it_is():
    model, trained = forms(dataclasses.replace(SMALL, bidirectional=True))
    assert trained is model


def test_on_a_gpu_the_network_is_trained_as_it_is(monkeypatch):
    model, _ = forms(SMALL)
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [kind])
    assert fast_lstm.to_train(model, SMALL, TRAINING) is model


def of_layers(*layers):
    """Returns a user-built network with random weights, and the model that trains it."""
    keras.utils.set_random_seed(0)
    embedding = keras.layers.Embedding(SMALL.max_tokens, 3)
    head = keras.layers.Dense(3, activation="softmax")
    model = keras.Sequential([keras.Input([None], dtype="int32"), embedding, *layers, head])
    lstm.compile_model(model, TRAINING)
    return model, fast_lstm.to_train(model, SMALL, TRAINING)


def lstm_layer(**kwargs):
    return keras.layers.LSTM(5, **kwargs)


OTHER_LAYERS = {
    "gru": lambda: [keras.layers.GRU(5)],
    "mean": lambda: [keras.layers.GlobalAveragePooling1D()],
    "convolution": lambda: [keras.layers.Conv1D(4, 2, padding="same"), lstm_layer()],
    "dense before": lambda: [keras.layers.Dense(4), lstm_layer()],
    "masking": lambda: [keras.layers.Masking(), lstm_layer()],
    "a channel dropped": lambda: [keras.layers.SpatialDropout1D(0.5), lstm_layer()],
    "maximum": lambda: [lstm_layer(return_sequences=True), keras.layers.GlobalMaxPooling1D()],
    "gru behind": lambda: [lstm_layer(return_sequences=True), keras.layers.GRU(4)],
    "attention": lambda: [
        lstm_layer(return_sequences=True),
        keras.layers.LayerNormalization(),
        keras.layers.GlobalAveragePooling1D(),
    ],
    "both ways": lambda: [keras.layers.Bidirectional(lstm_layer())],
    "relu": lambda: [lstm_layer(activation="relu")],
    "hard sigmoid": lambda: [lstm_layer(recurrent_activation="hard_sigmoid")],
    "no bias": lambda: [lstm_layer(use_bias=False)],
    "backwards": lambda: [lstm_layer(go_backwards=True)],
    "penalty": lambda: [lstm_layer(activity_regularizer="l2")],
    "initializer": lambda: [lstm_layer(kernel_initializer="he_normal", bias_regularizer="l2")],
}


@pytest.mark.parametrize("name", OTHER_LAYERS)
def test_a_network_of_other_layers_is_trained_with_the_outputs_and_losses_of_keras(name):
    model, trained = of_layers(*OTHER_LAYERS[name]())
    assert isinstance(trained, fast_lstm.FastSequential) == (name == "initializer")
    np.testing.assert_allclose(trained(TOKENS), model(TOKENS), atol=1e-5)
    np.testing.assert_allclose(sum(trained.losses), sum(model.losses), atol=1e-5)


@pytest.mark.parametrize("name", ["gru", "mean", "convolution", "a channel dropped", "maximum"])
def test_layers_that_are_not_known_are_trained_by_keras_itself(name):
    model, trained = of_layers(*OTHER_LAYERS[name]())
    assert trained is model
