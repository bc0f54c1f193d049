"""`pipelines.score`: any number of files in, shards of scores out."""

import collections
import itertools
import json
import operator
import os
import re

import pyarrow.parquet
import pytest
import tiny_dataset
from tiny_tree import unread, write

from model import train
from pipelines import places, runners
from pipelines.preprocess import review_batches
from pipelines.score import __main__ as score
from pipelines.score import pipeline as scoring
from pipelines.score import text_files
from pipelines.score.scorer import Scorer
from pipelines.unfit_files import Limits
from textrecords import checksums, spec, text_source
from textrecords.errors import BadInput, Failure
from textrecords.saved_model import load_model

pytestmark = pytest.mark.integration

SMALL = ["--max_len=4", "--embedding_dim=2", "--lstm_units=2", "--dense_units=2", "--epochs=1"]
TEXTS = {
    "b.txt": "a b a",
    "a.txt": "b b",
    "deep/er/c.txt": b"caf\xe9 a",
    "empty.txt": "",
    "deep/other.md": "b a",
    ".hidden.txt": "a",
    ".git/x.txt": "a",
}


def trained(folder, classes, **splits):
    rows = [("a b a", 0), ("b", 1), ("c a", len(classes) - 1)]
    tiny_dataset.write(folder / "records", {"train": rows, **splits}, classes=classes)
    flags = ["--records", str(folder / "records"), "--model_dir", str(folder / "model")]
    train.main([*flags, *SMALL])
    return folder / "model"


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("two"), ("neg", "pos"))


@pytest.fixture
def texts(tmp_path):
    write(tmp_path / "in", TEXTS)
    return tmp_path / "in"


def scored(texts, model_dir, *flags):
    output = model_dir.parent / "scores"
    paths = ["--input", str(texts), "--output", str(output), "--model_dir", str(model_dir)]
    score.main([*paths, "--force", *flags])
    return [row for path in sorted(output.glob("scores-*.jsonl")) for row in read(path)]


def read(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def check_same(output, expected):
    """Fails unless the only shard of an output has these rows."""
    [shard] = output.glob("*.jsonl")
    rows = read(shard)
    assert [row["key"] for row in rows] == [row["key"] for row in expected]
    scores = [row["score"] for row in expected]
    assert [row["score"] for row in rows] == pytest.approx(scores, abs=1e-6)


def test_scores_are_those_of_predict_in_the_order_of_the_keys(texts, model_dir, capsys):
    rows = scored(texts, model_dir)
    assert [row["key"] for row in rows] == ["a.txt", "b.txt", "deep/er/c.txt", "empty.txt"]
    assert capsys.readouterr().out.splitlines()[-1].startswith("wrote 4 scores to ")
    contents = [(texts / row["key"]).read_bytes() for row in rows]
    expected = list(load_model(str(model_dir)).rows(contents))
    assert [row["score"] for row in rows] == pytest.approx(
        [row["score"] for row in expected], abs=1e-6
    )
    assert [row["label"] for row in rows] == [row["label"] for row in expected]
    assert all(row.keys() == {"key", "label", "score"} for row in rows)


def test_an_output_inside_the_texts_or_the_model_is_refused(texts, model_dir):
    flags = ["--input", str(texts), "--model_dir", str(model_dir), "--output"]
    with pytest.raises(BadInput, match=r"^--output .* is inside --input"):
        score.main([*flags, str(texts / "scores")])
    with pytest.raises(BadInput, match=r"^--output .* is inside --model_dir"):
        score.main([*flags, str(model_dir / "scores")])


def test_three_classes_have_a_score_each(texts, tmp_path):
    model_dir = trained(tmp_path / "three", ("x", "y", "z"))
    for row in scored(texts, model_dir):
        assert row.keys() == {"key", "label", "scores"}
        assert sum(row["scores"]) == pytest.approx(1)
        assert row["label"] == "xyz"[row["scores"].index(max(row["scores"]))]


def test_shards_and_batches_leave_order_and_rows_alone(texts, model_dir, monkeypatch):
    whole = {row["key"]: row["score"] for row in scored(texts, model_dir)}
    monkeypatch.setattr(scoring, "BATCH_SIZE", 1)
    monkeypatch.setattr(places, "LISTED_TOGETHER", 2)
    monkeypatch.setattr(review_batches, "BATCH_BYTES", 1)
    forth = text_source.Source.walk

    def backwards(*args):
        return iter(sorted(forth(*args), key=operator.itemgetter(0), reverse=True))

    monkeypatch.setattr(text_source.Source, "walk", backwards)
    rows = scored(texts, model_dir, "--num_shards=9")
    assert {row["key"]: row["score"] for row in rows} == pytest.approx(whole, abs=1e-6)
    output = model_dir.parent / "scores"
    names = [f"scores-{n:05d}-of-00009.jsonl" for n in range(9)]
    assert sorted(os.listdir(output)) == ["__about__", *names]
    about = output / "__about__"
    assert sorted(os.listdir(about)) == ["SHA256SUMS", "run.json", "scores.json"]
    keys = [[row["key"] for row in read(output / name)] for name in names]
    assert keys == [sorted(part) for part in keys]
    assert [] in keys
    summary = json.loads((about / "scores.json").read_text())
    assert summary["profile"]["texts"] == 4
    assert summary["drift"] is None  # the model was tested on nothing
    assert (summary["texts"], summary["classes"]) == (4, ["neg", "pos"])
    labels = collections.Counter(row["label"] for row in rows)
    assert summary["labels"] == {name: labels[name] for name in ("neg", "pos")}
    assert [(shard["file"], shard["examples"]) for shard in summary["shards"]] == [
        (name, len(part)) for name, part in zip(names, keys, strict=True)
    ]
    assert checksums.find_damage(str(output)) is None


def test_scores_report_the_drift_of_texts_from_those_of_the_test(tmp_path, capsys):
    model_dir = trained(tmp_path, ("neg", "pos"), test=[("a b a c", 0)] * 100)
    for content, drifted in (("a b a c", False), ("x y x z", True)):
        write(tmp_path / content, {f"{n}.txt": content for n in range(150)})
        scored(tmp_path / content, model_dir)
        said = capsys.readouterr().out
        summary = json.loads((tmp_path / "scores" / "__about__" / "scores.json").read_text())
        assert summary["profile"]["texts"] == 150
        assert summary["profile"]["lengths"] == {"4-7": 150}
        assert (summary["drift"]["words"] > 1) == drifted
        assert summary["drift"]["lengths"] == 0
        assert f"drift from the test of {model_dir}: words {summary['drift']['words']:.2f}" in said
        assert ("differ from those" in said) == drifted


def test_large_texts_are_scored_in_smaller_batches(texts, monkeypatch):
    monkeypatch.setattr(review_batches, "BATCH_BYTES", 6)
    monkeypatch.setattr(Scorer, "score", lambda self, texts: ([(self.path, t) for t in texts], 7))
    plan = scoring.Plan(
        text_files.TextFiles(text_source.Source(str(texts)), is_glob=False),
        *(Scorer("m"), ("a", "b"), "", "", 1, "jsonl", Limits()),
    )
    *batches, _ = plan.score((0, [unread(key)[:] for key in (b"a.txt", b"b.txt", b"empty.txt")]))
    shard = (scoring.SCORES, 0)
    assert batches[::2] == [
        (shard, [((b"a.txt", ""), ("m", b"b b"))]),
        (shard, [((b"b.txt", ""), ("m", b"a b a")), ((b"empty.txt", ""), ("m", b""))]),
    ]
    assert [(each.tag, each.value) for each in batches[1::2]] == [(scoring.PROFILES, 7)] * 2


def test_scored_texts_are_counted_for_the_progress_bar(monkeypatch):
    monkeypatch.setattr(scoring, "SEEN", collections.Counter(scored=10))
    rows = ((scoring.SCORES, 0), ["a row", "another"])
    assert scoring._count(rows) == rows
    assert scoring.SEEN == {"scored": 12}


def test_scores_of_a_version_that_had_all_in_one_folder_are_replaced(texts, model_dir):
    output = model_dir.parent / "scores"
    expected = scored(texts, model_dir)
    for path in (output / "__about__").iterdir():
        path.rename(output / path.name)
    (output / "__about__").rmdir()
    assert scored(texts, model_dir) == expected
    assert sorted(os.listdir(output)) == ["__about__", "scores-00000-of-00001.jsonl"]


def test_parquet_holds_the_same(texts, model_dir):
    rows = scored(texts, model_dir)
    scored(texts, model_dir, "--format=parquet", "--num_shards=9")
    paths = sorted((model_dir.parent / "scores").glob("*.parquet"))
    assert len(paths) == 9
    read_rows = [row for path in paths for row in pyarrow.parquet.read_table(path).to_pylist()]
    assert sorted(read_rows, key=lambda row: row["key"]) == rows


@pytest.mark.parametrize(
    ("pattern", "keys"),
    [
        ("deep/*", ["other.md"]),
        ("**/*r/*.txt", ["deep/er/c.txt"]),
        ("a.txt", ["a.txt"]),
        ("deep/[1]*.txt", ["[1]*.txt"]),
        ("d**p/**", ["deep/er/c.txt", "deep/other.md"]),
        ("**/deep/**/*.txt", ["deep/er/c.txt"]),
        ("*/*", ["deep/other.md"]),
        ("deep/*/*", ["er/c.txt"]),
        ("**/**/*.md", ["deep/other.md"]),
    ],
)
def test_a_pattern_chooses_files_of_any_name(texts, model_dir, pattern, keys):
    if "[1]" in pattern:
        write(texts, {pattern: "a", "deep/1.txt": "a"})
    rows = scored(texts / pattern, model_dir, "--on_bad_text=replace_all")
    assert [row["key"] for row in rows] == keys


def keys(files):
    """Returns the keys of the files to score."""
    [place] = files.places
    lists = (found for found in place.list_files(files.source) if isinstance(found, list))
    return [key for key, *_ in itertools.chain.from_iterable(lists)]


def test_patterns_mean_what_they_do_in_pathlib(tmp_path):
    skipped = ["deep/.hidden/c.txt", "deep/.d.txt"]
    for key in ("c.txt", "deep/c.txt", "deep/er/ab.txt", "deep/er/a/c.txt", "a/a/a.md", *skipped):
        write(tmp_path, {key: ""})
    (tmp_path / "deep" / "link").symlink_to(tmp_path / "a")
    parts = ["*", "**", "deep", "*.txt", "[abc]*", "?"]
    lengths = (itertools.product(parts, repeat=length) for length in (1, 2, 3))
    for pattern in map("/".join, itertools.chain.from_iterable(lengths)):
        if pattern.endswith("**"):  # pathlib's own changed with Python 3.13
            continue
        files = text_files.TextFiles(text_source.Source(str(tmp_path), pattern), is_glob=True)
        paths = {path for path in tmp_path.glob(pattern) if path.is_file()}
        expected = {str(path.relative_to(tmp_path)) for path in paths}
        found = map(os.fsdecode, keys(files))
        assert sorted(found) == sorted(expected - {*skipped}), pattern


def test_names_that_are_not_utf8_are_escaped(texts, model_dir):
    write(texts, {"x/caf\udce9.txt": "a"})
    assert [row["key"] for row in scored(texts / "x", model_dir)] == ["caf\\xe9.txt"]


def test_another_encoding_is_decoded(texts, model_dir):
    flags = ["--on_bad_text=replace_all"]
    [row] = scored(texts / "deep/er", model_dir, "--encoding=utf-16", *flags)
    [same] = load_model(str(model_dir)).rows(["caf\ufffd a".encode()])
    [other] = scored(texts / "deep/er", model_dir, *flags)
    assert other["score"] == pytest.approx(same["score"], abs=1e-6)
    assert row["score"] != pytest.approx(same["score"], abs=1e-6)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            ["--input=/nowhere"],
            "no file or folder /nowhere: name a folder, a file or a quoted pattern",
        ),
        (["--encoding=base64"], "--encoding base64: Python has no such text encoding"),
        (["--model_dir=/nowhere"], "no model in /nowhere: run `make train` first"),
        (["--no_such_flag"], "neither this command nor Beam has --no_such_flag"),
    ],
)
def test_bad_input_is_refused_and_writes_nothing(texts, model_dir, tmp_path, flags, message):
    output = tmp_path / "scores"
    whole = ["--input", str(texts), "--output", str(output), "--model_dir", str(model_dir)]
    with pytest.raises(BadInput) as error:
        score.main([*whole, *flags])
    assert message in str(error.value)
    assert not output.exists()


def test_up_to_one_percent_of_unreadable_files_are_skipped_and_named(
    texts, model_dir, monkeypatch, capsys
):
    monkeypatch.setattr(text_source, "MAX_FILE_BYTES", 4)
    refused = r"^2 of 4 files of .*/in can't be read: b\.txt \(more than .*, deep/er/c\.txt \("
    with pytest.raises(Failure, match=refused):
        scored(texts, model_dir)
    for number in range(196):
        (texts / f"{number}.txt").write_text("b")
    with pytest.raises(Failure, match=r"^2 of 200 files"):
        scored(texts, model_dir, "--on_bad_file=fail")
    rows = scored(texts, model_dir)
    output = model_dir.parent / "scores"
    findings = read(output / "__about__" / "audit-00000-of-00001.jsonl")
    assert sorted(finding["keys"] for finding in findings) == [["b.txt"], ["deep/er/c.txt"]]
    assert {finding["finding"] for finding in findings} == {spec.BAD_FILE}
    assert len(rows) == 198
    printed = capsys.readouterr().out
    assert f"skipped 2: files that can't be read, named in {output}/__about__/audit-" in printed
    assert "wrote 198 scores to " in printed
    assert checksums.find_damage(str(output)) is None
    assert "audit-00000-of-00001.jsonl" in (output / checksums.ABOUT / checksums.SUMS).read_text()


def test_texts_in_another_encoding_are_counted_and_fail_the_run_if_they_are_most(
    texts, model_dir, capsys
):
    scored(texts, model_dir)
    assert "not in utf-8, but perhaps in latin-1 or cp1252: 1\n" in capsys.readouterr().out
    refused = r"^1 of 1 files of .* aren't in utf-8: c\.txt \(latin-1 or cp1252\?\); "
    with pytest.raises(Failure, match=refused):
        scored(texts / "deep/er", model_dir)


def test_a_folder_that_cannot_be_listed_fails_the_run(texts, model_dir, monkeypatch):
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("deep"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    for files in (texts, texts / "**/*.txt"):
        with pytest.raises(Failure, match=r"can't list .*deep \(Permission denied\)"):
            scored(files, model_dir)


def before_listing(monkeypatch, change):
    """Has `change` called before the files are listed."""
    run = runners.run

    def change_and_run(*args, **more):
        change()
        run(*args, **more)

    monkeypatch.setattr(runners, "run", change_and_run)


def test_the_scores_of_another_input_are_replaced_by_force_alone(texts, model_dir, tmp_path):
    output = tmp_path / "scores"
    flags = ["--output", str(output), "--model_dir", str(model_dir)]
    score.main(["--input", str(texts), *flags])
    score.main(["--input", str(texts), *flags])
    other = ["--input", str(texts / "*.txt"), *flags]
    refused = f"{output} contains the scores of {texts}: name another --output, or give --force"
    with pytest.raises(BadInput, match=re.escape(refused)):
        score.main(other)
    score.main([*other, "--force"])
    assert len(read(output / "scores-00000-of-00001.jsonl")) == 3


def test_a_model_replaced_meanwhile_is_noticed(texts, tmp_path, monkeypatch):
    model_dir = trained(tmp_path / "other", ("neg", "pos"))
    sums = model_dir / checksums.SUMS
    before_listing(monkeypatch, lambda: sums.write_text(sums.read_text() + "\n"))
    with pytest.raises(Failure, match="model was replaced while it was in use: run again"):
        scored(texts, model_dir)
    assert not (model_dir.parent / "scores").exists()


def test_an_input_without_texts_is_refused_before_a_job_starts(model_dir, tmp_path, monkeypatch):
    monkeypatch.setattr(runners, "run", None)
    write(tmp_path, {"in/a.md": ""})
    with pytest.raises(BadInput, match=r"in has no \*\.txt files: for others, name"):
        scored(tmp_path / "in", model_dir)


@pytest.mark.parametrize("name", ["a.XLSX", "b.csv.zip", "part-*.feather"])
def test_a_table_of_a_kind_that_is_not_read_is_not_scored_as_a_text(texts, model_dir, name):
    with pytest.raises(BadInput, match="is a table in an unsupported format: save") as error:
        scored(texts / name, model_dir)
    assert "\n" not in str(error.value)


def test_a_folder_named_as_a_table_is_a_folder(tmp_path, model_dir):
    write(tmp_path / "in.csv", {"a.txt": "b b"})
    assert [row["key"] for row in scored(tmp_path / "in.csv", model_dir)] == ["a.txt"]


def test_leftovers_of_archives_and_systems_are_skipped_like_hidden_files(tmp_path):
    left = ("__MACOSX/a.txt", "deep/Thumbs.db", "deep/.b.txt", "desktop.ini")
    write(tmp_path, dict.fromkeys(("a.txt", "deep/b.txt", *left), ""))
    files = text_files.parse_input(f"{tmp_path}/**/*", "utf-8")
    assert sorted(keys(files)) == [b"a.txt", b"deep/b.txt"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere", "no file or folder {root}/nowhere: name a folder, a file or a quoted pattern"),
        ("no/where.txt", "no file or folder {root}/no/where.txt: name a"),
        ("*.md", "{root}/*.md matches no files: name a folder, or another quoted pattern"),
        ("no/*.md", "{root}/no/*.md matches no files: name a folder, or another quoted pattern"),
        (
            "deep",
            "{root}/deep has no *.txt files: for others, name a quoted pattern, {root}/deep/*",
        ),
    ],
)
def test_an_input_without_texts_is_named_as_what_it_is(tmp_path, model_dir, name, message):
    write(tmp_path, {"deep/a.md": "a"})
    with pytest.raises(BadInput) as error:
        scored(tmp_path / name, model_dir)
    assert str(error.value).startswith(message.format(root=tmp_path))
