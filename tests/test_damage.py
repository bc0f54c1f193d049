"""A dataset that isn't as it was written is refused, by the name of the file, before any use."""

import json
import os
import re
import shutil

import pytest
import tiny_dataset

from model import evaluate, train
from pipelines import contract, inspect_records, preprocess, verify


@pytest.fixture
def records(tmp_path):
    tiny_dataset.write(
        tmp_path / "records", {"train": [("a b a", 0), ("b", 1)], "test": [("a", 0)]}
    )
    return tmp_path / "records"


def check(records):
    contract.check_whole(str(records), contract.read_manifest(str(records)))


def all_files(records):
    return sorted(
        os.path.relpath(os.path.join(folder, name), records)
        for folder, _, names in os.walk(records)
        for name in names
    )


def test_whole_records_are_fine(records):
    check(records)
    assert len(all_files(records)) == 4 + 4 + 5  # shards; descriptions; transform graph


@pytest.mark.parametrize("position", [0, 20, -1])
def test_one_bit_of_any_file_is_noticed(records, position):
    for name in all_files(records):
        content = bytearray((records / name).read_bytes())
        if name in (contract.MANIFEST, contract.RUN) or len(content) <= max(position, 0):
            continue
        content[position] ^= 1
        (records / name).write_bytes(content)
        with pytest.raises(contract.BadInput, match=f"{name} is not what the manifest says"):
            check(records)
        content[position] ^= 1
        (records / name).write_bytes(content)
    check(records)


def test_any_missing_file_is_named(records):
    for name in all_files(records):
        os.rename(records / name, records / "away")
        with pytest.raises(contract.BadInput, match=rf"{name} is missing|holds no {name}"):
            check(records)
        os.rename(records / "away", records / name)
    check(records)


def test_a_shard_of_another_dataset_is_named(records):
    shutil.copy(records / "train-00000-of-00002.tfrecord", records / "test-00003-of-00004.tfrecord")
    with pytest.raises(contract.BadInput, match=r"test-00003-of-00004\.tfrecord is of another"):
        check(records)


@pytest.mark.parametrize("damaged", ["test-00000-of-00002.tfrecord", contract.VOCABULARY])
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
        (preprocess, [*source, "--output", str(records), "--if_needed"]),
    ]:
        with pytest.raises(contract.BadInput, match=f"{damaged} is missing"):
            command.main(arguments)
    assert os.listdir(tmp_path) == ["records"]


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        (("flags",), {}, "flags.classes: Field required"),
        (("flags", "max_tokens"), "many", "flags.max_tokens: Input should be a valid integer"),
        (("flags", "compression"), None, "flags.compression: Input should be a valid string"),
        (("splits", "train", "examples"), "x", "splits.train.examples: Input should be a valid"),
        (("splits", "train", "shards", 0, "file"), [], "file: Input should be a valid string"),
        (("splits", "train", "shards", 0, "file"), "../../x", "../../x is no name of a shard"),
        (("classes",), [None], "classes.0: Input should be a valid string"),
        (("vocabulary", "size"), None, "vocabulary.size: Input should be a valid integer"),
    ],
)
def test_a_broken_manifest_is_refused_by_the_field(records, field, value, message):

    path = records / contract.MANIFEST
    manifest = json.loads(path.read_text())
    *parents, last = field
    place = manifest
    for name in parents:
        place = place[name]
    place[last] = value
    path.write_text(json.dumps(manifest))
    with pytest.raises(contract.BadInput, match=re.escape(message)) as error:
        contract.read_manifest(str(records))
    assert "\n" not in str(error.value)
