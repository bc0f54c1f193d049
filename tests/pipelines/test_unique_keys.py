import collections
import re

import apache_beam as beam
import pytest

from pipelines import sharding
from pipelines.places import Listed
from pipelines.preprocess import audit, unique_keys
from textrecords.errors import BadInput
from textrecords.text_source import Unread


def rows(*keys, first=1):
    """Returns rows of a table with these keys, as they are listed."""
    return [
        tuple(Unread(key, "good", 0, b"anywhere", f"t.csv#{n}"))
        for n, key in enumerate(keys, first)
    ]


def listed(number):
    return Listed(collections.Counter({"train/good": number}))


def test_keys_come_with_their_rows_by_their_hash(monkeypatch):
    monkeypatch.setattr(audit, "REVIEWS_PER_BUCKET", 2)
    keys = [b"a", b"b", b"\xff", b"d", b"e"]
    expected = {}
    for key, _, _, _, row in rows(*keys):
        bucket = int(sharding.key_hash(key).hex(), 16) % 3
        expected.setdefault(bucket, []).append((key, row))
    assert len(expected) > 1
    assert list(unique_keys.by_bucket(rows(*keys), listed(5))) == list(expected.items())
    monkeypatch.undo()
    [(bucket, found)] = unique_keys.by_bucket(rows(b"a", b"a"), listed(5))
    assert (bucket, found) == (0, [(b"a", "t.csv#1"), (b"a", "t.csv#2")])
    assert list(unique_keys.by_bucket([], listed(5))) == []


def test_different_keys_pass():
    lists = [[(b"a", "t.csv#1"), (b"b", "t.csv#2")], [], [(b"A", "t.csv#1")]]
    assert list(unique_keys.check((0, lists), "id")) == []


@pytest.mark.parametrize(
    ("key", "shown"), [(b"x", "x"), ("né\n".encode(), "né\\n"), (b"\xff", "\\udcff")]
)
def test_two_rows_of_the_same_key_are_named_in_order(key, shown):
    message = f"t.csv#1 and t.csv#7 have the same id, {shown}: keys have to be unique"
    for first, second in [("t.csv#7", "t.csv#1"), ("t.csv#1", "t.csv#7")]:
        for lists in (
            [[(b"a", "0"), (key, first), (key, second)]],
            [[(key, first)], [(key, second)]],
        ):
            with pytest.raises(BadInput) as error:
                list(unique_keys.check((0, lists), "id"))
            assert str(error.value) == message


def test_the_stages_find_what_several_workers_read():
    pipeline = beam.Pipeline(runner="FnApiRunner")
    summary = beam.pvalue.AsSingleton(pipeline | "Summary" >> beam.Create([listed(3)]))
    elements = [rows(b"a", b"b"), rows(b"b", first=3)]
    unread = pipeline | "Rows" >> beam.Create(elements, reshuffle=False)
    _ = unread | unique_keys.CheckUnique(summary, "id")
    labels = {each for each in pipeline.applied_labels if re.fullmatch("CheckUnique/[^/]+", each)}
    assert labels == {f"CheckUnique/{name}" for name in ("KeysByBucket", "GroupKeys", "CheckKeys")}
    with pytest.raises(BadInput, match=r"t\.csv#2 and t\.csv#3 have the same id, b: keys have to"):
        pipeline.run()
