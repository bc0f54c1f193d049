"""What is kept of a finished shard, and when it is taken; test_finished_shards.py stops runs."""

import base64
import collections
import dataclasses
import functools
import hashlib
import importlib.metadata
import json
import os
import zlib

import numpy as np
import pytest
from stage_contract import plain
from tiny_tree import write

from pipelines import findings, sharding
from pipelines.findings import finding
from pipelines.preprocess import finished_shards, write_shards
from pipelines.preprocess.finished_shards import Finished, FinishShard
from pipelines.preprocess.review_batches import Review
from pipelines.preprocess.transform import TextOptions
from pipelines.preprocess.write_shards import Unwritten, WriteShard, Written
from textrecords import spec, text_source
from textrecords.manifest import Shard

CONTENT = b"the records"
SHA256 = hashlib.sha256(CONTENT).hexdigest()
NAME = "train-00002-of-00004.tfrecord"
SHARD = Shard(NAME, 2, len(CONTENT), SHA256)
NOTED = [
    finding("short", [b"a"], split="train"),
    finding("HTML", [b"\xff"], split="train"),
    finding("short", [b"c"], split="train"),
]
WRITTEN = Written(
    (SHARD,),
    np.array([3, 1]),
    collections.Counter({7: 2, 1: 3}),
    np.array([0, 4, 2**40]),
    collections.Counter({"short": 2, "HTML": 1}),
    sharding.Keys(2, 2**64 - 1),
)
REUSED = dataclasses.replace(WRITTEN, reused=1)
COUNTS = b"".join(number.to_bytes(8, "little") for number in (0, 4, 2**40))
FINISHED = Finished(
    made_of="made of this",
    shard=SHARD,
    label_counts=[3, 1],
    length_counts={7: 2, 1: 3},
    id_counts=base64.b64encode(zlib.compress(COUNTS)).decode(),
    keys=sharding.Keys(2, 2**64 - 1),
    findings=[
        '{"finding": "short", "split": "train", "keys": ["a"]}',
        '{"finding": "HTML", "split": "train", "keys": ["\\udcff"]}',
        '{"finding": "short", "split": "train", "keys": ["c"]}',
    ],
)


def test_a_marker_keeps_all_results_of_writing():
    assert Finished.of("made of this", WRITTEN, NOTED) == FINISHED
    written, found = FINISHED.written()
    assert plain(written) == plain(REUSED)
    assert found == NOTED
    assert isinstance(written.length_counts, collections.Counter)
    assert written.id_counts.dtype == np.int64
    assert Finished.of("made of this", written, found) == FINISHED


def test_counts_of_no_class_stay_integers():
    nothing = dataclasses.replace(write_shards._nothing(0, 0), shards=(SHARD,))
    written, found = Finished.of("", nothing, []).written()
    assert plain(written) == plain(dataclasses.replace(nothing, reused=1))
    assert written.label_counts.dtype == written.id_counts.dtype == np.int64
    assert found == []


def test_a_marker_is_its_checksum_and_its_json(tmp_path):
    path = str(tmp_path / "marker")
    FINISHED.write(path)
    content = json.dumps(
        {
            "made_of": "made of this",
            "shard": {"file": NAME, "examples": 2, "bytes": 11, "sha256": SHA256},
            "label_counts": [3, 1],
            "length_counts": {"7": 2, "1": 3},
            "id_counts": FINISHED.id_counts,
            "keys": {"number": 2, "hashes": 2**64 - 1},
            "findings": FINISHED.findings,
        },
        indent=2,
    )
    sha256 = hashlib.sha256(f"{content}\n".encode()).hexdigest()
    assert (tmp_path / "marker").read_text() == f"{sha256}\n{content}\n"
    assert os.listdir(tmp_path) == ["marker"]
    assert Finished.read(path) == FINISHED


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text.replace('"examples": 2', '"examples": 3'),
        lambda text: f"0{text[1:]}" if text[0] != "0" else f"1{text[1:]}",
        lambda text: text[:-1],
        lambda text: text.partition("\n")[2],
        lambda text: "",
    ],
)
def test_a_damaged_marker_is_refused(tmp_path, damage):
    path = tmp_path / "marker"
    FINISHED.write(str(path))
    path.write_text(damage(path.read_text()))
    with pytest.raises(ValueError) as error:
        Finished.read(str(path))
    assert str(error.value) == f"{path} isn't what was written"


def leave(folder, made_of="made of this", content=CONTENT):
    """Writes a finished shard, as an interrupted run leaves it; returns its path."""
    write(folder, {NAME: content})
    dataclasses.replace(FINISHED, made_of=made_of).write(str(folder / f".{NAME}.finished"))
    return str(folder / NAME)


def test_a_shard_made_of_the_same_is_taken_as_it_is(tmp_path):
    left, path = leave(tmp_path / "left"), str(tmp_path / NAME)
    assert finished_shards._take(left, path, "made of this") == FINISHED
    assert os.path.samefile(left, path)
    assert sorted(os.listdir(tmp_path)) == ["left", NAME]


@pytest.mark.parametrize(
    ("made_of", "content", "message"),
    [
        ("something else", CONTENT, "was made from something else"),
        ("made of this", CONTENT[::-1], "isn't what was written"),
        ("made of this", CONTENT[:-1], "isn't what was written"),
    ],
)
def test_no_other_shard_is_taken(tmp_path, made_of, content, message):
    left = leave(tmp_path / "left", made_of, content)
    with pytest.raises(ValueError) as error:
        finished_shards._take(left, str(tmp_path / NAME), "made of this")
    assert str(error.value) == f"{left} {message}"
    assert os.listdir(tmp_path) == ["left"]


def review(key, **changes):
    whole = Review(b"words", key, 1, 5, b"\x01text", None, 0, b"anywhere")
    return whole._replace(**changes)


REVIEWS = [review(b"%d" % n) for n in range(3)] + [review(b"\xff", label=0, seems_in="latin-1")]
CLASSES = ("bad", "good")


@pytest.fixture
def graph(tmp_path):
    write(tmp_path / "graph", {spec.ASSET: "film\ngood\n"})
    return str(tmp_path / "graph")


@pytest.fixture
def finish(tmp_path):
    """A stage with folders of finished shards, the first of them missing."""
    (tmp_path / "out").mkdir()
    options = TextOptions(max_tokens=9, stop_words=("the",))
    source = text_source.Source("anywhere", encoding="utf-16")
    stage = WriteShard(source, str(tmp_path / "out"), "none", options, 3)
    return FinishShard(stage, tuple(str(tmp_path / name) for name in ("missing", "one", "two")))


@pytest.fixture
def writes(monkeypatch):
    """The arguments of each call that writes a shard, which only writes some bytes."""
    calls = []

    def write_bytes(self, shard, *more):
        calls.append((shard, *more))
        write(self.output_dir, {shard.name: CONTENT})
        return WRITTEN, NOTED

    monkeypatch.setattr(WriteShard, "write", write_bytes)
    return calls


def finished(stage, graph, classes=CLASSES):
    """Returns what a stage yields for a shard of train, in a comparable form."""
    lists = [[tuple(each) for each in REVIEWS[2:]], [tuple(each) for each in REVIEWS[:2]]]
    outputs = stage.finish((("train", 2), lists), graph, {"train": 4, "test": 1}, classes)
    return [plain(each) for each in outputs]


FOUND = (findings.FINDINGS, plain(findings.tag_findings(NOTED).value))
OUTPUT = [["train", plain(WRITTEN)], FOUND]
OUTPUT_REUSED = [["train", plain(REUSED)], FOUND]


def test_what_a_shard_is_made_of(finish, graph, monkeypatch):
    monkeypatch.setattr(importlib.metadata, "version", lambda package: f"{package}-1")
    versions = ["textrecords", "apache-beam", "tensorflow", "tensorflow-transform", "pyarrow"]
    parts = [
        (spec.FORMAT_VERSION, spec.DATA_VERSION, NAME),
        [f"{package}-1" for package in versions],
        (CLASSES, "none", 3, "utf-16"),
        (9, None, ("the",), (), "whitespace", False, False),
        hashlib.sha256(b"film\ngood\n").hexdigest(),
        *((b"%d" % n, 1, 5, b"\x01text", None) for n in range(3)),
        (b"\xff", 0, 5, b"\x01text", "latin-1"),
    ]
    expected = hashlib.sha256("".join(f"{part!r}\n" for part in parts).encode()).hexdigest()
    assert finish._made_of(Unwritten("train", NAME, REVIEWS), graph, CLASSES) == expected


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_a_shard_is_written_and_marked_if_none_is_left(
    finish, graph, writes, tmp_path, compression
):
    to_file = dataclasses.replace(finish.write_shard, compression=compression)
    stage = dataclasses.replace(finish, write_shard=to_file)
    assert finished(stage, graph) == OUTPUT
    name = NAME + (".gz" if compression == "gzip" else "")
    unwritten = Unwritten("train", name, write_shards.in_order([REVIEWS]))
    assert writes == [(unwritten, graph, CLASSES)]
    assert sorted(os.listdir(tmp_path / "out")) == [f".{name}.finished", name]
    made_of = stage._made_of(unwritten, graph, CLASSES)
    assert Finished.read(str(tmp_path / "out" / f".{name}.finished")) == dataclasses.replace(
        FINISHED, made_of=made_of
    )


def test_a_shard_that_is_left_is_reused_and_marked_as_that(finish, graph, writes, tmp_path):
    unwritten = Unwritten("train", NAME, write_shards.in_order([REVIEWS]))
    made_of = finish._made_of(unwritten, graph, CLASSES)
    leave(tmp_path / "one", made_of, CONTENT[::-1])  # damaged
    left = leave(tmp_path / "two", made_of)
    assert finished(finish, graph) == OUTPUT_REUSED
    assert writes == []
    out = tmp_path / "out"
    assert os.path.samefile(left, out / NAME)
    assert sorted(os.listdir(out)) == [f".{NAME}.finished", f".{NAME}.reused", NAME]
    assert (out / f".{NAME}.reused").read_text() == ""
    marker = f".{NAME}.finished"
    assert (out / marker).read_bytes() == (tmp_path / "two" / marker).read_bytes()
    # The first that fits is taken.
    (tmp_path / "one" / NAME).unlink()
    first = leave(tmp_path / "one", made_of)
    assert finished(finish, graph) == OUTPUT_REUSED
    assert os.path.samefile(first, out / NAME)
    # Of other classes, none fits.
    assert finished(finish, graph, ("good", "bad")) == OUTPUT
    assert writes == [(unwritten, graph, ("good", "bad"))]


def test_written_shards_are_counted_apart_from_reused_ones(monkeypatch):
    counted = []
    for name, method in {"RECORDS": "inc", "SHARD_BYTES": "update", "SHARDS_REUSED": "inc"}.items():
        add = functools.partial(_add, counted, name)
        monkeypatch.setattr(getattr(finished_shards, name), method, add)
    for written in (WRITTEN, REUSED):
        assert finished_shards.count(("train", written)) == ("train", written)
    assert counted == [("RECORDS", 2), ("SHARD_BYTES", len(CONTENT)), ("SHARDS_REUSED", 1)]


def _add(counted, name, number=1):
    counted.append((name, number))
