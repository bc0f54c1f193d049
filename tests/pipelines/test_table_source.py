"""Rows of tables as reviews: each reason to skip one, and where its text is kept and read."""

import contextlib
import dataclasses
import errno
import hashlib
import io
import operator
import struct

import pyarrow as pa
import pyarrow.parquet
import pytest

from pipelines.places import Listed
from pipelines.preprocess.find_input import find_input
from pipelines.tables import places, readers, table_files
from pipelines.tables.columns import Columns
from pipelines.tables.places import TablePlace
from pipelines.tables.source import BAD, KEPT, KeepTexts, TableSource, keep_texts
from textrecords import storage, text_source
from textrecords.errors import BadInput, Failure
from textrecords.manifest import DataFlags, Fingerprint
from textrecords.text_source import Unread

TRAIN, VALIDATION, TEST, UNLABELLED = range(4)
PLAIN = TableSource("in", columns=Columns(("text",), "label"))
ALL = TableSource("in", columns=Columns(("title", "text"), "label", "part", "id"))


def reviewed(source, **cells):
    """Returns what becomes of row 7 of a table of test with these cells."""
    row = {"texts": (b"a", b"b"), "label": "x", "split": "train", "key": "k", "kept": ()} | cells
    return source.review("t.csv", TEST, (7, tuple(row.values())))


def test_a_source_of_tables_says_what_it_is():
    assert TableSource.items == "rows"
    assert PLAIN.times_split == 1
    assert not dataclasses.replace(PLAIN, input_dir="gs://b/in", output_dir="out").is_remote
    assert dataclasses.replace(PLAIN, output_dir="gs://b/out").is_remote
    source = TableSource("in", table_encoding="cp1252", delimiter=";")
    assert source.table("x/t.csv") == readers.Table("in/x/t.csv", "cp1252", ";")


def test_a_row_is_identified_by_its_key_split_and_class():
    assert PLAIN.identity(Unread(b"a/1 b", "pos", VALIDATION)) == b"5:a/1 bvalidation/pos"
    assert PLAIN.identity(Unread(b"", "é", UNLABELLED)) == "0:unlabelled/é".encode()


def test_a_good_row_has_its_cells_key_and_place():
    assert reviewed(ALL) == (Unread(b"k", "x", TRAIN, KEPT, "t.csv#7"), b"a b")
    assert reviewed(PLAIN, key=None) == (Unread(b"t.csv#7", "x", TEST, KEPT, ""), b"a b")
    assert reviewed(PLAIN, kept=("é", 1, None)) == (
        Unread(b"k", "x", TEST, KEPT, '["\\u00e9", 1, null]'),
        b"a b",
    )
    review, _ = PLAIN.review("t\n.csv", TEST, (7, ((b"a",), "x", None, "k", ())))
    assert review == Unread(b"k", "x", TEST, KEPT, r"t\n.csv#7")


def test_a_row_that_cannot_be_read_is_bad_by_its_number():
    found = ALL.review("t\udcff.csv", TEST, (12, "x\ny: not text"))
    assert found == (Unread(b"t\xff.csv#12", "", TEST, BAD + rb"x\ny: not text"), b"")


@pytest.mark.parametrize("split", [None, "", "other"])
def test_rows_of_no_split_are_skipped_only_if_rows_name_theirs(split):
    assert reviewed(ALL, split=split) == ("rows of no split", b"")
    assert reviewed(PLAIN, split=TEST)[0].split == TEST


def test_a_row_names_its_split():
    splits = {"train": 0, "Dev": 1, "TEST": 2, "unsup": 3}
    assert {name: reviewed(ALL, split=name)[0].split for name in splits} == splits


@pytest.mark.parametrize(
    ("with_unlabelled", "split", "label", "expected"),
    [
        (True, TRAIN, "", (UNLABELLED, "", KEPT)),
        (True, TRAIN, None, (UNLABELLED, "", KEPT)),
        (True, TRAIN, "x", (TRAIN, "x", KEPT)),
        (True, TRAIN, "\udcff", (TRAIN, "", BAD + b"a label that isn't UTF-8")),
        (True, UNLABELLED, "x", (UNLABELLED, "", KEPT)),
        (None, UNLABELLED, "x", (UNLABELLED, "", KEPT)),
        (None, UNLABELLED, None, (UNLABELLED, "", KEPT)),
        (None, TRAIN, "", (TRAIN, "", BAD + b"no label")),
        (False, TRAIN, None, (TRAIN, "", BAD + b"no label")),
        (False, TRAIN, "x", (TRAIN, "x", KEPT)),
        (False, UNLABELLED, "x", None),
        (False, UNLABELLED, None, None),
    ],
)
def test_rows_without_a_label_are_bad_a_split_or_skipped(with_unlabelled, split, label, expected):
    source = dataclasses.replace(PLAIN, with_unlabelled=with_unlabelled)
    review, text = source.review("t.csv", split, (7, ((b"a",), label, None, None, ())))
    if expected is None:
        assert (review, text) == ("no label", b"")
    else:
        split, label, where = expected
        assert (review, text) == (Unread(b"t.csv#7", label, split, where), b"a")


def test_without_a_label_column_no_label_is_needed():
    source = TableSource("in", columns=Columns(("text",)))
    assert reviewed(source, label=None, key=None)[0] == Unread(b"t.csv#7", "", TEST, KEPT)


def test_rows_of_other_classes_are_skipped():
    source = dataclasses.replace(PLAIN, classes=("x", "y"))
    assert reviewed(source, label="z") == ("rows of no chosen class", b"")
    assert reviewed(source, label="y")[0].label == "y"
    assert reviewed(source, label="")[0].where == BAD + b"no label"
    assert reviewed(source, label="\udcff")[0].where == BAD + b"a label that isn't UTF-8"
    with_unlabelled = dataclasses.replace(source, with_unlabelled=True)
    assert with_unlabelled.review("t.csv", UNLABELLED, (7, ((b"a",), "z", None, None, ()))) == (
        Unread(b"t.csv#7", "", UNLABELLED, KEPT),
        b"a",
    )


def test_of_several_reasons_the_first_is_kept(monkeypatch):
    monkeypatch.setattr(text_source, "MAX_FILE_BYTES", 3)
    nothing = {"key": "", "texts": (None, None)}
    why = {
        "no key": nothing | {"label": "\udcff"},
        "no text": nothing | {"key": "k", "label": "\udcff"},
        "a label that isn't UTF-8": {"label": "\udcff", "texts": (b"long", None)},
        "no label": {"label": "", "texts": (b"long", None)},
        "more than 10,000,000 bytes": {"texts": (b"ab", b"c")},
    }
    found = {reason: reviewed(ALL, **cells)[0].where for reason, cells in why.items()}
    assert found == {reason: BAD + reason.encode() for reason in why}
    review, text = reviewed(ALL, texts=(b"", None, b"ab"))  # 3 bytes, with the space between
    assert (review.where, text) == (KEPT, b" ab")
    assert reviewed(PLAIN, key="")[0] == Unread(b"t.csv#7", "x", TEST, KEPT)  # needs no key


def test_texts_are_kept_one_after_the_other_and_bad_rows_not():
    file = io.BytesIO()
    texts = KeepTexts(b"\0name\xff\1\2", file)
    bad = Unread(b"b", "x", 1, BAD + b"no text", "kept")
    kept = [texts.keep(Unread(b"a", "x", 1, KEPT, "kept"), text) for text in (b"abc", b"", b"de")]
    assert texts.keep(bad, b"lost") is bad
    kept.append(texts.keep(Unread(b"c", where=KEPT), b"f"))
    assert file.getvalue() == b"abcdef"
    places = [
        b"\0\0name\xff\1\2" + struct.pack(">QI", offset, size)
        for offset, size in ((0, 3), (3, 0), (3, 2), (5, 1))
    ]
    assert kept == [
        *(Unread(b"a", "x", 1, where, "kept") for where in places[:3]),
        Unread(b"c", "", 0, places[3], ""),
    ]
    assert [PLAIN.is_bad(each) for each in (bad, *kept)] == [True, False, False, False, False]


def test_a_file_of_texts_is_named_by_what_it_is_of_and_complete_or_absent(tmp_path):
    source = dataclasses.replace(PLAIN, output_dir=str(tmp_path / "out"))
    name = hashlib.blake2b("é".encode(), digest_size=8)
    path = tmp_path / "out/.texts" / name.hexdigest()
    for content in (b"first", b"second"):  # a worker may run again
        with keep_texts(source, "é") as texts:
            kept = texts.keep(Unread(b"a", where=KEPT), content)
            assert path.exists() == (content == b"second")
        assert list(path.parent.iterdir()) == [path]
        assert path.read_bytes() == content
        assert kept.where == KEPT + name.digest() + struct.pack(">QI", 0, len(content))
    with contextlib.suppress(InterruptedError), keep_texts(source, "other"):
        raise InterruptedError
    assert list(path.parent.iterdir()) == [path]


def test_a_text_is_read_from_where_it_was_kept():
    source = dataclasses.replace(PLAIN, output_dir="out")
    asked, path = [], f"out/.texts/{b'file 123'.hex()}"
    review = Unread(b"a", where=KEPT + b"file 123" + struct.pack(">QI", 5, 3))

    def returning(content):
        def read_range(*range):
            asked.append(range)
            return content

        return read_range

    def fail(*_):
        raise OSError(errno.EIO, "disk on fire")

    assert source._content(review, returning(b"abc")) == b"abc"
    assert asked == [(path, 5, 3)]
    for content in (b"ab", b"abcd"):
        with pytest.raises(Failure) as error:
            source._content(review, returning(content))
        assert str(error.value) == f"{path} has changed since it was written: run again"
    with pytest.raises(Failure) as error:
        source._content(review, fail)
    assert str(error.value) == f"can't read {path} (disk on fire): run again"
    with pytest.raises(OSError) as error:
        source._content(Unread(b"a", where=BAD + "é: not text".encode()), fail)
    assert (error.value.errno, error.value.strerror) == (errno.EINVAL, "é: not text")


def test_texts_of_a_batch_and_the_errors_of_bad_rows_come_in_order(tmp_path):
    source = dataclasses.replace(PLAIN, output_dir=str(tmp_path))
    with keep_texts(source, "t") as texts:
        kept = [texts.keep(Unread(b"%d" % n, where=KEPT), b"text %d" % n) for n in range(3)]
    bad = {}
    rows = [kept[2], Unread(b"x", where=BAD + b"no text"), kept[0]]
    assert list(source.read_good(rows, bad)) == [(kept[2], b"text 2"), (kept[0], b"text 0")]
    assert bad == {b"x": "no text"}


def fingerprint(path, name):
    """Returns the fingerprint of an input of one file."""
    status = path.stat()
    line = f"{len(name)}:{name}{status.st_size}:{status.st_mtime_ns}".encode()
    return Fingerprint.of([(status.st_size, hashlib.sha256(line).digest())])


def in_texts(folder, place, *ranges):
    """Returns where the texts of a place are."""
    name = hashlib.blake2b(repr(place).encode(), digest_size=8)
    assert [path.name for path in (folder / ".texts").iterdir()] == [name.hexdigest()]
    return [KEPT + name.digest() + struct.pack(">QI", *each) for each in ranges]


def test_a_table_is_listed_as_rows_with_a_summary_of_each_batch(tmp_path, monkeypatch):
    monkeypatch.setattr(readers, "BATCH_ROWS", 3)
    content = "text,label,part\na,x,train\nlost,x,no\nbc,y,test\nlost,x,none\n,y,train\nd\n"
    (tmp_path / "t.csv").write_text(content)
    columns = Columns(("text",), "label", "part")
    source = TableSource(str(tmp_path), columns=columns, output_dir=str(tmp_path / "out"))
    place = TablePlace("t.csv", TEST)
    found = list(place.list_files(source))
    where = in_texts(tmp_path / "out", place, (0, 1), (1, 2), (3, 0))
    assert found == [
        Listed(files=fingerprint(tmp_path / "t.csv", "t.csv")),
        Listed({"train/x": 1, "test/y": 1}, {"rows of no split": 1}),
        [(b"t.csv#1", "x", 0, where[0], ""), (b"t.csv#3", "y", 2, where[1], "")],
        Listed({"train/y": 1, "test/": 1}, {"rows of no split": 1}),
        [
            (b"t.csv#5", "y", 0, where[2], ""),
            (b"t.csv#6", "", 2, BAD + b"cells: 1, not 3", ""),
        ],
    ]
    assert {type(row) for rows in found if isinstance(rows, list) for row in rows} == {tuple}
    assert (tmp_path / "out/.texts" / where[0][1:9].hex()).read_bytes() == b"abc"


def test_a_batch_of_skipped_rows_gives_no_list(tmp_path):
    (tmp_path / "t.csv").write_text("text,label\na,x\nb,y\n")
    source = dataclasses.replace(
        PLAIN, input_dir=str(tmp_path), output_dir=str(tmp_path), classes=("z",)
    )
    _, *found = TablePlace("t.csv", TRAIN).list_files(source, limit=1)  # CSV can't be split
    assert found == [Listed(skipped={"rows of no chosen class": 2})]


def test_the_label_column_of_an_unlabelled_table_is_not_read(tmp_path):
    (tmp_path / "t.csv").write_text("text\na\n")
    source = TableSource(str(tmp_path), columns=PLAIN.columns, output_dir=str(tmp_path))
    review = Unread(b"t.csv#1", "", UNLABELLED, KEPT)
    assert list(TablePlace("t.csv", UNLABELLED).read(source)) == [[(review, b"a")]]
    with pytest.raises(BadInput, match="has no column label"):
        list(TablePlace("t.csv", TRAIN).read(source))


def test_row_groups_of_parquet_are_left_to_other_workers_if_there_are_any(tmp_path, monkeypatch):
    monkeypatch.setattr(readers, "ROWS_TOGETHER", 2)
    columns = {"text": list("abcde"), "label": list("xyxyx")}
    path = tmp_path / "x" / "t.parquet"
    path.parent.mkdir()
    pyarrow.parquet.write_table(pa.table(columns), path, row_group_size=2)
    source = TableSource(str(tmp_path), columns=PLAIN.columns, output_dir=str(tmp_path / "out"))
    place = TablePlace("x/t.parquet", VALIDATION)
    groups = [TablePlace("x/t.parquet", 1, each) for each in ((0, 1, 1), (1, 2, 3), (2, 3, 5))]
    summary = Listed(files=fingerprint(path, "x/t.parquet"))
    assert list(place.list_files(source, 1)) == [summary, *groups]
    assert not (tmp_path / "out").exists()
    found = list(groups[1].list_files(source, 1))
    where = in_texts(tmp_path / "out", groups[1], (0, 1), (1, 1))
    of = [f"x/t.parquet#{number}" for number in (3, 4)]
    assert found == [
        Listed({"validation/x": 1, "validation/y": 1}),
        [(of[0].encode(), "x", 1, where[0], ""), (of[1].encode(), "y", 1, where[1], "")],
    ]
    first, *found = place.list_files(source)
    assert (first, [len(each) for each in found if isinstance(each, list)]) == (summary, [5])


def test_rows_listed_in_this_process_are_counted_for_progress_bars(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/train.csv").write_text("text,label\na,x\nb,y\nc,x\n")
    before = text_source.SEEN["listed"]
    tables = find_input(str(tmp_path / "in"), DataFlags()).stored_in(str(tmp_path / "out"))
    assert tables.listed.num_reviews == 3
    assert text_source.SEEN["listed"] - before == 3


def test_a_file_that_is_gone_is_only_counted(tmp_path):
    source = TableSource(str(tmp_path))
    assert TablePlace("t.csv", TRAIN).fingerprint(source) == Fingerprint.of([(0, b"")])
    (tmp_path / "t\udcff.csv").write_bytes(b"abc")
    status = (tmp_path / "t\udcff.csv").stat()
    digest = hashlib.sha256(b"6:t\xff.csv3:%d" % status.st_mtime_ns).digest()
    found = TablePlace("t\udcff.csv", TRAIN).fingerprint(source)
    assert found == Fingerprint.of([(3, digest)])


def test_labels_are_counted_over_batches_and_may_be_as_many_as_the_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(readers, "BATCH_ROWS", 1)
    monkeypatch.setattr(places, "MAX_CLASSES", 2000)
    source = TableSource(str(tmp_path), columns=PLAIN.columns, output_dir=str(tmp_path / "out"))
    path, place = tmp_path / "t.csv", TablePlace("t.csv", TRAIN)
    rows = [f"a,{n}\n" for n in range(2000)]
    path.write_text("text,label\n" + "".join([*rows, "b,0\n"]))
    assert len(list(place.list_files(source))) == 1 + 2 * 2001
    path.write_text("text,label\n" + "".join([*rows, "b,2000\n"]))
    with pytest.raises(BadInput) as error:
        list(place.list_files(source))
    assert str(error.value) == (
        f"{path} has more than 2,000 labels in label: name another --label_column"
    )


def test_entries_in_cloud_storage_are_fingerprinted_by_generation(monkeypatch):
    asked = []

    def entry(path):
        asked.append(path)
        return storage.Entry("in/t.csv", path, False, 5, 77)

    monkeypatch.setattr(storage, "entry", entry)
    found = TablePlace("t.csv", TRAIN).fingerprint(TableSource("gs://bucket/in"))
    assert found == Fingerprint.of([(5, hashlib.sha256(b"5:t.csv5:77").digest())])
    assert asked == ["gs://bucket/in/t.csv"]


def test_tables_named_by_split_are_found_whatever_is_hidden_before_them(monkeypatch, tmp_path):
    for name in (".hidden.csv", "test.csv", "train.csv", "note.txt"):
        (tmp_path / name).touch()
    scan = text_source.scan
    by_name = operator.attrgetter("name")
    monkeypatch.setattr(text_source, "scan", lambda folder: sorted(scan(folder), key=by_name))
    assert table_files._in_folder(str(tmp_path)) == ["test.csv", "train.csv"]
