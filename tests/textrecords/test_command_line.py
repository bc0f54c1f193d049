"""Flags: how their values are read."""

import argparse
import importlib

import pytest

from model import train
from pipelines.preprocess import __main__ as preprocess
from textrecords import command_line
from textrecords.errors import BadInput
from textrecords.manifest import DataFlags


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    return str(tmp_path)


def test_a_tilde_at_the_beginning_of_a_path_is_the_home_folder(home):
    assert command_line.path("~/records") == f"{home}/records"
    for text in ("a/~", "gs://b/~/c", "english", "~nobody-of-this-name/x"):
        assert command_line.path(text) == text


def test_flags_that_are_fields_take_it_too(home):
    args = train.parse_args(["--records=~/r", "--model_dir=~/m", "--cache=~"])
    assert (args.records, args.model_dir, args.cache) == (f"{home}/r", f"{home}/m", home)
    parser = argparse.ArgumentParser()
    command_line.add_flags(parser, DataFlags)
    args = parser.parse_args(["--stop_words=~/s", "--replacements=english", "--pattern=~"])
    assert (args.stop_words, args.replacements, args.pattern) == (f"{home}/s", "english", "~")


@pytest.mark.parametrize(
    ("module", "flag", "others"),
    [
        ("model.evaluate", "--records", ["--model_dir=m"]),
        ("model.predict", "--model_dir", ["text"]),
        ("model.report.__main__", "--input", ["--records=r", "--model_dir=m"]),
        ("model.tune.__main__", "--records", ["--output=t"]),
        ("pipelines.download", "--archive", ["--output=d"]),
        ("pipelines.inspect_records", "--records", []),
        ("pipelines.preprocess.__main__", "--input", ["--output=o"]),
        ("pipelines.score.__main__", "--model_dir", ["--input=i", "--output=o"]),
        ("pipelines.verify.__main__", "--records", ["--input=i"]),
    ],
)
def test_every_command_names_what_it_looked_for_below_the_home_folder(home, module, flag, others):
    with pytest.raises(BadInput, match=f"{home}/none"):
        importlib.import_module(module).main([f"{flag}=~/none", *others])


def test_no_folder_of_that_name_is_made(home, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadInput, match=f"is inside --input {home}:"):
        preprocess.main(["--input=~", "--output=~/records"])
    assert not list(tmp_path.iterdir())
