"""A model as a Python object: what it says of itself, and the effects of words on its scores."""

import math

import numpy as np
import pytest
import tensorflow as tf

from textrecords import model_folder, saved_model, spec
from textrecords.errors import BadInput
from textrecords.manifest import Vocabulary
from textrecords.saved_model import Model, Word

# Summands of the log-odds by id: padding, OOV, and three words.
OF_TWO = np.array([0.0, 0.25, 1.0, -0.5, 0.125], np.float32)
# Logits of three classes by id.
OF_THREE = np.array([[0, 0, 0], [0, 0, 0], [1, 0, 0], [0, 2, 0], [0, 0, 0.5]], np.float32)
NAMES = ("[PAD]", "[OOV]", "good", "bad", "film")


def model(folder="out/model", classes=("neg", "pos")):
    network = model_folder.Network(max_tokens=50, max_len=4)
    vocabulary = Vocabulary(spec.VOCABULARY, 5, "0")
    config = model_folder.ModelConfig(network, model_folder.Training(), classes, vocabulary, "0")
    return Model(folder, config)


def pretending(rows, scored):
    """Returns a model whose graph gives these tokens, and the texts and tokens it was asked for."""
    asked = []

    def tokenize(*, text):
        asked.append(text.numpy().tolist())
        return {"tokens": tf.constant(rows, tf.int32), "other": None}

    def score_tokens(*, tokens):
        asked.append(tokens.numpy().tolist())
        return {"label": None, "classes": None} | scored(tokens.numpy())

    made = model()
    signatures = {"tokenize": tokenize, "score_tokens": score_tokens, "serving_default": None}
    vars(made).update(signatures=signatures, vocabulary=NAMES)
    return made, asked


def score_of_two(tokens):
    return {"score": tf.sigmoid(OF_TWO[tokens].sum(axis=1))}


def scores_of_three(tokens):
    return {"scores": tf.nn.softmax(OF_THREE[tokens].sum(axis=1))}


def test_a_model_shows_its_folder_classes_and_input():
    shown = "Model('out/model', classes=['neg', 'pos'], max_tokens=50, max_len=4)"
    assert repr(model()) == shown
    assert repr(model("m", ("a", "b", "c"))).startswith("Model('m', classes=['a', 'b', 'c'], ")


def test_the_vocabulary_is_that_of_its_graph(tmp_path):
    assets = tmp_path / "serving/1/assets"
    assets.mkdir(parents=True)
    (assets / "tokens").write_bytes(b"good\nbad\nfilm\n")
    assert model(str(tmp_path)).vocabulary == NAMES


@pytest.mark.parametrize(
    ("text", "encoded"),
    [("a film", b"a film"), (b"caf\xe9", b"caf\xe9"), ("\ud800", b"\xed\xa0\x80")],
)
def test_the_effect_of_a_word_is_what_oov_in_its_place_takes_away(monkeypatch, text, encoded):
    monkeypatch.setattr(saved_model, "BATCH_SIZE", 2)
    made, asked = pretending([[2, 1, 3, 4, 2, 0]], score_of_two)
    found = made.explain(text)
    assert [word.token for word in found] == ["good", "[OOV]", "bad", "film", "good"]
    effects = [word.effect for word in found]
    assert effects == pytest.approx([0.75, 0, -0.75, -0.125, 0.75], abs=1e-5)
    assert effects[1] == 0
    assert {(type(word), type(word.effect)) for word in found} == {(Word, float)}
    assert asked == [
        [encoded],
        [[2, 1, 3, 4, 2, 0]],
        [[1, 1, 3, 4, 2, 0], [2, 1, 1, 4, 2, 0]],
        [[2, 1, 3, 1, 2, 0], [2, 1, 3, 4, 1, 0]],
    ]


def test_with_more_classes_the_effect_is_on_the_predicted_one():
    made, asked = pretending([[3, 2]], scores_of_three)
    odds = [math.exp(2) / (math.e + 1), 1 / (math.e + 1), math.exp(2) / 2]
    before, *after = map(math.log, odds)
    expected = [("bad", before - after[0]), ("good", before - after[1])]
    found = made.explain("bad good")
    assert [(word.token, pytest.approx(word.effect, abs=1e-5)) for word in found] == expected
    assert asked[1:] == [[[3, 2]], [[1, 2], [3, 1]]]


def test_a_model_that_cannot_score_tokens_cannot_explain():
    made, _ = pretending([[2]], score_of_two)
    del made.signatures["score_tokens"]
    with pytest.raises(BadInput) as error:
        made.explain("good")
    assert str(error.value) == "out/model can't explain its scores: run `make train` again"


def serving(**outputs):
    """Returns a model whose graph gives these outputs, and the texts that it was asked for."""
    asked = []

    def serve(*, text):
        batch = text.numpy().tolist()
        asked.append(batch)
        return {name: tf.constant(of[: len(batch)]) for name, of in outputs.items()}

    made = model()
    vars(made).update(signatures={"serving_default": serve})
    return made, asked


def test_a_prediction_has_the_score_of_each_class_and_of_the_second_of_two():
    classes = [[b"neg", b"pos"]] * 2
    made, asked = serving(classes=classes, label=[b"pos", b"neg"], score=[0.75, 0.25])
    assert made.predict(["good", b"caf\xe9"]) == [
        saved_model.Prediction("pos", {"neg": 0.25, "pos": 0.75}, 0.75),
        saved_model.Prediction("neg", {"neg": 0.75, "pos": 0.25}, 0.25),
    ]
    assert asked == [[b"good", b"caf\xe9"]]


def test_a_prediction_of_more_classes_has_the_score_of_its_label():
    made, _ = serving(classes=[[b"a", b"b", b"c"]], label=[b"b"], scores=[[0.25, 0.5, 0.25]])
    expected = saved_model.Prediction("b", {"a": 0.25, "b": 0.5, "c": 0.25}, 0.5)
    assert made.predict("text") == [expected]


def test_classes_and_scores_that_differ_in_number_are_no_prediction():
    made, _ = serving(classes=[[b"a", b"b", b"c"]], label=[b"b"], scores=[[0.25, 0.75]])
    with pytest.raises(ValueError, match="zip"):
        made.predict("text")


def test_rows_come_in_batches_with_texts_that_can_be_shown(monkeypatch):
    monkeypatch.setattr(saved_model, "BATCH_SIZE", 2)
    monkeypatch.setattr(saved_model, "BATCH_BYTES", 8)
    made, asked = serving(classes=[[b"neg", b"pos"]] * 2, label=[b"pos"] * 2, score=[0.5] * 2)
    texts = [b"caf\xe9", b"b", b"c", b"long enough", b"d"]
    rows = list(made.rows(iter(texts)))
    assert [row["text"] for row in rows] == ["caf\ufffd", "b", "c", "long enough", "d"]
    other = {"classes": ["neg", "pos"], "label": "pos", "score": 0.5}
    assert {key: of for key, of in rows[0].items() if key != "text"} == other
    assert asked == [[b"caf\xe9", b"b"], [b"c"], [b"long enough"], [b"d"]]
