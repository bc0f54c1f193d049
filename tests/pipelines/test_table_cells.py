"""Cells of tables: what each format keeps of them, and how many rows are held at once."""

import math
import types

import pyarrow as pa
import pyarrow.parquet
import pytest

from pipelines.tables import cells, json_tables, readers
from pipelines.tables.columns import Columns
from textrecords.errors import BadInput

COLUMNS = Columns(
    ("text", "title"), "label", "part", "id", kept=(("number", "double"), ("label", "string"))
)


def test_a_batch_becomes_rows_of_all_columns():
    columns = {
        "id": [1, 2, None],
        "label": pa.array([b"x", b"\xff", None]),
        "part": pa.array(["train", None, "test"]).dictionary_encode(),
        "title": ["a", None, ""],
        "text": [b"b", b"\xff", None],
        "number": pa.array([0.5, math.nan, -math.inf], pa.float32()),
    }
    batch = pa.record_batch(columns)
    assert list(cells.of_batch(batch, COLUMNS)) == [
        ((b"b", b"a"), "x", "train", "1", (0.5, "x")),
        ((b"\xff", None), "\udcff", None, "2", (None, "\ufffd")),
        ((None, b""), None, "test", None, (None, None)),
    ]
    assert list(cells.of_batch(batch, Columns(("text",)))) == [
        ((b"b",), None, None, None, ()),
        ((b"\xff",), None, None, None, ()),
        ((None,), None, None, None, ()),
    ]
    of_key = list(cells.of_batch(batch.slice(0, 1), Columns(("text",), key="id")))
    assert of_key == [((b"b",), None, None, "1", ())]
    kept = Columns(("text",), kept=(("id", "int64"),))
    assert [row[4] for row in cells.of_batch(batch, kept)] == [(1,), (2,), (None,)]


@pytest.mark.parametrize(
    ("column", "of", "kept"),
    [
        (pa.array([b"a\xff", None, "é".encode()]), "string", ["a\ufffd", None, "é"]),
        (pa.array(["a", None]).dictionary_encode(), "string", ["a", None]),
        (pa.array([-1, None, 7], pa.int8()), "int64", [-1, None, 7]),
        (pa.array([True, False, None]), "bool", [True, False, None]),
        (pa.array([1.5, math.inf, -math.inf, math.nan, None]), "double", [1.5, *[None] * 4]),
    ],
)
def test_columns_are_kept_as_json_can_represent_them(column, of, kept):
    found = cells._kept(column, of)
    assert found == kept
    assert [type(value) for value in found] == [type(value) for value in kept]


def test_numbers_that_json_lacks_are_none():
    values = [1.5, 0.0, math.nan, math.inf, -math.inf, 2**70, "inf", None, True]
    assert [cells.finite(value) for value in values] == [
        *(1.5, 0.0, None, None, None, 2**70, "inf", None, True)
    ]


@pytest.mark.parametrize(
    ("of", "fitting", "others"),
    [
        ("string", ["a", "", None], [1, 1.5, True, ["a"], "\ud800"]),
        ("int64", [1, -(2**63), 2**63 - 1, 2.0, None], ["1", [1], 2**63, 2**70, -(2**70), 1.5]),
        ("double", [1.5, 1, math.inf, None], ["1", 2**53 + 1, 2**70, {}]),
        ("bool", [True, False, None], [1, "true", 0.5]),
    ],
)
def test_a_json_value_is_kept_only_if_the_column_can_hold_it_unchanged(of, fitting, others):
    assert [json_tables._fits(value, of) for value in fitting] == [True] * len(fitting)
    assert [json_tables._fits(value, of) for value in others] == [False] * len(others)


def test_what_a_row_of_json_keeps_is_checked_and_written_as_json_again():
    kept = Columns(("text",), kept=(("number", "int64"), ("share", "double")))
    row = {"text": "a", "number": 7, "share": 0.5}
    expected = ((b"a",), None, None, None, (7, 0.5))
    assert json_tables._cells(row, kept) == expected
    assert json_tables._cells(row | {"number": 1.5}, kept) == "number: not int64"
    assert json_tables._cells({"text": "a"}, kept) == (*expected[:4], (None, None))
    huge = json_tables._parse(b'{"text": "a", "share": 1e999}')
    assert json_tables._cells(huge, kept) == (*expected[:4], (None, None))


@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a.ndjson.gz", "a.parquet"])
def test_only_csv_may_be_in_another_encoding(name):
    readers.Table(name).check_encoding()
    with pytest.raises(BadInput) as error:
        readers.Table(name, "cp1252").check_encoding()
    assert str(error.value) == f"--encoding cp1252: {name} is UTF-8: drop --encoding"
    for csv in ("a.csv", "a.csv.gz", "a.tsv", "a.TSV"):
        readers.Table(csv, "cp1252").check_encoding()


@pytest.mark.parametrize(
    ("sizes", "together", "parts"),
    [
        ([3, 2, 4, 5, 1], 5, [(0, 2, 1), (2, 4, 6), (4, 5, 15)]),
        ([3, 2, 4, 5, 1], 6, [(0, 3, 1), (3, 5, 10)]),
        ([3, 2, 4, 5, 1], 1, [(n, n + 1, row) for n, row in enumerate((1, 4, 6, 10, 15))]),
        ([3, 2], 100, [(0, 2, 1)]),
        ([], 5, []),
    ],
)
def test_row_groups_are_read_together_up_to_enough_rows(
    tmp_path, monkeypatch, sizes, together, parts
):
    monkeypatch.setattr(readers, "ROWS_TOGETHER", together)
    schema = pa.schema([("text", pa.string())])
    with pyarrow.parquet.ParquetWriter(tmp_path / "a.parquet", schema) as writer:
        for size in sizes:
            writer.write_table(pa.table({"text": ["a"] * size}))
    table = readers.Table(str(tmp_path / "a.parquet"))
    assert table.row_groups() == parts
    found = [
        number
        for groups in parts
        for rows in table.rows(Columns(("text",)), groups)
        for number, _ in rows
    ]
    assert found == list(range(1, sum(sizes) + 1))


def test_row_groups_of_what_is_no_parquet_are_refused(tmp_path):
    (tmp_path / "a.parquet").write_bytes(b"text\n")
    with pytest.raises(BadInput) as error:
        readers.Table(str(tmp_path / "a.parquet")).row_groups()
    assert str(error.value).startswith(f"{tmp_path}/a.parquet can't be read as Parquet (Parquet ")


@pytest.mark.parametrize(
    ("sizes", "rows"),
    [
        ([], 40),
        ([0], 40),
        ([99, 100, 1], 10),
        ([50], 20),
        ([26], 38),
        ([24], 40),
        ([101], 9),
        ([150], 7),  # 6 would be too few
    ],
)
def test_as_many_rows_are_decoded_as_fit_if_all_are_as_large_as_their_group(
    monkeypatch, sizes, rows
):
    monkeypatch.setattr(readers, "BATCH_ROWS", 40)
    monkeypatch.setattr(readers, "DECODED_BYTES", 1000)
    monkeypatch.setattr(readers, "DECODED_ROWS", 7)
    groups = [types.SimpleNamespace(total_byte_size=size) for size in sizes]
    metadata = types.SimpleNamespace(num_row_groups=len(sizes), row_group=groups.__getitem__)
    found = readers._batch_rows(metadata)
    assert (found, type(found)) == (rows, int)


def test_with_no_row_groups_every_size_is_possible(monkeypatch):
    monkeypatch.setattr(readers, "DECODED_BYTES", 1000)
    metadata = types.SimpleNamespace(num_row_groups=0, row_group=None)
    assert readers._batch_rows(metadata) == 1000


def test_a_row_takes_the_bytes_of_its_texts():
    assert (
        readers._num_bytes((1, ((b"abc", None, b"", b"de"), "label", "test", "key", ("x",)))) == 5
    )
    assert readers._num_bytes((1, ((None,), None, None, None, ()))) == 0
    assert readers._num_bytes((1, "cells: 1, not 2")) == 0


def test_a_row_may_have_the_maximum_of_bytes_and_no_more(monkeypatch):
    def lines(content):
        stream = pa.BufferReader(content)
        return list(json_tables._lines("a.json", stream))

    monkeypatch.setattr(json_tables, "MAX_ROW_BYTES", 9)
    assert lines(b'\xef\xbb\xbf{"a":1}\n\n {"a":22}') == [(1, b'{"a":1}\n'), (2, b' {"a":22}')]
    assert lines(b'{"a":22}\n{"a":3}') == [(1, b'{"a":22}\n'), (2, b'{"a":3}')]
    for number, content in ((1, b'{"a":222}\n'), (2, b'{"a":1}\n{"a":222}\n')):
        with pytest.raises(BadInput) as refused:
            lines(content)
        assert str(refused.value) == f"a.json: row {number} has more than 9 bytes"
