import json
import tomllib

import mutants
import pytest

from textrecords.errors import Failure

CONFIGURED = tomllib.loads((mutants.ROOT / "pyproject.toml").read_text())["tool"]["mutmut"]
PLUS = "demo.add__mutmut_1"


@pytest.fixture
def equivalent(monkeypatch, tmp_path):
    """Notes what is equivalent, and lets each mutant have the same change."""
    monkeypatch.setattr(mutants, "EQUIVALENT", tmp_path / "equivalent.json")
    monkeypatch.setattr(mutants.Mutant, "change", lambda self: "-a + b\n+a - b")

    def note(**changes):
        mutants.EQUIVALENT.write_text(json.dumps({"demo.add": changes} if changes else {}))

    note()
    return note


def test_every_module_to_change_is_there():
    for pattern in CONFIGURED["only_mutate"]:
        assert list(mutants.ROOT.glob(pattern)), pattern


def test_a_larger_share_adds_to_a_smaller_one():
    every = [mutants.Mutant(f"demo.add__mutmut_{n}", "killed") for n in range(1_000)]
    tenth, fifth = ({each.name for each in every if each.is_drawn(n)} for n in (10, 20))
    assert tenth < fifth
    assert (len(tenth), len(fifth)) == (90, 206)
    assert all(each.is_drawn(100) for each in every)


def test_the_page_has_a_score_for_each_module_and_counts_no_equivalent_ones(equivalent):
    outcomes = ["killed", "timeout", "segfault", "survived", "no tests", "not checked"]
    found = [mutants.Mutant(f"demo.sub__mutmut_{n}", of) for n, of in enumerate(outcomes)]
    found += [mutants.Mutant(PLUS, "survived"), mutants.Mutant("more.x_f__mutmut_1", "killed")]
    equivalent(**{"-a + b\n+a - b": "b is 0"})
    assert mutants.page(found, "# Mutants\n\n") == (
        "# Mutants\n\n"
        "| module | tried | killed | equivalent | survived | score |\n"
        "|---|--:|--:|--:|--:|--:|\n"
        "| demo | 6 | 3 | 1 | 2 | 60% |\n"
        "| more | 1 | 1 | 0 | 0 | 100% |\n"
        "| all | 7 | 4 | 1 | 2 | 67% |\n"
        "\nEquivalent, which no test can notice:\n\n"
        "- `demo.add`: `+a - b`: b is 0\n"
    )


def test_only_a_survivor_with_the_noted_change_is_equivalent(equivalent):
    equivalent(**{"-a + b\n+a - b": "b is 0"})
    assert mutants.is_equivalent(mutants.Mutant(PLUS, "survived"))
    assert not mutants.is_equivalent(mutants.Mutant(PLUS, "killed"))
    assert not mutants.is_equivalent(mutants.Mutant("demo.sub__mutmut_1", "survived"))
    equivalent(**{"-a + b\n+a * b": "b is 0"})
    assert not mutants.is_equivalent(mutants.Mutant(PLUS, "survived"))


def test_a_run_that_fails_writes_no_page(monkeypatch, tmp_path):
    monkeypatch.setattr(mutants, "PAGE", tmp_path / "page.md")
    monkeypatch.setattr(mutants, "_generate", lambda mutmut: None)
    monkeypatch.setattr(mutants, "_mutants", lambda mutmut: [mutants.Mutant(PLUS, "not checked")])
    monkeypatch.setattr(mutants.sys, "executable", str(tmp_path / "python"))
    program = tmp_path / "mutmut"
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)
    with pytest.raises(Failure, match="mutmut failed: see above"):
        mutants.main([])
    assert not mutants.PAGE.exists()
