"""Tables: their files, columns and rows."""

import csv
import gzip
import io
import itertools
import json

import hypothesis
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest
import tiny_table
from hypothesis import strategies as st

from pipelines.preprocess.input_tables import sorted_labels
from pipelines.tables import csv_tables, json_tables, places, readers, table_files
from pipelines.tables.columns import Columns
from pipelines.tables.source import BAD, KEPT, TableSource, keep_texts
from textrecords.errors import BadInput, Failure

TEXT_AND_LABEL = Columns(text=("text",), label="label")


def cells(path, columns=TEXT_AND_LABEL, **of_table):
    """Returns the rows of a table, by number: texts and label, or why a row is bad."""
    lists = readers.Table(str(path), **of_table).rows(columns)
    rows = itertools.chain.from_iterable(lists)
    return {number: found if isinstance(found, str) else found[:2] for number, found in rows}


def written(path, content):
    """Returns the path of a table with this content."""
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def in_parquet(path, **columns):
    pyarrow.parquet.write_table(pa.table(columns), path)
    return path


@pytest.mark.parametrize("name", tiny_table.NAMES)
def test_rows_are_the_same_in_all_formats(tmp_path, name):
    texts = ["plain", 'a "quoted", text', "two\nlines\r\nof it", "", "日本 é 😀", " spaces "]
    rows = [{"id": n, "label": f"l {n}", "text": text} for n, text in enumerate(texts)]
    tiny_table.write(tmp_path / name, rows)
    table = readers.Table(str(tmp_path / name))
    assert table.schema().names == ["id", "label", "text"]
    expected = {n: ((text.encode(),), f"l {n - 1}") for n, text in enumerate(texts, 1)}
    assert cells(tmp_path / name) == expected


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        ("text,label\na,1\nb,2", {1: "a 1", 2: "b 2"}),
        ("text,label\r\na,1\r\nb,2\r\n", {1: "a 1", 2: "b 2"}),
        ("text,label\ra,1\rb,2\r", {1: "a 1", 2: "b 2"}),
        ("text,label\na\rb,1\n", {1: "cells: 1, not 2", 2: "b 1"}),  # a bare CR ends a line
        ('text,label\n"a\rb",1\n', {1: "a\rb 1"}),
        ("\ufefftext,label\na,1\n", {1: "a 1"}),
        ('\ufeff"text",label\na,1\n', {1: "a 1"}),
        ("text;label\na, b;1\n", {1: "a, b 1"}),
        ("text\tlabel\na, b\t1\n", {1: "a, b 1"}),
        ("text|label\na, b|1\n", {1: "a, b 1"}),
        ('"text,;;;";text;label\nx;a, b;1\n', {1: "a, b 1"}),
        ("text,label\n\na,1\n\n\nb\n\nc,3\n\n", {1: "a 1", 2: "cells: 1, not 2", 3: "c 3"}),
        ("text,label\na,1,x\nb\nc,3\n", {1: "cells: 3, not 2", 2: "cells: 1, not 2", 3: "c 3"}),
        ("text,label\na,1\nb\n", {1: "a 1", 2: "cells: 1, not 2"}),
        ('text,label\na "b" c,1\n5" d,2\n', {1: 'a "b" c 1', 2: '5" d 2'}),
        ("text,label\nNA,null\nnan,None\n", {1: "NA null", 2: "nan None"}),
        ('text,label\n,\n"",""\n', {1: " ", 2: " "}),
        ('"te""xt",text,"la\nbel",label\nx,a,y,1\n', {1: "a 1"}),
        ("a,text,a,label,\nx,b,y,1,z\n", {1: "b 1"}),
        ("text,label", {}),
        ("text,label\n", {}),
        ("text,label\n\n", {}),
    ],
)
def test_csv_is_as_rfc_4180_has_it_and_more_lenient(tmp_path, content, rows):
    found = cells(written(tmp_path / "a.csv", content))
    shown = {
        number: each if isinstance(each, str) else f"{each[0][0].decode()} {each[1]}"
        for number, each in found.items()
    }
    assert shown == rows


def test_a_single_column_has_empty_cells_only_in_quotes(tmp_path):
    path = written(tmp_path / "a.csv", 'text\n\n""\n\nb\n')
    assert cells(path, Columns(text=("text",))) == {1: ((b"",), None), 2: ((b"b",), None)}


@pytest.mark.parametrize("block_bytes", [24, 64, 1000])
def test_rows_keep_their_numbers_over_blocks(tmp_path, monkeypatch, block_bytes):
    monkeypatch.setattr(csv_tables, "BLOCK_BYTES", block_bytes)
    lines, expected = [], {}
    for number in range(1, 200):
        if number % 7 == 0 or number % 31 < 2:
            lines.append("ragged")
            expected[number] = "cells: 1, not 2"
        else:
            lines.append(f'"{number}\n,",x')
            expected[number] = ((f"{number}\n,".encode(),), "x")
        lines += [""] * (number % 3)
    path = written(tmp_path / "a.csv", "text,label\n" + "\n".join(lines))
    assert cells(path) == expected


@pytest.mark.parametrize("block_bytes", range(20, 40))
def test_line_ends_in_quotes_may_be_between_blocks(tmp_path, monkeypatch, block_bytes):
    monkeypatch.setattr(csv_tables, "BLOCK_BYTES", block_bytes)
    content = 'text,label\r\n"a\r\nb",x\r\n"c\rd",y\r\n'
    found = cells(written(tmp_path / "a.csv", content))
    assert found == {1: ((b"a\r\nb",), "x"), 2: ((b"c\rd",), "y")}


def test_bytes_that_are_not_utf8_are_left_to_be_replaced(tmp_path):
    content = b"text,label\n" + b"b,2\n" * 200 + b"caf\xe9,\xff\n"
    found = cells(written(tmp_path / "a.csv", content))
    assert found[201] == ((b"caf\xe9",), "\udcff")
    found = cells(written(tmp_path / "a.csv", content), encoding="iso8859-1")
    assert found[201] == (("café".encode(),), "ÿ")
    found = cells(written(tmp_path / "a.jsonl", b'{"text": "caf\xe9 \\ud800", "label": "\xff"}\n'))
    assert found == {1: ((b"caf\xed\xb3\xa9 \xed\xa0\x80",), "\udcff")}
    in_parquet(tmp_path / "a.parquet", text=[b"caf\xe9"], label=[b"\xff"])
    assert cells(tmp_path / "a.parquet") == {1: ((b"caf\xe9",), "\udcff")}


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "cp1252", "shift_jis"])
@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
def test_csv_is_read_in_any_encoding(tmp_path, encoding, name):
    text = "カ, é"[: 1 if encoding == "shift_jis" else None]
    text = text.replace("カ", "ß") if encoding == "cp1252" else text
    content = f'text,label\n"{text}",1\nb,2\n'.encode(encoding)
    written(tmp_path / name, gzip.compress(content) if name.endswith("gz") else content)
    found = cells(tmp_path / name, encoding=encoding)
    assert found == {1: ((text.encode(),), "1"), 2: ((b"b",), "2")}


@pytest.mark.parametrize(
    ("line", "row"),
    [
        ('{"label": "x", "text": "a"}', ((b"a",), "x")),
        ('{"text": "a", "label": 12345678901234567890123}', ((b"a",), "12345678901234567890123")),
        ('{"text": "a", "label": -1}', ((b"a",), "-1")),
        ('{"text": "a", "label": true}', ((b"a",), "true")),
        ('{"text": "a", "label": null}', ((b"a",), None)),
        ('{"label": "x"}', ((None,), "x")),
        ("{}", ((None,), None)),
        ('{"text": "\\ud83d\\ude00", "label": "2020-01-01"}', (("😀".encode(),), "2020-01-01")),
        ('{"text": "a", "text": "b", "label": "x"}', ((b"b",), "x")),
        (
            '{"text": "a", "label": "x", "more": {"text": ["b"]}, "id": "now a text"}',
            ((b"a",), "x"),
        ),
        ('{"text": 5, "label": "x"}', "text: not text"),
        ('{"text": ["a"], "label": "x"}', "text: not text"),
        ('{"text": "a", "label": 1.5}', "label: neither text nor an integer"),
        ('{"text": "a", "label": {"x": 1}}', "label: neither text nor an integer"),
        ('{"text": "a", "la', "not a JSON object"),
        ('{"text": "a", "label": "x"},', "not a JSON object"),
        ('["a", "x"]', "not a JSON object"),
        ("null", "not a JSON object"),
        ("[" * 100_000, "not a JSON object"),
        ('{"text": ' * 100_000, "not a JSON object"),
    ],
)
def test_each_line_of_json_is_a_row_of_its_own(tmp_path, line, row):
    first = '\ufeff{"text": "b", "label": "y", "id": 1}\r\n\r\n'
    path = written(tmp_path / "a.jsonl", f"{first}{line}\n \n{first[1:]}")
    assert cells(path) == {1: ((b"b",), "y"), 2: row, 3: ((b"b",), "y")}


def test_fields_of_json_may_come_later(tmp_path):
    path = written(tmp_path / "a.jsonl", '{"id": 1}\n{"text": "a"}\n{"label": 1, "text": "b"}\n')
    assert readers.Table(str(path)).schema().names == ["id", "text", "label"]
    assert cells(path) == {1: ((None,), None), 2: ((b"a",), None), 3: ((b"b",), "1")}


@pytest.mark.parametrize(
    "of",
    [
        *(pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.large_binary()),
        pa.dictionary(pa.int32(), pa.string()),
        pa.dictionary(pa.int8(), pa.large_string()),
    ],
)
def test_texts_of_parquet_may_be_of_any_type_of_text(tmp_path, of):
    column = pa.array(["a", None, "", "é"]).cast(of)
    in_parquet(tmp_path / "a.parquet", label=column, more=[[1]] * 4, text=column)
    texts = {1: "a", 2: None, 3: "", 4: "é"}
    expected = {n: ((t if t is None else t.encode(),), t) for n, t in texts.items()}
    assert cells(tmp_path / "a.parquet") == expected


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        (pa.array([-1, None], pa.int8()), ["-1", None]),
        (pa.array([2**64 - 1, 0], pa.uint64()), ["18446744073709551615", "0"]),
        (pa.array([7, None]).dictionary_encode(), ["7", None]),
        (pa.array([True, False]), ["true", "false"]),
        (pa.nulls(2), [None, None]),
    ],
)
def test_labels_of_parquet_may_be_integers(tmp_path, label, expected):
    in_parquet(tmp_path / "a.parquet", text=["a", "b"], label=label)
    assert [label for _, label in cells(tmp_path / "a.parquet").values()] == expected


def test_nested_columns_and_dots_in_names_leave_others_alone(tmp_path):
    nested = [{"b": "nested", "text": "nested"}] * 2
    columns = {"a": nested, "a.b": ["a", "b"], "c": nested, "label": [1, 2]}
    pyarrow.parquet.write_table(pa.table(columns), tmp_path / "a.parquet")
    found = cells(tmp_path / "a.parquet", Columns(text=("a.b",), label="label"))
    assert found == {1: ((b"a",), "1"), 2: ((b"b",), "2")}


def test_row_groups_split_a_parquet_table_and_keep_row_numbers(tmp_path, monkeypatch):
    monkeypatch.setattr(readers, "ROWS_TOGETHER", 5)
    monkeypatch.setattr(readers, "BATCH_ROWS", 2)
    texts = [str(n) for n in range(1, 14)]
    table = pa.table({"text": texts, "label": texts})
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet", row_group_size=3)
    table = readers.Table(str(tmp_path / "a.parquet"))
    assert table.row_groups() == [(0, 2, 1), (2, 4, 7), (4, 5, 13)]
    lists = [list(table.rows(TEXT_AND_LABEL, groups)) for groups in table.row_groups()]
    rows = itertools.chain.from_iterable(itertools.chain.from_iterable(lists))
    assert [(number, label) for number, (_, label, *_) in rows] == [(int(t), t) for t in texts]


@pytest.mark.parametrize("texts", [[], ["a"]])
def test_a_parquet_table_may_have_no_rows(tmp_path, texts):
    table = pa.table({"text": pa.array(texts, pa.string()), "label": pa.array(texts, pa.string())})
    with pyarrow.parquet.ParquetWriter(tmp_path / "a.parquet", table.schema) as writer:
        if texts:
            writer.write_table(table.slice(0, 0))
    assert cells(tmp_path / "a.parquet") == {}


def test_rows_that_grow_large_are_decoded_and_handed_out_a_few_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(readers, "DECODED_BYTES", 1_500_000)
    monkeypatch.setattr(readers, "BATCH_BYTES", 150_000)
    column = pa.array(["x" * 60_000, "y"]).take(pa.array([0] * 50 + [1] * 50)).dictionary_encode()
    in_parquet(tmp_path / "a.parquet", text=column, label=column)
    with pyarrow.parquet.ParquetFile(tmp_path / "a.parquet") as file:
        assert readers._batch_rows(file.metadata) == 12  # of no more than 121 kB each
    lists = list(readers.Table(str(tmp_path / "a.parquet")).rows(TEXT_AND_LABEL))
    assert [len(each) for each in lists] == [2] * 24 + [52]


FRAGMENTS = [
    *'",;\t|\n\r',
    "\r\n",
    '""',
    "\ufeff",
    "NA",
    "null",
    "#",
    "\\",
    "  ",
    "a,b",
    "日本",
    "عربى",
]
ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
TEXTS = st.lists(st.sampled_from(FRAGMENTS) | ANY_TEXT, max_size=6).map("".join)
ROWS = st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=12)


@hypothesis.given(
    rows=ROWS,
    delimiter=st.sampled_from(",;\t|"),
    # With a bare LF after rows, Python's writer leaves a CR in a cell without quotes.
    style=st.sampled_from([("\n", csv.QUOTE_ALL), ("\r\n", csv.QUOTE_ALL), ("\r\n", 0)]),
    before=st.sampled_from([b"", b"\xef\xbb\xbf"]),
    is_gzip=st.booleans(),
)
def test_csv_rows_are_those_of_pandas(tmp_path_factory, rows, delimiter, style, before, is_gzip):
    file = io.StringIO(newline="")
    writer = csv.writer(file, delimiter=delimiter, lineterminator=style[0], quoting=style[1])
    writer.writerows([("text", "label", "id"), *((*row, 1) for row in rows)])
    content = before + file.getvalue().encode()
    path = tmp_path_factory.mktemp("table") / ("a.csv.gz" if is_gzip else "a.csv")
    path.write_bytes(gzip.compress(content) if is_gzip else content)
    frame = pd.read_csv(path, sep=delimiter, keep_default_na=False, dtype=str)
    expected = [
        ((text.encode(),), label) for text, label in zip(frame.text, frame.label, strict=True)
    ]
    longest = max(len(text.encode()) + len(label.encode()) for text, label in rows)
    for block_bytes in (1 << 20, 2 * longest + 32):  # a row fits in, all its quotes doubled
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(csv_tables, "BLOCK_BYTES", block_bytes)
            assert cells(path) == dict(enumerate(expected, 1))
    assert [text for (text,), _ in expected] == [text.encode() for text, _ in rows]


@hypothesis.given(
    rows=st.lists(st.tuples(st.none() | TEXTS, st.none() | TEXTS), min_size=1, max_size=12),
    is_ascii=st.booleans(),
)
def test_rows_of_json_lines_and_parquet_are_those_of_pandas(tmp_path_factory, rows, is_ascii):
    folder = tmp_path_factory.mktemp("table")
    expected = {
        n: ((None if text is None else text.encode(),), label)
        for n, (text, label) in enumerate(rows, 1)
    }
    frame = pd.DataFrame(rows, columns=["text", "label"], dtype=object)
    frame.to_json(folder / "a.jsonl.gz", orient="records", lines=True, force_ascii=is_ascii)
    frame.to_parquet(folder / "a.parquet")
    assert cells(folder / "a.jsonl.gz") == expected
    assert cells(folder / "a.parquet") == expected


@hypothesis.given(st.recursive(st.none() | st.integers() | st.floats() | st.text(), st.lists))
def test_any_json_gives_a_row(tmp_path_factory, value):
    path = tmp_path_factory.mktemp("table") / "a.jsonl"
    lines = [{"text": "a", "label": "b"}, value, {"text": value, "label": value}]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = cells(path)
    assert len(found) == 3
    assert found[2] == json_tables.NO_OBJECT


@hypothesis.given(st.binary(max_size=200), st.sampled_from(tiny_table.NAMES))
def test_any_bytes_give_rows_or_one_line(tmp_path_factory, content, name):
    path = tmp_path_factory.mktemp("table") / name
    begin = b"text,label\n" if "sv" in name else b'{"text": "a", "label": "b"}\n'
    for each in (content, begin + content):
        path.write_bytes(gzip.compress(each) if name.endswith("gz") else each)
        try:
            cells(path)
        except BadInput as error:
            assert str(error).startswith(str(path))


@pytest.mark.parametrize(
    ("header", "text", "label"),
    [
        (["id", "review", "sentiment"], ("review",), "sentiment"),
        ([" Text ", "LABEL"], (" Text ",), "LABEL"),
        (["class", "content", "texts"], ("content",), "class"),
        (["sentence", "category", "text_id", "label_name"], ("sentence",), "category"),
    ],
)
def test_common_column_names_are_recognized(header, text, label):
    found = Columns().find("a.csv", header, labelled=True)
    assert (found.text, found.label) == (text, label)


def test_named_columns_are_used():
    header = ["text", "title", "label", "stars", "part", "id"]
    named = Columns(("title", "text"), "stars", "part", "id")
    assert named.find("a.csv", header, labelled=True) == named
    assert named.names == ["title", "text", "stars", "part", "id"]


MANY = [f"column {n}" for n in range(20)]
FIRST = ", ".join(MANY[:10])


@pytest.mark.parametrize(
    ("columns", "header", "message"),
    [
        (
            Columns(),
            ["text", "label", "Review"],
            "a.csv has the columns text, Review: choose one with --text_column",
        ),
        (
            Columns(),
            ["text", "label", "class", "category"],
            "a.csv has the columns label, class, category: choose one with --label_column",
        ),
        (
            Columns(),
            ["body", "label"],
            "a.csv has no column text, review, content or sentence: name one with --text_column; "
            "its columns are body, label",
        ),
        (
            Columns(text=("column 3",)),
            MANY,
            "a.csv has no column label, class, sentiment or category: name one with "
            f"--label_column; its columns are {FIRST}, ...",
        ),
        (Columns(), ["text", "text", "label"], "a.csv has two columns text: rename one"),
        (Columns(), ["text", "label", "label"], "a.csv has two columns label: rename one"),
        (
            Columns(text=("txt",), label="label"),
            ["text", "label", "x\ny", "z" * 1000],
            rf"a.csv has no column txt: its columns are text, label, x\ny, {'z' * 60}...",
        ),
        (
            Columns(key="id"),
            [],
            "a.csv has no column text, review, content or sentence: name one with --text_column; "
            "it has none",
        ),
    ],
)
def test_ambiguous_or_missing_columns_are_refused_by_name(columns, header, message):
    with pytest.raises(BadInput) as error:
        columns.find("a.csv", header, labelled=True)
    assert str(error.value) == message


TABLES = TableSource("in", columns=Columns(("title", "text"), "label", "part", "id"))


def test_a_row_becomes_a_review_by_its_columns():
    row = 12, ((b"a", b"b"), "x", "VALID", "k", ())
    review, text = TABLES.review("t.csv", 0, row)
    assert (review.key, review.label, review.split, review.where) == (b"k", "x", 1, KEPT)
    assert text == b"a b"


@pytest.mark.parametrize(
    ("cells", "why"),
    [
        ("cells: 1, not 5", "cells: 1, not 5"),
        (((None, None), "x", "train", "k", ()), "no text"),
        (((b"a", b"b"), None, "train", "k", ()), "no label"),
        (((b"a", b"b"), "", "train", "k", ()), "no label"),
        (((b"a", b"b"), "\udcff", "train", "k", ()), "a label that isn't UTF-8"),
        (((b"a", b"b"), "x", "train", None, ()), "no key"),
        (((b"a", b"b"), "x", "train", "", ()), "no key"),
        (((b"a" * 9_999_999, b"b"), "x", "train", "k", ()), "more than 10,000,000 bytes"),
    ],
)
def test_why_a_row_is_bad_is_kept(cells, why):
    review, _ = TABLES.review("t.csv", 0, (1, cells))
    assert review.where == BAD + why.encode()
    assert TABLES.is_bad(review)


def test_one_text_of_several_is_enough_and_may_be_empty():
    for texts, joined in (((b"a", None), b"a"), ((b"", None), b""), ((b"", b"a"), b" a")):
        review, text = TABLES.review("t.csv", 0, (1, (texts, "x", "test", "k", ())))
        assert (text, review.where) == (joined, KEPT)


@pytest.mark.parametrize("split", ["unsplit", None, "", "x\ny"])
def test_rows_of_no_split_are_skipped_for_one_reason(split):
    found = TABLES.review("t.csv", 0, (1, ((b"a", b"b"), "x", split, "k", ())))
    assert found == ("rows of no split", b"")


def test_keys_and_files_may_contain_any_bytes():
    review, _ = TABLES.review("t\udcff#.csv", 0, (1, ((b"a",), "x", "test", "k\udcff", ())))
    assert (review.key, review.kept) == (b"k\xff", r"t\udcff#.csv#1")
    source = TableSource("in", columns=TEXT_AND_LABEL)
    review, _ = source.review("t\udcff#.csv", 0, (3, ((b"a",), "x", None, None, ())))
    assert (review.key, review.kept) == (b"t\xff#.csv#3", "")


@pytest.mark.parametrize(
    ("labels", "in_order"),
    [
        (["pos", "neg"], ["neg", "pos"]),
        (["10", "9", "-1"], ["-1", "9", "10"]),
        (["10", "9", "x"], ["10", "9", "x"]),
        (["1", "01", "1.0"], ["01", "1", "1.0"]),
        (["9" * 5000, "1"], ["1", "9" * 5000]),
        (["٣", "2"], ["2", "٣"]),
    ],
)
def test_classes_are_sorted_by_number_if_all_are_integers(labels, in_order):
    assert sorted_labels(labels) == in_order


def make(folder, names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("text,label\n")
    return folder


@pytest.mark.parametrize(
    ("path", "files"),
    [
        ("a.csv", ["a.csv"]),
        ("x/../a.csv", ["a.csv"]),
        ("[1] #.TSV.GZ", ["[1] #.TSV.GZ"]),
        ("*.csv", ["a.csv", "b.csv"]),
        ("**/*.csv", ["a.csv", "b.csv", "x/a.csv", "x/y/c.csv"]),
        ("x/*.csv", ["a.csv"]),
        ("?.jsonl", ["c.jsonl"]),
        ("x", []),
        ("note.txt", []),
    ],
)
def test_a_path_or_a_pattern_names_tables(tmp_path, path, files):
    names = ("a.csv", "b.csv", "c.jsonl", "note.txt", "x/a.csv", "x/y/c.csv", ".b.csv")
    make(tmp_path, [*names, "[1] #.TSV.GZ"])
    (tmp_path / "folder.csv").mkdir()
    assert table_files.find_files(str(tmp_path / path))[1] == files


@pytest.mark.parametrize(
    ("names", "files"),
    [
        (["train.csv", "test.csv"], ["test.csv", "train.csv"]),
        (["Train-0001.csv", "val_x.csv", "notes.txt"], ["Train-0001.csv", "val_x.csv"]),
        (["train/a.csv", "test/b.csv", "x/c.csv"], ["test/b.csv", "train/a.csv"]),
        (["train/pos/a.txt", "train/neg/b.txt", "labels.csv"], []),
        (["pos/a.txt", "neg/b.txt", "labels.csv"], []),
        ([".train.csv", "train/pos/a.txt"], []),
        (["train/pos/a.txt", "train/meta.json", "unlabelled/meta.json"], []),
        (["pos/a.txt", "neg/b.txt", "test-report.json"], []),
        (["train-1.csv", "trian-2.csv"], ["train-1.csv", "trian-2.csv"]),
    ],
)
def test_the_tables_of_a_folder_are_named_by_split(tmp_path, names, files):
    make(tmp_path, names)
    assert table_files.find(str(tmp_path)) == (str(tmp_path), files)


@pytest.mark.parametrize(
    ("path", "names", "message"),
    [
        ("*.csv", ["a.tsv"], "{root}/*.csv matches no files: name a folder, a table or another"),
        ("none.csv", [], "no table {root}/none.csv: name one, or a folder"),
        (
            ".",
            ["a.csv", "b.csv"],
            "{root} has no table for train, such as train.csv: name a table, ",
        ),
        (".", ["train.csv", "test/a.csv"], "{root} has train.csv and folders named by split: kee"),
        (".", ["train.csv", "train/pos/a.txt"], "{root} has train.csv and folders named by split"),
        (
            ".",
            ["train.csv", "test.jsonl"],
            "{root} has tables in several formats, test.jsonl and train.csv: name those of one",
        ),
    ],
)
def test_other_files_and_names_are_refused(tmp_path, path, names, message):
    make(tmp_path, names)
    with pytest.raises(BadInput) as error:
        table_files.find(str(tmp_path / path))
    assert str(error.value).startswith(message.format(root=tmp_path))


@pytest.mark.parametrize(
    ("files", "splits"),
    [
        (["train.csv", "test.csv"], {"train.csv": "train", "test.csv": "test"}),
        (["train/a.csv", "dev/a.csv"], {"train/a.csv": "train", "dev/a.csv": "validation"}),
        (["TRAIN-1.csv", "train_2.csv"], {"TRAIN-1.csv": "train", "train_2.csv": "train"}),
        (["trainers.csv", "tests.csv"], {}),
        (["reviews.csv"], {}),
        (["train.csv"], {"train.csv": "train"}),
    ],
)
def test_names_of_tables_or_their_folders_determine_the_split(files, splits):
    assert table_files.splits("in", files) == splits


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["test.csv"], "in: test.csv is for test, and no table is for train"),
        (["more.csv", "train.csv"], "in: more.csv isn't named by split, but train.csv is: rename"),
    ],
)
def test_names_without_a_train_split_are_refused(files, message):
    with pytest.raises(BadInput) as error:
        table_files.splits("in", files)
    assert str(error.value).startswith(message)


def test_texts_are_read_completely_or_the_run_fails(tmp_path):
    """What this project kept is no bad row, whatever becomes of it."""
    source = TableSource("in", columns=TEXT_AND_LABEL, output_dir=str(tmp_path))
    review, text = source.review("t.csv", 0, (1, ((b"a film",), "x", None, None, ())))
    with keep_texts(source, "t.csv") as texts:
        kept = texts.keep(review, text)
    assert list(source.read_good([kept], {})) == [(kept, b"a film")]
    [path] = (tmp_path / ".texts").iterdir()
    path.write_bytes(b"a fi")
    with pytest.raises(Failure, match="has changed since it was written: run again"):
        list(source.read_good([kept], {}))
    path.unlink()
    with pytest.raises(Failure, match=r"can't read .* \(No such file or directory\): run again"):
        list(source.read_good([kept], {}))


def test_a_label_column_of_keys_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(places, "MAX_CLASSES", 2)
    (tmp_path / "t.csv").write_text("text,label\na,1\nb,2\nc,3\n")
    source = TableSource(str(tmp_path), columns=TEXT_AND_LABEL, output_dir=str(tmp_path))
    with pytest.raises(BadInput, match="has more than 2 labels in label: name another --label_co"):
        list(places.TablePlace("t.csv", 0).list_files(source))
