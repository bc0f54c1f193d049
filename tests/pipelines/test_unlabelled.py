"""Unlabelled texts: a separate split, which isn't used for training or evaluation."""

import json

import pyarrow as pa
import pyarrow.parquet
import pytest
from test_audit import findings, keys_of, run
from tiny_tree import write

from pipelines import inspect_records
from pipelines.preprocess import input_tree
from pipelines.verify import __main__ as verify
from textrecords import spec
from textrecords.dataset import open_dataset
from textrecords.errors import BadInput
from textrecords.manifest import DataFlags

pytestmark = pytest.mark.integration

LABELLED = {
    f"{split}/{label}/{n}.txt": f"{label} {split} film {n}"
    for split, number in (("train", 4), ("test", 2))
    for label in ("neg", "pos")
    for n in range(number)
}
UNLABELLED = {
    "train/unsup/0.txt": "who knows who knows",
    "train/unsup/1.txt": "neg test film 1",
    "train/unsup/2.txt": "pos train film 2",
    "unlabelled/deep/3.txt": "more of it",
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("unlabelled")
    write(folder / "in", LABELLED | UNLABELLED)
    run(folder / "in", folder / "out")
    return folder


def test_texts_without_labels_are_a_split_with_the_vocabulary_of_train(made):
    dataset = open_dataset(str(made / "out"))
    assert dataset.splits == ("train", "test", "unlabelled")
    split = dataset.manifest.splits["unlabelled"]
    assert (split.examples, split.class_examples) == (4, {})
    assert keys_of(made / "out", "unlabelled") == {*UNLABELLED}
    assert "who" not in dataset.vocabulary
    table = dataset.to_pandas("unlabelled").set_index("key")
    assert set(table["label"]) == {spec.UNKNOWN_LABEL}
    assert set(table["class"]) == {None}
    assert table.loc["train/unsup/2.txt", "text"] == "pos train film 2"


def test_a_leak_into_test_is_found_and_a_repeat_of_train_is_none(made):
    leaks = [each for each in findings(made / "out") if each["finding"] == "leak"]
    assert leaks == [
        {
            "finding": "leak",
            "splits": ["unlabelled", "test"],
            "same_texts": 1,
            "keys": ["test/neg/1.txt", "train/unsup/1.txt"],
        }
    ]
    assert "conflicting labels" not in {each["finding"] for each in findings(made / "out")}


def test_a_leaked_text_stays_where_it_is_measured_or_learned(made, tmp_path):
    manifest = run(made / "in", tmp_path / "out", "--drop_leaked")
    assert keys_of(tmp_path / "out", "unlabelled") == {"train/unsup/0.txt", "unlabelled/deep/3.txt"}
    assert manifest.splits["unlabelled"].dropped_leaked == 2
    assert manifest.splits["train"].examples == 8


def test_labelled_splits_are_the_same_with_and_without_them(made, tmp_path):
    flags = ("--validation=0.3", "--drop_duplicates")
    run(made / "in", tmp_path / "with", *flags)
    manifest = run(made / "in", tmp_path / "without", *flags, "--no-unlabelled")
    assert "unlabelled" not in manifest.splits
    assert manifest.skipped == {"train/unsup: no labels": 3, "unlabelled: no split": 1}
    for split in ("train", "validation", "test"):
        [one] = (tmp_path / "with").glob(f"{split}-*")
        assert one.read_bytes() == (tmp_path / "without" / one.name).read_bytes()


def test_the_vocabulary_may_be_of_all_but_the_test(made, tmp_path):
    run(made / "in", tmp_path / "out", "--vocabulary_from=all", "--min_tokens=0")
    vocabulary = open_dataset(str(tmp_path / "out")).vocabulary
    assert vocabulary[2:5] == ("film", "train", "pos")
    assert "who" in vocabulary
    verify.main(["--input", str(made / "in"), "--records", str(tmp_path / "out")])


def test_verify_compares_them_too_and_inspect_shows_no_class(made, capsys):
    verify.main(["--input", str(made / "in"), "--records", str(made / "out")])
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["labels", "of", "the", "records", "the", "input", "16", "16", "0"] in lines
    inspect_records.main(["--records", str(made / "out"), "--split", "unlabelled"])
    assert capsys.readouterr().out.count("label   None\n") == 3


def test_the_schema_allows_an_unknown_label(made):
    assert "min: -1" in (made / "out/schema.pbtxt").read_text()


def test_a_folder_without_such_texts_refuses_the_flag(tmp_path):
    write(tmp_path / "in", LABELLED)
    with pytest.raises(BadInput, match=r"has no train/unsup/ or unlabelled/: drop"):
        run(tmp_path / "in", tmp_path / "out", "--unlabelled")


def rows_of(table):
    return pa.table({"text": [t for t, _ in table], "label": [label for _, label in table]})


LABELS = [("a film", 0), ("b film", 1), ("c film", 0), ("d film", 1)]


def test_rows_without_a_label_are_unlabelled_if_requested(tmp_path):
    table = rows_of([*LABELS, ("nobody knows", None)])
    pyarrow.parquet.write_table(table, tmp_path / "in.parquet")
    flags = ("--on_bad_file=fail", "--min_tokens=0")
    manifest = run(tmp_path / "in.parquet", tmp_path / "out", "--unlabelled", *flags)
    assert keys_of(tmp_path / "out", "unlabelled") == {"in.parquet#5"}
    assert manifest.splits["train"].class_examples == {"0": 2, "1": 2}
    assert list((tmp_path / "out").glob("audit-*")) == []


def test_a_table_named_so_is_unlabelled_whatever_its_labels_say(tmp_path):
    (tmp_path / "in").mkdir()
    pyarrow.parquet.write_table(rows_of(LABELS), tmp_path / "in/train-0.parquet")
    unlabelled = rows_of([("nobody knows", -1)])
    pyarrow.parquet.write_table(unlabelled, tmp_path / "in/unsupervised-0.parquet")
    manifest = run(tmp_path / "in", tmp_path / "out")
    assert manifest.classes == ("0", "1")
    assert manifest.splits["unlabelled"].examples == 1
    manifest = run(tmp_path / "in", tmp_path / "out", "--no-unlabelled", "--force")
    assert list(manifest.splits) == ["train"]


def test_rows_may_be_marked_as_unlabelled(tmp_path):
    rows = [*(("train", *row) for row in LABELS), ("unsup", "nobody knows", None)]
    lines = (json.dumps({"split": s, "text": t, "label": label}) for s, t, label in rows)
    (tmp_path / "in.jsonl").write_text("\n".join(lines))
    manifest = run(tmp_path / "in.jsonl", tmp_path / "out", "--split_column=split")
    assert manifest.splits["unlabelled"].examples == 1


def test_marked_rows_are_skipped_with_no_unlabelled(tmp_path):
    rows = [*(("train", *row) for row in LABELS), ("unsup", "nobody knows", None)]
    lines = (json.dumps({"split": s, "text": t, "label": label}) for s, t, label in rows)
    (tmp_path / "in.jsonl").write_text("\n".join(lines))
    flags = ("--split_column=split", "--no-unlabelled")
    manifest = run(tmp_path / "in.jsonl", tmp_path / "out", *flags)
    assert (list(manifest.splits), manifest.skipped) == (["train"], {"no label": 1})


def test_a_table_of_texts_alone_needs_no_column_of_labels(tmp_path):
    (tmp_path / "in").mkdir()
    pyarrow.parquet.write_table(rows_of(LABELS), tmp_path / "in/train.parquet")
    texts = rows_of([("nobody knows", -1)]).select(["text"])
    pyarrow.parquet.write_table(texts, tmp_path / "in/unlabelled.parquet")
    assert run(tmp_path / "in", tmp_path / "out").splits["unlabelled"].examples == 1


@pytest.mark.parametrize("name", ["unsup", "unlabelled", "Unsupervised"])
def test_next_to_class_folders_it_is_not_a_class(tmp_path, name):
    write(tmp_path / "in", {"neg/0.txt": "a", "pos/0.txt": "b", f"{name}/0.txt": "who knows"})
    tree = input_tree.find_as_flagged(str(tmp_path / "in"), DataFlags(test=0.3))
    assert tree.classes == ("neg", "pos")
    assert tree.sizes(tree.listed)["unlabelled"] == 1


def test_none_may_be_left_of_them(made, tmp_path, capsys):
    write(tmp_path / "in", LABELLED | {"train/unsup/0.txt": "neg train film 0"})
    run(tmp_path / "in", tmp_path / "out", "--drop_leaked")
    assert ["unlabelled", "1", "0", "0", "0.00%", "0", "1"] in [
        line.split() for line in capsys.readouterr().out.splitlines()
    ]
    assert open_dataset(str(tmp_path / "out")).splits == ("train", "test")
