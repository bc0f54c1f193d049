"""What a real TensorBoard shows of a training."""

import json
import time
import urllib.error
import urllib.parse
import urllib.request

import h5py
import keras
import numpy as np
import pytest
import tiny_dataset
from tensorboard import program

from model import train
from model.training import tensorboard_logs
from textrecords import input_pipeline, model_folder
from textrecords.dataset import open_dataset
from textrecords.spec import InputSize

pytestmark = pytest.mark.integration

SMALL = ["--max_len=4", "--embedding_dim=3", "--lstm_units=2", "--dense_units=2", "--epochs=2"]
TEXTS = [("film <b>bad</b> film", 0), ("good film", 1), ("film # good a b c d e", 1)]
TOKENS = ["[PAD]", "[OOV]", "film", "good", "e", "d", "c", "b", "a", "<b>bad</b>", "#"]


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """Returns a model folder, and what gets a page of the TensorBoard that shows it."""
    root = tmp_path_factory.mktemp("logs")
    tiny_dataset.write(root / "records", {"train": TEXTS, "test": TEXTS})
    flags = ["--records", str(root / "records"), "--model_dir", str(root / "model")]
    train.main([*flags, *SMALL])
    return root / "model", show(root / "model" / "logs", {".", "train", "data"})


def show(folder, runs):
    """Returns what gets a page of a TensorBoard that shows a folder, once it has found the runs."""
    board = program.TensorBoard()
    board.configure(argv=[None, "--logdir", str(folder), "--port=0", "--load_fast=false"])
    url = board.launch()

    def get(page, **query):
        with urllib.request.urlopen(f"{url}data/{page}?{urllib.parse.urlencode(query)}") as answer:
            return answer.read()

    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and set(json.loads(get("runs"))) != runs:
        time.sleep(0.1)
    return get


def test_the_curves_are_there(shown):
    _, get = shown
    tags = json.loads(get("plugin/scalars/tags"))
    assert {"epoch_accuracy", "epoch_loss"} <= tags["train"].keys()
    curve = json.loads(get("plugin/scalars/scalars", run="train", tag="epoch_loss"))
    assert [step for _, step, _ in curve] == [0, 1]


def test_models_can_be_compared_by_their_settings_and_results(shown):
    model_dir, _ = shown
    runs = {"model/logs", "model/logs/train", "model/logs/data"}
    get = show(model_dir.parent, runs)
    wanted = {"allowedStatuses": ["STATUS_UNKNOWN"], "sliceSize": 10, "includeMetrics": True}
    answer = get("plugin/hparams/session_groups", request=json.dumps(wanted))
    [model] = json.loads(answer)["sessionGroups"]
    settings = {"lstm_units": 2, "optimizer": "adam", "dropout": 0, "bidirectional": False}
    assert model["hparams"].items() >= settings.items()
    found = {(of["name"]["group"], of["name"]["tag"]): of["value"] for of in model["metricValues"]}
    metrics = json.loads((model_dir / model_folder.METRICS).read_text())
    assert found["", "test_loss"] == pytest.approx(metrics["test"]["loss"])
    assert found["", "test_accuracy"] == pytest.approx(metrics["test"]["accuracy"])
    assert found["train", "epoch_loss"] == pytest.approx(metrics["history"]["loss"][-1])


def test_the_graph_is_that_of_the_network(shown):
    _, get = shown
    assert json.loads(get("plugin/graphs/info"))["data"]["run_graph"]
    graph = get("plugin/graphs/graph", run="data").decode()
    assert 'name: "tokens"' in graph
    assert "embedding" in graph


def test_lengths_are_those_that_the_network_sees(shown):
    _, get = shown
    tag = "tokens per review, cut at max_len"
    [[_, _, bins]] = json.loads(get("plugin/histograms/histograms", run="data", tag=tag))
    assert sum(count for _, _, count in bins) == 3
    assert (bins[0][0], bins[-1][1]) == (2, 4)


def test_texts_are_shown_as_the_network_sees_them_and_stay_text(shown):
    _, get = shown
    tag = "reviews as the network sees them"
    [shown_text] = json.loads(get("plugin/text/text", run="data", tag=tag))
    assert "film &lt;b&gt;bad&lt;/b&gt; film" in shown_text["text"]
    assert "film # good a\n" in shown_text["text"]
    assert "<b>" not in shown_text["text"]


def test_the_embedding_has_the_tokens_for_names(shown):
    model_dir, get = shown
    name = "embedding/.ATTRIBUTES/VARIABLE_VALUE"
    metadata = get("plugin/projector/metadata", run="data", name=name).decode()
    assert sorted(metadata.splitlines()) == sorted(TOKENS)
    values = np.frombuffer(get("plugin/projector/tensor", run="data", name=name), np.float32)
    with h5py.File(model_dir / model_folder.WEIGHTS) as weights:
        embedding = weights["layers/embedding/vars/0"][:]
    np.testing.assert_array_equal(values.reshape(embedding.shape), embedding)


def test_a_network_that_embeds_few_tokens_shows_only_these(tmp_path):
    tiny_dataset.write(tmp_path / "records", {"train": TEXTS})
    flags = ["--records", str(tmp_path / "records"), "--model_dir", str(tmp_path / "model")]
    train.main([*flags, *SMALL, "--pooling=max_mean", "--embedding_tokens=4"])
    names = (tmp_path / "model" / "logs" / "data" / "tokens.tsv").read_text().splitlines()
    assert names == TOKENS[:4]


def test_a_network_without_an_embedding_shows_no_tokens_in_space(tmp_path):
    tiny_dataset.write(tmp_path / "records", {"train": TEXTS})
    dataset = open_dataset(tmp_path / "records")
    rows = input_pipeline.read_split(dataset, "train", InputSize(9, 4))
    layers = [keras.layers.CategoryEncoding(9, output_mode="count"), keras.layers.Dense(1)]
    model = keras.Sequential([keras.Input([4], dtype="int32"), *layers])
    tensorboard_logs.write(str(tmp_path / "logs"), model, rows, dataset.vocabulary)
    (file,) = (tmp_path / "logs" / "data").iterdir()
    assert file.name.startswith("events.out.tfevents.")
