"""What stands in a dataset's manifest, and whether it is the same all the while."""

import os
import shutil

import pytest
import tiny_dataset

from pipelines import commands, contract, files


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", '{"format_version": 3}', "{"])
def test_a_broken_manifest_is_refused_in_one_line(tmp_path, text):
    (tmp_path / contract.MANIFEST).write_text(text)
    with pytest.raises(commands.BadInput, match=r"manifest\.json can't be read") as error:
        contract.read_manifest(str(tmp_path))
    assert "\n" not in str(error.value)


def test_a_dataset_replaced_while_it_is_read_is_noticed(tmp_path):
    records = str(tmp_path / "records")
    tiny_dataset.write(records, {"train": [("a", 0), ("b", 1)]})
    manifest = contract.read_manifest(records)
    contract.check_unchanged(records, manifest)
    shutil.rmtree(records)
    tiny_dataset.write(records, {"train": [("a", 0), ("c", 1)]})
    with pytest.raises(commands.Failure, match="was replaced while it was being read: run again"):
        contract.check_unchanged(records, manifest)


def test_a_dataset_replaced_while_it_is_checked_is_no_mix_of_both(tmp_path, monkeypatch):
    tiny_dataset.write(tmp_path / "records", {"train": [("a", 0), ("b", 1)]})
    tiny_dataset.write(tmp_path / "next", {"train": [("a", 0), ("c", 1)]})
    sha256 = files.sha256
    moves = [("records", "old"), ("next", "records")]

    def replace_and_hash(path):
        while moves:
            source, target = moves.pop(0)
            os.rename(tmp_path / source, tmp_path / target)
        return sha256(path)

    monkeypatch.setattr(files, "sha256", replace_and_hash)
    with pytest.raises(commands.BadInput, match="isn't what it was when SHA256SUMS was written"):
        contract.read_manifest(str(tmp_path / "records"))
    assert contract.read_manifest(str(tmp_path / "records")).splits["train"].examples == 2
