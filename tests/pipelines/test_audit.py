import collections
import itertools
import json
import os
import re
import string
import tracemalloc

import apache_beam as beam
import pytest
from tiny_tree import unread, write

from pipelines import inspect_records
from pipelines.preprocess import __main__ as preprocess
from pipelines.preprocess import audit, split_assignment, write_shards
from pipelines.preprocess.review_batches import Review
from textrecords import spec, text_source
from textrecords.dataset import open_dataset, read_vocabulary
from textrecords.errors import BadInput, Failure

pytestmark = pytest.mark.integration

LETTERS = string.ascii_lowercase
TREE = {
    "train/neg/0.txt": "twice in train",
    "train/neg/1.txt": "twice in train",
    "train/neg/2.txt": "in both",
    "train/neg/3.txt": "two minds about this",
    "train/pos/0.txt": "two minds about this",
    "train/pos/1.txt": "short",
    "train/pos/2.txt": b"caf\xe9 here it isn't utf-8",
    "train/pos/3.txt": "...",
    "test/neg/0.txt": "in both",
    "test/pos/0.txt": "in both",
    "test/pos/1.txt": "in test alone",
}


def run(source, target, *flags):
    preprocess.main(["--input", str(source), "--output", str(target), *flags])
    return open_dataset(str(target)).manifest


def findings(target):
    """Returns all findings, sorted by their lines."""
    shards = target.glob("audit-*.jsonl")
    lines = (line for shard in shards for line in shard.read_text().splitlines())
    return [json.loads(line) for line in sorted(lines)]


def keys_of(target, split):
    """Returns the keys of the split's records, as a set."""
    import tensorflow as tf

    paths = [str(path) for path in target.glob(f"{split}-*")]
    examples = map(tf.train.Example.FromString, tf.data.TFRecordDataset(paths).as_numpy_iterator())
    return {e.features.feature["key"].bytes_list.value[0].decode() for e in examples}


def test_the_audit_names_what_is_wrong(tmp_path):
    write(tmp_path / "in", TREE)
    manifest = run(tmp_path / "in", tmp_path / "out", "--min_tokens=3")
    train, test = manifest.splits["train"], manifest.splits["test"]
    assert (train.found, train.distinct_texts, train.examples) == (8, 6, 8)
    assert (test.found, test.distinct_texts, test.examples) == (3, 2, 3)
    assert (train.undecodable, train.without_tokens, train.short) == (1, 1, 3)
    assert (manifest.audit.leaked_texts, manifest.audit.conflicting_texts) == (1, 2)
    both = ["test/neg/0.txt", "test/pos/0.txt", "train/neg/2.txt"]
    minds = ["train/neg/3.txt", "train/pos/0.txt"]
    assert findings(tmp_path / "out") == [
        {"finding": "conflicting labels", "same_texts": 1, "keys": both},
        {"finding": "conflicting labels", "same_texts": 1, "keys": minds},
        {"finding": "duplicate", "split": "test", "same_texts": 1, "keys": both[:2]},
        {
            "finding": "duplicate",
            "split": "train",
            "same_texts": 1,
            "keys": ["train/neg/0.txt", "train/neg/1.txt"],
        },
        {"finding": "duplicate", "split": "train", "same_texts": 1, "keys": minds},
        {"finding": "leak", "splits": ["train", "test"], "same_texts": 1, "keys": both},
        {"finding": "no tokens", "split": "train", "keys": ["train/pos/3.txt"]},
        {
            "finding": "not in the encoding",
            "split": "train",
            "seems": "latin-1 or cp1252",
            "keys": ["train/pos/2.txt"],
        },
        *(
            {"finding": "short", "split": split, "keys": [key]}
            for split, key in [
                ("test", "test/neg/0.txt"),
                ("test", "test/pos/0.txt"),
                ("train", "train/neg/2.txt"),
                ("train", "train/pos/1.txt"),
                ("train", "train/pos/3.txt"),
            ]
        ),
    ]


def test_byte_order_marks_are_counted_and_named_and_not_part_of_a_word(tmp_path, capsys):
    tree = {"train/neg/0.txt": "\ufeffbad film", "train/pos/0.txt": "\ufeffgood film"}
    write(tmp_path / "in", tree | {"train/pos/1.txt": "good \ufefffilm"})
    manifest = run(tmp_path / "in", tmp_path / "out", "--min_tokens=0")
    assert manifest.splits["train"].byte_order_marks == 2
    assert findings(tmp_path / "out") == [
        {"finding": "byte order mark", "split": "train", "keys": [key]} for key in tree
    ]
    assert "train, with a byte order mark, which is removed: 2\n" in capsys.readouterr().out
    vocabulary = read_vocabulary(str(tmp_path / "out" / spec.VOCABULARY))
    assert [word.decode() for word in vocabulary] == ["good", "film", "\ufefffilm", "bad"]


def test_html_and_nul_bytes_are_counted_and_named(tmp_path, capsys):
    tree = {
        "train/neg/0.txt": "bad<br>film",
        "train/neg/1.txt": "fish &amp; chips <br />",
        "train/neg/2.txt": "a<br /><br />b, 1 < 2, AT&T; <3",
        "train/pos/0.txt": "good\0film",
        "train/pos/1.txt": "good &#33;",
    }
    write(tmp_path / "in", tree)
    train = run(tmp_path / "in", tmp_path / "out", "--min_tokens=0").splits["train"]
    assert (train.html, train.nul_bytes) == (3, 1)
    assert findings(tmp_path / "out") == [
        *(
            {"finding": "HTML", "split": "train", "keys": [f"train/{key}.txt"]}
            for key in ("neg/0", "neg/1", "pos/1")
        ),
        {"finding": "NUL bytes", "split": "train", "keys": ["train/pos/0.txt"]},
    ]
    printed = capsys.readouterr().out
    assert "train, with HTML other than <br /> (--strip_html removes it): 3\n" in printed
    assert "train, with NUL bytes, as in another encoding: 1\n" in printed


def test_leaks_and_duplicates_are_dropped_on_request(tmp_path):
    write(tmp_path / "in", TREE)
    manifest = run(tmp_path / "in", tmp_path / "out", "--drop_leaked", "--drop_duplicates")
    train, test = manifest.splits["train"], manifest.splits["test"]
    assert (train.found, train.dropped_leaked, train.dropped_duplicates) == (8, 1, 2)
    assert (test.found, test.dropped_leaked, test.dropped_duplicates) == (3, 0, 1)
    assert train.class_examples == {"neg": 2, "pos": 3}
    assert keys_of(tmp_path / "out", "train") == {
        *("train/neg/0.txt", "train/neg/3.txt"),
        *("train/pos/1.txt", "train/pos/2.txt", "train/pos/3.txt"),
    }
    assert keys_of(tmp_path / "out", "test") == {"test/neg/0.txt", "test/pos/1.txt"}
    # "both" is no word of train any more.
    vocabulary = read_vocabulary(str(tmp_path / "out" / spec.VOCABULARY))
    assert b"both" not in vocabulary
    assert b"minds" in vocabulary


ANY_FORM = {
    "train/neg/0.txt": "A film.\nIt's good",
    "train/pos/0.txt": "\ufeffA film.\nIt's good",
    "train/pos/1.txt": "another film",
    "train/neg/1.txt": "no film",
    "test/neg/0.txt": "A film.\r\nIt's good\r\n",
    "test/pos/0.txt": "no film",
}


def test_leaks_and_duplicates_are_found_in_any_form(tmp_path, capsys):
    write(tmp_path / "in", ANY_FORM)
    manifest = run(tmp_path / "in", tmp_path / "out", "--min_tokens=0")
    train = manifest.splits["train"]
    assert (train.found, train.distinct_texts, train.distinct_by_words) == (4, 4, 3)
    found = manifest.audit
    assert (found.leaked_texts, found.leaked_by_words) == (1, 2)
    assert (found.conflicting_texts, found.conflicting_by_words) == (1, 2)
    keys = ["test/neg/0.txt", "train/neg/0.txt", "train/pos/0.txt"]
    expected = {"finding": "leak", "splits": ["train", "test"], "same_texts": 0, "keys": keys}
    assert expected in findings(tmp_path / "out")
    printed = capsys.readouterr().out
    assert "texts in two splits: 1 (2 by their words); in two classes: 1 (2)\n" in printed
    assert "train, duplicates of another review's words: 1\n" in printed


def test_leaks_in_any_form_are_dropped_on_request(tmp_path):
    write(tmp_path / "in", ANY_FORM | {"train/neg/2.txt": "Another film?", "train/pos/3.txt": "x"})
    flags = ["--drop_leaked", "--drop_duplicates"]
    train = run(tmp_path / "in", tmp_path / "out", *flags).splits["train"]
    assert (train.dropped_leaked, train.dropped_duplicates) == (3, 1)
    assert keys_of(tmp_path / "out", "train") == {"train/neg/2.txt", "train/pos/3.txt"}


def test_only_leaks_are_dropped(tmp_path):
    write(tmp_path / "in", TREE)
    train = run(tmp_path / "in", tmp_path / "out", "--drop_leaked").splits["train"]
    assert (train.dropped_leaked, train.dropped_duplicates, train.examples) == (1, 0, 7)


def test_validation_takes_its_share_by_text_and_its_words_too(tmp_path):
    texts = {n: f"text{n} word" for n in range(200)}
    tree = {f"train/a/{n}.txt": text for n, text in texts.items()}
    tree |= {f"train/b/{n}.txt": f"\ufeff{text.upper()}.\r\n" for n, text in texts.items()}
    write(tmp_path / "in", tree | {"test/a/0.txt": texts[0], "test/b/0.txt": "x"})
    manifest = run(tmp_path / "in", tmp_path / "out", "--validation=0.2", "--max_tokens=1000")
    splits = manifest.splits
    assert list(splits) == ["train", "validation", "test"]
    validation = keys_of(tmp_path / "out", "validation")
    assert 20 < len(validation) / 2 < 60
    # Both reviews of a text are on the same side.
    twins = {key.replace("/a/", "/b/") for key in validation if "/a/" in key}
    assert {key for key in validation if "/b/" in key} == twins
    train = keys_of(tmp_path / "out", "train")
    assert train | validation == set(tree)
    assert not train & validation
    vocabulary = read_vocabulary(str(tmp_path / "out" / spec.VOCABULARY))
    in_train = {f"text{key[8:-4]}".encode() for key in train}
    assert set(vocabulary) == in_train | {b"word"}
    assert splits["validation"].coverage == {str(len(vocabulary)): 0.5}


def flat(number):
    """Returns a folder of two classes, with this many texts each."""
    return {f"{c}/{n}.txt": f"{c} text{n}" for c in ("bad", "good") for n in range(number)}


def test_a_folder_of_classes_is_split_by_text(tmp_path):
    tree = flat(200) | {f"bad/again/{n}.txt": f"BAD text{n}!" for n in range(200)}
    write(tmp_path / "in", tree)
    manifest = run(tmp_path / "in", tmp_path / "out", "--test=0.2", "--validation=0.1")
    assert list(manifest.splits) == ["train", "validation", "test"]
    assert (manifest.flags.test, manifest.flags.validation) == (0.2, 0.1)
    keys = {split: keys_of(tmp_path / "out", split) for split in manifest.splits}
    assert sorted(itertools.chain(*keys.values())) == sorted(tree)
    assert 90 < len(keys["test"]) < 150
    assert 40 < len(keys["validation"]) < 80
    assert manifest.audit.leaked_by_words == 0
    # Splitting train gives the same texts, whether there is a test split or not.
    write(tmp_path / "split/train", tree)
    assert run(tmp_path / "split", tmp_path / "out2", "--test=0.2").splits.keys() == {
        "train",
        "test",
    }
    assert keys_of(tmp_path / "out2", "test") == {f"train/{key}" for key in keys["test"]}
    run(tmp_path / "split", tmp_path / "out3", "--validation=0.1")
    assert keys_of(tmp_path / "out3", "validation") == {f"train/{k}" for k in keys["validation"]}


def counts(manifest):
    """Returns how many examples each split has of each class, in the order of the classes."""
    return {name: list(split.class_examples.values()) for name, split in manifest.splits.items()}


@pytest.mark.parametrize(
    ("flags", "number", "expected"),
    [
        (["--validation=0.2"], 2, {"train": [1] * 26, "validation": [1] * 26}),
        (["--validation=0.9"], 2, {"train": [1] * 26, "validation": [1] * 26}),
        (["--validation=0.000001"], 3, {"train": [2] * 26, "validation": [1] * 26}),
        (
            ["--validation=0.3", "--test=0.3"],
            3,
            {"train": [1] * 26, "validation": [1] * 26, "test": [1] * 26},
        ),
    ],
)
def test_every_class_is_in_every_split_if_its_texts_suffice(
    tmp_path, monkeypatch, flags, number, expected
):
    monkeypatch.setattr(audit, "REVIEWS_PER_BUCKET", 7)
    write(
        tmp_path / "in", {f"train/{c}/{n}.txt": f"{c} {n}" for c in LETTERS for n in range(number)}
    )
    assert counts(run(tmp_path / "in", tmp_path / "out", *flags)) == expected


def test_classes_of_too_few_texts_are_in_train_then_test_and_named(tmp_path, capsys):
    tree = {f"{c}/{n}.txt": f"{c} {n}" for c in LETTERS for n in range(2 if c < "n" else 1)}
    tree |= {f"{c}/again.txt": f"{c.upper()} 0!" for c in LETTERS}  # the same words
    tree |= {f"zz/{n}.txt": f"many {n}" for n in range(100)}
    write(tmp_path / "in", tree)
    made = counts(run(tmp_path / "in", tmp_path / "out", "--test=0.2", "--validation=0.1"))
    rows = zip(made["train"], made["validation"], made["test"], strict=True)
    for name, found in zip([*LETTERS, "zz"], rows, strict=True):
        if name == "zz":
            assert all(found)
        elif name < "n":
            assert (sum(found), found[1], min(found[0], found[2])) == (3, 0, 1)
        else:
            assert found == (2, 0, 0)
    assert (
        "\nwarning: validation has no reviews of a, b, c, d, e, f, g, h, i, j and 16 more; "
        "test has no reviews of n, o, p, q, r, s, t, u, v, w and 3 more\n"
    ) in capsys.readouterr().out


def test_texts_of_two_classes_or_splits_are_not_unique_and_never_leak(tmp_path):
    tree = {f"train/{c}/{n}.txt": f"both {n}" for c in "ab" for n in range(9)}
    tree |= {f"train/{c}/own.txt": f"own {c}" for c in "abcd"}
    tree |= {f"train/{c}/{n}.txt": f"tested {c} {n}" for c in "cd" for n in range(9)}
    tree |= {f"test/{c}/{n}.txt": f"tested {c} {n}" for c in "cd" for n in range(9)}
    write(tmp_path / "in", tree)
    made = run(tmp_path / "in", tmp_path / "out", "--validation=0.999999", "--drop_leaked")
    assert made.audit.leaked_by_words == 18  # those of c and d, which were so in the folders
    assert counts(made) == {
        "train": [1, 1, 1, 1],
        "validation": [9, 9, 0, 0],
        "test": [0, 0, 9, 9],
    }
    made = run(tmp_path / "in", tmp_path / "out", "--validation=0.000001", "--drop_leaked")
    assert counts(made) == {
        "train": [9, 9, 1, 1],
        "validation": [1, 1, 0, 0],
        "test": [0, 0, 9, 9],
    }


def test_large_classes_are_split_by_the_hash_alone(tmp_path):
    tree = {f"train/{c}/{n}.txt": f"{c} text{n}" for c in "ab" for n in range(100)}
    write(tmp_path / "in", tree)
    run(tmp_path / "in", tmp_path / "out", "--validation=0.2")
    hashes = {key: text_source.text_hash(text.encode()) for key, text in tree.items()}
    below = {
        key for key, found in hashes.items() if found[-6:] < (2**48 // 5 + 1).to_bytes(6, "big")
    }
    assert 20 < len(below) < 60
    assert keys_of(tmp_path / "out", "validation") == below


def test_a_dataset_of_a_folder_of_classes_is_up_to_date_and_shown(tmp_path, capsys):
    write(tmp_path / "in", flat(20))
    flags = ["--input", str(tmp_path / "in"), "--output", str(tmp_path / "out")]
    run(tmp_path / "in", tmp_path / "out", "--test=0.2")
    capsys.readouterr()
    preprocess.main([*flags, "--test=0.2"])
    preprocess.main([*flags, "--if_needed"])  # as `make train` does
    assert capsys.readouterr().out.count("is up to date with") == 2
    inspect_records.main(["--records", str(tmp_path / "out"), "--split=test", "--count=1"])
    assert re.match(r"key     (bad|good)/\d+\.txt\n", capsys.readouterr().out)
    write(tmp_path / "in", {"bad/more.txt": "more"})
    with pytest.raises(BadInput, match=r"is out of date, and was made with --test 0\.2: run"):
        preprocess.main([*flags, "--if_needed"])


def test_a_folder_of_classes_is_named_with_what_splits_it(tmp_path):
    write(tmp_path / "in", flat(1))
    for flags in ([], ["--validation=0.1"]):
        with pytest.raises(BadInput) as error:
            run(tmp_path / "in", tmp_path / "out", *flags)
        assert str(error.value) == (
            f"{tmp_path}/in has no train/: to split its classes, give --test 0.2 to preprocess"
        )


def test_a_test_folder_and_its_flag_are_refused_together(tmp_path):
    write(tmp_path / "in", {"train/a/0.txt": "x", "train/b/0.txt": "y", "Test/a/0.txt": "z"})
    with pytest.raises(BadInput, match="in has a folder Test: drop --test"):
        run(tmp_path / "in", tmp_path / "out", "--test=0.1")


@pytest.mark.parametrize(("test", "validation"), [("0.5", "0.5"), ("0.7", "0.4")])
def test_shares_that_leave_nothing_for_train_are_refused(tmp_path, test, validation):
    write(tmp_path / "in", flat(1))
    message = f"--test {test} and --validation {validation} leave nothing for train: give less"
    with pytest.raises(BadInput, match=message):
        run(tmp_path / "in", tmp_path / "out", f"--test={test}", f"--validation={validation}")


def test_a_validation_folder_is_a_split_of_its_own(tmp_path):
    tree = {f"{split}/{c}/0.txt": split for split in spec.SPLITS for c in ("a", "b")}
    write(tmp_path / "in", tree | {"train/a/1.txt": "validation"})
    manifest = run(tmp_path / "in", tmp_path / "out", "--drop_leaked")
    assert {name: split.examples for name, split in manifest.splits.items()} == {
        "train": 2,
        "validation": 2,
        "test": 2,
    }
    assert manifest.splits["train"].dropped_leaked == 1
    with pytest.raises(BadInput, match="has a folder validation: drop --validation"):
        run(tmp_path / "in", tmp_path / "out", "--validation=0.1")


@pytest.mark.parametrize(
    ("tree", "flags", "message"),
    [
        (
            {"train/a/0.txt": "x", "train/b/0.txt": "y"},
            ["--validation=0.999999"],
            "nothing is left of reviews in validation because of --validation: change that, or add "
            "reviews with other words",
        ),
        (
            {"a/0.txt": "x", "b/0.txt": "x"},
            ["--test=0.5", "--validation=0.499999"],
            "nothing is left of reviews in train because of --test and --validation: change",
        ),
        (
            {"train/a/0.txt": "x", "train/b/0.txt": "y", "test/a/0.txt": "x", "test/b/0.txt": "y"},
            ["--drop_leaked", "--drop_duplicates"],
            "nothing is left of reviews in train because of --drop_leaked: change that, or add",
        ),
        (
            {"train/a/0.txt": "x", "train/b/0.txt": "y", "test/a/0.txt": "x", "test/b/0.txt": "z"},
            ["--drop_leaked"],
            "nothing is left of the class a in train because of --drop_leaked: change that, or add",
        ),
        (
            {"train/a/0.txt": "x", "train/a/1.txt": "y", "train/b/0.txt": "x"},
            ["--drop_duplicates", "--drop_leaked"],
            "nothing is left of the class b in train because of --drop_duplicates: change that, or",
        ),
        (
            {"train/a/0.txt": "...", "train/b/0.txt": "!"},
            ["--drop_leaked"],
            "no review of train has a word left after cleaning: add text to it",
        ),
    ],
)
def test_a_split_that_loses_all_is_refused(tmp_path, tree, flags, message):
    write(tmp_path / "in", tree)
    with pytest.raises(BadInput, match=message):
        run(tmp_path / "in", tmp_path / "out", *flags)
    assert os.listdir(tmp_path) == ["in"]


class Copies:
    """Reviews of one text, regenerated in each iteration."""

    def __init__(self, number):
        self.number = number

    def __iter__(self):
        for n in range(self.number):
            key = f"{'train' if n % 4 else 'test'}/{n % 2}/{n:06d}".encode()
            yield [tuple(Review.of(unread(key), n % 2, b"a film"))]


@pytest.mark.parametrize("drop_duplicates", [False, True])
def test_a_text_that_occurs_100_000_times_is_not_kept_in_memory(drop_duplicates):
    assign = audit.Assign(split_assignment.Shares(), False, drop_duplicates)
    tracemalloc.start()
    kept, tagged = collections.Counter(), {}
    for output in assign.place((0, Copies(100_000)), {}, {"train": 3, "test": 2}):
        if isinstance(output, beam.pvalue.TaggedOutput):
            tagged[output.tag] = output.value
        else:
            kept[output[0][0]] += len(output[1])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8_000_000
    found = {"train": 75_000, "test": 25_000}
    assert tagged["audited"].found == found
    assert kept == ({"train": 1, "test": 1} if drop_duplicates else found)
    assert tagged["audited"].dropped.number == 100_000 - kept.total()
    duplicates, *_ = findings = [json.loads(line) for _, line in tagged["findings"]]
    assert [each["finding"] for each in findings] == [
        *("duplicate", "duplicate", "leak", "conflicting labels")
    ]
    assert (len(duplicates["keys"]), duplicates["unnamed"]) == (100, 24_900)
    assert duplicates["keys"][:2] == ["test/0/000000", "test/0/000004"]


def test_reviews_that_an_engine_loses_or_doubles_fail_the_run(tmp_path, monkeypatch, capsys):
    """As many as there should be, but one twice and one never, is what a lost worker left once."""
    write(tmp_path / "in", TREE)

    def lose(lists):
        first, _, *others = in_order(lists)
        return [first, first, *others]

    in_order = write_shards.in_order
    monkeypatch.setattr(write_shards, "in_order", lose)
    with pytest.raises(
        Failure, match=r"^not each of 11 reviews was written or skipped once: the run"
    ):
        run(tmp_path / "in", tmp_path / "out", "--num_shards=1")
    assert sorted(os.listdir(tmp_path)) == [".out.textrecords-kept", "in"]
    monkeypatch.undo()
    run(tmp_path / "in", tmp_path / "out", "--num_shards=1")
    assert "reused " not in capsys.readouterr().out  # for those hold other reviews
    assert sorted(os.listdir(tmp_path)) == ["in", "out"]
