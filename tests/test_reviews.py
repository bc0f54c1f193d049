import pytest
from tiny_tree import write

from pipelines import contract, reviews

GOOD = {
    "train/neg/0.txt": "bad",
    "train/neg/1.txt": "worse",
    "train/pos/0.txt": "good",
    "test/neg/0.txt": "bad",
    "test/pos/0.txt": "good",
}


def test_survey_counts_reviews_and_what_is_left_out(tmp_path):
    others = {
        "README": "",
        "train/urls.txt": "",
        "train/.hidden": "",
        "train/neg/.hidden.txt": "",
        "train/neg/notes.md": "",
        "train/pos/deeper/0.txt": "",
        "train/unsup/0.txt": "",
        "train/unsup/1.txt": "",
    }
    write(tmp_path, GOOD | others)
    tree = reviews.survey(str(tmp_path))
    assert tree.classes == ("neg", "pos")
    assert tree.examples == {"train": {"neg": 2, "pos": 1}, "test": {"neg": 1, "pos": 1}}
    assert tree.left_out == {
        "beside the class folders": 1,
        "folders and special files inside a class": 1,
        "hidden": 2,
        "not .txt": 1,
        "train/unsup: no labels": 2,
    }


def test_survey_sorts_classes_of_any_name_and_takes_a_missing_test_split(tmp_path):
    write(tmp_path, {f"train/{name}/0.txt": "x" for name in ("so so", "Ärger", "b", "a")})
    tree = reviews.survey(str(tmp_path))
    assert tree.classes == ("a", "b", "so so", "Ärger")
    assert list(tree.examples) == ["train"]


def test_classes_override_order_and_choice(tmp_path):
    write(tmp_path, GOOD | {"train/unsup/0.txt": "x", "test/unsup/0.txt": "x"})
    assert reviews.survey(str(tmp_path), ["pos", "neg"]).classes == ("pos", "neg")
    chosen = reviews.survey(str(tmp_path), ["pos", "unsup"])
    assert chosen.examples["train"] == {"pos": 1, "unsup": 1}
    assert chosen.left_out == {
        "train/neg: not a chosen class": 2,
        "test/neg: not a chosen class": 1,
    }


@pytest.mark.parametrize(
    ("files", "classes", "message"),
    [
        ({}, None, "no input folder"),
        ({"test/neg/0.txt": "x"}, None, "has no folder train"),
        ({"train/0.txt": "x"}, None, "has no class folders"),
        ({"train/unsup/0.txt": "x"}, None, "has no class folders"),
        ({"train/neg/0.txt": "x"}, None, "has one class only, neg"),
        ({"train/neg/0.txt": "x", "train/pos/0.md": "x"}, None, "pos holds no .txt files"),
        ({**GOOD, "test/meh/0.txt": "x"}, None, "has the classes meh, neg, pos, but train has"),
        ({"train/a/0.txt": "x", "train/b/0.txt": "x", "test/a/0.txt": "x"}, None, "test has the"),
        (GOOD, ["neg", "bad"], "has no folder bad: its classes are neg, pos"),
        ({**GOOD, "train/unsup/0.txt": "x"}, ["neg", "unsup"], "but train has neg, unsup"),
        (GOOD, ["neg", "neg"], "names a class twice"),
    ],
)
def test_survey_refuses_in_one_line(tmp_path, files, classes, message):
    write(tmp_path / "in", files)
    with pytest.raises(contract.BadInput) as error:
        reviews.survey(str(tmp_path / "in"), classes)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_read_batches_keeps_order_and_decodes_with_replacement(tmp_path):
    write(
        tmp_path, {"train/neg/a.txt": b"caf\xe9", "train/pos/b.txt": "ok ☺", "train/pos/c.txt": ""}
    )
    files = [(b"train/pos/b.txt", 1), (b"train/neg/a.txt", 0), (b"train/pos/c.txt", 1)]
    not_utf8 = []
    (batch,) = reviews.read_batches(str(tmp_path), files, not_utf8)
    assert batch.schema == reviews.SCHEMA
    assert batch.to_pydict() == {
        "text": [["ok ☺".encode()], ["caf\ufffd".encode()], [b""]],
        "label": [[1], [0], [1]],
        "key": [[b"train/pos/b.txt"], [b"train/neg/a.txt"], [b"train/pos/c.txt"]],
    }
    assert not_utf8 == [b"train/neg/a.txt"]


def test_read_batches_splits_at_the_batch_size(tmp_path, monkeypatch):
    monkeypatch.setattr(reviews, "BATCH_SIZE", 2)
    write(tmp_path, {f"train/a/{n}.txt": str(n) for n in range(5)})
    batches = reviews.read_batches(
        str(tmp_path), ((f"train/a/{n}.txt".encode(), 0) for n in range(5))
    )
    assert [batch.num_rows for batch in batches] == [2, 2, 1]
