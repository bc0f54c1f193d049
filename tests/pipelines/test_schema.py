"""Others read the records without this project: TFX by the schema, TensorFlow by three lines."""

import os
import pathlib
import re
import subprocess
import sys

import pytest
import tensorflow as tf
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2
from tensorflow_transform.tf_metadata import schema_utils
from tfx_bsl.public import tfxio
from tiny_tree import write

from pipelines.preprocess import __main__ as preprocess
from textrecords import spec

ROOT = pathlib.Path(__file__).parents[2]
TREE = {
    "train/neg/0.txt": "bad bad film",
    "train/pos/0.txt": "good film",
    "train/so so/0.txt": "film",
    "test/neg/0.txt": "unheard of",
    "test/pos/0.txt": "",
    "test/so so/0.txt": "so so",
}
# film 3, bad 2, good 1.
IDS = {b"train/neg/0.txt": [3, 3, 2], b"train/pos/0.txt": [4, 2], b"train/so so/0.txt": [2]}


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    folder = tmp_path_factory.mktemp("schema")
    write(folder / "in", TREE)
    records = folder / "out" / "aclImdb" / "records"  # as in docs/formats.md
    preprocess.main(["--input", str(folder / "in"), "--output", str(records)])
    return records


@pytest.fixture(scope="module")
def schema(records):
    return text_format.Parse((records / spec.SCHEMA).read_text(), schema_pb2.Schema())


def test_the_schema_has_types_shapes_and_domains(schema):
    tokens, label, key = schema.feature
    assert (tokens.name, label.name, key.name) == ("tokens", "label", "key")
    assert (tokens.type, label.type, key.type) == (
        schema_pb2.INT,
        schema_pb2.INT,
        schema_pb2.BYTES,
    )
    assert (tokens.int_domain.min, tokens.int_domain.max) == (1, 4)
    assert (label.int_domain.min, label.int_domain.max) == (0, 2)
    assert schema_utils.schema_as_feature_spec(schema).feature_spec == {
        "tokens": tf.io.VarLenFeature(tf.int64),
        "label": tf.io.FixedLenFeature([], tf.int64),
        "key": tf.io.FixedLenFeature([], tf.string),
    }


def test_tfxio_reads_the_records_by_the_schema(records, schema):
    source = tfxio.TFExampleRecord(str(records / "train-*"), schema=schema)
    options = tfxio.TensorFlowDatasetOptions(batch_size=3, shuffle=False, num_epochs=1)
    (batch,) = source.TensorFlowDataset(options)
    ids = tf.RaggedTensor.from_sparse(batch["tokens"]).to_list()
    assert dict(zip(batch["key"].numpy().tolist(), ids, strict=True)) == IDS
    assert sorted(batch["label"].numpy().tolist()) == [0, 1, 2]


def test_the_three_documented_lines_load_the_records(records):
    snippets = re.findall(r"```python\n(.*?)```", (ROOT / "docs/formats.md").read_text(), re.DOTALL)
    (program,) = (each for each in snippets if "TFRecordDataset" in each)
    lines = filter(None, program.splitlines())
    assert len([line for line in lines if not line.startswith("import")]) == 3
    program += "for batch in batches: print(batch['tokens'].to_list(), batch['label'].numpy())"
    environment = {name: os.environ[name] for name in os.environ if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-I", "-c", program],
        cwd=records.parent.parent.parent,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    rows = re.fullmatch(r"\[(\[.*\])\] \[(.*)\]\n", done.stdout)
    ids = [list(map(int, row.split(", "))) for row in re.findall(r"\[([\d, ]+)\]", rows[1])]
    by_label = dict(zip(map(int, rows[2].split()), ids, strict=True))
    assert by_label == {0: [3, 3, 2], 1: [4, 2], 2: [2]}
