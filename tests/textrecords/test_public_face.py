"""What a notebook has of `import textrecords as tr`: datasets and models, as Python objects."""

import json
import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
import tiny_dataset

import textrecords as tr
from model import train

pytestmark = pytest.mark.integration

ROOT = pathlib.Path(__file__).parents[2]
# The vocabulary: c 2, b 3, a 4. In the order of the records the two shards take turns.
REVIEWS = {"train": [("c c c b b a", 0), ("a b", 1), ("c", 1), ("", 0), ("b c a c", 1)]}
IN_ORDER = [[2, 2, 2, 3, 3, 4], [2], [3, 2, 4, 2], [4, 3], [1]]
SMALL = ["--max_len=4", "--embedding_dim=8", "--lstm_units=8", "--dense_units=8"]
QUICK = ["--learning_rate=0.02", "--batch_size=8", "--epochs=20"]
POOLED = ["--pooling=max_mean", "--ngram_bits=4", "--chunk_len=2", "--embedding_tokens=3"]
WORDS = ("bad", "good", "odd")
# Prints the ids of the only token of each row, in two epochs.
PRINT_ORDERS = """
import sys
import textrecords as tr
batches = tr.open_dataset(sys.argv[1]).batches("train", max_len=1, batch_size=8, shuffle_seed=3)
print([[int(id) for tokens, _ in batches for id in tokens[:, 0]] for _ in range(2)])
"""


@pytest.fixture
def records(tmp_path):
    tiny_dataset.write(tmp_path / "records", REVIEWS)
    return tmp_path / "records"


def reviews(num_classes, number):
    """Returns reviews of four tokens, one of which is unique to their class."""
    labels = [n % num_classes for n in range(number)]
    return [
        (" ".join(["film"] * (n % 4) + [WORDS[label]]), label) for n, label in enumerate(labels)
    ]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Returns a function that trains a network on this many classes, once per set of flags."""
    folders = {}

    def trained(num_classes, *flags):
        if (num_classes, flags) not in folders:
            folder = tmp_path_factory.mktemp("trained")
            splits = {"train": reviews(num_classes, 60), "test": reviews(num_classes, 12)}
            tiny_dataset.write(folder / "records", splits, classes=WORDS[:num_classes])
            paths = [f"--records={folder}/records", f"--model_dir={folder}/model"]
            train.main([*paths, *SMALL, *QUICK, *flags])
            folders[num_classes, flags] = folder
        return folders[num_classes, flags]

    return trained


def rows(batches):
    return [(ids.tolist(), int(label)) for ids, label in batches.unbatch().as_numpy_iterator()]


def refusal(call, *args, **kwargs):
    with pytest.raises(tr.BadInput) as error:
        call(*args, **kwargs)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_dataset_describes_its_content(tmp_path):
    splits = {"train": [("a", 0), ("b", 1)] * 600, "test": [("a", 0)]}
    tiny_dataset.write(tmp_path / "records", splits, classes=("bad", "good"))
    dataset = tr.open_dataset(tmp_path / "records")
    assert repr(dataset) == (
        f"Dataset('{tmp_path}/records', examples={{train: 1,200, test: 1}}, "
        "classes=['bad', 'good'], vocabulary of 4 tokens)"
    )
    assert dataset.splits == ("train", "test")
    assert dataset.classes == ("bad", "good")
    assert dataset.vocabulary == ("[PAD]", "[OOV]", "b", "a")
    assert dataset.manifest.splits["train"].class_examples == {"bad": 600, "good": 600}
    assert dataset.num_examples("train") == 1200


@pytest.mark.parametrize("kind", [str, pathlib.Path])
def test_a_folder_may_be_a_str_or_a_path(trained, kind):
    folder = trained(2)
    dataset, model = (
        tr.open_dataset(kind(folder / "records")),
        tr.load_model(kind(folder / "model")),
    )
    assert (dataset.folder, model.folder) == (f"{folder}/records", f"{folder}/model")
    assert repr(model) == (
        f"Model('{folder}/model', classes=['bad', 'good'], max_tokens=5, max_len=4)"
    )


@pytest.mark.parametrize("open_folder", [tr.open_dataset, tr.load_model])
def test_a_folder_that_is_not_there_is_refused_in_one_line(tmp_path, open_folder):
    assert str(tmp_path / "none") in refusal(open_folder, tmp_path / "none")


def test_batches_are_padded_tokens_and_labels(records):
    batches = tr.open_dataset(records).batches("train", max_len=4, batch_size=2)
    assert batches.element_spec == (
        tf.TensorSpec([None, 4], tf.int32),
        tf.TensorSpec([None], tf.int64),
    )
    assert batches.cardinality() == 3
    assert [len(labels) for _, labels in batches] == [2, 2, 1]
    expected = [(ids + [0] * 4)[:4] for ids in IN_ORDER]
    assert rows(batches) == list(zip(expected, [0, 1, 1, 1, 0], strict=True))
    assert rows(batches) == rows(batches)


def test_batches_are_by_default_as_the_tutorial_has_them(tmp_path):
    tiny_dataset.write(tmp_path / "records", {"train": [(f"w{n:04}", 0) for n in range(1100)]})
    batches = tr.open_dataset(tmp_path / "records").batches("train")
    tokens, labels = next(iter(batches))
    assert (tokens.shape, labels.shape) == ((32, 100), (32,))
    ids = [ids[0] for ids, _ in rows(batches)]
    assert sorted(ids) == [1] * 102 + list(range(2, 1000))


def test_shuffled_batches_have_a_new_order_each_epoch_and_repeat_in_another_process(tmp_path):
    tiny_dataset.write(tmp_path / "records", {"train": [(f"w{n:02}", 0) for n in range(50)]})
    command = [sys.executable, "-c", PRINT_ORDERS, tmp_path / "records"]
    first, again = (
        subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True).stdout
        for _ in range(2)
    )
    orders = np.array(json.loads(first))
    assert np.sort(orders).tolist() == [list(range(2, 52))] * 2
    assert (orders[0] != orders[1]).any()
    assert again == first


@pytest.mark.parametrize("shuffle_seed", [None, 0])
def test_batches_go_into_fit(records, shuffle_seed):
    batches = tr.open_dataset(records).batches(
        "train", max_len=4, batch_size=2, shuffle_seed=shuffle_seed
    )
    assert batches.cardinality() == 3
    model = keras.Sequential(
        [
            keras.layers.Embedding(10, 2),
            keras.layers.LSTM(2),
            keras.layers.Dense(1, activation="sigmoid"),
        ]
    )
    model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
    history = model.fit(batches, epochs=2, shuffle=False, verbose=0)
    assert history.epoch == [0, 1]
    assert model.optimizer.iterations == 6
    assert model.predict(batches, verbose=0).shape == (5, 1)


def test_what_the_records_lack_is_refused_in_one_line(tmp_path):
    folder = tmp_path / "records"
    tiny_dataset.write(folder, {"train": [("a a b c", 0)]}, max_tokens=5, max_len=3)
    dataset = tr.open_dataset(folder)
    no_split = (
        f"{folder} has no test split: its splits are train; to have one, preprocess with --test, "
        "for example --test 0.2"
    )
    assert refusal(dataset.num_examples, "Train") == (
        f"{folder} has no Train split: its splits are train"
    )
    assert refusal(dataset.batches, "test", max_tokens=5, max_len=3) == no_split
    assert refusal(dataset.to_pandas, "test") == no_split
    assert refusal(dataset.num_examples, "test") == no_split
    assert refusal(dataset.batches, "train", max_len=3) == (
        "--max_tokens 1000: the records were made with 5; give at most that, or preprocess again "
        "with --max_tokens 1000"
    )
    for call in (dataset.batches, dataset.encode):
        assert refusal(call, "train", max_tokens=5, max_len=4) == (
            "--max_len 4: the records were made with 3; give at most that, or preprocess again "
            "with --max_len 4"
        )


@pytest.mark.parametrize(
    ("name", "minimum", "value"),
    [
        ("max_tokens", 3, 2),
        ("max_len", 1, 0),
        ("max_len", 1, 2.5),
        ("batch_size", 1, 0),
        ("batch_size", 1, -1),
    ],
)
def test_an_invalid_size_is_refused_in_one_line(records, name, minimum, value):
    assert refusal(tr.open_dataset(records).batches, "train", **{name: value}) == (
        f"{name} must be an integer of at least {minimum}, not {value}"
    )


def test_decode_names_the_tokens_without_padding(records):
    dataset = tr.open_dataset(records)
    assert dataset.decode([2, 3, 1, 4, 0, 0]) == "c b [OOV] a"
    assert dataset.decode(np.array([4, 0], np.int32)) == "a"
    assert dataset.decode(tf.constant([3, 3])) == "b b"
    assert dataset.decode([]) == ""


def test_encode_gives_the_ids_that_batches_have(records):
    dataset = tr.open_dataset(records)
    texts = [text for text, _ in REVIEWS["train"]]
    encoded = dataset.encode(texts, max_tokens=4, max_len=3)
    assert encoded.dtype == np.int32
    assert encoded.tolist() == [[2, 2, 2], [1, 3, 0], [2, 0, 0], [1, 0, 0], [3, 2, 1]]
    batches = dataset.batches("train", max_tokens=4, max_len=3)
    assert sorted(encoded.tolist()) == sorted(ids for ids, _ in rows(batches))
    assert dataset.encode("A c", max_len=2).tolist() == [[4, 2]]
    assert dataset.encode(b"b \xff", max_len=2).tolist() == [[3, 1]]
    assert dataset.encode(("b", "\udcff"), max_len=2).tolist() == [[3, 0], [1, 0]]
    assert dataset.encode([]).shape == (0, 100)


def test_examples_become_a_table(records):
    table = tr.open_dataset(records).to_pandas("train")
    assert list(table.columns) == ["key", "label", "class", "tokens", "text"]
    assert table["key"].tolist() == ["0", "2", "4", "1", "3"]
    assert (table["label"].tolist(), table["label"].dtype) == ([0, 1, 1, 1, 0], np.int64)
    assert table["class"].tolist() == ["neg", "pos", "pos", "pos", "neg"]
    assert [tokens.tolist() for tokens in table["tokens"]] == IN_ORDER
    assert {tokens.dtype for tokens in table["tokens"]} == {np.dtype("int64")}
    assert table["text"].tolist() == ["c c c b b a", "c", "b c a c", "a b", "[OOV]"]


def test_reviews_of_like_length_become_a_table_too(tmp_path):
    tiny_dataset.write(tmp_path / "records", {"train": [("a b", 0), ("b b", 1)]}, num_shards=1)
    table = tr.open_dataset(tmp_path / "records").to_pandas("train")
    assert [tokens.tolist() for tokens in table["tokens"]] == [[3, 2], [2, 2]]


@pytest.mark.parametrize(("limit", "number"), [(0, 0), (2, 2), (5, 5), (100, 5)])
def test_a_table_has_at_most_as_many_rows_as_asked_for(records, limit, number):
    dataset = tr.open_dataset(records)
    table = dataset.to_pandas("train", limit=limit)
    assert table["key"].tolist() == ["0", "2", "4", "1", "3"][:number]
    assert table.dtypes.equals(dataset.to_pandas("train").dtypes)


def test_a_negative_limit_is_refused_in_one_line(records):
    assert refusal(tr.open_dataset(records).to_pandas, "train", limit=-1) == (
        "limit must be an integer of at least 0, not -1"
    )


def test_the_key_of_a_file_whose_name_is_not_utf8_is_kept(tmp_path, monkeypatch):
    record = tiny_dataset._record

    def of_raw_name(position, *args):
        example = tf.train.Example.FromString(record(position, *args))
        example.features.feature["key"].bytes_list.value[0] = b"train/neg/\xff.txt"
        return example.SerializeToString()

    monkeypatch.setattr(tiny_dataset, "_record", of_raw_name)
    tiny_dataset.write(tmp_path / "records", {"train": [("a", 0)]})
    (key,) = tr.open_dataset(tmp_path / "records").to_pandas("train")["key"]
    assert os.fsencode(key) == b"train/neg/\xff.txt"


def test_predict_takes_str_and_bytes_one_or_many(trained):
    model = tr.load_model(trained(2) / "model")
    good, bad = model.predict(["film good", b"bad \xff"])
    assert isinstance(good, tr.Prediction)
    assert (good.label, bad.label) == ("good", "bad")
    assert good.scores == {"bad": 1 - good.score, "good": good.score}
    assert good.score > 0.5 > bad.score
    assert model.predict(("film good", "bad \ufffd")) == [good, bad]
    assert model.predict([]) == model.predict(()) == []
    assert [one.label for one in model.predict("good")] == ["good"]
    assert [one.label for one in model.predict(b"bad")] == ["bad"]
    assert [one.label for one in model.predict("\udcff bad")] == ["bad"]


def test_predict_scores_more_texts_than_a_batch_in_their_order(trained):
    model = tr.load_model(trained(2) / "model")
    labels = [one.label for one in model.predict(["bad", "good", "good"] * 200)]
    assert labels == ["bad", "good", "good"] * 200


def test_three_classes_have_a_score_each(trained):
    model = tr.load_model(trained(3) / "model")
    assert model.classes == WORDS
    for word, one in zip(WORDS, model.predict(WORDS), strict=True):
        assert one.label == word
        assert list(one.scores) == list(WORDS)
        assert one.score == one.scores[word] == max(one.scores.values())
        assert sum(one.scores.values()) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("num_classes", [2, 3])
def test_the_effect_of_a_token_is_what_the_log_odds_lose_if_it_is_unknown(trained, num_classes):
    model = tr.load_model(trained(num_classes) / "model")
    film, good, unknown = model.explain("Film good x")
    assert [film.token, good.token, unknown.token] == ["film", "good", "[OOV]"]
    assert unknown.effect == 0
    whole, without = model.predict(["film good x", "film x x"])
    label = "good" if num_classes == 2 else whole.label
    before, after = (np.log(p) - np.log1p(-p) for p in (whole.scores[label], without.scores[label]))
    assert good.effect == pytest.approx(before - after, abs=1e-3)
    assert abs(good.effect) > 0.1


@pytest.mark.parametrize("num_classes", [2, 3])
@pytest.mark.parametrize("flags", [[], POOLED], ids=["tutorial", "pooled"])
def test_the_network_scores_as_the_saved_model_does_and_can_be_trained_on(
    trained, num_classes, flags
):
    folder = trained(num_classes, *flags)
    dataset, model = tr.open_dataset(folder / "records"), tr.load_model(folder / "model")
    texts = [text for text, _ in reviews(num_classes, 12)]
    outputs = model.network.predict(dataset.encode(texts, max_len=4), verbose=0)
    assert outputs.shape == (12, 1 if num_classes == 2 else 3)
    served = np.array([list(one.scores.values()) for one in model.predict(texts)])
    np.testing.assert_allclose(
        outputs, served[:, 1:] if num_classes == 2 else served, rtol=1e-5, atol=1e-6
    )
    batches = dataset.batches("train", max_len=4, batch_size=8, shuffle_seed=0)
    before = model.network.evaluate(batches, verbose=0, return_dict=True)
    history = model.network.fit(batches, epochs=2, shuffle=False, verbose=0).history
    # It continues from where it was, and improves.
    assert history["loss"][0] < 1.1 * before["loss"]
    assert model.network.evaluate(batches, verbose=0, return_dict=True)["loss"] < before["loss"]


def test_the_network_is_that_of_the_tutorial_without_an_optimizer(trained):
    network = tr.load_model(trained(2) / "model").network
    kinds = [type(layer).__name__ for layer in network.layers]
    assert kinds == ["Embedding", "LSTM", "Dense", "Dense"]
    assert network.optimizer.variables[2:] == []  # nothing but its steps and learning rate
    assert network.optimizer.iterations == 0


def test_an_incomplete_network_is_refused_in_one_line(tmp_path, trained):
    whole = trained(2) / "model"
    (tmp_path / "model").mkdir()
    (tmp_path / "model/config.json").write_bytes((whole / "config.json").read_bytes())
    model = tr.load_model(tmp_path / "model", verify=False)
    assert "model.keras can't be read" in refusal(lambda: model.network)
    (tmp_path / "model/model.keras").write_bytes((whole / "model.keras").read_bytes()[:-100])
    assert "model.keras can't be read" in refusal(lambda: model.network)
    assert "no complete model in" in refusal(model.predict, ["good"])
