"""Runs the snippets of docs/converting.md."""

import json
import os
import pathlib
import re
import sys

import keras
import needs
import numpy as np
import pytest
import tiny_tree
import tools

from model import convert, train
from pipelines.preprocess import __main__ as preprocess
from textrecords.saved_model import load_model

pytestmark = pytest.mark.slow

PAGE = pathlib.Path(__file__).parent.parent / "docs/converting.md"
TEXTS = ["What a great movie!", "so bad", ""]
TREE = {
    f"{split}/{name}/{n}.txt": text
    for split in ("train", "test")
    for n in "01"
    for name, text in [("neg", "so bad a movie"), ("pos", "What a great, great movie")]
}
KERAS = f"keras=={keras.__version__}"
SIZES = ["--max_len=6", "--embedding_dim=2", "--lstm_units=2", "--epochs=1"]
POOLED = ["--pooling=max_mean", "--ngram_bits=8", "--chunk_len=4"]
PRINT = "print(scores.tolist())"
# Fails wherever TensorFlow or this project can be imported.
ALONE = "import importlib.util as u; assert not (u.find_spec('tensorflow') or u.find_spec('model'))"


def snippets():
    """Returns the page's Python snippets, by heading."""
    found = {}
    for section in PAGE.read_text().split("\n## ")[1:]:
        heading, _, text = section.partition("\n")
        found[heading] = "".join(re.findall(r"```python\n(.*?)```", text, re.DOTALL))
    return found


@pytest.fixture(scope="module", params=[[], POOLED], ids=["tutorial", "pooled"])
def home(request, tmp_path_factory):
    """Makes all files that the page names below a folder, and returns that."""
    for name in ("tf2onnx", "onnxruntime", "tokenizers"):
        needs.package(name)
    home = tmp_path_factory.mktemp("home")
    tiny_tree.write(home / "in", TREE)
    out = home / "out/aclImdb"
    preprocess.main(["--input", f"{home}/in", "--output", f"{out}/records"])
    train.main(
        ["--records", f"{out}/records", "--model_dir", f"{out}/model", *SIZES, *request.param]
    )
    for to in ("onnx", "tflite"):
        convert.main(["--model_dir", f"{out}/model", "--to", to])
    return home


def run(python, code, home, **variables):
    """Runs code where the page has it run; returns what it prints."""
    return tools.run(python, "-c", code, cwd=home, env={**os.environ, **variables})


def expected(home):
    scored = load_model(home / "out/aclImdb/model").predict(TEXTS)
    return [[each.score] for each in scored]


def test_keras_and_tensorflow_give_the_scores_of_the_saved_model(home):
    of = snippets()
    code = f"{of['Text to ids']}{of['Keras']}{PRINT}\n{of['Ids to scores in TensorFlow']}"
    printed = run(sys.executable, f"{code}print(outputs['score'].numpy()[:, None].tolist())", home)
    for line in printed.splitlines():
        np.testing.assert_allclose(json.loads(line), expected(home), atol=1e-6)
    assert len(printed.splitlines()) == 2


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """Returns a Python with the packages of the page, without TensorFlow and this project."""
    packages = "onnxruntime", "tokenizers", "ai-edge-litert", KERAS, "jax"
    return tools.install(tmp_path_factory.mktemp("venv") / "bare", *packages)


def test_keras_alone_gives_the_scores_of_the_saved_model_by_another_backend(home, bare):
    of = snippets()
    code = f"{ALONE}\n{of['Text to ids']}{of['Keras']}{PRINT}"
    printed = run(bare, code, home, PYTHONPATH="", KERAS_BACKEND="jax")
    np.testing.assert_allclose(json.loads(printed), expected(home), atol=1e-5)


def test_onnx_runtime_alone_gives_the_scores_of_the_saved_model(home, bare):
    printed = run(bare, f"{ALONE}\n{snippets()['ONNX']}", home, PYTHONPATH="")
    assert printed.startswith("['neg', 'pos'] ")
    scores = json.loads(printed.removeprefix("['neg', 'pos'] "))
    np.testing.assert_allclose(scores, expected(home), atol=1e-5)


def test_litert_alone_gives_the_scores_of_the_saved_model(home, bare):
    printed = run(bare, f"{ALONE}\n{snippets()['LiteRT']}", home, PYTHONPATH="")
    scores = [json.loads(line)[0] for line in printed.splitlines()]
    np.testing.assert_allclose(scores, expected(home), atol=1e-5)
