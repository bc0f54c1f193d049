"""A training that can't fit into memory is refused, or ends, in one line."""

import dataclasses

import pytest
import tensorflow as tf
import tiny_dataset
from test_lstm import SMALL
from test_train import QUICK, reviews

from model import train
from model.network import lstm
from model.training import fit, memory
from textrecords.errors import BadInput, Failure
from textrecords.model_folder import Training


@pytest.fixture
def where(tmp_path):
    tiny_dataset.write(tmp_path / "records", {"train": reviews(("bad", "good"), 8)})
    return ["--records", str(tmp_path / "records"), "--model_dir", str(tmp_path / "model")]


@pytest.mark.parametrize(
    "shape", [{}, {"lstm_layers": 3, "bidirectional": True}, {"max_tokens": 99, "lstm_units": 7}]
)
def test_the_weights_that_are_counted_are_those_of_keras(shape):
    network = dataclasses.replace(SMALL, dense_units=0, **shape)
    head = lstm.build(network, 2).layers[-1].count_params()
    expected = lstm.build(network, 2).count_params() - head
    without, with_a_batch = (
        memory.min_bytes(network, Training(batch_size=8), examples) for examples in (0, 5)
    )
    assert without == 4 * 4 * expected
    gates = 4 * network.lstm_units * network.lstm_layers * (2 if network.bidirectional else 1)
    assert with_a_batch - without == 4 * 5 * network.max_len * (network.embedding_dim + gates)


@pytest.mark.parametrize(
    "flag", ["--lstm_units=100000000", "--embedding_dim=2000000000", "--max_len=2000000000"]
)
def test_what_is_larger_than_the_machine_is_refused_before_anything_is_built(
    where, tmp_path, monkeypatch, flag
):
    monkeypatch.setattr(lstm, "build", lambda *_: pytest.fail("it was built"))
    with pytest.raises(BadInput, match=r"GB of memory, and this .* lower --batch_size"):
        train.main([*where, flag])
    assert [path.name for path in tmp_path.iterdir()] == ["records"]


OOM = tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")


@pytest.mark.parametrize("error", [MemoryError(), OOM])
def test_memory_that_runs_out_on_the_way_is_one_line(where, tmp_path, monkeypatch, error):
    def fail(*_):
        raise error

    monkeypatch.setattr(fit, "fit", fail)
    with pytest.raises(Failure, match="out of memory for this training: lower"):
        train.main([*where, *QUICK])
    assert not (tmp_path / "model").exists()
