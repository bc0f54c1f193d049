"""Scores of words and pairs of words, and the layers that read them."""

import dataclasses

import keras
import numpy as np
import pytest
from test_lstm import SMALL, TRAINING

from model.network import lstm, n_grams
from model.training import settings
from textrecords import layers
from textrecords.errors import BadInput

POOLED = dataclasses.replace(
    SMALL,
    max_tokens=20,
    max_len=30,
    embedding_tokens=5,
    embedding_dropout=0.1,
    pooling="max_mean",
    piece_len=4,
    ngram_bits=10,
    dense_units=0,
)


def made(outputs=1, bits=12):
    layer = layers.NGrams(outputs, bits)
    layer.build((None, None))
    return layer


def reviews(number=60):
    """Returns rows of five ids; 7 stands in those of label 1, and 8, 9 in that order."""
    random = np.random.default_rng(0)
    labels = np.arange(number) % 2
    rows = random.integers(2, 7, [number, 8]).astype(np.int32)
    rows[:, 6:] = np.where(labels[:, None] == 1, [8, 9], [9, 8])
    rows[:, 2] = np.where(labels == 1, 7, rows[:, 2])
    return rows, labels


def test_a_word_and_a_pair_count_once_a_review():
    layer = made()
    buckets, sizes, _ = layer.count(np.array([[3, 4, 3, 4, 0], [5, 0, 0, 0, 0]], np.int32))
    assert sizes.tolist() == [4, 1]  # 3, 4, 3 4, 4 3; and 5
    assert len(set(buckets.tolist())) == 5


def test_logits_are_the_sum_of_scores_over_the_root_of_their_number():
    layer = made()
    table = np.arange(layer.scores.shape[0], dtype=np.float32)[:, None] / 1e4
    layer.scores.assign(table)
    tokens = np.array([[3, 4, 3, 4, 0]], np.int32)
    at_tokens, logits = layer(tokens)
    buckets, *_ = layer.count(tokens)
    assert float(logits[0, 0]) == pytest.approx(table[buckets].sum() / 2, rel=1e-6)
    words, pairs = np.asarray(at_tokens)[0].T
    assert words[0] == words[2] and words[1] == words[3] and pairs[0] == pairs[2]
    assert pairs[0] != pairs[1]
    assert (words[4], pairs[3], pairs[4]) == (0, 0, 0)


def test_they_tell_what_the_words_and_their_order_tell():
    rows, labels = reviews()
    layer = made()
    n_grams.fit(layer, [(rows[:40], labels[:40]), (rows[40:], labels[40:])])
    _, logits = layer(rows)
    assert ((np.asarray(logits)[:, 0] > 0) == labels).all()
    _, [[first], [second]] = map(np.asarray, layer(np.array([[2, 8, 9], [2, 9, 8]], np.int32)))
    assert first > 0 > second


def test_in_training_a_review_is_scored_without_its_own_fold():
    rows = np.array([[2, n] for n in range(3, 43)], np.int32)
    labels = np.arange(40) % 2
    layer = made(bits=16)
    n_grams.fit(layer, [(rows, labels)])
    at_tokens, _ = layer(rows, training=True)
    words = np.asarray(at_tokens)[:, 1, 0]
    # The second word stands in no other review: nothing of it is known without this one.
    unseen = np.abs(words - np.median(words))
    assert unseen.max() < 1e-3
    served = np.asarray(layer(rows)[0])[:, 1, 0]
    assert ((served > np.median(words)) == labels).all()


def test_with_three_classes_each_has_a_logit_of_its_own():
    rows = np.array([[2, 3 + n % 3, 6] for n in range(45)], np.int32)
    layer = made(outputs=3)
    n_grams.fit(layer, [(rows, np.arange(45) % 3)])
    assert np.asarray(layer(rows)[1]).argmax(axis=1).tolist() == [n % 3 for n in range(45)]


def test_reviews_of_a_single_fold_tell_nothing_but_harm_nothing():
    rows = np.array([[2, 3], [3, 2]], np.int32)
    layer = made()
    n_grams.fit(layer, [(rows, np.array([0, 1]))])
    assert np.isfinite(np.asarray(layer.scores)).all()


def test_the_scores_are_alike_each_time():
    rows, labels = reviews()
    one, other = made(), made()
    n_grams.fit(one, [(rows, labels)])
    n_grams.fit(other, [(rows[:30], labels[:30]), (rows[30:], labels[30:])])
    assert np.asarray(one.scores).tobytes() == np.asarray(other.scores).tobytes()


def test_pooling_takes_the_maximum_and_mean_of_tokens_alone():
    outputs = np.array([[[0.1], [0.5]], [[-0.3], [9.0]]], np.float32)  # two pieces of two
    pooled = layers.Pool()(outputs, np.array([[5, 6, 7]], np.int32))
    assert np.asarray(pooled)[0] == pytest.approx([0.5, 0.1])
    padded = layers.Pool()(outputs, np.array([[5, 0, 0]], np.int32))
    assert np.asarray(padded)[0] == pytest.approx([0.1, 0.1])


def test_pieces_keep_their_tokens_in_order():
    rows = np.arange(10, dtype=np.float32).reshape(2, 5, 1)
    tokens = np.array([[2, 2, 2, 2, 2], [2, 2, 2, 2, 0]], np.int32)
    pieces = np.asarray(layers.Pieces(3)(rows, tokens))[:, :, 0]
    assert pieces.tolist() == [[0, 1, 2], [3, 4, 0], [5, 6, 7], [8, 0, 0]]


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("num_classes", [2, 3])
def test_padding_makes_no_difference_to_a_pooled_network(num_classes, bidirectional):
    keras.utils.set_random_seed(0)
    network = dataclasses.replace(POOLED, bidirectional=bidirectional)
    model = lstm.build(network, num_classes)
    rows, labels = reviews()
    n_grams.adapt(model, [(rows, labels)])
    rows = rows[:, :7]  # the last piece isn't full
    alone = np.asarray(model(rows[:1]))
    assert alone.shape == (1, 1 if num_classes == 2 else 3)
    padded = np.asarray(model(np.pad(rows[:1], [(0, 0), (0, 17)])))
    assert padded == pytest.approx(alone, abs=1e-6)
    assert np.isfinite(np.asarray(model(np.zeros([1, 3], np.int32)))).all()


def test_a_pooled_network_learns(tmp_path):
    keras.utils.set_random_seed(0)
    model = lstm.build(POOLED, 2)
    rows, labels = reviews()
    n_grams.adapt(model, [(rows, labels)])
    layer = model.get_layer("n_grams")
    before = [np.asarray(table) for table in (layer.scores, layer.fold_scores)]
    lstm.compile_model(model, TRAINING, 50)
    history = model.fit(rows, labels, epochs=15, verbose=0).history
    assert history["accuracy"][-1] == 1
    assert (np.asarray(layer.scores) == before[0]).all()
    assert (np.asarray(layer.fold_scores) == before[1]).all()
    assert not any(weight.trainable for weight in layer.weights)
    model.save_weights(tmp_path / "x.weights.h5")
    again = lstm.build(POOLED, 2)
    again.load_weights(tmp_path / "x.weights.h5")
    assert np.asarray(again(rows)).tolist() == np.asarray(model(rows)).tolist()
    assert not np.asarray(again.get_layer("n_grams").fold_scores).any()  # of use in training alone


@pytest.mark.parametrize(
    ("network", "training", "message"),
    [
        ({"piece_len": 4}, {}, "--piece_len needs --pooling max_mean"),
        ({"ngram_bits": 4}, {}, "--ngram_bits needs --pooling max_mean"),
        ({"pooling": "max_mean", "mask_padding": True}, {}, "leaves padding out by itself"),
        ({}, {"bucket_by_length": True}, "give --mask_padding or --pooling max_mean, too"),
        (
            {"pooling": "max_mean", "bidirectional": True},
            {"bucket_by_length": True},
            "give --piece_len, too",
        ),
    ],
)
def test_flags_that_do_not_go_together_are_refused(network, training, message):
    with pytest.raises(BadInput, match=message):
        settings.check_compatible(
            dataclasses.replace(SMALL, **network), dataclasses.replace(TRAINING, **training)
        )


@pytest.mark.parametrize("flags", [{}, {"mask_padding": True}, {"pooling": "max_mean"}])
def test_what_sees_no_padding_may_be_bucketed_by_length(flags):
    by_length = dataclasses.replace(TRAINING, bucket_by_length=bool(flags))
    settings.check_compatible(dataclasses.replace(SMALL, **flags), by_length)
