"""The stages of the audit by themselves; test_audit.py runs whole commands."""

import collections
import itertools

import apache_beam as beam
import pytest
from tiny_tree import unread, write

from pipelines import findings, sharding
from pipelines.findings import finding
from pipelines.places import Listed
from pipelines.preprocess import audit, fingerprint, review_batches
from pipelines.preprocess.audit import Assign, Audited, Copies, Digested, Same
from pipelines.preprocess.review_batches import Review
from pipelines.preprocess.split_assignment import Shares, Text
from pipelines.unfit_files import UnfitFiles
from textrecords import spec, text_source
from textrecords.manifest import DataFlags, Fingerprint
from textrecords.text_source import Unread

# Ends of hashes that the shares below assign to validation or test, or leave in train.
LOW, HIGH = bytes(6), b"\xff" * 6
ONE_SHARD = dict.fromkeys(spec.ALL_SPLITS, 1)


def review(split, key, words, label=0, text=b"text"):
    """Returns a review in the folder of a split, as it comes to a stage."""
    place = spec.ALL_SPLITS.index(split)
    return tuple(Review(words, key, label, 4, text, None, place, b"anywhere"))


def same(text, label, *keys, number=None):
    return Same(text, label, Copies(number or len(keys), [*keys]))


def take_apart(outputs):
    """Returns outputs, of which those with a tag become pairs of tag and value."""
    is_tagged = beam.pvalue.TaggedOutput
    return [(each.tag, each.value) if isinstance(each, is_tagged) else each for each in outputs]


def tag(found):
    return findings.FINDINGS, findings.tag_findings(found).value


def test_of_many_copies_all_are_counted_and_the_first_keys_kept():
    keys = [b"%03d" % n for n in reversed(range(202))]
    copies = Copies(1, keys[:1])
    for key in keys[1:200]:
        copies.add(key)
    assert copies == Copies(200, keys[:200])
    copies.add(keys[200])
    assert copies == Copies(201, sorted(keys[:201])[:100])
    copies.add(keys[201])
    assert copies == Copies(202, [*sorted(keys[:201])[:100], b"000"])


def test_what_workers_audit_adds_up():
    one = Audited(*(collections.Counter(train=n, test=1) for n in range(1, 8)), sharding.Keys(2, 5))
    more = (collections.Counter(train=10 * n, unlabelled=n) for n in range(1, 8))
    both = one + Audited(*more, sharding.Keys(1, 2**64 - 1))
    total = (collections.Counter(train=11 * n, test=1, unlabelled=n) for n in range(1, 8))
    assert both == Audited(*total, sharding.Keys(3, 4))


def test_what_workers_digest_adds_up():
    one = Digested(Fingerprint(1, 10, f"{7:064x}"), UnfitFiles.of({b"a": "gone"}, {}))
    other = Digested(Fingerprint(2, 5, f"{8:064x}"), UnfitFiles.of({}, {b"b": "latin-1"}))
    unfit = UnfitFiles.of({b"a": "gone"}, {b"b": "latin-1"})
    assert one + other == Digested(Fingerprint(3, 15, f"{15:064x}"), unfit)


def test_texts_are_assigned_by_the_flags():
    flags = DataFlags(test=0.25, validation=0.5, drop_leaked=True)
    assert Assign.from_flags(flags) == Assign(Shares(0.5, 0.25), True, False)
    assert Assign.from_flags(DataFlags(drop_duplicates=True)) == Assign(Shares(), False, True)


SHARED = (
    [
        review("train", b"k1", b"a" + LOW),
        review("train", b"k2", b"a" + LOW, text=b"another"),
        review("train", b"k9", b"b" + LOW, 0, b"z"),
        review("train", b"k4", b"b" + LOW, 1, b"y"),
    ],
    [
        review("train", b"k3", b"b" + LOW, 0, b"z"),
        review("train", b"k5", b"c" + LOW),
        review("validation", b"k6", b"c" + LOW),
        review("validation", b"k7", b"d" + LOW),
        review("train", b"k8", b"e" + HIGH, 1),
        review("unlabelled", b"ka", b"f" + LOW, spec.UNKNOWN_LABEL),
        review("unlabelled", b"kb", b"g" + LOW, spec.UNKNOWN_LABEL),
        review("train", b"kc", b"g" + LOW),
    ],
)


@pytest.mark.parametrize("drop_leaked", [False, True])
@pytest.mark.parametrize("drop_duplicates", [False, True])
def test_texts_that_may_move_are_those_of_one_class_in_splits_with_a_share(
    drop_leaked, drop_duplicates
):
    found = dict(Assign(Shares(test=0.25), drop_leaked, drop_duplicates).class_texts((5, SHARED)))
    of_two_classes = Text(True, b"b" + LOW)
    expected = {
        (0, "train"): [Text(False, b"a" + LOW), Text(False, b"g" + LOW), of_two_classes],
        (1, "train"): [of_two_classes],
        (1, "test"): [Text(False, b"e" + HIGH)],
        (0, "validation"): [Text(True, b"c" + LOW), Text(True, b"d" + LOW)],
    }
    if drop_duplicates:  # keeps the first key, which is of the other class
        del expected[1, "train"]
    assert found == expected


def test_a_text_that_leaked_is_only_in_its_last_split():
    bucket = [
        [review(split, split.encode(), b"a" + LOW) for split in ("test", "train", "validation")],
        [review(split, split.encode(), b"b" + LOW) for split in ("validation", "unlabelled")],
    ]
    fixed = Text(True, b"a" + LOW)
    assert dict(Assign(Shares(test=0.1), True, False).class_texts((0, bucket))) == {
        (0, "test"): [fixed],
        (0, "validation"): [Text(True, b"b" + LOW)],
    }
    assert dict(Assign(Shares(test=0.1), False, True).class_texts((0, bucket))) == {
        (0, "test"): [fixed],
        (0, "train"): [fixed],
        (0, "validation"): [fixed, Text(True, b"b" + LOW)],
    }


def test_without_shares_no_text_may_move():
    assert list(Assign(Shares(), True, True).class_texts((0, SHARED))) == []


# Of a to f, only a is in validation by its hash, and c is moved there; d is in the folder test.
PLACED = [
    review("train", b"k05", b"a" + LOW, 0, b"a1"),
    review("train", b"k02", b"a" + LOW, 1, b"a1"),
    review("train", b"k08", b"a" + LOW, 0, b"a2"),
    review("test", b"k03", b"b" + HIGH, 0, b"b1"),
    review("train", b"k01", b"b" + HIGH, 0, b"b2"),
    review("train", b"k04", b"c" + HIGH, 0, b"c1"),
    review("test", b"k07", b"d" + LOW, 0, b"d1"),
    review("train", b"k13", b"e" + HIGH, 1, b"e1"),
    review("train", b"k12", b"e" + HIGH, 1, b"e1"),
    review("train", b"k10", b"e" + HIGH, 1, b"e2"),
    review("train", b"k11", b"e" + HIGH, 1, b"e2"),
    review("test", b"k14", b"f" + HIGH, 0, b"f1"),
    review("train", b"k15", b"f" + HIGH, 1, b"f1"),
    review("unlabelled", b"k16", b"g" + LOW, -1, b"g1"),
]
FOUND = [
    finding("duplicate", [b"k02", b"k05", b"k08"], split="validation", same_texts=1),
    finding("conflicting labels", [b"k02", b"k05", b"k08"], same_texts=1),
    finding("leak", [b"k01", b"k03"], splits=["train", "test"], same_texts=0),
    finding("duplicate", [b"k10", b"k11", b"k12", b"k13"], split="train", same_texts=2),
    finding("leak", [b"k14", b"k15"], splits=["train", "test"], same_texts=1),
    finding("conflicting labels", [b"k14", b"k15"], same_texts=1),
]
COUNTED = {
    "found": collections.Counter(train=6, validation=4, test=3, unlabelled=1),
    "distinct_texts": collections.Counter(train=4, validation=3, test=3, unlabelled=1),
    "distinct_by_words": collections.Counter(train=3, validation=2, test=3, unlabelled=1),
    "findings": collections.Counter({"duplicate": 2, "conflicting labels": 2, "leak": 2}),
    "same_texts": collections.Counter({"duplicate": 3, "conflicting labels": 2, "leak": 1}),
}


@pytest.mark.parametrize(
    ("drop_leaked", "drop_duplicates", "leaked", "duplicates", "dropped"),
    [
        (False, False, {}, {}, []),
        (True, False, {"train": 2}, {}, [b"k01", b"k15"]),
        (
            *(False, True, {}, {"validation": 2, "train": 3}),
            [b"k05", b"k08", b"k11", b"k12", b"k13"],
        ),
        (
            *(True, True, {"train": 2}, {"validation": 2, "train": 3}),
            [b"k01", b"k05", b"k08", b"k11", b"k12", b"k13", b"k15"],
        ),
    ],
)
def test_reviews_are_placed_counted_and_dropped(
    drop_leaked, drop_duplicates, leaked, duplicates, dropped
):
    assign = Assign(Shares(validation=0.5), drop_leaked, drop_duplicates)
    moved = {b"c" + HIGH: "validation"}
    bucket = (3, [PLACED[:5], [], PLACED[5:]])
    first, *shards, last = take_apart(assign.place(bucket, moved, ONE_SHARD))
    assert (first[0], sorted(first[1])) == (findings.FINDINGS, sorted(tag(FOUND)[1]))
    kept = [each for each in PLACED if each[1] not in dropped]
    in_validation = {b"k02", b"k04", b"k05", b"k08"}
    assert dict(shards) == {
        ("train", 0): [each for each in kept if each[6] == 0 and each[1] not in in_validation],
        ("validation", 0): [each for each in kept if each[1] in in_validation],
        ("test", 0): [each for each in kept if each[6] == 2],
        ("unlabelled", 0): [PLACED[-1]],
    }
    assert len(shards) == 4
    assert last == (
        audit.AUDITED,
        Audited(
            **COUNTED,
            dropped_leaked=collections.Counter(leaked),
            dropped_duplicates=collections.Counter(duplicates),
            dropped=sharding.Keys.of(dropped),
        ),
    )


def test_full_batches_of_a_shard_come_first(monkeypatch):
    monkeypatch.setattr(review_batches, "BATCH_SIZE", 2)
    reviews = [review("train", b"%d" % n, b"%d" % n + LOW) for n in range(5)]
    outputs = take_apart(Assign(Shares(), True, True).place((0, [reviews]), {}, ONE_SHARD))
    assert outputs[0] == (findings.FINDINGS, [])
    assert outputs[1:-1] == [
        (("train", 0), reviews[:2]),
        (("train", 0), reviews[2:4]),
        (("train", 0), reviews[4:]),
    ]
    in_four = Assign(Shares(), False, False).place((0, [reviews]), {}, {"train": 4})
    places = {each[1]: shard for shard, kept in list(in_four)[1:-1] for each in kept}
    assert places == {
        each[1]: ("train", int(sharding.key_hash(each[1]).hex(), 16) % 4) for each in reviews
    }
    assert len(set(places.values())) > 1


def test_where_a_text_goes_is_the_same_in_every_process():
    hashed = text_source.text_hash(b"a great film")
    assert hashed.hex() == "75481024d15a9f9eb15a3293de8864fc"
    fraction = int("3293de8864fc", 16) / 2**48
    review = tuple(Review.of(unread(b"train/a/0.txt"), 0, b"A great film."))
    assert review[0] == hashed
    for validation, shard in [
        (fraction, ("train", 2)),
        (fraction + 2**-48, ("validation", 0)),
    ]:
        shares = Shares(validation)
        placed = Assign(shares, False, False).place(
            (0, [[review]]), {}, {"train": 3, "validation": 1}
        )
        assert (shard, [review]) in list(placed)


def test_buckets_give_the_same_whatever_their_order():
    assign = Assign(Shares(), True, True)
    texts = [b"a", b"a", b"b", b"c", b"c", b"c"]
    files = [
        tuple(Review.of(unread(f"{split}/x/{n}".encode()), 0, text))
        for n, (text, split) in enumerate(zip(texts, itertools.cycle(["train", "test"])))
    ]
    forth, back = (
        list(assign.place((0, lists), {}, {"train": 3, "test": 2}))
        for lists in ([files], [[file] for file in reversed(files)])
    )
    assert sorted(forth[0].value, key=repr) == sorted(back[0].value, key=repr)
    shards = ({shard: sorted(kept) for shard, kept in placed[1:-1]} for placed in (forth, back))
    assert next(shards) == next(shards)
    assert forth[-1].value == back[-1].value
    assert forth[-1].value.found == collections.Counter(train=3, test=3)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ({"train": [same(b"t", 0, b"a")]}, []),
        ({"train": [same(b"t", 0, b"a")], "unlabelled": [same(b"t", -1, b"b")]}, []),
        (
            {"train": [same(b"t", 0, b"b", b"a")]},
            [finding("duplicate", [b"a", b"b"], split="train", same_texts=1)],
        ),
        (
            {"test": [same(b"t", 0, b"b"), same(b"u", 0, b"a")]},
            [finding("duplicate", [b"a", b"b"], split="test", same_texts=0)],
        ),
        (
            {"train": [same(b"t", 0, b"a"), same(b"t", 1, b"b"), same(b"u", 2, b"c")]},
            [
                finding("duplicate", [b"a", b"b", b"c"], split="train", same_texts=1),
                finding("conflicting labels", [b"a", b"b", b"c"], same_texts=1),
            ],
        ),
        (
            {"test": [same(b"t", 0, b"b")], "train": [same(b"t", 1, b"a")]},
            [
                finding("leak", [b"a", b"b"], splits=["train", "test"], same_texts=1),
                finding("conflicting labels", [b"a", b"b"], same_texts=1),
            ],
        ),
        (
            {
                "test": [same(b"t", 0, b"c")],
                "unlabelled": [same(b"u", -1, b"a")],
                "train": [same(b"u", 0, b"b")],
            },
            [finding("leak", [b"a", b"b", b"c"], splits=["unlabelled", "train", "test"])],
        ),
        (
            {"unlabelled": [same(b"t", -1, b"a")], "validation": [same(b"u", 3, b"b")]},
            [finding("leak", [b"a", b"b"], splits=["unlabelled", "validation"], same_texts=0)],
        ),
    ],
)
def test_findings_are_on_texts_of_the_same_words(found, expected):
    made = list(audit._findings(found))
    assert made == [{"same_texts": 1, **each} for each in expected]


def test_a_text_is_in_several_places_only_if_these_differ():
    places = [(b"a", 0), (b"a", 0), (b"b", 0), (b"b", 1), (b"c", 0), (b"d", 0), (b"d", 1)]
    assert audit._in_several(places) == 2
    assert audit._in_several([(b"e", 0), (b"e", 1), (b"e", 2)]) == 1
    assert audit._in_several([]) == 0


def test_a_finding_names_the_first_reviews_and_counts_the_others():
    keys = [b"%03d" % n for n in range(102)]
    every = [same(b"t", 0, *keys[51:][::-1]), same(b"u", 1, *keys[:51])]
    names = [key.decode() for key in keys]
    assert audit._finding("leak", every, splits=["x"]) == {
        **{"finding": "leak", "splits": ["x"], "unnamed": 2},
        "keys": names[:100],
    }
    every = [same(b"t", 0, *keys[49:100]), same(b"u", 1, *keys[:49])]
    assert audit._finding("leak", every) == {"finding": "leak", "keys": names[:100]}
    every = [same(b"t", 0, b"b", number=30), same(b"u", 1, b"a")]
    assert audit._finding("x", every) == {"finding": "x", "keys": ["a", "b"], "unnamed": 29}


def test_digesting_reads_hashes_and_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(audit, "REVIEWS_PER_BUCKET", 2)
    texts = {
        "train/bad/1.txt": "A film.",
        "train/good/2.txt": b"caf\xe9 noir",
        "unlabelled/3.txt": "a FILM",
        "test/good/4.txt": "",
        "train/bad/5.txt": "other words",
    }
    write(tmp_path, texts)
    read = {path: (tmp_path / path).read_bytes() for path in texts}
    listed_here = [
        Unread(path.encode(), *more)
        for path, more in zip(
            texts, [("bad", 0), ("good", 0), ("", 3), ("good", 2), ("bad", 0)], strict=True
        )
    ]
    gone = [Unread(b"train/bad/%d.txt" % n, "bad") for n in (6, 7)]
    source = text_source.Source(str(tmp_path))
    listed = Listed(collections.Counter({"train/bad": 4, "train/good": 3}))

    outputs = take_apart(
        audit.digest([*map(tuple, [*listed_here, *gone])], source, listed, ("bad", "good"))
    )
    texts = [b"A film.", "caf\ufffd noir".encode(), b"a FILM", b"", b"other words"]
    labels, seems = [0, 1, -1, 1, 0], [None, "latin-1 or cp1252", None, None, None]
    by_bucket = collections.defaultdict(list)
    for made in map(Review.of, listed_here, labels, texts, seems):
        by_bucket[int(made.words_hash.hex()[:12], 16) % 4].append(tuple(made))
    assert len(by_bucket) > 1
    bad = {each.key: "No such file or directory" for each in gone}
    assert outputs == [
        *by_bucket.items(),
        tag([finding("bad file", [key], why=why) for key, why in bad.items()]),
        (
            audit.DIGESTED,
            Digested(
                fingerprint.fingerprint(source, zip(listed_here, read.values(), strict=True)),
                UnfitFiles.of(bad, {b"train/good/2.txt": "latin-1 or cp1252"}),
            ),
        ),
    ]
    outputs = take_apart(audit.digest([tuple(listed_here[0])], source, listed, ("bad",)))
    assert [output[0] for output in outputs[1:]] == [audit.DIGESTED]


def test_digested_files_are_counted(monkeypatch):
    metrics = collections.defaultdict(list)
    for name in ("FILES", "BAD_FILES", "BYTES"):
        monkeypatch.setattr(getattr(audit, name), "inc", metrics[name].append)
    seen = text_source.SEEN["read"]
    unfit = UnfitFiles.of({b"a": "gone", b"b": "gone"}, {b"c": "latin-1"})
    digested = Digested(Fingerprint(5, 60, "0"), unfit)
    assert audit.count(digested) is digested
    assert metrics == {"FILES": [7], "BAD_FILES": [2], "BYTES": [60]}
    assert text_source.SEEN["read"] == seen + 7


def test_a_bucket_is_for_100_000_reviews():
    numbers = [0, 1, 100_000, 100_001, 200_000, 200_001]
    assert [audit.num_buckets(number) for number in numbers] == [0, 1, 1, 2, 2, 3]
