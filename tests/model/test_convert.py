import json
import os
import sys

import keras
import needs
import numpy as np
import pytest
import tensorflow as tf
import tiny_dataset

from model import convert, train
from model.network import lstm, portable
from textrecords import layers, model_folder
from textrecords.errors import BadInput
from textrecords.model_folder import Network

pytestmark = pytest.mark.slow

TOKENS = np.array([[2, 5, 3, 5], [4, 2, 0, 0], [1, 0, 0, 0]], np.int32)
PLAIN = {"max_tokens": 6, "max_len": 4, "embedding_dim": 2, "lstm_units": 3}
POOLED = {**PLAIN, "pooling": "max_mean", "chunk_len": 3, "dense_dropout": 0.5}
NETWORKS = {
    "tutorial": {**PLAIN, "mask_padding": False},
    "masked": {**PLAIN, "mask_padding": True},
    "masked, both ways": {**PLAIN, "mask_padding": True, "bidirectional": True},
    "pooled": {**POOLED, "bidirectional": True},
    "n-grams": {**POOLED, "ngram_bits": 22, "dense_units": 0},
}


@pytest.fixture(scope="module", params=NETWORKS)
def network(request):
    """Returns a network as in `model.keras`, with random weights."""
    keras.utils.set_random_seed(0)
    shape = {"mask_padding": False, **NETWORKS[request.param]}
    model = lstm.build(Network(**shape), 3)
    for layer in model.layers:
        if isinstance(layer, layers.NGramWeights):
            random = np.random.default_rng(0)
            layer.ngram_weights.assign(random.normal(size=layer.ngram_weights.shape))
    return portable.built_in(model, TOKENS.shape[1])


def test_onnx_gives_the_scores_of_the_network(network, tmp_path):
    needs.package("tf2onnx")
    onnxruntime = needs.package("onnxruntime")
    convert.to_onnx(network, str(tmp_path / "model.onnx"), TOKENS.shape[1])
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    (given,) = session.get_inputs()
    assert (given.name, given.type, given.shape[1:]) == ("tokens", "tensor(int32)", [4])
    for tokens in (TOKENS, TOKENS[:1]):
        (scores,) = session.run(None, {"tokens": tokens})
        np.testing.assert_allclose(scores, network.predict_on_batch(tokens), atol=1e-6)


def test_litert_gives_the_scores_of_the_network_by_operations_of_its_own(network, tmp_path):
    convert.to_tflite(network, str(tmp_path / "model.tflite"), TOKENS.shape[1])
    interpreter = tf.lite.Interpreter(str(tmp_path / "model.tflite"))
    interpreter.allocate_tensors()  # which fails if there is an operation of TensorFlow
    score = interpreter.get_signature_runner()
    (details,) = score.get_input_details().items()
    assert (details[0], details[1]["dtype"]) == ("tokens", np.int32)
    rows = [next(iter(score(tokens=row[np.newaxis]).values())) for row in TOKENS]
    expected = network.predict_on_batch(TOKENS)
    np.testing.assert_allclose(np.concatenate(rows), expected, atol=1e-6)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("out")
    tiny_dataset.write(folder / "records", {"train": [("good film", 1), ("bad film", 0)] * 4})
    sizes = ["--max_len=4", "--embedding_dim=2", "--lstm_units=2", "--epochs=1"]
    train.main(["--records", f"{folder}/records", "--model_dir", f"{folder}/model", *sizes])
    return folder


def test_the_files_to_feed_the_network_are_next_to_it(trained, capsys):
    convert.main(["--model_dir", f"{trained}/model", "--to=tflite"])
    folder = trained / "tflite"
    assert capsys.readouterr().out == f"wrote {folder}\n"
    files = ["SHA256SUMS", "config.json", "model.tflite", "tokenizer.json"]
    assert sorted(os.listdir(folder)) == files
    for name in ("config.json", "tokenizer.json"):
        assert (folder / name).read_bytes() == (trained / "model" / name).read_bytes()
    assert json.loads((folder / "config.json").read_text())["classes"] == ["neg", "pos"]
    convert.main(["--model_dir", f"{trained}/model", "--to=tflite"])  # takes the place of that
    assert sorted(os.listdir(trained)) == ["model", "records", "tflite"]


def test_a_model_without_a_tokenizer_is_converted_alone(trained, tmp_path, capsys):
    model_dir = tmp_path / "tuned"
    os.mkdir(model_dir)
    for name in ("model.keras", "config.json"):
        os.link(trained / "model" / name, model_dir / name)
    convert.main(["--model_dir", str(model_dir), "--to=tflite", "--no_verify"])
    assert capsys.readouterr().out == (
        f"{model_dir} has no tokenizer.json: turn texts into ids with its signature `tokenize`\n"
        f"wrote {model_dir}-tflite\n"
    )


def test_folders_with_something_else_are_not_replaced(trained, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    output = ["--output", str(tmp_path)]
    with pytest.raises(BadInput, match=r"contains notes\.txt, which would be lost"):
        convert.main(["--model_dir", f"{trained}/model", "--to=tflite", *output])
    assert os.listdir(tmp_path) == ["notes.txt"]
    inside = f"{trained}/model/tflite"
    with pytest.raises(BadInput, match="is inside --model_dir"):
        convert.main(["--model_dir", f"{trained}/model", "--to=tflite", "--output", inside])


def test_nothing_is_written_if_the_network_cannot_be_read(trained, tmp_path):
    model_dir = tmp_path / "model"
    os.mkdir(model_dir)
    os.link(trained / "model" / model_folder.CONFIG, model_dir / model_folder.CONFIG)
    with pytest.raises(BadInput, match=r"model\.keras can't be read"):
        convert.main(["--model_dir", str(model_dir), "--to=tflite", "--no_verify"])
    assert os.listdir(tmp_path) == ["model"]


def test_without_its_extra_onnx_is_refused_before_any_work(monkeypatch):
    monkeypatch.setitem(sys.modules, "tf2onnx", None)
    with pytest.raises(BadInput, match=r"--to onnx needs .*tf2onnx.*: `pip install 'textrecords\["):
        convert.main(["--model_dir=missing", "--to=onnx"])
