"""The search: what is tried, in which order, and what is kept."""

import csv
import os
import sys

import pytest
import tiny_dataset
from test_train import SMALL, reviews

from model import train
from model.training import flags
from model.tune import __main__ as tune
from model.tune import search, trial
from textrecords import atomic
from textrecords.errors import BadInput, Failure

pytestmark = pytest.mark.integration

PATHS = ["--records=r", "--model_dir=m"]


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "records"
    words = ("bad", "good")
    tiny_dataset.write(folder, {"train": reviews(words, 40), "validation": reviews(words, 9)})
    return str(folder)


def run(records, output, *given):
    tune.main(["--records", records, "--output", str(output), *SMALL, *given])


def read_table(output):
    with open(output / "trials.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def pretend(monkeypatch):
    """Has trials come to `loss(network, training)`, an epoch's each, and nothing be trained."""

    def replace(losses):
        def pretended(dataset, config, folder, *, callbacks):
            reported = losses(config.network, config.training)
            for epoch, loss in enumerate(reported):
                for callback in callbacks:
                    callback.on_epoch_end(epoch, {"val_loss": loss})
            return trial.Outcome(min(reported), 0.5, 1, 2.0)

        monkeypatch.setattr(trial, "run", pretended)

    return replace


def test_a_trial_trains_and_leaves_its_logs_a_table_and_the_best_preset(records, tmp_path, capsys):
    quick = ["--learning_rate=0.05", "--batch_size=8", "--epochs=2", "--trials=2"]
    run(records, tmp_path / "t", *quick, "--pooling=max_mean", "--over", "lstm_units=3,5")
    assert sorted(os.listdir(tmp_path / "t")) == ["best.txt", "study.db", "trials", "trials.csv"]
    assert sorted(os.listdir(tmp_path / "t" / "trials")) == ["001", "002"]
    settings, *others = sorted(os.listdir(tmp_path / "t" / "trials" / "001"))
    assert settings.startswith("events.out.tfevents.")  # and results, for the page HParams
    assert others == ["timing.json", "train", "validation"]
    best, other = read_table(tmp_path / "t")
    assert {best["lstm_units"], other["lstm_units"]} == {"3", "5"}
    assert float(best["val_loss"]) < float(other["val_loss"])
    assert [best["state"], other["state"]] == ["complete", "complete"]
    # The preset has exactly that trial's settings.
    network, training = flags.read_settings(
        train.parse_args([*PATHS, f"--preset={tmp_path / 't' / 'best.txt'}"])
    )
    asked = train.parse_args(
        [*PATHS, *SMALL, *quick[:3], "--pooling=max_mean", f"--lstm_units={best['lstm_units']}"]
    )
    assert (network, training) == flags.read_settings(asked)
    assert f"lstm_units {best['lstm_units']}" in capsys.readouterr().out


def test_lists_are_tried_in_every_combination_and_none_twice(records, tmp_path, pretend):
    pretend(lambda network, training: [network.lstm_units + training.epochs / 10])
    run(records, tmp_path / "t", "--over", "lstm_units=1,2,3", "epochs=4,5", "--trials=50")
    rows = read_table(tmp_path / "t")
    assert [(row["lstm_units"], row["epochs"], row["val_loss"]) for row in rows] == [
        ("1", "4", "1.4"),
        ("1", "5", "1.5"),
        ("2", "4", "2.4"),
        ("2", "5", "2.5"),
        ("3", "4", "3.4"),
        ("3", "5", "3.5"),
    ]
    assert sorted(row["trial"] for row in rows) == ["1", "2", "3", "4", "5", "6"]


def test_an_interrupted_search_resumes_with_the_same_result(records, tmp_path, pretend):
    over = ["--over", "dropout=0..0.5", "lstm_units=1..64", "decay=none,linear"]
    far = lambda network, training: [  # noqa: E731
        (network.dropout - 0.3) ** 2 + network.lstm_units / 64 + (training.decay == "none")
    ]
    pretend(far)
    run(records, tmp_path / "whole", *over, "--trials=14")
    tried = []

    def stopped(network, training):
        tried.append(network)
        if len(tried) in (4, 13):
            raise KeyboardInterrupt
        return far(network, training)

    pretend(stopped)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            run(records, tmp_path / "stopped", *over, "--trials=14")
    run(records, tmp_path / "stopped", *over, "--trials=14")
    assert len(tried) == 16  # two of them were stopped
    assert read_table(tmp_path / "stopped") == read_table(tmp_path / "whole")
    best = (tmp_path / "whole" / "best.txt").read_text(encoding="utf-8")
    assert (tmp_path / "stopped" / "best.txt").read_text(encoding="utf-8") == best
    run(records, tmp_path / "stopped", *over, "--trials=14")
    assert len(tried) == 16  # all are done


def test_a_trial_that_is_worse_than_most_is_stopped_early(records, tmp_path, pretend, capsys):
    seen = []

    def losses(network, training):
        seen.append(network)
        return [0.9, 0.8] if len(seen) > 5 else [0.5, 0.4]

    pretend(losses)
    run(records, tmp_path / "t", "--over", "dropout=0..0.5", "--trials=6")
    *_, last = read_table(tmp_path / "t")
    assert (last["trial"], last["state"], last["val_accuracy"]) == ("6", "pruned", "")
    assert "stopped early: most earlier trials were better at this epoch" in capsys.readouterr().out


def test_a_loss_that_is_not_finite_is_the_worst(records, tmp_path, monkeypatch, pretend):
    def diverge(network, training):
        if training.learning_rate == 0.1:
            raise Failure("the loss isn't finite")
        return [float("nan")] if training.learning_rate == 0.2 else [0.7]

    pretend(diverge)
    run(records, tmp_path / "t", "--over", "learning_rate=0.1,0.2,0.3")
    first, *others = read_table(tmp_path / "t")
    assert (first["learning_rate"], first["val_loss"]) == ("0.3", "0.7")
    assert {row["learning_rate"] for row in others} == {"0.1", "0.2"}


@pytest.mark.parametrize(
    ("changed", "differs"),
    [
        (["--over", "lstm_units=1,2"], "over"),
        (["--over", "lstm_units=1,3", "--epochs=4"], "settings"),
    ],
)
def test_another_search_is_not_mixed_in(records, tmp_path, pretend, changed, differs):
    pretend(lambda network, training: [0.5])
    run(records, tmp_path / "t", "--over", "lstm_units=1,3")
    kept = (tmp_path / "t" / "trials.csv").read_bytes()
    with pytest.raises(BadInput, match=f"keeps a search with other {differs}"):
        run(records, tmp_path / "t", *changed)
    assert (tmp_path / "t" / "trials.csv").read_bytes() == kept


def test_records_of_another_search_are_refused(records, tmp_path, pretend):
    pretend(lambda network, training: [0.5])
    run(records, tmp_path / "t", "--over", "lstm_units=1,3")
    other = [(text, 1 - label) for text, label in reviews(("bad", "good"), 40)]
    tiny_dataset.write(tmp_path / "r", {"train": other, "validation": other[:9]})
    with pytest.raises(BadInput, match="keeps a search with other records"):
        run(str(tmp_path / "r"), tmp_path / "t", "--over", "lstm_units=1,3")


def test_what_cannot_be_searched_is_refused(records, tmp_path):
    tiny_dataset.write(tmp_path / "r", {"train": [("a", 0), ("b", 1)]})
    with pytest.raises(BadInput, match="trials are compared on a validation split"):
        run(str(tmp_path / "r"), tmp_path / "t")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.doc").touch()
    with pytest.raises(BadInput, match=r"mine contains thesis.doc, which doesn't belong there"):
        run(records, tmp_path / "mine")
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "study.db").write_text("x" * 5000)
    with pytest.raises(BadInput, match=r"study.db can't be read .*: remove it"):
        run(records, tmp_path / "damaged")
    with pytest.raises(BadInput, match="isn't on this machine"):
        run(records, "gs://bucket/tune")


def test_two_runs_do_not_search_in_one_folder(records, tmp_path):
    with (
        atomic.kept_folder(str(tmp_path / "t"), holds=search.HOLDS),
        pytest.raises(BadInput, match=r"another run is writing .*/t "),
    ):
        run(records, tmp_path / "t")


def test_without_its_extra_the_search_is_refused_before_any_work(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(BadInput, match=r"the search needs Optuna: `pip install 'textrecords\[tune"):
        tune.main(["--records=missing", "--output=missing"])
