"""Serving a model with TensorFlow Serving's messages and its rules for JSON."""

import json
import pathlib
import re

import pytest
import tensorflow as tf
import test_export
import tiny_dataset
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from model import train
from textrecords import checksums, model_folder
from textrecords.errors import BadInput
from textrecords.saved_model import load_model

DOC = (pathlib.Path(__file__).parent.parent.parent / "docs" / "serving.md").read_text()
FLAGS = ["--max_len=4", "--embedding_dim=2", "--lstm_units=2", "--dense_units=0", "--epochs=1"]


def signature(served, name):
    """Returns what TensorFlow Serving reads of a SavedModel's signature."""
    content = pathlib.Path(served, "saved_model.pb").read_bytes()
    [graph] = saved_model_pb2.SavedModel.FromString(content).meta_graphs
    assert list(graph.meta_info_def.tags) == ["serve"]
    return graph.signature_def[name]


def answer(served, request):
    """Does what a server does with a request: it looks the inputs up by the signature's names."""
    name = request.model_spec.signature_name
    inputs = {
        key: tf.constant(tf.make_ndarray(request.inputs[key]), dtype=of.dtype)
        for key, of in signature(served, name).inputs.items()
    }
    assert inputs.keys() == request.inputs.keys()
    return test_export.load(served, name)(**inputs)


def read_requests(served):
    """Returns the requests, parsed with the real messages."""
    records = tf.data.TFRecordDataset(str(pathlib.Path(served, checksums.WARM_UP)))
    logs = map(prediction_log_pb2.PredictionLog.FromString, records.as_numpy_iterator())
    return [log.predict_log.request for log in logs]


def test_a_warm_up_request_is_one_that_the_model_answers(tmp_path):
    _, served = test_export.export_model(tmp_path)
    [request] = read_requests(served)
    expected = predict_pb2.PredictRequest()
    expected.model_spec.signature_name = "serving_default"
    expected.inputs["text"].CopyFrom(tf.make_tensor_proto(["what a great movie"]))
    assert request == expected
    assert answer(served, request)["score"].shape == [1]


def test_all_signatures_score_as_the_network_does_without_dropout(tmp_path):
    model, served = test_export.export_model(tmp_path)
    content = pathlib.Path(served, "saved_model.pb").read_bytes()
    [graph] = saved_model_pb2.SavedModel.FromString(content).meta_graphs
    names = {name for name in graph.signature_def if not name.startswith("__")}
    assert names == {"serving_default", "tokenize", "score_tokens"}
    assert {*signature(served, "score_tokens").inputs} == {"tokens"}
    tokens = tf.constant([[2, 3, 1], [1, 1, 0]])
    expected = model(tokens, training=False).numpy()[:, 0].tolist()
    for name, inputs in (
        ("score_tokens", {"tokens": tokens}),
        ("serving_default", {"text": tf.constant(["good bad film", "film unheard"])}),
    ):
        score = test_export.load(served, name)(**inputs)["score"].numpy().tolist()
        assert score == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("classes", "of_each"),
    [
        (("neg", "pos"), {"classes", "label", "score"}),
        (("a", "b", "c"), {"classes", "label", "scores"}),
    ],
)
def test_the_documented_request_gets_an_answer_a_text(tmp_path, classes, of_each):
    _, served = test_export.export_model(tmp_path, classes=classes)
    body, url = re.search(r"curl -d '(.*?)' \\\n +(\S+)", DOC).groups()
    assert url.endswith("/v1/models/serving:predict")
    texts = json.loads(body).pop("instances")
    # A value that isn't an object is of the only input there is; and rows of all outputs are put
    # together, so that each has to have as many as the request.
    [(name, of)] = signature(served, "serving_default").inputs.items()
    assert of.dtype == tf.string.as_datatype_enum
    request = predict_pb2.PredictRequest()
    request.model_spec.signature_name = "serving_default"
    request.inputs[name].CopyFrom(tf.make_tensor_proto(texts))
    outputs = answer(served, request)
    assert outputs.keys() == of_each
    assert {values.shape[0] for values in outputs.values()} == {len(texts)}
    documented = json.loads(re.search(r"```json\n(\{.*?)```", DOC, re.DOTALL).group(1))
    if len(classes) == 2:
        assert {tuple(sorted(row)) for row in documented["predictions"]} == {tuple(sorted(of_each))}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Returns the folder of a model of version 3."""
    folder = tmp_path_factory.mktemp("trained")
    tiny_dataset.write(folder / "records", {"train": [("good", 1), ("bad", 0)] * 4})
    paths = ["--records", str(folder / "records"), "--model_dir", str(folder / "model")]
    train.main([*paths, *FLAGS, "--version=3"])
    return folder / "model"


def test_the_version_is_the_folder_that_a_server_sees(trained):
    assert [path.name for path in (trained / model_folder.SERVING).iterdir()] == ["3"]
    assert json.loads((trained / model_folder.CONFIG).read_text())["version"] == 3
    assert load_model(trained).predict("good")[0].label in ("neg", "pos")
    with pytest.raises(BadInput, match="must be at least 1"):
        train.parse_args(["--records=r", "--model_dir=m", "--version=0"])


def test_a_user_may_put_warm_up_requests_of_their_own_in_its_place(trained):
    warm_up = trained / "serving" / "3" / checksums.WARM_UP
    assert checksums.WARM_UP not in (trained / checksums.SUMS).read_text()
    with tf.io.TFRecordWriter(str(warm_up)) as writer:
        writer.write(prediction_log_pb2.PredictionLog().SerializeToString())
    assert load_model(trained).folder == str(trained)
    (warm_up.parent / "notes").touch()
    with pytest.raises(BadInput, match=r"notes isn't listed in SHA256SUMS"):
        load_model(trained)
    (warm_up.parent / "notes").unlink()
    warm_up.unlink()
    assert load_model(trained).folder == str(trained)
