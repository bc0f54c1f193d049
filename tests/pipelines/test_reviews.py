import contextlib
import os
import subprocess

import pytest
from tiny_tree import unread, write

from pipelines import summary
from pipelines.places import Place
from pipelines.preprocess import input_tree, review_batches
from textrecords import concurrency, spec, text_source
from textrecords.errors import BadInput, Failure
from textrecords.manifest import DataFlags, Fingerprint

GOOD = {
    "train/neg/0.txt": "bad",
    "train/neg/1.txt": "worse",
    "train/pos/0.txt": "good",
    "test/neg/0.txt": "bad",
    "test/pos/0.txt": "good",
}


def test_survey_counts_reviews_and_skipped_files(tmp_path):
    others = {
        "README": "",
        "train/urls.txt": "",
        "train/.hidden": "",
        "train/neg/.hidden.txt": "",
        "train/neg/notes.md": "",
        "train/pos/deeper/0.txt": "",
        "train/unsup/0.txt": "",
        "train/unsup/1.txt": "",
    }
    write(tmp_path, GOOD | others)
    tree = input_tree.find_reviews(text_source.Source(str(tmp_path)))
    assert tree.classes == ("neg", "pos")
    assert tree.examples(tree.listed) == {
        "train": {"neg": 2, "pos": 2},
        "test": {"neg": 1, "pos": 1},
    }
    assert tree.listed.skipped == {
        "outside the class folders": 1,
        "outside the split folders": 1,
        "hidden": 2,
        "not *.txt": 1,
        "train/unsup: no labels": 2,
    }


@pytest.mark.parametrize("name", ["linked", "train/linked"])
def test_a_link_to_a_skipped_folder_counts_as_one(tmp_path, name):
    """It may lead anywhere, and to far more files than there are reviews."""
    write(tmp_path / "elsewhere", {f"{n}.txt": "" for n in range(5)})
    write(tmp_path / "in", GOOD)
    (tmp_path / "in" / name).symlink_to(tmp_path / "elsewhere")
    source = text_source.Source(str(tmp_path / "in"))
    tree = input_tree.find_reviews(source, ["neg", "pos"])
    why = "no split" if name == "linked" else "not a chosen class"
    assert tree.listed.skipped == {f"{name}: {why}": 1}


@contextlib.contextmanager
def nested(folder, name, depth):
    """Makes nested folders, with a review in the last one."""
    with contextlib.chdir(folder):  # full paths may be longer than the system allows
        for _ in range(depth):
            os.mkdir(name)
            os.chdir(name)
        write(".", {"./deep.txt": "deep"})
    yield
    subprocess.run(["rm", "-r", folder / name], check=True)  # too deep for Python's own


def test_folders_may_be_deeply_nested(tmp_path):
    write(tmp_path, GOOD)
    with nested(tmp_path / "train/neg", "a", 1500):
        tree = input_tree.find_reviews(text_source.Source(str(tmp_path)))
        assert tree.examples(tree.listed)["train"]["neg"] == 3


def test_a_folder_that_cannot_be_listed_is_named_in_one_line(tmp_path):
    write(tmp_path, GOOD)
    message = r"^can't list .*neg/a.* \(File name too long\): "
    with (
        nested(tmp_path / "train/neg", "a" * 250, 20),
        pytest.raises(Failure, match=message),
    ):
        input_tree.find_reviews(text_source.Source(str(tmp_path))).listed  # noqa: B018


def test_a_folder_that_vanishes_is_named_in_one_line(tmp_path):
    source = text_source.Source(str(tmp_path))
    with pytest.raises(Failure, match=r"^can't list .*/train/gone \(No such file or dir"):
        list(Place("train/gone", "gone").list_files(source))


def test_a_file_without_an_end_is_bad(tmp_path, monkeypatch):
    """As those of /proc may be, whose size isn't known ahead."""
    write(tmp_path, GOOD)
    bad = {}
    monkeypatch.setattr(os, "read", lambda file, size: b"x" * size)
    reviews = [unread(b"train/neg/0.txt")]
    assert list(text_source.Source(str(tmp_path)).read_good(reviews, bad)) == []
    assert bad == {b"train/neg/0.txt": "more than 10,000,000 bytes"}


def test_survey_sorts_classes_of_any_name_and_takes_a_missing_test_split(tmp_path):
    write(tmp_path, {f"train/{name}/0.txt": "x" for name in ("so so", "Ärger", "b", "a")})
    tree = input_tree.find_reviews(text_source.Source(str(tmp_path)))
    assert tree.classes == ("a", "b", "so so", "Ärger")
    assert list(tree.folders) == ["train"]


FLAT = {"bad/0.txt": "bad", "bad/deep/1.txt": "worse", "good/0.txt": "good"}


def test_class_folders_without_train_are_all_train(tmp_path):
    others = {"README": "", "unsup/0.txt": "", ".git/a.txt": "", "good/notes.md": ""}
    write(tmp_path, FLAT | others)
    tree = input_tree.find_reviews(text_source.Source(str(tmp_path)), may_be_flat=True)
    assert tree.classes == ("bad", "good")
    assert tree.folders == {"train": ""}
    assert tree.examples(tree.listed) == {"train": {"bad": 2, "good": 1}}
    assert {each.key for each in tree.all_reviews()} == {key.encode() for key in FLAT}
    assert {place.folder: place.label for place in tree.places} == {
        **{"bad": "bad", "good": "good", "unsup": None}
    }
    assert tree.listed.skipped == {
        "outside the class folders": 1,
        "hidden": 1,
        "not *.txt": 1,
        "unsup: no labels": 1,
    }
    chosen = input_tree.find_reviews(
        text_source.Source(str(tmp_path)), ["good", "unsup"], may_be_flat=True
    )
    assert chosen.examples(chosen.listed) == {"train": {"good": 1, "unsup": 1}}
    assert chosen.listed.skipped["bad: not a chosen class"] == 2


@pytest.mark.parametrize(
    ("files", "flags", "printed"),
    [
        (GOOD, DataFlags(), ""),
        (FLAT, DataFlags(test=0.4, validation=0.3), ""),
        (
            {name.replace("train", "TRAIN"): "" for name in GOOD},
            DataFlags(),
            "TRAIN is used as the train split\n",
        ),
        (
            {f"train/{c}/{n}.txt": "" for c in "ab" for n in range(5)},
            DataFlags(validation=0.2),
            "no test split: a model can't be evaluated\n",
        ),
    ],
)
def test_notes_on_the_input_are_shown(tmp_path, capsys, files, flags, printed):
    write(tmp_path, files)
    summary.show_input(input_tree.find_as_flagged(str(tmp_path), flags), flags)
    assert capsys.readouterr().out == printed


def test_leftovers_of_archives_and_systems_are_skipped_like_hidden_files(tmp_path):
    leftovers = ("__MACOSX/._0.txt", "Thumbs.db", "desktop.ini", ".DS_Store")
    folders = ("", "train/", "train/neg/")
    write(tmp_path, GOOD | {f"{folder}{name}": "" for folder in folders for name in leftovers})
    tree = input_tree.find_reviews(text_source.Source(str(tmp_path), pattern="*"))
    assert tree.classes == ("neg", "pos")
    assert tree.listed.skipped == {"hidden": 12}
    assert {each.key.decode() for each in tree.all_reviews()} == set(GOOD)
    write(tmp_path / "flat", FLAT | {"__MACOSX/bad/0.txt": ""})
    flat = text_source.Source(str(tmp_path / "flat"))
    assert input_tree.find_reviews(flat, may_be_flat=True).listed.skipped == {"hidden": 1}


def test_a_file_is_listed_with_the_split_and_class_of_its_folder(tmp_path):
    expected = {
        b"TRAIN/pos/1.txt": ("pos", "train"),
        b"TRAIN/test/1.txt": ("test", "train"),
        b"val/pos/deep/1.txt": ("pos", "validation"),
        b"Test/test/val/1.txt": ("test", "test"),
    }
    write(tmp_path, {key.decode(): "" for key in expected})
    tree = input_tree.find_reviews(text_source.Source(str(tmp_path)))
    found = {each.key: (each.label, spec.SPLITS[each.split]) for each in tree.all_reviews()}
    assert found == expected


def test_classes_override_order_and_choice(tmp_path):
    write(tmp_path, GOOD | {"train/unsup/0.txt": "x", "test/unsup/0.txt": "x"})
    assert input_tree.find_reviews(text_source.Source(str(tmp_path)), ["pos", "neg"]).classes == (
        "pos",
        "neg",
    )
    chosen = input_tree.find_reviews(text_source.Source(str(tmp_path)), ["pos", "unsup"])
    assert chosen.examples(chosen.listed)["train"] == {"pos": 1, "unsup": 1}
    assert chosen.listed.skipped == {
        "train/neg: not a chosen class": 2,
        "test/neg: not a chosen class": 1,
    }


@pytest.mark.parametrize(
    ("files", "classes", "message"),
    [
        ({}, None, "no input folder"),
        (FLAT, None, "in has no train/: to split its classes, give --test 0.2"),
        (
            {"test/neg/0.txt": "x"},
            None,
            "in has test/, but no train/: it must contain train/<class>/",
        ),
        (
            {**FLAT, "Dev/a/0.txt": "x"},
            None,
            "in has Dev/, but no train/: it must contain train/<cl",
        ),
        (
            {"0.txt": "x"},
            None,
            "has neither train/ nor class folders: it must contain train/<class>/",
        ),
        ({f"a/{key}": "" for key in GOOD}, None, "in has no train/, but a/ has: name that folder"),
        (
            {"a/0.txt": "x"},
            None,
            "has no train/, and only one class folder, a: it must contain train",
        ),
        ({"train/0.txt": "x"}, None, "has no class folders"),
        ({"train/unsup/0.txt": "x"}, None, "has no class folders"),
        ({"train/neg/0.txt": "x"}, None, "has only one class, neg"),
        (
            {"train/neg/0.txt": "x", "train/pos/0.md": "x"},
            None,
            "train/pos has no *.txt files, and a class needs at least one: add some, remove the "
            "folder, or give preprocess another --pattern",
        ),
        ({**GOOD, "test/meh/0.txt": "x"}, None, "has the classes meh, neg, pos, but train has"),
        (
            {**GOOD, "test/neg/0.txt": "x", "val/README": "x"},
            None,
            "val has no *.txt files of a class of train: add some, remove the folder, or give "
            "preprocess another --pattern",
        ),
        ({**GOOD, "val/neg/0.txt": "", "dev/neg/0.txt": ""}, None, "split, dev and val: merge"),
        ({**GOOD, "Train/neg/0.txt": ""}, None, "two folders for the train split, Train and train"),
        (GOOD, ["neg", "bad"], "has no folder bad: its classes are neg, pos"),
        (GOOD, ["neg", "neg"], "names a class twice"),
    ],
)
def test_survey_refuses_in_one_line(tmp_path, files, classes, message):
    write(tmp_path / "in", files)
    with pytest.raises(BadInput) as error:
        input_tree.find_reviews(text_source.Source(str(tmp_path / "in")), classes)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            {"test/neg/0.txt": "x"},
            "in has test/, but no train/: it must contain train/<class>/*.txt",
        ),
        (
            {"a/0.txt": "x"},
            "in has no train/, and only one class folder, a: it must contain train/",
        ),
        (
            {"a/0.txt": "x", "b/0.md": "x"},
            "in/b has no *.txt files, and a class needs at least one",
        ),
    ],
)
def test_a_folder_of_classes_is_refused_in_one_line(tmp_path, files, message):
    write(tmp_path / "in", files)
    with pytest.raises(BadInput) as error:
        input_tree.find_reviews(text_source.Source(str(tmp_path / "in")), may_be_flat=True)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_common_names_of_splits_are_recognized_and_the_rest_is_counted(tmp_path):
    write(tmp_path, {path.replace("test", "Test").replace("train", "TRAIN"): "" for path in GOOD})
    others = {"extra/a/0.txt": "", "extra/b.md": "", "val/pos/1.txt": "", "README": ""}
    write(tmp_path, others)
    (tmp_path / "link").symlink_to(tmp_path)
    tree = input_tree.find_reviews(text_source.Source(str(tmp_path)))
    assert tree.folders == {"train": "TRAIN", "validation": "val", "test": "Test"}
    assert tree.examples(tree.listed) == {
        "train": {"neg": 2, "pos": 1},
        "validation": {"neg": 0, "pos": 1},
        "test": {"neg": 1, "pos": 1},
    }
    assert tree.listed.skipped == {
        "outside the split folders": 1,
        "extra: no split": 2,
        "link: no split": 1,
    }
    assert b"val/pos/1.txt" in {each.key for each in tree.all_reviews()}


@pytest.mark.parametrize("name", ["VAL", "valid", "Dev", "Validation"])
def test_a_validation_folder_may_have_any_usual_name(tmp_path, name, capsys):
    write(tmp_path, GOOD | {f"{name}/{label}/0.txt": "x" for label in ("neg", "pos")})
    tree = input_tree.find_reviews(text_source.Source(str(tmp_path)))
    assert tree.examples(tree.listed)["validation"] == {"neg": 1, "pos": 1}
    summary.show_input(tree, DataFlags())
    assert f"{name} is used as the validation split\n" in capsys.readouterr().out


@pytest.mark.parametrize("empty", [{}, {"test/rare/notes.md": "x"}])
def test_a_class_that_test_lacks_counts_nothing(tmp_path, empty):
    write(tmp_path, GOOD | {"train/rare/0.txt": "x"} | empty)
    tree = input_tree.find_reviews(text_source.Source(str(tmp_path)))
    assert tree.examples(tree.listed)["test"] == {"neg": 1, "pos": 1, "rare": 0}
    assert len(list(tree.all_reviews())) == 6


def test_class_names_may_contain_joiners_and_no_break_spaces(tmp_path):
    names = ["c\u00a0d", "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", "x\u200dy"]
    write(tmp_path, {f"train/{name}/0.txt": "x" for name in names})
    tree = input_tree.find_reviews(text_source.Source(str(tmp_path)))
    assert tree.classes == tuple(sorted(names))


@pytest.mark.parametrize("name", ["a\nb", "a\x7f", "caf\udce9"])
def test_control_characters_and_stray_bytes_in_a_class_name_are_refused(tmp_path, name):
    write(tmp_path, {f"train/{name}/0.txt": "x", "train/b/0.txt": "x"})
    with pytest.raises(BadInput, match="has a control character or isn't UTF-8"):
        input_tree.find_reviews(text_source.Source(str(tmp_path)))


@pytest.mark.parametrize("classes", [None, ["caf\u00e9", "b"]])
def test_names_that_differ_only_in_unicode_form_are_distinguished(tmp_path, classes):
    write(tmp_path, {"train/caf\u00e9/0.txt": "x", "train/b/0.txt": "x", "test/b/0.txt": "x"})
    write(tmp_path, {"test/cafe\u0301/0.txt": "x"})
    with pytest.raises(BadInput) as error:
        input_tree.find_reviews(text_source.Source(str(tmp_path)), classes)
    assert str(error.value) == (
        f"{tmp_path}/test: the name of the folder cafe\u0301 looks like that of the class, but is "
        "in another Unicode form ('cafe\\u0301', not 'caf\\xe9'): rename it"
    )
    with pytest.raises(BadInput, match="another Unicode form"):
        input_tree.find_reviews(text_source.Source(str(tmp_path)), ["cafe\u0301", "b"])


def test_nested_folders_and_other_names_are_found_by_the_pattern(tmp_path):
    files = {"train/a/0": "", "train/a/deep/er/1.md": "", "train/a/.git/2.md": "", "train/b/3": ""}
    write(tmp_path, files)
    (tmp_path / "train/a/loop").symlink_to(tmp_path / "train")
    (tmp_path / "train/a/link.md").symlink_to(tmp_path / "train/b/3")
    tree = input_tree.find_reviews(text_source.Source(str(tmp_path), pattern="*"))
    assert tree.examples(tree.listed) == {"train": {"a": 3, "b": 1}}
    assert tree.listed.skipped == {"hidden": 1, "links to folders, and special files": 1}
    keys = {b"train/a/0", b"train/a/deep/er/1.md", b"train/a/link.md"}
    assert {each.key for each in tree.all_reviews() if each.label == "a"} == keys


def test_the_fingerprint_follows_paths_and_contents_alone(tmp_path):
    def of(files):
        folder = tmp_path / str(len(os.listdir(tmp_path)))
        write(folder, files)
        return input_tree.find_reviews(text_source.Source(str(folder))).fingerprint()

    assert of(GOOD) == of(dict(reversed(GOOD.items())))
    assert (of(GOOD).files, of(GOOD).bytes) == (5, 19)
    others = (
        {**GOOD, "train/neg/0.txt": "Bad"},
        {**GOOD, "train/neg/0.txt": "worse", "train/neg/1.txt": "bad"},
        {**GOOD, "train/neg/2.txt": ""},
    )
    assert len({of(files) for files in (GOOD, *others)}) == 4


def reviews_of(folder, keys):
    """Returns a `Review` of each key, all with the label 1."""
    source = text_source.Source(str(folder))
    found, misread = [], {}
    for listed, content in zip(map(unread, keys), source.read(map(unread, keys)), strict=True):
        text = source.to_text(listed.key, content, misread)
        found.append(review_batches.Review.of(listed, 1, text, misread.get(listed.key)))
    return found


def test_read_batch_keeps_order_and_decodes_with_replacement(tmp_path):
    write(
        tmp_path, {"train/neg/a.txt": b"caf\xe9", "train/pos/b.txt": "ok ☺", "train/pos/c.txt": ""}
    )
    files = reviews_of(tmp_path, [b"train/pos/b.txt", b"train/neg/a.txt", b"train/pos/c.txt"])
    assert review_batches.read_batch(text_source.Source(str(tmp_path)), files) == (
        ["ok ☺".encode(), "caf\ufffd".encode(), b""],
        [1, 1, 1],
        [b"train/pos/b.txt", b"train/neg/a.txt", b"train/pos/c.txt"],
        {b"train/neg/a.txt": "latin-1 or cp1252"},
    )


def test_a_batch_ends_at_a_number_of_reviews_or_of_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(review_batches, "BATCH_SIZE", 3)
    monkeypatch.setattr(review_batches, "BATCH_BYTES", 10)
    texts = [b"1234", b"1234", b"12", b"1", b"2", b"3", b"123456789ab", b"\xff" * 4, b"1"]
    write(tmp_path, {f"{n}": text for n, text in enumerate(texts)})
    files = reviews_of(tmp_path, [b"%d" % n for n in range(9)])
    batches = list(review_batches.read_batches(text_source.Source(str(tmp_path)), files))
    keys = [batch.keys for batch in batches]
    assert keys == [[b"0", b"1", b"2"], [b"3", b"4", b"5"], [b"6"], [b"7"], [b"8"]]
    assert list(review_batches.read_batches(text_source.Source(str(tmp_path)), [])) == []


def test_work_is_one_item_ahead_and_in_order():
    done = []

    def work(item):
        done.append(item)
        return item * 10

    made = concurrency.prefetch(iter(range(5)), work)
    assert next(made) == 0
    assert set(done) <= {0, 1, 2}
    assert list(made) == [10, 20, 30, 40]
    assert done == [0, 1, 2, 3, 4]
    assert list(concurrency.prefetch([], work)) == []


def test_a_failure_ahead_is_raised_in_its_place():
    made = concurrency.prefetch([1, 0, 2], lambda item: 1 // item)
    assert next(made) == 1
    with pytest.raises(ZeroDivisionError):
        next(made)


def test_a_text_that_changed_since_it_was_hashed_is_named(tmp_path):
    write(tmp_path, GOOD)
    files = reviews_of(tmp_path, [b"train/neg/0.txt"])
    write(tmp_path, {"train/neg/0.txt": "new"})
    with pytest.raises(Failure, match=r"train/neg/0\.txt changed while it was being read"):
        review_batches.read_batch(text_source.Source(str(tmp_path)), files)


@pytest.mark.parametrize(
    ("encoding", "content", "text", "replaced"),
    [
        ("utf-8", "é\x00\n".encode(), "é\x00\n", False),
        ("utf-8", b"caf\xe9", "caf\ufffd", True),
        ("utf-8", b"\xed\xa0\x80", "\ufffd\ufffd\ufffd", True),
        ("latin-1", b"caf\xe9", "café", False),
        ("utf-16", "é".encode("utf-16"), "é", False),
        ("cp1252", b"\x81", "\ufffd", True),
        ("unicode_escape", b"a\\ud800", "a\ufffd", True),
    ],
)
def test_texts_are_decoded_to_utf8(encoding, content, text, replaced):
    source = text_source.Source("", encoding=encoding)
    assert source.decode(content) == (text.encode(), replaced)


LONG = "A film of some 60 words, from the café: it's good. "
CYRILLIC = "Хороший фильм"


@pytest.mark.parametrize(
    ("encoding", "content", "seems"),
    [
        ("utf-8", LONG.encode(), None),
        ("utf-8", LONG.encode("utf-8-sig"), None),
        ("utf-8", b"nul\0 a\0b \0\0", None),
        ("utf-8", b"\0", None),
        ("utf-8", b"", None),
        ("utf-8", LONG.encode("utf-16"), "utf-16"),
        ("utf-8", b"\xfe\xff" + LONG.encode("utf-16-be"), "utf-16"),
        ("utf-8", CYRILLIC.encode("utf-16"), "utf-16"),
        ("utf-8", LONG.encode("utf-32"), "utf-32"),
        ("utf-8", LONG.encode("utf-16-le"), "utf-16-le"),
        ("utf-8", "ascii alone".encode("utf-16-be"), "utf-16-be"),
        ("utf-8", "ascii alone".encode("utf-32-le"), "utf-32-le"),
        ("utf-8", "ascii alone".encode("utf-32-be"), "utf-32-be"),
        ("utf-8", LONG.encode("cp1252"), "latin-1 or cp1252"),
        ("utf-8", CYRILLIC.encode("koi8-r"), "unknown"),
        ("ascii", LONG.encode(), "utf-8"),
        ("latin-1", LONG.encode("latin-1"), None),
        ("latin-1", LONG.encode("utf-16"), "utf-16"),
        ("latin-1", "ascii alone".encode("utf-16-le"), "utf-16-le"),
        ("utf-16", LONG.encode("utf-16"), None),
        ("utf-16-le", LONG.encode("utf-16-le"), None),
        ("utf-16", "ascii alone".encode("utf-16-le"), None),
        ("utf-16", b"even", "utf-8"),
        ("utf-16", b"odd", "utf-8"),
        ("utf-32", LONG.encode(), "utf-8"),
    ],
)
def test_files_in_another_encoding_are_detected(encoding, content, seems):
    source = text_source.Source("", encoding=encoding)
    assert source.seems_in(content, source.decode(content)[1]) == seems


def test_words_are_those_of_a_text_by_default():
    text = "\ufeffThe<br />Café's\r\n'É', \t it's ... <BR/>".encode()
    assert review_batches.words(text) == "the cafés É its br".encode()


FORMS = {
    "plain": "A good film, it's true.",
    "mark": "\ufeffA good film, it's true.",
    "ends of lines": "A good\r\nfilm, it's true.\r\n",
    "break": "A good<br />film, it's true.",
    "case and punctuation": "a GOOD film (its true)!",
}


def test_texts_of_the_same_words_are_known_and_so_is_the_very_same_text():
    reviews = [
        review_batches.Review.of(unread(b"key"), 0, text.encode()) for text in FORMS.values()
    ]
    assert len({review.words_hash for review in reviews}) == 1
    assert len({review.text_hash for review in reviews}) == len(FORMS)
    other = review_batches.Review.of(unread(b"key"), 0, b"A good film, is it true?")
    assert other.words_hash != reviews[0].words_hash


def test_texts_without_words_are_not_all_the_same():
    texts = (b"", b"...", b"?!", b"<br />")
    assert (
        len({review_batches.Review.of(unread(b"key"), 0, text).words_hash for text in texts}) == 4
    )


def test_a_file_may_have_as_many_bytes_as_the_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(text_source, "MAX_FILE_BYTES", 4)
    write(tmp_path, {"a.txt": "good", "b.txt": "worse"})
    bad = {}
    source = text_source.Source(str(tmp_path))
    found = list(source.read_good([unread(b"a.txt"), unread(b"b.txt")], bad))
    assert [(each.key, content) for each, content in found] == [(b"a.txt", b"good")]
    assert bad.keys() == {b"b.txt"}


def test_fingerprints_of_parts_add_up_to_that_of_all():
    files = [(3, b"\xff" * 32), (5, b"\x02" + b"\x01" * 31), (7, b"\x00" * 32)]
    whole = Fingerprint.of(files)
    assert (whole.files, whole.bytes) == (3, 15)
    assert whole.sha256 == "02" + "01" * 30 + "00"  # -1 and 0x0201...01, modulo 2**256
    assert Fingerprint.of(files[:1]) + Fingerprint.of(files[1:]) == whole
    assert Fingerprint.of([]) + whole == whole
