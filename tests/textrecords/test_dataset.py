"""The manifest of a dataset, and changes to it while the dataset is read."""

import dataclasses
import os
import shutil

import pytest
import tiny_dataset

from textrecords import checksums, spec
from textrecords.dataset import open_dataset
from textrecords.errors import BadInput, Failure


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", "null", f'{{"format_version": {spec.FORMAT_VERSION}}}', "{"]
)
def test_a_broken_manifest_is_refused_in_one_line(tmp_path, text):
    (tmp_path / spec.MANIFEST).write_text(text)
    with pytest.raises(BadInput, match=r"manifest\.json can't be read") as error:
        open_dataset(str(tmp_path))
    assert "\n" not in str(error.value)


def test_a_dataset_replaced_while_it_is_read_is_noticed(tmp_path):
    records = str(tmp_path / "records")
    tiny_dataset.write(records, {"train": [("a", 0), ("b", 1)]})
    dataset = open_dataset(records)
    dataset.check_unchanged()
    shutil.rmtree(records)
    tiny_dataset.write(records, {"train": [("a", 0), ("c", 1)]})
    with pytest.raises(Failure, match="was replaced while it was being read: run again"):
        dataset.check_unchanged()


def test_a_dataset_replaced_while_it_is_checked_is_no_mix_of_both(tmp_path, monkeypatch):
    tiny_dataset.write(tmp_path / "records", {"train": [("a", 0), ("b", 1)]})
    tiny_dataset.write(tmp_path / "next", {"train": [("a", 0), ("c", 1)]})
    sha256 = checksums.sha256
    moves = [("records", "old"), ("next", "records")]

    def replace_and_hash(path):
        while moves:
            source, target = moves.pop(0)
            os.rename(tmp_path / source, tmp_path / target)
        return sha256(path)

    monkeypatch.setattr(checksums, "sha256", replace_and_hash)
    with pytest.raises(BadInput, match="has changed since SHA256SUMS was written"):
        open_dataset(str(tmp_path / "records"))
    assert open_dataset(str(tmp_path / "records")).manifest.splits["train"].examples == 2


@pytest.mark.parametrize(
    ("made_with", "size", "refused"),
    [
        ({"max_tokens": 5}, (5, 9), None),
        ({"max_tokens": 5}, (6, 9), "--max_tokens 6: the records were made with 5"),
        ({"max_tokens": 6}, (9, 9), None),  # the vocabulary of 5 is whole
        ({"max_tokens": 5, "max_len": 3}, (5, 3), None),
        ({"max_tokens": 5, "max_len": 3}, (5, 4), "--max_len 4: the records were made with 3"),
    ],
)
def test_a_network_may_read_as_much_as_the_records_hold(tmp_path, made_with, size, refused):
    tiny_dataset.write(tmp_path / "records", {"train": [("good bad film", 0)]})
    manifest = open_dataset(str(tmp_path / "records")).manifest
    assert manifest.vocabulary.size == 5
    flags = dataclasses.replace(manifest.flags, **made_with)
    manifest = dataclasses.replace(manifest, flags=flags)
    if refused is None:
        manifest.check_fits(spec.InputSize(*size))
        return
    with pytest.raises(BadInput) as raised:
        manifest.check_fits(spec.InputSize(*size))
    flag = " ".join(refused.split()[:2]).rstrip(":")
    assert str(raised.value) == (f"{refused}; give at most that, or preprocess again with {flag}")
