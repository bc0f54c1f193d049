import dataclasses

import keras
import numpy as np
import pytest

from model.network import lstm
from textrecords import model_folder
from textrecords.model_folder import Network, Training

pytestmark = pytest.mark.integration

TUTORIAL = Network(
    max_tokens=1000,
    max_len=100,
    embedding_dim=128,
    embedding_tokens=0,
    embedding_dropout=0.0,
    mask_padding=False,
    lstm_units=64,
    lstm_layers=1,
    bidirectional=False,
    dropout=0,
    recurrent_dropout=0,
    pooling="last",
    chunk_len=0,
    ngram_bits=0,
    dense_units=64,
    dense_dropout=0,
)
SMALL = dataclasses.replace(
    TUTORIAL, max_tokens=9, max_len=4, embedding_dim=3, lstm_units=5, dense_units=6
)
TRAINING = Training(learning_rate=0.1, batch_size=3, epochs=25, patience=1)
TOKENS = np.array([[1, 2, 3, 0], [8, 7, 0, 0], [4, 0, 0, 0]], np.int32)


def test_the_tutorials_network_has_its_layers_and_sizes():
    model = lstm.build(TUTORIAL, 2)
    assert [type(layer).__name__ for layer in model.layers] == [
        "Embedding",
        "LSTM",
        "Dense",
        "Dense",
    ]
    assert [layer.count_params() for layer in model.layers] == [
        1000 * 128,
        4 * ((128 + 64) * 64 + 64),
        64 * 64 + 64,
        64 + 1,
    ]


def test_two_classes_give_one_probability_a_row():
    probabilities = lstm.build(SMALL, 2)(TOKENS).numpy()
    assert probabilities.shape == (3, 1)
    assert probabilities.dtype == np.float32
    assert ((probabilities > 0) & (probabilities < 1)).all()


def test_more_classes_give_a_distribution_a_row():
    probabilities = lstm.build(SMALL, 3)(TOKENS).numpy()
    assert probabilities.shape == (3, 3)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-6)


def test_stacked_and_bidirectional_layers_have_the_expected_shapes():
    network = dataclasses.replace(SMALL, lstm_layers=3, bidirectional=True)
    shapes = [layer.output.shape for layer in lstm.build(network, 2).layers]
    assert shapes == [
        (None, None, 3),
        (None, None, 10),
        (None, None, 10),
        (None, 10),
        (None, 6),
        (None, 1),
    ]


@pytest.mark.parametrize("flag", ["dropout", "recurrent_dropout", "dense_dropout"])
def test_dropout_works_in_training_alone(flag):
    keras.utils.set_random_seed(0)
    model = lstm.build(dataclasses.replace(SMALL, **{flag: 0.5}), 2)
    serving = model(TOKENS, training=False).numpy()
    assert (model(TOKENS, training=True).numpy() != serving).any()
    assert (model(TOKENS, training=False).numpy() == serving).all()


@pytest.mark.parametrize("masked", [True, False])
def test_a_masked_network_gives_the_same_whatever_the_padding(masked):
    network = dataclasses.replace(SMALL, mask_padding=masked)
    model = lstm.build(network, 2)
    longer = lstm.build(dataclasses.replace(network, max_len=7), 2)
    longer.set_weights(model.get_weights())
    same = np.isclose(model(TOKENS), longer(np.pad(TOKENS, [(0, 0), (0, 3)])), atol=1e-7)
    assert same.all() == masked


def test_the_predicted_class_of_two_is_the_second_above_a_half():
    probabilities = np.array([[0.5], [0.51], [0.0]], np.float32)
    assert np.asarray(lstm.predicted_classes(probabilities)).tolist() == [0, 1, 0]


def test_the_predicted_class_of_more_is_the_most_likely():
    probabilities = np.array([[0.2, 0.5, 0.3], [0.6, 0.1, 0.3]], np.float32)
    assert np.asarray(lstm.predicted_classes(probabilities)).tolist() == [1, 0]


@pytest.mark.parametrize(("clipnorm", "expected"), [(1.0, 1.0), (0.0, None)])
def test_gradients_are_clipped_unless_the_norm_is_0(clipnorm, expected):
    model = lstm.build(SMALL, 2)
    lstm.compile_model(model, dataclasses.replace(TRAINING, clipnorm=clipnorm))
    assert model.optimizer.clipnorm == expected


@pytest.mark.parametrize("name", model_folder.OPTIMIZERS)
def test_every_optimizer_of_keras_trains(name):
    keras.utils.set_random_seed(0)
    model = lstm.build(SMALL, 2)
    training = dataclasses.replace(TRAINING, optimizer=name, decay="linear")
    lstm.compile_model(model, training, num_steps=10)
    assert type(model.optimizer).__name__.lower() == name
    assert model.optimizer.clipnorm == 1
    assert float(model.optimizer.learning_rate) == pytest.approx(0.1)
    before = model.get_weights()
    assert np.isfinite(model.train_on_batch(TOKENS, np.array([1, 0, 1]))[0])
    assert all((old != new).any() for old, new in zip(before, model.get_weights(), strict=True))


@pytest.mark.parametrize(
    ("decay", "expected"),
    [("none", [0.1, 0.1, 0.1]), ("linear", [0.1, 0.05, 0]), ("cosine", [0.1, 0.05, 0])],
)
def test_the_learning_rate_decays_to_nothing_at_the_last_step(decay, expected):
    model = lstm.build(SMALL, 2)
    lstm.compile_model(model, dataclasses.replace(TRAINING, decay=decay), 8)
    found = []
    for step in (0, 4, 8):
        model.optimizer.iterations.assign(step)
        found.append(float(model.optimizer.learning_rate))
    assert found == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize("num_classes", [2, 3])
def test_a_compiled_network_learns_its_labels(num_classes):
    keras.utils.set_random_seed(0)
    model = lstm.build(SMALL, num_classes)
    lstm.compile_model(model, TRAINING)
    labels = np.array([1, 0, num_classes - 1])
    history = model.fit(TOKENS, labels, epochs=25, verbose=0).history
    assert history["accuracy"][-1] == 1
    assert history["loss"][-1] < 0.1
