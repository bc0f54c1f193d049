"""Weights of words and bigrams, and the layers that use them."""

import dataclasses
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
import tiny_dataset
from scipy import sparse
from sklearn.linear_model import LogisticRegression
from test_lstm import SMALL, TRAINING

from model import train
from model.network import lstm, n_gram_weights
from model.training import settings
from model.tune import __main__ as tune
from textrecords import layers, model_folder
from textrecords.errors import BadInput, Failure

pytestmark = pytest.mark.integration

ROOT = pathlib.Path(__file__).parents[2]

POOLED = dataclasses.replace(
    SMALL,
    max_tokens=20,
    max_len=30,
    embedding_tokens=5,
    embedding_dropout=0.1,
    pooling="max_mean",
    chunk_len=4,
    ngram_bits=10,
    dense_units=0,
)


def made(outputs=1, bits=12):
    layer = layers.NGramWeights(outputs, bits)
    layer.build((None, None))
    return layer


def adapted(batches, outputs=1, bits=12):
    """Returns a layer whose weights are fitted to the batches."""
    tokens = keras.Input([None], dtype="int32")
    layer = layers.NGramWeights(outputs, bits)
    n_gram_weights.adapt(keras.Model(tokens, layer(tokens)), batches)
    return layer


def reviews(number=60):
    """Returns rows of ids; those of label 1 contain 7, and 8, 9 in that order."""
    random = np.random.default_rng(0)
    labels = np.arange(number) % 2
    rows = random.integers(2, 7, [number, 8]).astype(np.int32)
    rows[:, 6:] = np.where(labels[:, None] == 1, [8, 9], [9, 8])
    rows[:, 2] = np.where(labels == 1, 7, rows[:, 2])
    return rows, labels


def test_a_word_and_a_bigram_count_once_a_review():
    layer = made()
    buckets, sizes = layer.count(np.array([[3, 4, 3, 4, 0], [5, 0, 0, 0, 0]], np.int32))
    assert sizes.tolist() == [4, 1]  # 3, 4, 3 4, 4 3; and 5
    assert len(set(buckets.tolist())) == 5


def test_logits_are_the_sum_of_weights_over_the_root_of_their_number():
    layer = made()
    table = np.arange(layer.ngram_weights.shape[0], dtype=np.float32)[:, None] / 1e4
    layer.ngram_weights.assign(table)
    tokens = np.array([[3, 4, 3, 4, 0]], np.int32)
    at_tokens, logits = layer(tokens)
    buckets, _ = layer.count(tokens)
    assert float(logits[0, 0]) == pytest.approx(table[buckets].sum() / 2, rel=1e-6)
    words, bigrams = np.asarray(at_tokens)[0].T
    assert words[0] == words[2] and words[1] == words[3] and bigrams[0] == bigrams[2]
    assert bigrams[0] != bigrams[1]
    assert (words[4], bigrams[3], bigrams[4]) == (0, 0, 0)


def test_folds_score_in_training_and_their_mean_in_inference():
    layer = made(bits=3)
    layer.assign(np.arange(5 * 8, dtype=np.float32).reshape(5, 8, 1))
    assert np.asarray(layer.ngram_weights)[:, 0].tolist() == [16, 17, 18, 19, 20, 21, 22, 23]
    tokens = np.array([[4, 0]], np.int32)  # in fold 4
    [bucket], _ = layer.count(tokens)
    assert np.asarray(layer(tokens)[1]).tolist() == [[16 + bucket]]
    assert np.asarray(layer(tokens, training=True)[1]).tolist() == [[32 + bucket]]


def test_weights_are_those_of_a_logistic_regression_on_log_count_ratios():
    random = np.random.default_rng(0)
    present = random.random([60, 16]) < 0.3
    present[:, 3] = False  # a bucket of no n-gram
    positive = random.random(60) < 0.2 + 0.6 * present[:, 5]
    folds = np.arange(60) % 5
    features = present / np.sqrt(np.maximum(present.sum(axis=1), 1))[:, None]
    tables = n_gram_weights.fit(sparse.csr_array(features), positive.astype(int), folds, 1)
    assert (tables.shape, tables.dtype) == ((5, 16, 1), np.float32)
    for fold in range(5):
        others = folds != fold
        p = 1 + present[others & positive].sum(axis=0)
        q = 1 + present[others & ~positive].sum(axis=0)
        ratios = np.log((p / p.sum()) / (q / q.sum()))
        # Another solver, of the primal problem.
        regression = LogisticRegression(C=50, fit_intercept=False, solver="newton-cg", tol=1e-10)
        regression.fit(features[others] * ratios, positive[others])
        expected = regression.coef_[0] * ratios
        assert tables[fold, :, 0] == pytest.approx(expected, rel=1e-3, abs=1e-4)
        assert tables[fold, 3, 0] == 0


def test_a_table_is_fitted_without_the_reviews_of_its_fold():
    random = np.random.default_rng(0)
    features = sparse.csr_array((random.random([50, 32]) < 0.2).astype(float))
    labels, folds = np.arange(50) // 5 % 2, np.arange(50) % 5
    before = n_gram_weights.fit(features, labels, folds, 1)
    features.data[np.repeat(folds == 2, np.diff(features.indptr))] = 9
    after = n_gram_weights.fit(features, np.where(folds == 2, 1 - labels, labels), folds, 1)
    same = [one.tobytes() == other.tobytes() for one, other in zip(before, after, strict=True)]
    assert same == [False, False, True, False, False]


def test_without_reviews_of_both_classes_weights_are_zero():
    features = sparse.csr_array(np.eye(6, 8))
    labels, folds = np.array([0, 1, 0, 0, 0, 0]), np.array([3, 3, 0, 0, 1, 1])
    tables = n_gram_weights.fit(features, labels, folds, 1)
    assert tables.any(axis=(1, 2)).tolist() == [True, True, True, False, True]
    all_of_fold_3 = n_gram_weights.fit(features, labels, np.full(6, 3), 1)
    assert all_of_fold_3.any(axis=(1, 2)).tolist() == [True, True, True, False, True]
    assert np.isfinite(tables).all() and np.isfinite(all_of_fold_3).all()


def test_a_class_without_reviews_has_zeros_for_weights():
    tables = n_gram_weights.fit(
        sparse.csr_array(np.eye(4)), np.array([0, 2, 0, 2]), np.arange(4), 3
    )
    assert tables.shape == (5, 4, 3)
    assert tables.any(axis=(0, 1)).tolist() == [True, False, True]


def test_weights_distinguish_words_and_their_order():
    rows, labels = reviews()
    layer = adapted([(rows[:40], labels[:40]), (rows[40:], labels[40:])])
    _, logits = layer(rows)
    assert ((np.asarray(logits)[:, 0] > 0) == labels).all()
    _, [[first], [second]] = map(np.asarray, layer(np.array([[2, 8, 9], [2, 9, 8]], np.int32)))
    assert first > 0 > second


def test_in_training_a_review_is_scored_without_its_own_fold():
    rows = np.array([[2, n] for n in range(3, 43)], np.int32)
    labels = np.arange(40) % 2
    layer = adapted([(rows, labels)], bits=16)
    # The second word is in no other review: nothing of it is known without this one.
    words, bigrams = np.asarray(layer(rows, training=True)[0]).transpose(2, 0, 1)
    assert not words[:, 1].any() and not bigrams[:, 0].any()
    assert ((np.asarray(layer(rows)[0])[:, 1, 0] > 0) == labels).all()


def test_with_three_classes_each_has_a_logit_of_its_own():
    rows = np.array([[2, 3 + n % 3, 6] for n in range(45)], np.int32)
    layer = adapted([(rows, np.arange(45) % 3)], outputs=3)
    assert np.asarray(layer(rows)[1]).argmax(axis=1).tolist() == [n % 3 for n in range(45)]


def test_a_review_without_tokens_is_fitted_to_as_well():
    rows, labels = reviews()
    rows[:2] = 0
    layer = adapted([(rows, labels)])
    assert np.asarray(layer(rows[:2])[1]).tolist() == [[0], [0]]
    assert ((np.asarray(layer(rows[2:])[1])[:, 0] > 0) == labels[2:]).all()


def test_reviews_of_a_single_fold_have_no_weights_in_training():
    rows, labels = np.array([[2, 3], [3, 2]], np.int32), np.array([0, 1])
    layer = adapted([(rows, labels)])
    assert np.asarray(layer(rows, training=True)[1]).tolist() == [[0], [0]]
    assert ((np.asarray(layer(rows)[1])[:, 0] > 0) == labels).all()


def test_more_n_grams_than_liblinear_takes_are_refused(monkeypatch):
    monkeypatch.setattr(n_gram_weights, "MAX_NGRAMS", 2)
    with pytest.raises(Failure, match="train has 3 n-grams, and liblinear takes at most 2"):
        adapted([(np.array([[2, 3]], np.int32), np.array([0]))])


def test_the_weights_are_the_same_each_time():
    rows, labels = reviews()
    one = adapted([(rows, labels)])
    other = adapted([(rows[:30], labels[:30]), (rows[30:], labels[30:])])
    assert np.asarray(one.fold_weights).any()
    assert np.asarray(one.fold_weights).tobytes() == np.asarray(other.fold_weights).tobytes()
    assert np.asarray(one.ngram_weights).tobytes() == np.asarray(other.ngram_weights).tobytes()


def test_pooling_takes_the_maximum_and_mean_of_tokens_alone():
    outputs = np.array([[[0.1], [0.5]], [[-0.3], [9.0]]], np.float32)  # two chunks of two
    pooled = layers.Pool()(outputs, np.array([[5, 6, 7]], np.int32))
    assert np.asarray(pooled)[0] == pytest.approx([0.5, 0.1])
    padded = layers.Pool()(outputs, np.array([[5, 0, 0]], np.int32))
    assert np.asarray(padded)[0] == pytest.approx([0.1, 0.1])


def test_chunks_keep_their_tokens_in_order():
    rows = np.arange(10, dtype=np.float32).reshape(2, 5, 1)
    tokens = np.array([[2, 2, 2, 2, 2], [2, 2, 2, 2, 0]], np.int32)
    chunks = np.asarray(layers.Chunks(3)(rows, tokens))[:, :, 0]
    assert chunks.tolist() == [[0, 1, 2], [3, 4, 0], [5, 6, 7], [8, 0, 0]]


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("num_classes", [2, 3])
def test_padding_makes_no_difference_to_a_pooled_network(num_classes, bidirectional):
    keras.utils.set_random_seed(0)
    network = dataclasses.replace(POOLED, bidirectional=bidirectional)
    model = lstm.build(network, num_classes)
    rows, labels = reviews()
    n_gram_weights.adapt(model, [(rows, labels)])
    rows = rows[:, :7]  # the last chunk isn't full
    alone = np.asarray(model(rows[:1]))
    assert alone.shape == (1, 1 if num_classes == 2 else 3)
    padded = np.asarray(model(np.pad(rows[:1], [(0, 0), (0, 17)])))
    assert padded == pytest.approx(alone, abs=1e-6)
    assert np.isfinite(np.asarray(model(np.zeros([1, 3], np.int32)))).all()


def test_a_pooled_network_learns(tmp_path):
    keras.utils.set_random_seed(0)
    model = lstm.build(POOLED, 2)
    rows, labels = reviews()
    n_gram_weights.adapt(model, [(rows, labels)])
    layer = model.get_layer("n_grams")
    before = [np.asarray(table) for table in (layer.ngram_weights, layer.fold_weights)]
    lstm.compile_model(model, TRAINING, 50)
    history = model.fit(rows, labels, epochs=15, verbose=0).history
    assert history["accuracy"][-1] == 1
    assert (np.asarray(layer.ngram_weights) == before[0]).all()
    assert (np.asarray(layer.fold_weights) == before[1]).all()
    assert not any(weight.trainable for weight in layer.weights)
    model.save_weights(tmp_path / "x.weights.h5")
    again = lstm.build(POOLED, 2)
    again.load_weights(tmp_path / "x.weights.h5")
    assert np.asarray(again(rows)).tolist() == np.asarray(model(rows)).tolist()
    # The file has only the mean of the folds, so further training uses it.
    folds = np.asarray(again.get_layer("n_grams").fold_weights)
    assert (folds == np.tile(layer.ngram_weights, (layers.FOLDS, 1))).all()


@pytest.mark.parametrize(
    ("network", "training", "message"),
    [
        ({"chunk_len": 4}, {}, "--chunk_len needs --pooling max_mean"),
        ({"ngram_bits": 4}, {}, "--ngram_bits needs --pooling max_mean"),
        ({"pooling": "max_mean", "mask_padding": True}, {}, "always ignores padding: drop"),
        ({}, {"bucket_by_length": True}, "add --mask_padding or --pooling max_mean"),
        (
            {"pooling": "max_mean", "bidirectional": True},
            {"bucket_by_length": True},
            "add --chunk_len",
        ),
    ],
)
def test_flags_that_cannot_be_combined_are_refused(network, training, message):
    with pytest.raises(BadInput, match=message):
        settings.check_compatible(
            dataclasses.replace(SMALL, **network), dataclasses.replace(TRAINING, **training)
        )


@pytest.mark.parametrize("flags", [{}, {"mask_padding": True}, {"pooling": "max_mean"}])
def test_what_sees_no_padding_may_be_bucketed_by_length(flags):
    by_length = dataclasses.replace(TRAINING, bucket_by_length=bool(flags))
    settings.check_compatible(dataclasses.replace(SMALL, **flags), by_length)


def without_scikit_learn(module, *args):
    """Runs a command where neither scikit-learn nor SciPy can be imported."""
    code = (
        "import runpy, sys\n"
        "sys.modules.update(sklearn=None, scipy=None)\n"
        f"sys.argv = {['x', *map(str, args)]!r}\n"
        f"runpy.run_module({module!r}, run_name='__main__')"
    )
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)


@pytest.mark.parametrize(("command", "written"), [("train", "model_dir"), ("tune", "output")])
def test_without_scikit_learn_n_grams_are_refused_before_records_are_read(
    tmp_path, command, written
):
    paths = ["--records", tmp_path / "missing", f"--{written}", tmp_path / "new"]
    done = without_scikit_learn(f"model.{command}", *paths, "--preset=tuned")
    assert (done.returncode, done.stdout, done.stderr) == (
        2,
        "",
        "error: --ngram_bits (PRESET=tuned) needs scikit-learn: "
        "`pip install 'textrecords[tuned]'`\n",
    )
    assert not list(tmp_path.iterdir())


def test_without_scikit_learn_n_grams_are_not_searched_over(tmp_path, monkeypatch):
    examples = [("a", 0), ("b", 1)]
    tiny_dataset.write(tmp_path / "records", {"train": examples, "validation": examples})
    monkeypatch.setitem(sys.modules, "sklearn", None)
    paths = ["--records", str(tmp_path / "records"), "--output", str(tmp_path / "new")]
    with pytest.raises(BadInput, match=r"at ngram_bits=4: .* needs scikit-learn"):
        tune.main([*paths, "--max_len=4", "--pooling=max_mean", "--over", "ngram_bits=0,4"])
    assert [path.name for path in tmp_path.iterdir()] == ["records"]


@pytest.mark.slow
def test_without_scikit_learn_n_grams_are_served_and_other_networks_trained(tmp_path):
    records, tuned, other = tmp_path / "records", tmp_path / "tuned", tmp_path / "other"
    examples = [("good", 1), ("bad", 0)] * 8
    tiny_dataset.write(records, {"train": examples, "test": examples})
    small = ["--max_len=4", "--embedding_dim=2", "--lstm_units=2", "--dense_units=0", "--epochs=1"]
    n_gram_flags = ["--pooling=max_mean", "--ngram_bits=4"]
    train.main(["--records", str(records), "--model_dir", str(tuned), *small, *n_gram_flags])
    for module, *args in (
        ("model.evaluate", "--records", records, "--model_dir", tuned),
        ("model.predict", "--model_dir", tuned, "good"),
        ("model.train", "--records", records, "--model_dir", other, *small),
    ):
        done = without_scikit_learn(module, *args)
        assert done.returncode == 0, done.stderr
    assert (other / model_folder.CONFIG).exists()
