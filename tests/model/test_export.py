import dataclasses
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
import tiny_dataset

from model.network import lstm
from model.training import export, settings
from textrecords.dataset import open_dataset
from textrecords.errors import BadInput
from textrecords.model_folder import Network, Training

pytestmark = pytest.mark.integration

NETWORK = Network(
    max_tokens=4,
    max_len=3,
    embedding_dim=2,
    mask_padding=False,
    lstm_units=4,
    dropout=0.5,
    dense_units=4,
    dense_dropout=0.5,
)
# The vocabulary: good 2, bad 3, film 4.
REVIEWS = {"train": [("good good good bad bad film", 0)]}
# Serves in a process that only imports TensorFlow, and prints the outputs of the signature.
SERVE = """
import json, sys
import tensorflow as tf
serve = tf.saved_model.load(sys.argv[1]).signatures["serving_default"]
outputs = serve(text=tf.constant(json.loads(sys.argv[2])))
score, label = outputs["score"].numpy().tolist(), outputs["label"].numpy().astype(str).tolist()
print(json.dumps({"score": score, "label": label}))
"""


def export_model(tmp_path, network=NETWORK, *, classes=("neg", "pos"), bias=0.0):
    """Exports an untrained network, its output shifted; returns it and the SavedModel's folder."""
    tiny_dataset.write(tmp_path / "records", REVIEWS, classes=classes)
    model = lstm.build(network, len(classes))
    if bias:
        model.layers[-1].bias.assign(np.full(model.output_shape[1:], bias))
    served = str(tmp_path / "serving")
    dataset = open_dataset(tmp_path / "records")
    config = settings.configure(dataset, network, Training())
    export.export(model, dataset.transform, served, config)
    return model, served


def load(served, signature="serving_default"):
    return tf.saved_model.load(served).signatures[signature]


def test_the_signature_is_text_to_score_and_label(tmp_path):
    serve = load(export_model(tmp_path)[1])
    (_, inputs), outputs = serve.structured_input_signature, serve.structured_outputs
    assert inputs == {"text": tf.TensorSpec(None, tf.string, "text")}
    assert {name: (spec.shape.rank, spec.dtype) for name, spec in outputs.items()} == {
        "label": (1, tf.string),
        "classes": (2, tf.string),
        "score": (1, tf.float32),
    }


def test_weights_that_only_training_reads_are_not_exported(tmp_path):
    tiny_dataset.write(tmp_path / "records", REVIEWS)
    network = dataclasses.replace(NETWORK, pooling="max_mean", ngram_bits=5, dropout=0)
    dataset, served = open_dataset(tmp_path / "records"), str(tmp_path / "serving")
    config = settings.configure(dataset, network, Training())
    export.export(lstm.build(network, 2), dataset.transform, served, config)
    shapes = [shape for _, shape in tf.train.list_variables(f"{served}/variables/variables")]
    assert [2**5, 1] in shapes
    assert max(shape[0] for shape in shapes if shape) == 2**5


def test_the_signature_tokenize_is_text_to_tokens(tmp_path):
    tokenize = load(export_model(tmp_path)[1], "tokenize")
    (_, inputs), outputs = tokenize.structured_input_signature, tokenize.structured_outputs
    assert inputs == {"text": tf.TensorSpec(None, tf.string, "text")}
    assert {name: (spec.shape.as_list(), spec.dtype) for name, spec in outputs.items()} == {
        "tokens": ([None, NETWORK.max_len], tf.int32)
    }


def test_text_becomes_the_tokens_of_training(tmp_path):
    model, served = export_model(tmp_path)
    texts = ["Good bad", "film unheard good good good", ""]
    tokens = np.array([[2, 3, 0], [1, 1, 2], [1, 0, 0]])
    given = load(served, "tokenize")(text=tf.constant(texts))["tokens"]
    assert given.numpy().tolist() == tokens.tolist()
    scores = load(served)(text=tf.constant(texts))["score"]
    np.testing.assert_allclose(scores, model(tokens)[:, 0], rtol=1e-6)


@pytest.mark.parametrize(("bias", "label"), [(5, b"pos"), (-5, b"neg")])
def test_the_label_is_the_second_class_above_a_half(tmp_path, bias, label):
    outputs = load(export_model(tmp_path, bias=bias)[1])(text=tf.constant(["good", "bad"]))
    assert (outputs["score"].numpy() > 0.5).tolist() == [label == b"pos"] * 2
    assert outputs["label"].numpy().tolist() == [label] * 2


def test_tokens_are_scored_as_their_text_is_and_rows_of_any_length(tmp_path):
    served = export_model(tmp_path)[1]
    score_tokens = load(served, "score_tokens")
    (_, inputs), outputs = score_tokens.structured_input_signature, score_tokens.structured_outputs
    assert inputs == {"tokens": tf.TensorSpec([None, None], tf.int32, "tokens")}
    assert sorted(outputs) == ["classes", "label", "score"]
    texts = tf.constant(["Good bad", "film unheard good good good", ""])
    expected = load(served)(text=texts)
    tokens = load(served, "tokenize")(text=texts)["tokens"]
    for name, values in score_tokens(tokens=tokens).items():
        assert values.numpy().tolist() == expected[name].numpy().tolist()
    assert score_tokens(tokens=tf.constant([[2, 3, 1, 2, 3]]))["score"].shape == [1]


def test_three_classes_give_a_score_each(tmp_path):
    model, served = export_model(tmp_path, classes=("cat", "dog", "eel"), bias=[0, 0, 5])
    outputs = load(served)(text=tf.constant(["good bad"]))
    assert sorted(outputs) == ["classes", "label", "scores"]
    np.testing.assert_allclose(outputs["scores"], model(np.array([[2, 3, 0]])), rtol=1e-6)
    assert outputs["label"].numpy().tolist() == [b"eel"]


def test_bytes_that_are_not_utf8_count_as_replaced(tmp_path):
    texts = [b"good \xff bad", "good \ufffd bad".encode(), b"good bad"]
    scores = load(export_model(tmp_path)[1])(text=tf.constant(texts))["score"].numpy()
    assert scores[0] == scores[1] != scores[2]


def test_it_works_alone_once_the_records_are_gone(tmp_path):
    model, served = export_model(tmp_path)
    shutil.rmtree(tmp_path / "records")
    texts = ["good film bad", "", "bad"]
    done = subprocess.run(
        [sys.executable, "-c", SERVE, served, json.dumps(texts)],
        cwd=tmp_path,
        capture_output=True,
        check=True,
    )
    outputs = json.loads(done.stdout)
    tokens = np.array([[2, 1, 3], [1, 0, 0], [3, 0, 0]])
    np.testing.assert_allclose(outputs["score"], model(tokens)[:, 0], rtol=1e-5)
    assert set(outputs["label"]) <= {"neg", "pos"}


@pytest.mark.parametrize("chunk_len", [None, 0, 2, 3, 5])
def test_no_texts_give_no_scores(tmp_path, chunk_len):
    shape = {} if chunk_len is None else {"pooling": "max_mean", "chunk_len": chunk_len}
    network = dataclasses.replace(NETWORK, **shape)
    outputs = load(export_model(tmp_path, network)[1])(text=tf.constant([], tf.string))
    assert outputs["score"].shape == outputs["label"].shape == [0]
    assert outputs["classes"].shape == [0, 2]


def test_a_single_text_and_a_column_are_taken_as_rows_are(tmp_path):
    served = export_model(tmp_path)[1]
    texts = ["good bad", "film"]
    for signature in ("serving_default", "tokenize"):
        serve = load(served, signature)
        rows, column = serve(text=tf.constant(texts)), serve(text=tf.constant(texts)[:, None])
        single = serve(text=tf.constant(texts[0]))
        for name, values in rows.items():
            assert column[name].numpy().tolist() == values.numpy().tolist()
            assert single[name].numpy().tolist() == values[:1].numpy().tolist()


def test_an_incomplete_transform_graph_is_named(tmp_path):
    tiny_dataset.write(tmp_path / "records", REVIEWS)
    os.remove(tmp_path / "records/transform_fn/saved_model.pb")
    with pytest.raises(BadInput, match=r"no complete .*transform_fn: run `make preprocess`"):
        _ = open_dataset(tmp_path / "records", verify=False).transform
