import json
import os
import subprocess
import sys
import zipfile

import keras
import numpy as np
import pytest

from model.network import lstm, portable
from textrecords import layers
from textrecords.model_folder import Network

TOKENS = np.array([[2, 5, 3, 5], [4, 2, 0, 0], [1, 0, 0, 0]], np.int32)
PLAIN = {"max_tokens": 6, "max_len": 4, "embedding_dim": 2, "mask_padding": True, "lstm_units": 3}
POOLED = {**PLAIN, "mask_padding": False, "pooling": "max_mean", "embedding_tokens": 3}
NETWORKS = {
    "last": PLAIN,
    "last, both ways": {**PLAIN, "bidirectional": True, "lstm_layers": 2},
    "pooled": POOLED,
    "chunks": {**POOLED, "chunk_len": 3, "dropout": 0.5, "dense_dropout": 0.5},
    "chunks both ways": {**POOLED, "chunk_len": 3, "bidirectional": True},
    "n-grams": {**POOLED, "chunk_len": 3, "ngram_bits": 4, "dense_units": 0},
    "n-grams alone in whole rows": {**POOLED, "ngram_bits": 4, "embedding_dropout": 0.5},
}
# Loads a network without this project, and prints its outputs.
LOAD = """
import json, sys
import keras
import numpy as np
network = keras.models.load_model(sys.argv[1])
scores = np.asarray(network(np.array(json.loads(sys.argv[2]), "int32")))
print(json.dumps([keras.config.backend(), "textrecords" in sys.modules, scores.tolist()]))
"""


def build(name, num_classes=2):
    """Returns a network of random weights, its n-gram weights among them."""
    keras.utils.set_random_seed(0)
    model = lstm.build(Network(**NETWORKS[name]), num_classes)
    for layer in model.layers:
        if isinstance(layer, layers.NGramWeights):
            tables = np.random.default_rng(0).normal(
                size=[layers.FOLDS, *layer.ngram_weights.shape]
            )
            layer.assign(tables.astype(np.float32))
    return model


@pytest.mark.parametrize("num_classes", [2, 3])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_of_keras_own_layers_gives_the_same(name, num_classes, tmp_path):
    model = build(name, num_classes)
    expected = np.asarray(model(TOKENS))
    portable.save(portable.built_in(model, TOKENS.shape[1]), str(tmp_path / "model.keras"))
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded(TOKENS), expected, rtol=1e-6, strict=True)
    assert not any(type(each).__module__ == layers.__name__ for each in loaded.layers)
    np.testing.assert_array_equal(model(TOKENS), expected)  # it's as it was


@pytest.mark.integration
def test_the_file_is_read_where_this_project_is_not(tmp_path):
    model = build("n-grams")
    path = str(tmp_path / "model.keras")
    portable.save(portable.built_in(model, TOKENS.shape[1]), path)
    done = subprocess.run(
        [sys.executable, "-c", LOAD, path, json.dumps(TOKENS.tolist())],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": "", "PYTHONSAFEPATH": "1"},
        capture_output=True,
        check=True,
    )
    backend, is_ours_there, scores = json.loads(done.stdout.splitlines()[-1])
    assert (backend, is_ours_there) == ("tensorflow", False)
    np.testing.assert_allclose(scores, model(TOKENS), rtol=1e-6)


def test_the_file_has_no_date_no_address_and_no_optimizer(tmp_path):
    model = build("n-grams")
    model.compile("adam", "binary_crossentropy")
    path = tmp_path / "model.keras"
    portable.save(portable.built_in(model, TOKENS.shape[1]), str(path))
    with zipfile.ZipFile(path) as archive:
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert json.loads(archive.read("metadata.json")) == {"keras_version": keras.__version__}
        config = archive.read("config.json").decode()
    assert not json.loads(config)["compile_config"]
    numbers = {part.split(",")[0].strip(" }") for part in config.split('"shared_object_id":')[1:]}
    assert all(int(number) < len(numbers) for number in numbers)


@pytest.mark.slow
@pytest.mark.integration
def test_another_process_writes_the_same_bytes(tmp_path):
    code = f"""
import sys
import keras
from model.network import lstm, portable
from textrecords.model_folder import Network
keras.utils.set_random_seed(0)
model = lstm.build(Network(**{NETWORKS["n-grams"]}), 2)
portable.save(portable.built_in(model, 4), sys.argv[1])
"""
    paths = [tmp_path / "one.keras", tmp_path / "other.keras"]
    for path in paths:
        subprocess.run([sys.executable, "-c", code, str(path)], check=True)
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_only_the_scores_that_serve_are_in_it():
    network = portable.built_in(build("n-grams"), TOKENS.shape[1])
    shapes = [tuple(weights.shape) for weights in network.non_trainable_weights]
    assert shapes == [(2**4, 1)]
