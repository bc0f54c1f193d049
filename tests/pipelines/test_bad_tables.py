"""Bad tables: one clear error line, or rows that are skipped and counted; never silent loss."""

import gzip
import json
import os
import subprocess
import sys
import zlib

import pyarrow as pa
import pyarrow.parquet
import pytest
import tiny_table
from test_score import trained

from pipelines.preprocess import __main__ as preprocess
from pipelines.preprocess.find_input import find_input
from pipelines.score import __main__ as score
from pipelines.tables import csv_tables, json_tables, readers
from pipelines.tables.columns import Columns
from textrecords.errors import BadInput, Failure
from textrecords.manifest import DataFlags

ROWS = [{"text": f"a film {n}", "label": n % 2} for n in range(400)]
COLUMNS = Columns(text=("text",), label="label")


def said(path, **of_table):
    """Returns the error for a table that can't be read, after its path."""
    with pytest.raises(BadInput) as error:
        list(readers.Table(str(path), **of_table).rows(COLUMNS))
    path, after = str(error.value).split(str(path))
    assert not path
    return after


def whole(folder, name):
    """Returns the path and the content of a table."""
    tiny_table.write(folder / name, ROWS)
    return folder / name, (folder / name).read_bytes()


@pytest.mark.parametrize("name", ["a.csv", "a.tsv"])
def test_a_csv_table_that_is_cut_in_quotes_is_refused(tmp_path, name):
    tiny_table.write(tmp_path / name, ROWS, quoting=1)
    content = (tmp_path / name).read_bytes()
    for end, row in ((-2, 400), (-10, 400), (20, 1)):
        (tmp_path / name).write_bytes(content[:end])
        assert said(tmp_path / name) == f" ends within quotes, which row {row} opens: fix it"


def test_a_quote_that_is_never_closed_loses_no_row_unseen(tmp_path, monkeypatch):
    path = tmp_path / "a.csv"
    content = 'label,text\n1,a\n2,b\n3,"c\n' + "4,d\n" * 100
    path.write_text(content)
    assert said(path) == " ends within quotes, which row 3 opens: fix it"
    monkeypatch.setattr(csv_tables, "BLOCK_BYTES", 64)
    assert said(path) == (
        " can't be read as CSV (after row 2: a row has more than 64 bytes, or its quotes aren't "
        "closed): fix or remove it"
    )


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
def test_a_truncated_row_is_skipped(tmp_path, name):
    path, content = whole(tmp_path, name)
    path.write_bytes(content[:-3])
    *lists, last = readers.Table(str(path)).rows(COLUMNS)
    number, why = last[-1]
    assert number == len(ROWS)
    assert why == {"a.csv": "cells: 1, not 2", "a.jsonl": "not a JSON object"}[name]
    assert sum(map(len, lists)) + len(last) == len(ROWS)


@pytest.mark.parametrize("name", ["a.csv.gz", "a.jsonl.gz"])
@pytest.mark.parametrize("end", [-1, -8, -100, 5])
def test_a_gzip_file_that_is_cut_short_is_refused(tmp_path, name, end):
    path, content = whole(tmp_path, name)
    path.write_bytes(content[:end])
    assert "Truncated compressed stream): fix or remove it" in said(path)


@pytest.mark.parametrize("end", [0, 4, 20, -1, -9])
def test_a_parquet_file_that_is_cut_short_is_refused(tmp_path, end):
    path, content = whole(tmp_path, "a.parquet")
    path.write_bytes(content[:end])
    assert said(path).startswith(" can't be read as Parquet (Parquet ")


def test_damage_inside_is_refused_with_how_far_it_was_read(tmp_path, monkeypatch):
    monkeypatch.setattr(readers, "DECODED_BYTES", 1)
    path = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(pa.Table.from_pylist(ROWS), path, row_group_size=100)
    with pyarrow.parquet.ParquetFile(path) as file:
        second = file.metadata.row_group(1).column(0).dictionary_page_offset
    content = bytearray(path.read_bytes())
    content[second : second + 40] = b"\xff" * 40
    path.write_bytes(content)
    assert said(path).startswith(" can't be read as Parquet (after row 100: ")
    path, content = whole(tmp_path, "a.csv.gz")
    path.write_bytes(content[:-40] + b"\0" * 20 + content[-20:])
    assert said(path).startswith(" can't be read as CSV (")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"", " is empty: its first line has to contain the column names"),
        (
            "a.csv",
            b"\n\ntext,label\n",
            " has no header: its first line has to contain the column names",
        ),
        (
            "a.csv.gz",
            gzip.compress(b"", mtime=0),
            " is empty: its first line has to contain the column names",
        ),
        ("a.jsonl", b"", " is empty: it has to contain one JSON object per line"),
        ("a.jsonl", b"\n \n", " is empty: it has to contain one JSON object per line"),
        (
            "a.json",
            b'[{"text": "a"}]',
            " isn't JSON lines: it has to contain one JSON object per line",
        ),
        ("a.json", b"null\n", " isn't JSON lines: it has to contain one JSON object per line"),
        (
            "a.csv",
            "text,label\na,b\n".encode("utf-16"),
            ": its header isn't UTF-8, but perhaps utf-16: give --encoding",
        ),
        (
            "a.csv",
            "text,label\na,b\n".encode("utf-16-le"),
            ": its header isn't UTF-8, but perhaps utf-16-le: give --encoding",
        ),
        (
            "a.csv",
            "text,café\na,b\n".encode("latin-1"),
            ": its header isn't UTF-8, but perhaps latin-1 or cp1252: give --encoding",
        ),
        (
            "a.csv",
            b"text,label\na,b\nc\xe9\nd,e\n",
            " can't be read as CSV (row 2 isn't UTF-8, and has 1 cells, not 2): fix or remove it",
        ),
        ("a.csv", b"text,x\n", " has no column label: its columns are text, x"),
        ("a.csv", b"label,text,text\n", " has two columns text: rename one"),
        ("a.csv", b"text,label,label\n", " has two columns label: rename one"),
        ("a.jsonl", b'{"text": "a"}\n', " has no column label: its columns are text"),
    ],
)
def test_what_is_no_table_with_these_columns_is_refused(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    assert said(tmp_path / name) == message


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"text": [1], "label": ["x"]}, ": the column text has the type int64, not text"),
        (
            {"text": [["a"]], "label": ["x"]},
            ": the column text has the type list<element: string>, not text",
        ),
        (
            {"text": ["a"], "label": [0.5]},
            ": the column label has the type double, not text or integers",
        ),
        (
            {"text": ["a"], "label": pa.array([1], pa.decimal128(3))},
            ": the column label has the type decimal128(3, 0), not text or integers",
        ),
        (
            {"text": ["a"], "label": [{"x": 1}]},
            ": the column label has the type struct<x: int64>, not text or integers",
        ),
        ({"text": ["a"]}, " has no column label: its columns are text"),
    ],
)
def test_parquet_of_another_schema_is_refused(tmp_path, columns, message):
    pyarrow.parquet.write_table(pa.table(columns), tmp_path / "a.parquet")
    assert said(tmp_path / "a.parquet") == message


def test_two_parquet_columns_of_one_name_are_refused(tmp_path):
    column = pa.array(["a"])
    table = pa.Table.from_arrays([column] * 3, ["text", "label", "text"])
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    assert said(tmp_path / "a.parquet") == " has two columns text: rename one"


@pytest.mark.parametrize("encoding", ["ascii", "utf-16"])
def test_another_encoding_than_the_one_that_is_named_is_refused(tmp_path, encoding):
    (tmp_path / "a.csv").write_bytes("text,label\né,1\n".encode() + b"x")
    found = said(tmp_path / "a.csv", encoding=encoding)
    assert found.startswith(f" isn't in {encoding} (")
    assert found.endswith("): give another --encoding")


def test_ten_megabytes_in_a_cell_are_skipped_and_more_in_a_row_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(csv_tables, "BLOCK_BYTES", 1000)
    monkeypatch.setattr(json_tables, "MAX_ROW_BYTES", 1000)
    for name, why in (("a.csv", "after row 1: a row has more"), ("a.jsonl", ": row 2 has more")):
        rows = [ROWS[0], {"text": "x" * 5000, "label": 1}, *ROWS]
        tiny_table.write(tmp_path / name, rows)
        assert why in said(tmp_path / name)


def test_a_million_columns_are_read_or_refused_by_a_short_line(tmp_path):
    path = tmp_path / "a.csv"
    names = ",".join(f"c{n}" for n in range(1_000_000))
    path.write_text(f"{names}\n")
    assert len(said(path)) < 200
    path.write_text(f"text,label,{names}\n{'a,1,' + ',' * 999_999}\nb,2\n")
    [rows] = readers.Table(str(path)).rows(COLUMNS)
    assert rows == ((1, ((b"a",), "1", None, None, ())), (2, "cells: 2, not 1000002"))


@pytest.mark.parametrize("fill", [b"x", b",", b'"'])
def test_a_gzip_bomb_is_refused_before_it_fills_the_memory(tmp_path, monkeypatch, fill):
    monkeypatch.setattr(csv_tables, "BLOCK_BYTES", 1 << 20)
    monkeypatch.setattr(csv_tables, "HEADER_BYTES", 1 << 20)
    for begin in (b"", b"text,label\na,1\n"):
        packer = zlib.compressobj(wbits=31)
        with open(tmp_path / "a.csv.gz", "wb") as file:
            file.write(packer.compress(begin))
            for _ in range(64):
                file.write(packer.compress(fill * (1 << 20)))
            file.write(packer.flush())
        before = pa.total_allocated_bytes()
        assert len(said(tmp_path / "a.csv.gz")) < 200
        assert pa.total_allocated_bytes() - before < 16 << 20


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            ["train.csv", "test.parquet"],
            "{root} has tables in several formats, test.parquet and",
        ),
        (
            ["a.csv", "b.csv"],
            "{root} has no table for train, such as train.csv: name a table, {root}/a",
        ),
        (["test.csv"], "{root} has no table for train, such as train.csv: name a table, "),
    ],
)
def test_a_folder_of_other_tables_is_refused(tmp_path, names, message):
    for name in names:
        tiny_table.write(tmp_path / name, ROWS)
    with pytest.raises(BadInput) as error:
        find_input(str(tmp_path), DataFlags())
    assert str(error.value).startswith(message.format(root=tmp_path))


def run(*args):
    done = subprocess.run([sys.executable, "-m", *map(str, args)], capture_output=True, text=True)
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert "Traceback" not in done.stderr
    assert done.stderr.count("error: ") == len(errors) == 1, done.stderr
    return done.returncode, errors[0]


@pytest.mark.integration
@pytest.mark.integration
@pytest.mark.parametrize(
    ("tables", "status", "message"),
    [
        (
            {"part-1.csv": b"text,label\na,1\nb,2\n", "part-2.csv": b'text,label\na,1\n"b,2\n'},
            2,
            "{root}/part-2.csv ends within quotes, which row 2 opens: fix it",
        ),
        (
            {"part-1.csv": b"text,label\na,1\nb,2\n", "part-2.csv": b"txt,label\na,1\n"},
            2,
            "{root}/part-2.csv has no column text: its columns are txt, label",
        ),
        (
            {
                "part-1.jsonl": b'{"text": "a", "label": 1}\n{"text": "b", "label": 2}\n' * 4
                + b'{"text": 5, "label": 2}\nnull\n'
            },
            1,
            "2 of 10 rows of {root} can't be read: part-1.jsonl#10 (not a JSON object), "
            "part-1.jsonl#9 (text: not text); fix or remove them, and run again",
        ),
        (
            {"part\n\x1b[31m\u202e-1.csv": b"te\nxt,x\x1b[0m\n"},
            2,
            r"{root}/part\n\x1b[31m\u202e-1.csv has no column text, review, content or sentence: "
            r"name one with --text_column; its columns are te",
        ),
        (
            {"part-1.csv": b"text,label\n"},
            2,
            "{root} has no rows of train with a label: add some",
        ),
    ],
)
def test_one_line_is_said_and_nothing_left(tmp_path, tables, status, message):
    for name, content in tables.items():
        (tmp_path / name).write_bytes(content)
    [suffix] = {os.path.splitext(name)[1] for name in tables}
    output = tmp_path / "out" / "records"
    done = run("pipelines.preprocess", "--input", f"{tmp_path}/*{suffix}", "--output", output)
    assert done == (status, f"error: {message.format(root=tmp_path)}")
    assert sorted(os.listdir(tmp_path)) in (sorted(tables), sorted([*tables, "out"]))
    assert not output.exists()


@pytest.mark.integration
def test_up_to_one_percent_of_the_rows_may_be_bad(tmp_path):
    lines = [f"{json.dumps(row)}\n" for row in ROWS]
    lines[7], lines[300:303] = "null\n", ['{"label": 1}\n', '{"text": 5}\n', '{"text": "x"}\n']
    (tmp_path / "a.jsonl").write_text("".join(lines))
    paths = ["--input", f"{tmp_path}/a.jsonl", "--output", f"{tmp_path}/out"]
    preprocess.main(paths)
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert (manifest["bad_files"], manifest["splits"]["train"]["examples"]) == (4, 396)
    lines[9] = "{}\n"
    (tmp_path / "a.jsonl").write_text("".join(lines))
    with pytest.raises(
        Failure, match=r"^5 of 400 rows of .* a\.jsonl#10 \(no text\), a\.jsonl#301"
    ):
        preprocess.main(paths)


@pytest.mark.integration
def test_bad_tables_are_not_scored(tmp_path):
    model_dir = trained(tmp_path / "model", ("neg", "pos"))
    paths = ["--output", str(tmp_path / "out"), "--model_dir", str(model_dir)]
    tiny_table.write(tmp_path / "a.jsonl", [{"text": "a", "more": [1]}])
    for given, message in (
        (["--keep_columns", "more"], "a.jsonl: the column more has the type struct<>"),
        (["--keep_columns", "none"], "a.jsonl has no column none: its columns are text, more"),
        (["--encoding=utf-16"], "--encoding utf-16: .*/a.jsonl is UTF-8: drop --encoding"),
    ):
        with pytest.raises(BadInput, match=message):
            score.main([*paths, "--input", str(tmp_path / "a.jsonl"), *given])
    (tmp_path / "b.csv").write_text("text\n")
    with pytest.raises(BadInput, match=r"b\.csv has no rows: name another table"):
        score.main([*paths, "--input", str(tmp_path / "b.csv")])
    (tmp_path / "c.csv").write_text('text\n"a')
    with pytest.raises(BadInput, match="ends within quotes, which row 1 opens"):
        score.main([*paths, "--input", str(tmp_path / "c.csv")])
    assert not (tmp_path / "out").exists()
