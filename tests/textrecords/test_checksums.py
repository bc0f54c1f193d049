"""A dataset or model that isn't as it was written is refused before any use, by the file's name."""

import collections
import hashlib
import io
import json
import os
import random
import re
import subprocess

import pytest
import tiny_dataset
from soak import damage
from tiny_tree import write

from model import evaluate, predict, train
from pipelines import inspect_records
from pipelines.verify import __main__ as verify
from textrecords import checksums, spec, storage
from textrecords.dataset import open_dataset
from textrecords.errors import BadInput


@pytest.fixture
def records(tmp_path):
    tiny_dataset.write(
        tmp_path / "records", {"train": [("a b a", 0), ("b", 1)], "test": [("a", 0)]}
    )
    return tmp_path / "records"


def check(records):
    checksums.check(str(records), "preprocess")


def all_files(records):
    return sorted(
        os.path.relpath(os.path.join(folder, name), records)
        for folder, _, names in os.walk(records)
        for name in names
    )


def test_complete_records_are_fine(records):
    check(records)
    assert len(all_files(records)) == 4 + 3 + 5  # shards; descriptions; transform graph


def test_the_sums_are_those_of_sha256sum(records):
    done = subprocess.run(["sha256sum", "--check", "SHA256SUMS"], cwd=records, capture_output=True)
    assert done.stdout.decode() == "".join(
        f"{name}: OK\n" for name in all_files(records) if name != checksums.SUMS
    )


@pytest.mark.parametrize("position", [0, 20, 65, -1])
def test_one_bit_of_any_file_is_noticed(records, position):
    for name in all_files(records):
        content = bytearray((records / name).read_bytes())
        if len(content) <= max(position, 0):
            continue
        content[position] ^= 1
        (records / name).write_bytes(content)
        with pytest.raises(BadInput, match=name):
            check(records)
        content[position] ^= 1
        (records / name).write_bytes(content)
    check(records)


def test_any_missing_file_is_named(records):
    for name in all_files(records):
        os.rename(records / name, records / ".away")
        with pytest.raises(BadInput, match=rf"{name} is missing"):
            check(records)
        os.rename(records / ".away", records / name)
    check(records)


@pytest.mark.parametrize("name", ["test-00003-of-00004.tfrecord", "transform_fn/new/file", "notes"])
def test_a_file_too_many_is_named(records, name):
    write(records, {name: "x"})
    with pytest.raises(BadInput, match=f"{name} isn't listed in SHA256SUMS"):
        check(records)


def test_a_link_to_a_folder_is_a_file_too_many(records, tmp_path):
    (records / "more").symlink_to(tmp_path)
    with pytest.raises(BadInput, match="more isn't listed in SHA256SUMS"):
        check(records)


def test_hidden_files_and_logs_may_change(records):
    write(records, {".DS_Store": "x", "logs/train/events": "x", "transform_fn/.nfs": "x"})
    check(records)


@pytest.mark.parametrize("name", [checksums.SUMS, spec.MANIFEST, "test-00000-of-00002.tfrecord"])
def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(records, name):
    os.remove(records / name)
    os.mkfifo(records / name)
    with pytest.raises(BadInput, match=rf"{name} is missing|has no {name}"):
        open_dataset(str(records))


def test_an_unreadable_file_is_named(records):
    os.remove(records / spec.SCHEMA)
    (records / spec.SCHEMA).symlink_to("/proc/self/mem")  # reading it is an error
    with pytest.raises(BadInput, match=r"schema\.pbtxt can't be read .*Input/output"):
        check(records)


@pytest.mark.parametrize("text", ["\xff", "no sum\n"])
def test_invalid_sums_are_named(records, text):
    (records / checksums.SUMS).write_text(text, encoding="latin-1")
    with pytest.raises(BadInput, match="SHA256SUMS can't be read"):
        check(records)


@pytest.mark.parametrize("name", ["../outside", "{absolute}/outside", "transform_fn/../../outside"])
def test_the_sums_lead_to_no_file_outside(records, tmp_path, name):
    (tmp_path / "outside").write_text("x")
    path = name.format(absolute=tmp_path)
    with open(records / checksums.SUMS, "a") as file:
        file.write(f"{checksums.sha256(str(tmp_path / 'outside'))}  {path}\n")
    with pytest.raises(BadInput, match="outside is missing, but listed in SHA256SUMS"):
        check(records)


@pytest.mark.parametrize("damaged", ["test-00000-of-00002.tfrecord", spec.VOCABULARY])
def test_every_command_refuses_before_it_works(records, tmp_path, damaged):
    os.remove(records / damaged)
    flags = ["--records", str(records)]
    model = ["--model_dir", str(tmp_path / "model")]
    source = ["--input", str(tmp_path / "in")]
    for command, arguments in [
        (train, [*flags, *model]),
        (evaluate, [*flags, *model]),
        (inspect_records, flags),
        (verify, [*flags, *source]),
    ]:
        with pytest.raises(BadInput, match=f"{damaged} is missing"):
            command.main(arguments)
    assert os.listdir(tmp_path) == ["records"]


@pytest.mark.integration
def test_without_sums_damage_would_go_unnoticed(tmp_path, monkeypatch):
    """So the trials can fail."""
    monkeypatch.setattr(checksums, "check", lambda *_: None)
    swapped = damage.DATASETS["two files swapped in a dataset"](random.Random(0), str(tmp_path))
    assert swapped.startswith("WRONG: ")


@pytest.mark.integration
def test_no_verify_takes_files_as_they_are(records, tmp_path, capsys):
    model = tmp_path / "model"
    flags = ["--records", str(records), "--model_dir", str(model)]
    small = ["--max_len=4", "--embedding_dim=2", "--lstm_units=2", "--dense_units=2", "--epochs=1"]
    steps = [
        (inspect_records.main, flags[:2]),
        (train.main, [*flags, *small]),
        (evaluate.main, flags),
        (predict.main, [*flags[2:], "a film"]),
    ]
    (records / spec.SCHEMA).write_text("changed")
    for main, arguments in steps:
        main([*arguments, "--no_verify"])
        if model.exists():
            (model / "metrics.json").write_text("changed")
        with pytest.raises(BadInput, match=r"(schema\.pbtxt|metrics\.json) has changed"):
            main(arguments)
    assert capsys.readouterr().out.splitlines()[-1].endswith("a film")


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        (("audit",), {}, "audit.shards: Field required"),
        (("flags", "max_tokens"), "many", "flags.max_tokens: Input should be a valid integer"),
        (("flags", "compression"), None, "flags.compression: Input should be 'none' or 'gzip'"),
        (("splits", "train", "examples"), "x", "splits.train.examples: Input should be a valid"),
        (("splits", "train", "shards", 0, "file"), [], "file: Input should be a valid string"),
        (
            ("splits", "train", "shards", 0, "file"),
            "../../x",
            "../../x isn't the name of shard 0 of",
        ),
        (("splits", "test", "shards", 1, "file"), "", "isn't the name of shard 1 of test"),
        (("splits", "test", "examples"), -1, "Input should be greater than or equal to 0"),
        (("splits", "test", "examples"), 99, "the shards of test don't hold 99 examples"),
        (("flags", "encoding"), "base64", "flags.encoding: Predicate 'is_encoding' failed"),
        (("splits", "../x"), {}, "splits.../x.[key]: Input should be 'train'"),
        (("vocabulary", "file"), "/etc/passwd", "vocabulary.file: Input should be"),
        (
            ("audit", "shards"),
            [{"file": "../audit-00000-of-00001.jsonl", "examples": 1, "bytes": 9, "sha256": ""}],
            "isn't the name of an audit shard",
        ),
        (("classes",), [None], "classes.0: Input should be a valid string"),
        (("vocabulary", "size"), None, "vocabulary.size: Input should be a valid integer"),
    ],
)
def test_a_broken_manifest_is_refused_by_the_field(records, field, value, message):
    path = records / spec.MANIFEST
    manifest = json.loads(path.read_text())
    *parents, last = field
    place = manifest
    for name in parents:
        place = place[name]
    place[last] = value
    path.write_text(json.dumps(manifest))
    with pytest.raises(BadInput, match=re.escape(message)) as error:
        open_dataset(str(records))
    assert "\n" not in str(error.value)


def test_a_file_may_have_two_spaces_in_its_name(tmp_path):
    write(tmp_path, {"a  b": "text", " c": ""})
    checksums.write(str(tmp_path))
    assert checksums.find_damage(str(tmp_path)) is None
    assert sorted(checksums.read(str(tmp_path))) == [" c", "a  b"]
    (tmp_path / "a  b").write_text("other")
    assert checksums.find_damage(str(tmp_path)) == (
        f"{tmp_path}/a  b has changed since SHA256SUMS was written"
    )


def test_a_large_file_is_hashed_in_parts_whose_bytes_are_counted(tmp_path, monkeypatch):
    asked = []

    class File(io.BytesIO):
        def read(self, size):
            asked.append(size)
            return super().read(size)

    monkeypatch.setattr(checksums, "READ_BYTES", 2)
    monkeypatch.setattr(checksums, "SEEN", collections.Counter(hashed=10))
    monkeypatch.setattr(storage, "reading", lambda path: File(b"abcde"))
    assert checksums.sha256("a") == hashlib.sha256(b"abcde").hexdigest()
    assert asked == [2, 2, 2, 2]
    assert checksums.SEEN == {"hashed": 15}
