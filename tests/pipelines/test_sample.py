"""`pipelines.sample`: the same flags give the same reviews, in the layout of the IMDb set."""

import hashlib
import os
import re
import subprocess
import sys

import pytest

from pipelines import sample
from textrecords.errors import BadInput

# The sample of seed 0: a change of it changes every score that was measured on it.
SHA256_OF_FIRST_60 = "8b295aa1a6f6ad5f556aa9aeb919c14eb47695e8f39a896925fdef232dbca888"


def tree(folder):
    return {
        os.path.relpath(path, folder): open(path, "rb").read()
        for path in (os.path.join(at, name) for at, _, names in os.walk(folder) for name in names)
        if os.path.basename(path) != sample.MARKER
    }


def texts(count, seed=0):
    return dict(sample.review(seed, number) for number in range(count))


def digest(files):
    return hashlib.sha256(repr(sorted(files.items())).encode()).hexdigest()


def test_layout_ids_and_stars(tmp_path):
    sample.write(str(tmp_path / "out"), count=12, seed=0)
    found = sorted(re.sub(r"_\d+\.txt", "", name) for name in tree(tmp_path / "out"))
    train = [f"train/{label}/{index}" for label in ("neg", "pos") for index in range(4)]
    test = [f"test/{label}/{index}" for label in ("neg", "pos") for index in range(2)]
    assert found == sorted(train + test)
    stars = {label: set() for label in sample.CLASSES}
    for path in texts(300):
        _, label, name = path.split("/")
        stars[label].add(int(re.fullmatch(r"\d+_(\d+)\.txt", name)[1]))
    assert stars == {"neg": {1, 2, 3, 4}, "pos": {7, 8, 9, 10}}


@pytest.mark.parametrize("count", [6, 7, 8, 9, 3000])
def test_two_thirds_train_and_balanced_classes(count):
    places = [path.rsplit("/", 1)[0] for path in texts(count)]
    train = [places.count(f"train/{label}") for label in sample.CLASSES]
    test = [places.count(f"test/{label}") for label in sample.CLASSES]
    assert sum(test) == count // 3
    assert sum(train) == count - count // 3
    assert abs(train[0] - train[1]) <= 1
    assert abs(test[0] - test[1]) <= 1


def test_files_are_the_reviews_and_repeat_byte_for_byte(tmp_path, monkeypatch):
    monkeypatch.setattr(sample, "BLOCK", 7)  # several blocks, so several processes
    sample.write(str(tmp_path / "out"), count=60, seed=0)
    files = tree(tmp_path / "out")
    assert files == {path: text.encode() for path, text in texts(60).items()}
    assert digest(files) == SHA256_OF_FIRST_60


def test_a_larger_sample_contains_the_smaller_one():
    assert texts(60).items() <= texts(100).items()


def test_another_seed_gives_other_reviews():
    assert not set(texts(300).values()) & set(texts(300, seed=1).values())


def test_no_text_occurs_twice():
    assert len(set(texts(3000).values())) == 3000


def test_lengths_vary_with_a_long_tail():
    words = sorted(len(text.split()) for text in texts(3000).values())
    assert words[0] >= 4
    assert words[600] < 12
    assert 80 < words[1500] < 150
    assert 200 < words[-300] < words[-1] <= 700


@pytest.mark.parametrize(
    "pattern",
    [
        r"<br /><br />",
        r"not a \w+ film",
        r"never \w+",
        r"I didn't hate",
        r"[Aa]lthough .*, ",
        r", but ",
        r"; still, ",
        r"[A-Z]{4,} [A-Z]{4,}",
        r"!!",
        r"\.\.\.",
        r"\? ",
        r'"',
        r"\w-\w",
        r"\d",
        r"é",
        r"東京",
    ],
)
def test_reviews_resemble_real_ones(pattern):
    found = sum(bool(re.search(pattern, text)) for text in texts(600).values())
    assert 0 < found < 600


def test_the_whole_sample_is_replaced(tmp_path):
    output = tmp_path / "out"
    sample.write(str(output), count=30, seed=0)
    sample.write(str(output), count=6, seed=1)
    assert tree(output) == {path: text.encode() for path, text in texts(6, seed=1).items()}
    assert os.listdir(tmp_path) == ["out"]


def test_a_users_own_reviews_are_not_replaced(tmp_path):
    (tmp_path / "train" / "pos").mkdir(parents=True)
    (tmp_path / "train" / "pos" / "0.txt").write_text("mine")
    with pytest.raises(BadInput, match="contains train, which would be lost"):
        sample.write(str(tmp_path), count=6, seed=0)
    assert tree(tmp_path) == {"train/pos/0.txt": b"mine"}


def test_a_folder_with_something_else_is_refused_and_untouched(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(BadInput, match=r"contains mine\.txt, which would be lost"):
        sample.write(str(tmp_path), count=6, seed=0)
    assert tree(tmp_path) == {"mine.txt": b"mine"}


@pytest.mark.parametrize("flags", [["--count=5"], ["--count=x"], ["--seed=-1"]])
def test_a_flag_out_of_range_is_refused(flags, tmp_path):
    with pytest.raises(BadInput, match=f"argument {flags[0][:6]}"):
        sample.main([*flags, f"--output={tmp_path / 'out'}"])
    assert os.listdir(tmp_path) == []


def test_command_writes_the_sample_and_reports_its_size(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "pipelines.sample", "--output", tmp_path / "out", "--count=9"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.endswith(f"{tmp_path / 'out'}: 9 reviews\n")
    assert tree(tmp_path / "out") == {path: text.encode() for path, text in texts(9).items()}


def test_command_refuses_a_count_out_of_range_in_one_line(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "pipelines.sample", "--output", tmp_path / "out", "--count=5"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: argument --count: must be at least 6")
    assert done.stderr.count("\n") == 1
    assert os.listdir(tmp_path) == []
