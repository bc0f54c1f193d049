"""Paths of folders, before anything is written."""

import pytest

from model import train
from model.tune import __main__ as tune
from pipelines import download
from pipelines.preprocess import __main__ as preprocess
from textrecords import storage
from textrecords.errors import BadInput


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a", "a/b"),
        ("a/b/c", "a"),
        ("a", "link/b"),
        ("link", "a"),
        ("x/../a/b", "a/"),
        ("gs://bucket/in", "gs://bucket/in/out"),
        ("gs://bucket/in/", "gs://bucket/in"),
    ],
)
def test_folders_inside_each_other_are_refused(tmp_path, monkeypatch, one, other):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").mkdir()
    (tmp_path / "link").symlink_to("a")
    for folders in ({"records": one, "model_dir": other}, {"records": other, "model_dir": one}):
        with pytest.raises(BadInput, match=r"^--(records|model_dir) .*--(records|model_dir)"):
            storage.check_apart(**folders)


def test_folders_next_to_each_other_are_fine(tmp_path):
    out = tmp_path / "out"
    storage.check_apart(records=f"{out}/records", model_dir=f"{out}/records2", cache=f"{out}/c")
    storage.check_apart(input="gs://bucket/a", output="gs://bucket/ab")


def test_preprocess_refuses_an_output_inside_the_input(tmp_path):
    flags = ["--input", str(tmp_path), "--output", str(tmp_path / "train/records")]
    with pytest.raises(BadInput) as error:
        preprocess.main(flags)
    assert str(error.value) == (
        f"--output {tmp_path}/train/records is inside --input {tmp_path}: name a folder outside it"
    )


@pytest.mark.parametrize(
    ("model_dir", "more"),
    [("r/model", []), (".", []), ("m", ["--cache", "r/cache"]), ("m", ["--cache", "m/cache"])],
)
def test_train_refuses_folders_inside_each_other(tmp_path, monkeypatch, model_dir, more):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadInput, match=r" is inside --"):
        train.main(["--records", "r", "--model_dir", model_dir, *more])


def test_tune_refuses_an_output_inside_the_records_but_takes_records_of_its_own(tmp_path):
    records = tmp_path / "t/records"
    with pytest.raises(BadInput, match=r"^--output .* is inside --records"):
        tune.main(["--records", str(records), "--output", str(records / "t")])
    with pytest.raises(BadInput, match="no records folder"):
        tune.main(["--records", str(records), "--output", str(tmp_path / "t")])


def test_download_refuses_an_archive_inside_the_output(tmp_path):
    (tmp_path / "a.tar").write_bytes(b"")
    with pytest.raises(BadInput, match=r"^--archive .* is inside --output"):
        download.main(["--archive", str(tmp_path / "a.tar"), "--output", str(tmp_path)])
