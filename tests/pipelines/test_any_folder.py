"""End to end, from folders of any layout to a served model."""

import itertools
import json
import re

import pytest
import tensorflow as tf
from tiny_tree import write

from model import evaluate, train
from model.report import __main__ as report
from pipelines.preprocess import __main__ as preprocess
from textrecords import record_io, spec
from textrecords.dataset import open_dataset, read_vocabulary
from textrecords.errors import BadInput
from textrecords.saved_model import load_model

pytestmark = pytest.mark.slow

SMALL = ["--max_len=4", "--embedding_dim=16", "--lstm_units=16", "--dense_units=16"]
QUICK = [*SMALL, "--learning_rate=0.01", "--batch_size=8", "--epochs=20"]
LANGUAGES = (
    *("Česky", "Dansk", "Deutsch", "Eesti", "English", "Español", "Français", "Hrvatski"),
    *("Italiano", "Magyar", "Norsk bokmål", "Polski", "Português do Brasil", "Română", "Suomi"),
    *("Türkçe", "Ελληνικά", "Русский", "עברית", "日本語"),
)


def whole_path(folder, tree, *flags):
    """Preprocesses, trains, exports; returns the manifest and the model's folder."""
    write(folder / "in", tree)
    records, model_dir = str(folder / "records"), str(folder / "model")
    preprocess.main(["--input", str(folder / "in"), "--output", records, *flags])
    train.main(["--records", records, "--model_dir", model_dir, *QUICK])
    return open_dataset(records).manifest, model_dir


def check_predictions(model_dir, expected):
    """Checks the label that the command prints for each text."""
    rows = load_model(model_dir).rows([text.encode() for text in expected])
    assert {row["text"]: row["label"] for row in rows} == expected


def test_twenty_classes_of_any_name(tmp_path):
    tree = {
        f"{split}/{language}/{n}.txt": " ".join(["word"] * (n % 3) + [f"in{position}"])
        for split, position in itertools.product(("train", "test"), range(20))
        for language in [LANGUAGES[position]]
        for n in range(12)
    }
    manifest, model_dir = whole_path(tmp_path, tree)
    names = sorted(LANGUAGES)
    assert manifest.classes == tuple(names)
    assert manifest.splits["test"].class_examples == dict.fromkeys(names, 12)
    check_predictions(model_dir, {f"word in{n}": name for n, name in enumerate(LANGUAGES)})
    serve = tf.saved_model.load(f"{model_dir}/serving/1").signatures["serving_default"]
    outputs = serve(text=tf.constant(["in0", "in19"]))
    assert outputs["scores"].shape == [2, 20]
    assert outputs["classes"].numpy().tolist() == [[name.encode() for name in names]] * 2


@pytest.mark.parametrize(
    ("layout", "flags"),
    [
        ("{split}/{name}/{n}", ["--pattern=*"]),
        ("{split}/{name}/2024/may/{n}.txt", []),
        ("{split}/{name}/{n}.review", ["--pattern=[0-9]*.review"]),
    ],
)
def test_other_file_names_and_nested_folders(tmp_path, layout, flags):
    tree = {
        layout.format(split=split, name=name, n=n): f"film {word}"
        for split, n in itertools.product(("train", "test"), range(16))
        for name, word in [("thumbs down", "bad"), ("thumbs up", "good")]
    }
    manifest, model_dir = whole_path(tmp_path, tree, *flags)
    assert manifest.splits["train"].class_examples == {"thumbs down": 16, "thumbs up": 16}
    check_predictions(model_dir, {"film bad": "thumbs down", "film good": "thumbs up"})


def test_a_class_that_test_lacks_and_a_validation_split_of_another_name(tmp_path, capsys):
    tree = {
        f"{split}/{name}/{n}.txt": f"film {name}"
        for split, name, n in itertools.product(
            ("train", "val", "Test"), ("bad", "good", "so"), "12"
        )
        if (split, name) != ("Test", "so")
    }
    manifest, model_dir = whole_path(tmp_path, tree)
    printed = capsys.readouterr().out
    assert "warning: test has no reviews of so\n" in printed
    assert "val is used as the validation split\n" in printed
    assert manifest.splits["validation"].class_examples == {"bad": 2, "good": 2, "so": 2}
    assert manifest.splits["test"].class_examples == {"bad": 2, "good": 2, "so": 0}
    examples = record_io.read_examples(open_dataset(tmp_path / "records"), "validation")
    assert {key[:4] for key, *_ in examples} == {b"val/"}
    flags = ["--records", str(tmp_path / "records"), "--model_dir", model_dir]
    evaluate.main(flags)
    assert re.search(r"so +0 +0 +0\n", capsys.readouterr().out)
    report.main(flags)
    result = json.loads((tmp_path / "report.json").read_text())["result"]
    assert [row["examples"] for row in result["classes"]] == [2, 2, 0]
    assert result["classes"][2]["recall"] is None


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_other_encodings(tmp_path, encoding):
    tree = {
        f"{split}/{name}/{n}.txt": word.encode(encoding)
        for split, n in itertools.product(("train", "test"), range(16))
        for name, word in [("neg", "d\xe9solant"), ("pos", "\xe9l\xe9gant")]
    }
    manifest, model_dir = whole_path(tmp_path, tree, f"--encoding={encoding}")
    assert manifest.splits["train"].undecodable == 0
    vocabulary = read_vocabulary(str(tmp_path / "records" / spec.VOCABULARY))
    assert vocabulary == ["élégant".encode(), "désolant".encode()]
    check_predictions(model_dir, {"Désolant!": "neg", "élégant": "pos"})


def test_an_invalid_encoding_is_refused(tmp_path):
    write(tmp_path / "in", {"train/a/0.txt": "x", "train/b/0.txt": "y"})
    for name in ("latin-99", "base64"):
        with pytest.raises(BadInput, match=f"--encoding {name}: Python has no such"):
            preprocess.main(["--input", str(tmp_path / "in"), "--output", "x", "--encoding", name])
