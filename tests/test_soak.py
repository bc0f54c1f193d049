import random
import shlex

import pytest
from soak import __main__ as soak
from soak import damage, stops, surroundings

from textrecords import checksums
from textrecords.errors import Failure

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("fault", damage.DATASETS | damage.MODELS)
def test_damage_is_refused_by_name_or_harmless(tmp_path, fault):
    rng = random.Random(fault)
    for trial in range(3):
        (tmp_path / str(trial)).mkdir()
        outcome = (damage.DATASETS | damage.MODELS)[fault](rng, tmp_path / str(trial))
        assert outcome in (damage.REFUSED, damage.HARMLESS)


@pytest.mark.parametrize(
    "fault",
    [
        *("SIGKILL while preprocess runs", "SIGKILL while preprocess writes"),
        "SIGTERM while train runs",
    ],
)
def test_a_stop_leaves_the_old_one_or_the_new_one(tmp_path, fault):
    outcome = stops.FAULTS[fault](random.Random(0), tmp_path)
    assert outcome in (stops.OLD, stops.NEW, stops.REUSED)


def test_trouble_is_reported_in_one_line_or_comes_too_late(tmp_path):
    fault = surroundings.FAULTS["a folder vanishes while preprocess runs"]
    assert fault(random.Random(0), tmp_path) in (surroundings.REPORTED, stops.NEW)


def test_what_is_wrong_is_reported(tmp_path):
    def add_to_both(rng, folder):
        for name in ("manifest.json", checksums.SUMS):
            (folder / name).write_text("{")
        return ["train-00000-of-00002.tfrecord"]

    outcome = damage._trial(random.Random(0), tmp_path, part=damage.RECORDS, damage=add_to_both)
    assert outcome.startswith("WRONG: ['train-00000-of-00002.tfrecord'] refused as: ")


def test_a_wrong_outcome_names_the_command_that_repeats_it(monkeypatch, tmp_path, capsys):
    drawn = []

    def fault(rng, work_dir):
        drawn.append(rng.random())
        return "WRONG: lost" if drawn[-1] == drawn[0] else "fine"

    monkeypatch.setattr(soak, "PARTS", {"models": {"a fault": fault}})
    monkeypatch.setattr(soak, "RESULTS", tmp_path / "results.json")
    monkeypatch.setattr(soak, "PAGE", tmp_path / "trials.md")
    with pytest.raises(Failure, match="wrong outcomes: 1"):
        soak.main(["--trials=3", "--seed=7"])
    command = """make soak SEED=7 ARGS="--only models --fault 'a fault' --trials 1\""""
    assert f"a fault: WRONG: lost; repeat it: {command}\n" in capsys.readouterr().out
    results = (tmp_path / "results.json").read_text()
    assert "| a fault | 3 | 2 fine; 1 WRONG: lost |" in (tmp_path / "trials.md").read_text()
    with pytest.raises(Failure):
        soak.main([*shlex.split(shlex.split(command)[3].partition("=")[2]), "--seed=7"])
    assert (drawn[3], len(drawn)) == (drawn[0], 4)
    assert (tmp_path / "results.json").read_text() == results
