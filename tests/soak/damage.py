"""Damage to the files of a dataset or a model: is it refused by name, or does it change nothing?

The output of the commands must stay the same: all records as text, and the scores and labels of
texts, from the SavedModel and from the weights.
"""

import contextlib
import filecmp
import functools
import io
import os
import pathlib
import random
import shutil
import tempfile
from collections.abc import Callable

from model import evaluate, predict, train
from pipelines import inspect_records, sample
from pipelines.preprocess import __main__ as preprocess
from textrecords import checksums, spec
from textrecords.errors import BadInput

RECORDS, MODEL = "records", "model"
REFUSED = "refused, naming the file"
HARMLESS = "harmless: in a file without a checksum"
SMALL = ("--max_len=20", "--embedding_dim=4", "--lstm_units=4", "--dense_units=4", "--epochs=1")

# Which file may be copied under which name.
ADDED = {
    RECORDS: (
        ("train-00000-of-00002.tfrecord", "train-00002-of-00003.tfrecord"),
        ("test-00001-of-00002.tfrecord", "validation-00000-of-00001.tfrecord"),
        ("transform_fn/saved_model.pb", "transform_fn/saved_model.cpb"),
    ),
    MODEL: (
        ("serving/1/saved_model.pb", "serving/2/saved_model.pb"),
        ("serving/1/saved_model.pb", "serving/1/saved_model.cpb"),
        ("serving/1/assets/tokens", "serving/1/assets.extra/tokens"),
    ),
}

# Damages the files of a folder; returns their names.
Damage = Callable[[random.Random, pathlib.Path], list[str]]


@functools.cache
def _make(seed: int) -> tempfile.TemporaryDirectory:
    """Makes a folder with a dataset and a model of generated reviews, once per process."""
    folder = tempfile.TemporaryDirectory(prefix="textrecords-")
    root = pathlib.Path(folder.name)
    for number in range(60):
        path, text = sample.review(seed, number)
        (root / "in" / path).parent.mkdir(parents=True, exist_ok=True)
        (root / "in" / path).write_text(text, encoding="utf-8")
    records = str(root / RECORDS)
    _print(preprocess.main, "--input", str(root / "in"), "--output", records, "--num_shards=2")
    _print(train.main, "--records", records, "--model_dir", str(root / MODEL), *SMALL)
    return folder


def _made(seed: int, part: str = "") -> pathlib.Path:
    return pathlib.Path(_make(seed).name, part)


def _print(main: Callable[[list[str]], None], *args: str) -> str:
    """Runs a command and returns what it prints."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        main(list(args))
    return printed.getvalue()


def _use(root: pathlib.Path) -> str:
    """Uses all of a dataset and a model; returns what is printed."""
    records, model = ["--records", str(root / RECORDS)], ["--model_dir", str(root / MODEL)]
    texts = ["a great film", "an awful film, i hated it"]
    return "".join(
        [
            *(
                _print(inspect_records.main, *records, f"--split={split}", "--count=1000")
                for split in (spec.TRAIN, spec.TEST)
            ),
            _print(predict.main, *model, "--json", *texts),
            _print(evaluate.main, *records, *model),
        ]
    )


@functools.cache
def _expected() -> str:
    return _use(_made(0))


def _trial(rng: random.Random, work_dir: str, *, part: str, damage: Damage) -> str:
    """Damages a copy of a part, uses it, and returns the outcome."""
    root = pathlib.Path(work_dir)
    for name in (RECORDS, MODEL):
        shutil.copytree(_made(0, name), root / name)
    named = damage(rng, root / part)
    try:
        result = _use(root)
    except BadInput as error:
        is_named = any(name in str(error) for name in named)
        return REFUSED if is_named else f"WRONG: {named} refused as: {error}"
    except Exception as error:
        return f"WRONG: {named} ended in {type(error).__name__}: {error}"
    if result != _expected():
        return f"WRONG: {named} gave other results"
    # Logs, requests to warm up a server, and what is hidden.
    if not all(checksums.has_no_sum(name) or name.startswith(".") for name in named):
        return f"WRONG: {named} went unnoticed"
    return HARMLESS


def _files(folder: pathlib.Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def _not_empty(folder: pathlib.Path) -> list[str]:
    return [name for name in _files(folder) if (folder / name).stat().st_size]


def _flip_bit(rng: random.Random, folder: pathlib.Path) -> list[str]:
    name = rng.choice(_not_empty(folder))
    content = bytearray((folder / name).read_bytes())
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    (folder / name).write_bytes(content)
    return [name]


def _truncate(rng: random.Random, folder: pathlib.Path) -> list[str]:
    name = rng.choice(_not_empty(folder))
    os.truncate(folder / name, rng.randrange((folder / name).stat().st_size))
    return [name]


def _delete(rng: random.Random, folder: pathlib.Path) -> list[str]:
    name = rng.choice(_files(folder))
    (folder / name).unlink()
    return [name]


def _swap(rng: random.Random, folder: pathlib.Path) -> list[str]:
    """Swaps two shards of a dataset, or two files of a model."""
    names = [name for name in _files(folder) if folder.name == MODEL or ".tfrecord" in name]
    one, other = rng.sample(names, 2)
    first = (folder / one).read_bytes()
    shutil.copyfile(folder / other, folder / one)
    (folder / other).write_bytes(first)
    return [one, other]


def _mix_in(rng: random.Random, folder: pathlib.Path) -> list[str]:
    """Replaces a file with one of another run that has the same name but other bytes."""
    other = _made(1, folder.name)
    both = [name for name in _files(folder) if (other / name).is_file()]
    differ = [name for name in both if not filecmp.cmp(other / name, folder / name, shallow=False)]
    name = rng.choice(differ)
    shutil.copyfile(other / name, folder / name)
    return [name]


def _add(rng: random.Random, folder: pathlib.Path) -> list[str]:
    """Adds a copy of a file, where a reader might take it for part of the data."""
    copied, name = rng.choice(ADDED[folder.name])
    (folder / name).parent.mkdir(exist_ok=True)
    shutil.copyfile(folder / copied, folder / name)
    return [name]


def _faults(name: str, part: str) -> dict[str, Callable[[random.Random, str], str]]:
    """Returns what was done: a trial of it, which takes an empty folder to work in."""
    done = {
        "a bit flipped in a file of": _flip_bit,
        "a file cut short in": _truncate,
        "a file deleted from": _delete,
        "two files swapped in": _swap,
        "a file of another run in": _mix_in,
        "a file added to": _add,
    }
    return {
        f"{what} a {name}": functools.partial(_trial, part=part, damage=damage)
        for what, damage in done.items()
    }


DATASETS, MODELS = _faults("dataset", RECORDS), _faults("model", MODEL)
