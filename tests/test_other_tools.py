"""Tools of others read records and scores, as docs/other_tools.md shows it."""

import os
import pathlib
import re
import sys

import pytest
import tiny_dataset
import tools
from tensorflow_metadata.proto.v0 import anomalies_pb2

from model import train
from pipelines import sample
from pipelines.preprocess import __main__ as preprocess
from pipelines.preprocess import croissant, tfds_files
from pipelines.score import __main__ as score
from textrecords import spec
from textrecords.dataset import open_dataset

pytestmark = pytest.mark.slow

PAGE = (tools.ROOT / "docs" / "other_tools.md").read_text()
SNIPPET = re.compile(r"```python\n(.*?)```\n(?:\n```\n(.*?)```)?", re.DOTALL)
TFX = "TensorFlow Data Validation and TFX"
LOAD_SCORES = re.search(r'load_dataset\("json", data_dir="[\w/]+"\)', PAGE).group()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The folder that the page's snippets run in, with records and scores."""
    folder = tmp_path_factory.mktemp("project")
    data, records, model = (str(folder / name) for name in ("data", "out/sample/records", "model"))
    sample.main(["--output", data, "--count", "3000"])
    preprocess.main(["--input", data, "--output", records])
    sizes = ["--embedding_dim=2", "--lstm_units=2", "--dense_units=0", "--epochs=1"]
    train.main(["--records", records, "--model_dir", model, *sizes])
    score.main(
        [
            *("--input", f"{data}/test", "--output", str(folder / "out/sample/scores")),
            *("--model_dir", model),
        ]
    )
    return folder


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """An environment without TensorFlow."""
    packages = "datasets", "grain", "tfrecord", "mlcroissant"
    return tools.install(tmp_path_factory.mktemp("alone"), *packages)


@pytest.fixture(scope="module")
def pythons(alone, tmp_path_factory):
    """Returns the interpreter for what a section of the page shows."""
    ours = pathlib.Path(sys.executable)
    made = {
        "TensorFlow": lambda: ours,
        "pandas": lambda: ours,
        "tf.Transform": lambda: ours,
        "TensorFlow Datasets": lambda: tools.install(
            tmp_path_factory.mktemp("tfds"), "tensorflow-datasets==4.9.10", beside_ours=True
        ),
        "PyTorch": lambda: tools.install(tmp_path_factory.mktemp("torch"), "torch", "tfrecord"),
        "Grain": lambda: alone,
        "Hugging Face Datasets": lambda: alone,
        "Croissant": lambda: alone,
        TFX: lambda: tools.install(tmp_path_factory.mktemp("tfx"), "tfx==1.16.*", "dill"),
    }
    return lambda title: made[title]()


def sections():
    """Returns each section's snippets with their output, by the section's title."""
    parts = re.split(r"^## (.+)\n", PAGE, flags=re.MULTILINE)[1:]
    return {
        title: SNIPPET.findall(text) for title, text in zip(parts[::2], parts[1::2], strict=True)
    }


@pytest.mark.parametrize("title", sections())
def test_a_snippet_prints_what_the_page_shows(title, pythons, folder):
    python = pythons(title)
    snippets = sections()[title]
    assert snippets
    for code, printed in snippets:
        found = tools.run(python, "-c", code, cwd=folder)
        assert found == printed or not printed
    if title == TFX:
        (anomalies,) = folder.glob("out/tfx/ExampleValidator/anomalies/*/Split-train/*")
        assert not anomalies_pb2.Anomalies.FromString(anomalies.read_bytes()).anomaly_info


def test_hugging_face_datasets_loads_scores(alone, folder):
    code = f"from datasets import load_dataset\nprint({LOAD_SCORES}['train'].column_names)"
    assert tools.run(alone, "-c", code, cwd=folder) == "['key', 'label', 'score']\n"
    shards = len(list((folder / "out/sample/scores").glob("scores-*.jsonl")))
    assert shards == 1


def test_croissant_is_valid_without_what_only_a_publisher_knows(alone, folder):
    code = (
        "import mlcroissant; "
        "dataset = mlcroissant.Dataset('out/sample/records/croissant.json'); "
        "print(sorted(dataset.metadata.issues.errors), len(dataset.metadata.issues.warnings)); "
        "print(len(list(dataset.records('vocabulary'))))"
    )
    # citeAs, datePublished and license
    assert tools.run(alone, "-c", code, cwd=folder) == "[] 3\n2520\n"


def test_files_for_other_tools_are_in_the_sums(folder):
    sums = (folder / "out/sample/records/SHA256SUMS").read_text()
    raw = f"{spec.RAW_METADATA}/{spec.SCHEMA}"
    for name in (*spec.TFDS_FILES, spec.CROISSANT, raw):
        assert f"  {name}\n" in sums


def test_compressed_shards_have_no_files_for_tensorflow_datasets(tmp_path):
    for compression, expected in (("none", spec.TFDS_FILES), ("gzip", ())):
        records = tmp_path / compression
        reviews = {"train": [("good", 0), ("bad", 1)]}
        tiny_dataset.write(records, reviews, classes=("a\nb", "ü"), compression=compression)
        before = {*os.listdir(records)}
        tfds_files.write(str(records), open_dataset(str(records)).manifest)
        assert {*os.listdir(records)} - before == {*expected}
    labels = (tmp_path / "none" / spec.TFDS_LABELS).read_text(encoding="utf-8")
    assert labels == "a\\nb\nü\n"


def test_classes_that_differ_only_in_whitespace_have_no_files_for_tensorflow_datasets(tmp_path):
    reviews = {"train": [("good", 0), ("bad", 1)]}
    for number, classes in enumerate([("a", "a "), ("a", "  ")]):
        records = str(tmp_path / str(number))
        tiny_dataset.write(records, reviews, classes=classes)
        tfds_files.write(records, open_dataset(records).manifest)
        assert not {*spec.TFDS_FILES} & {*os.listdir(records)}


def test_croissant_names_the_given_license(tmp_path):
    tiny_dataset.write(tmp_path / "records", {"train": [("good", 0)]})
    manifest = open_dataset(str(tmp_path / "records")).manifest
    assert "license" not in croissant.describe(manifest)
    described = croissant.describe(manifest, "https://example.org/license")
    assert described["license"] == "https://example.org/license"
    shard = manifest.splits["train"].shards[0]
    assert described["distribution"][1] == {
        "@type": "cr:FileObject",
        "@id": shard.file,
        "name": shard.file,
        "contentUrl": shard.file,
        "encodingFormat": "application/x-tfrecord",
        "sha256": shard.sha256,
        "contentSize": f"{shard.bytes} B",
    }


def test_tfx_resolves_together_with_this_project(tmp_path):
    """For Linux with glibc 2.39, of which there are wheels of ml-metadata."""
    wanted = tmp_path / "wanted.in"
    wanted.write_text(f"textrecords[preprocess] @ {tools.ROOT.as_uri()}\ntfx==1.21.*\n")
    options = ["--python-version", "3.11", "--python-platform", "x86_64-manylinux_2_39"]
    options += ["--exclude-newer", tools.AS_OF]
    locked = tools.run(tools.UV, "pip", "compile", "--quiet", *options, wanted)
    assert re.search(r"^tfx==1\.21\.\d+$", locked, re.MULTILINE)
    assert re.search(r"^pyarrow==18\.", locked, re.MULTILINE)


def test_saved_model_cli_shows_the_signatures(folder):
    served = folder / "model" / "serving" / "1"
    cli = pathlib.Path(sys.executable).with_name("saved_model_cli")
    shown = tools.run(cli, "show", "--dir", served, "--tag_set", "serve", "--all")
    signatures = re.findall(r"^signature_def\['(\w+)'\]:", shown, re.MULTILINE)
    assert {"serving_default", "tokenize", "score_tokens"} <= {*signatures}
