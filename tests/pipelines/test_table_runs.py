"""Complete runs on tables, which behave like folders."""

import json
import os

import numpy as np
import pyarrow.parquet
import pytest
import tiny_table
import tiny_tree
from test_preprocess import digests, ran, read, run
from test_score import read as read_lines
from test_score import trained

from pipelines import inspect_records
from pipelines.score import __main__ as score
from pipelines.tables import readers
from pipelines.verify import __main__ as verify
from textrecords import spec
from textrecords.errors import BadInput, Failure
from textrecords.saved_model import load_model

pytestmark = pytest.mark.integration

WORDS = ["film", "bad", "good", "long", "short", "actor", "plot", "scene"]
GENERATOR = np.random.default_rng(0)
# Reviews by class and text; no two are of the same words.
REVIEWS = [
    (("neg", "pos")[number % 2], f'{" ".join(GENERATOR.choice(WORDS, 6))},\r\n"{number}" é')
    for number in range(60)
]
ROWS = [{"text": text, "label": label} for label, text in REVIEWS]
SHARES = ["--test=0.3", "--validation=0.2"]


def contents(folder, split):
    """Returns the labels and ids of a split's records, in no order."""
    return sorted(read(folder, split).values())


def vocabulary(folder):
    return (folder / spec.VOCABULARY).read_text()


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Datasets made from a folder: as it is, and with its reviews assigned to splits by hash."""
    root = tmp_path_factory.mktemp("folders")
    tree = {f"train/{label}/{n}.txt": text for n, (label, text) in enumerate(REVIEWS)}
    tiny_tree.write(root / "in", tree)
    run(root / "in", root / "whole")
    run(root / "in", root / "shared", *SHARES)
    return root


@pytest.mark.parametrize(
    ("name", "made", "flags"),
    [
        ("a.csv", "whole", []),
        ("a.csv", "shared", SHARES),
        ("a.tsv", "shared", SHARES),
        ("a.jsonl.gz", "shared", SHARES),
        ("a.parquet", "shared", SHARES),
    ],
)
def test_the_same_reviews_give_the_same_dataset_as_a_folder_and_as_a_table(
    folders, tmp_path, name, made, flags
):
    tiny_table.write(tmp_path / name, ROWS)
    manifest = run(tmp_path / name, tmp_path / made, *flags)
    assert manifest.classes == ("neg", "pos")
    assert vocabulary(tmp_path / made) == vocabulary(folders / made)
    for split in manifest.splits:
        assert contents(tmp_path / made, split) == contents(folders / made, split)
    keys = {key for split in manifest.splits for key in read(tmp_path / made, split)}
    assert keys == {f"{name}#{n}" for n in range(1, 61)}


SPLIT_ROWS = {
    split: [
        {"review": f"a {split} film {n}", "stars": n % 3 + 9, "id": f"{split}{n}"} for n in range(9)
    ]
    for split in spec.SPLITS
}


def test_splits_are_given_by_files_folders_or_a_column(tmp_path):
    for split, rows in SPLIT_ROWS.items():
        tiny_table.write(tmp_path / "files" / f"{split}-1.csv", rows)
        (tmp_path / "folders" / split).mkdir(parents=True)
        (tmp_path / "folders" / split / "a.csv").symlink_to(tmp_path / "files" / f"{split}-1.csv")
    rows = [row | {"part": split.upper()} for split, rows in SPLIT_ROWS.items() for row in rows]
    rows += [rows[0] | {"part": part, "id": f"x{part}"} for part in ("train2", "")]
    tiny_table.write(tmp_path / "one.csv", rows)
    flags = ["--key_column=id", "--label_column=stars"]
    split_column = ["--split_column=part"]
    run(tmp_path / "files", tmp_path / "of_files", *flags)
    run(f"{tmp_path}/folders/*/*.csv", tmp_path / "of_folders", *flags)
    manifest = run(tmp_path / "one.csv", tmp_path / "of_column", *flags, *split_column)
    assert manifest.classes == ("9", "10", "11")
    assert manifest.skipped == {"rows of no split": 2}
    for split in spec.SPLITS:
        records = read(tmp_path / "of_files", split)
        assert {key: label for key, (label, _) in records.items()} == {
            f"{split}{n}": n % 3 for n in range(9)
        }
        assert read(tmp_path / "of_folders", split) == records
        assert read(tmp_path / "of_column", split) == records


@pytest.mark.slow
def test_bytes_are_the_same_however_many_workers_read_the_tables(tmp_path, monkeypatch):
    for number in range(3):
        tiny_table.write(tmp_path / "in" / f"train-{number}.parquet", ROWS[number::3])
    run(tmp_path / "in", tmp_path / "out")
    monkeypatch.setattr(readers, "ROWS_TOGETHER", 1)
    monkeypatch.setattr(readers, "BATCH_ROWS", 7)
    run(tmp_path / "in", tmp_path / "other", "--runner=BundleBasedDirectRunner")
    assert digests(tmp_path / "other") == digests(tmp_path / "out")
    processes = ["--direct_running_mode=multi_processing", "--direct_num_workers=2"]
    run(tmp_path / "in", tmp_path / "processes", *processes)
    assert digests(tmp_path / "processes") == digests(tmp_path / "out")
    assert not [name for name in os.listdir(tmp_path / "out") if name == spec.TEXTS]


def test_tables_are_read_again_only_if_they_may_have_changed(tmp_path, monkeypatch):
    source, target = tmp_path / "a.csv", tmp_path / "out"
    tiny_table.write(source, ROWS)
    run(source, target)
    with monkeypatch.context() as patch:
        patch.setattr(readers.Table, "rows", None)
        assert not ran(source, target)
        assert not ran(source, target, "--if_needed")
    os.utime(source, ns=(1, 1))
    assert not ran(source, target)  # touched, but the same
    with monkeypatch.context() as patch:
        patch.setattr(readers.Table, "rows", None)
        assert not ran(source, target)
    tiny_table.write(source, [*ROWS[1:], ROWS[0]])  # the same texts, by other keys
    assert ran(source, target)


def test_a_table_that_changes_during_the_run_is_noticed_by_the_next(tmp_path, monkeypatch):
    source, target = tmp_path / "a.csv", tmp_path / "out"
    tiny_table.write(source, ROWS)
    forth = readers.Table.rows

    def change(*args):
        yield from forth(*args)
        tiny_table.write(source, ROWS[1:])

    with monkeypatch.context() as patch:
        patch.setattr(readers.Table, "rows", change)
        assert run(source, target).splits["train"].examples == 60
    assert ran(source, target)
    assert not ran(source, target)


def test_what_is_wrong_with_rows_is_counted_and_named(tmp_path, capsys):
    rows = [*ROWS, *ROWS[:1], ROWS[1] | {"label": "neg"}]
    test_rows = [ROWS[2], {"text": "only here", "label": "neg"}]
    tiny_table.write(tmp_path / "in" / "train.csv", rows * 4)
    with open(tmp_path / "in" / "train.csv", "a") as file:
        file.write("ragged\nno label,\n")
    tiny_table.write(tmp_path / "in" / "test.csv", test_rows)
    manifest = run(tmp_path / "in", tmp_path / "out", "--drop_leaked", "--drop_duplicates")
    assert manifest.bad_files == 2
    assert manifest.audit.leaked_texts == 1
    assert manifest.audit.conflicting_texts == 1
    assert manifest.splits["train"].examples == len(ROWS) - 1
    findings = [
        json.loads(line) for line in (tmp_path / "out" / manifest.audit.shards[0].file).open()
    ]
    bad = [(each["keys"], each["why"]) for each in findings if each["finding"] == spec.BAD_FILE]
    assert sorted(bad) == [
        (["train.csv#249"], "cells: 1, not 2"),
        (["train.csv#250"], "no label"),
    ]
    printed = capsys.readouterr().out
    assert "texts from the column text, labels from label\n" in printed
    assert "skipped 2: rows that can't be read\n" in printed
    with pytest.raises(
        Failure, match=r"^2 of 252 rows of .*/in can't be read: train\.csv#249 \(cel"
    ):
        run(tmp_path / "in", tmp_path / "fail", "--on_bad_file=fail")
    assert not (tmp_path / "fail").exists()


def test_verify_and_inspect_take_tables(tmp_path, capsys):
    tiny_table.write(tmp_path / "a.jsonl", ROWS)
    run(tmp_path / "a.jsonl", tmp_path / "out", "--test=0.3")
    verify.main(["--input", str(tmp_path / "a.jsonl"), "--records", str(tmp_path / "out")])
    inspect_records.main(["--records", str(tmp_path / "out")])
    assert "a.jsonl#" in capsys.readouterr().out
    tiny_table.write(tmp_path / "a.jsonl", [{"text": "other", "label": "neg"}, *ROWS[1:]])
    with pytest.raises(Failure):
        verify.main(["--input", str(tmp_path / "a.jsonl"), "--records", str(tmp_path / "out")])


def test_labels_and_file_names_may_contain_any_letters(tmp_path):
    labels = ["a/b", "a b ", "#é", "日本"]
    rows = [{"text": f"text {n}", "label": label} for n, label in enumerate([*labels, "a"])]
    name = os.fsdecode(b"[x] #1 \xff.csv")
    tiny_table.write(tmp_path / name, [{"id": n} | row for n, row in enumerate(rows)])
    manifest = run(tmp_path / name, tmp_path / "out", "--key_column=id", "--classes", *labels)
    assert manifest.classes == tuple(labels)
    assert manifest.skipped == {"rows of no chosen class": 1}
    records = read(tmp_path / "out", "train")
    assert {key: label for key, (label, _) in records.items()} == {str(n): n for n in range(4)}


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--classes", "x", "q"], "{root} train has no rows of the class q: name others"),
        (["--classes", "x", "x"], "--classes names a class twice: x x"),
        (["--classes", "x"], "{root} has only one class, x: a classifier needs two"),
        (["--split_column=label"], "{root} has no rows with train in the column label"),
        (["--label_column=one"], "{root} has only one class, 1: a classifier needs two"),
        (["--label_column=control"], "{root} the name of the class a\n0 has a control character"),
        (["--pattern=*.md"], "--pattern *.md: {root}/a.csv is a table: drop --pattern"),
        (["--delimiter=ab"], "--delimiter ab isn't a character that can separate cells"),
        (["--delimiter=é"], "--delimiter é isn't a character that can separate cells"),
        (
            ["--encoding=utf-16"],
            "{root}/a.csv isn't in utf-16 (UTF-16 stream does not start with BOM): give ano",
        ),
    ],
)
def test_flags_that_cannot_be_used_with_a_table_are_refused(tmp_path, flags, message):
    rows = [
        {"text": f"text {n}", "label": label, "one": 1, "control": f"a\n{n}"}
        for n, label in enumerate("xyz" * 3)
    ]
    tiny_table.write(tmp_path / "a.csv", rows)
    with pytest.raises(BadInput) as error:
        run(tmp_path / "a.csv", tmp_path / "out", *flags)
    assert (
        str(error.value)
        .replace(f"{tmp_path}:", f"{tmp_path}")
        .startswith(message.format(root=tmp_path))
    )
    assert os.listdir(tmp_path) == ["a.csv"]


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("model"), ("neg", "pos"))


@pytest.mark.parametrize(
    ("name", "suffix"), [("a.csv", "jsonl"), ("a.jsonl", "parquet"), ("a.parquet", "parquet")]
)
def test_rows_are_scored_with_what_is_kept_of_them(tmp_path, model_dir, name, suffix):
    rows = [
        {"text": "a b", "label": 1, "n": 2.5, "yes": True, "key": "k 1"},
        {"text": "b", "label": 0, "n": None, "yes": False, "key": "k 2"},
    ]
    tiny_table.write(tmp_path / name, rows)
    flags = ["--keep_columns", "n", "yes", "label", "--key_column=key", f"--format={suffix}"]
    paths = ["--output", str(tmp_path / "out"), "--model_dir", str(model_dir)]
    score.main([*paths, "--input", str(tmp_path / name), *flags])
    [shard] = (tmp_path / "out").glob("scores-*")
    is_json = suffix == "jsonl"
    found = read_lines(shard) if is_json else pyarrow.parquet.read_table(shard).to_pylist()
    scores = list(load_model(str(model_dir)).rows([row["text"].encode() for row in rows]))
    kept = [[row[of] for of in ("n", "yes", "label")] for row in rows]
    if name == "a.csv":
        kept = [["" if value is None else str(value) for value in row] for row in kept]
    for row, (n, yes, label), expected, key in zip(
        found, kept, scores, ("k 1", "k 2"), strict=True
    ):
        score_of = pytest.approx(expected["score"], abs=1e-6)
        beside = {"key": key, "n": n, "yes": yes, "input_label": label}
        assert row == beside | {"score": score_of, "label": expected["label"]}


def test_a_table_is_not_scored_into_the_folder_that_it_is_in(tmp_path, model_dir):
    tiny_table.write(tmp_path / "out" / "scores-00000-of-00001.parquet", ROWS)
    flags = ["--output", str(tmp_path / "out"), "--model_dir", str(model_dir), "--force"]
    for name in ("scores-00000-of-00001.parquet", "*.parquet"):
        with pytest.raises(BadInput, match=r"^--input .* is inside --output"):
            score.main([*flags, "--input", str(tmp_path / "out" / name)])
