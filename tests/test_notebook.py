"""The notebook runs from start to end, and its outputs are correct."""

import json
import pathlib
import re

import nbformat
import pytest
from nbclient import NotebookClient

import textrecords as tr
from model import train
from model.network import lstm
from pipelines import sample
from pipelines.preprocess import __main__ as preprocess
from textrecords.model_folder import Network, Training

pytestmark = pytest.mark.slow

ROOT = pathlib.Path(__file__).parent.parent
NOTEBOOK = ROOT / "docs" / "notebook.ipynb"
LINE = r"^{name}: +test loss (\S+), test accuracy (\S+)$"
# Paths of a machine, and what TensorFlow logs.
NOISE = re.compile(r"(?<![\w.])/(tmp|home|root|usr|work|Users)/|WARNING|\b[IWEF]0000 |Traceback")


def read():
    return nbformat.read(NOTEBOOK, as_version=4)


def code_cells(notebook):
    return {cell.id: cell for cell in notebook.cells if cell.cell_type == "code"}


def shown(cell):
    """Returns what a cell printed, and what it evaluated to, as text."""
    return "".join(
        output["text"] if output.output_type == "stream" else output.data["text/plain"]
        for output in cell.outputs
    )


def results(cell, name):
    (found,) = re.findall(LINE.format(name=name), shown(cell), re.MULTILINE)
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The output of `make preprocess` and `make train` for a few generated reviews."""
    folder = tmp_path_factory.mktemp("out")
    paths = [f"--records={folder}/records", f"--model_dir={folder}/model"]
    sample.main([f"--output={folder}/sample", "--count=300"])
    preprocess.main([f"--input={folder}/sample", f"--output={folder}/records"])
    train.main([*paths, "--epochs=1"])
    return folder


@pytest.fixture(scope="module")
def executed(folder):
    """Returns the cells as they are once the notebook has been run on these reviews."""
    notebook = read()
    cells = code_cells(notebook)
    cells["parameters"].source = f'FOLDER = "{folder}"\nEPOCHS = 2'
    here = {"metadata": {"path": str(folder)}}
    NotebookClient(notebook, timeout=600, resources=here).execute()
    return cells


def test_every_cell_runs(executed):
    assert [cell.execution_count for cell in executed.values()] == list(range(1, len(executed) + 1))
    for cell in executed.values():
        assert {output.get("name", "stdout") for output in cell.outputs} <= {"stdout"}, cell.source
    assert "examples={train: 200, test: 100}" in shown(executed["open"])


@pytest.fixture(scope="module")
def by_hand(folder, executed):
    """Returns the network that the notebook trained, built by the project and not by it."""
    network = lstm.build(Network(), 2)
    network.load_weights(folder / "notebook.weights.h5")
    lstm.compile_model(network, Training())
    return network


def test_the_accuracies_are_those_of_the_networks(folder, executed, by_hand):
    test = tr.open_dataset(folder / "records").batches("test")
    expected = tuple(f"{value:.4f}" for value in by_hand.evaluate(test, verbose=0))
    assert results(executed["evaluate"], "by hand") == expected
    metrics = json.loads((folder / "model/metrics.json").read_text())["test"]
    trained = f"{metrics['loss']:.4f}", f"{metrics['accuracy']:.4f}"
    assert results(executed["evaluate"], "make train") == trained
    assert shown(executed["save"]) == "the same scores: True\n"
    _, both_ways = results(executed["bidirectional"], "both ways")
    assert both_ways in {f"{right / 100:.4f}" for right in range(101)}


def test_the_two_sentences_are_scored_by_the_models(folder, executed, by_hand):
    for one in tr.load_model(folder / "model").predict(train.SENTENCES):
        assert repr(one) in shown(executed["served-predict"])
    tokens = tr.open_dataset(folder / "records").encode(train.SENTENCES)
    expected = [f"{score:.4f}" for score in by_hand.predict(tokens, verbose=0)[:, 0]]
    assert re.findall(r"^(\S+)  ", shown(executed["predict"]), re.MULTILINE) == expected


def test_the_committed_notebook_shows_its_results():
    cells = code_cells(read())
    assert [cell.execution_count for cell in cells.values()] == list(range(1, len(cells) + 1))
    silent = [name for name, cell in cells.items() if not cell.outputs]
    assert silent == ["parameters", "build"]
    for cell in cells.values():
        assert {output.output_type for output in cell.outputs} <= {
            *("stream", "execute_result", "display_data")
        }
        assert not NOISE.search(json.dumps(cell.outputs)), cell.source
    assert "181,633" in shown(cells["summary"])
    for name in ("by hand", "make train"):
        assert float(results(cells["evaluate"], name)[1]) > 0.95
    good, bad = map(float, re.findall(r"^(\S+)  ", shown(cells["predict"]), re.MULTILINE))
    assert good > 0.9
    assert bad < 0.1
