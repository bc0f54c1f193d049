"""Files of stop words and replacements, read by themselves; test_transform.py applies them."""

import hashlib

import pytest

from pipelines.preprocess import transform, word_lists
from textrecords.errors import BadInput
from textrecords.manifest import DataFlags


def clean():
    return transform.Tokenizer(transform.TextOptions())


def test_a_manifest_has_the_sha_256_of_files_but_the_name_of_the_built_in_list(tmp_path):
    (tmp_path / "stop").write_text("the\n")
    (tmp_path / "replaced").write_text("us\tusa\n")
    flags = DataFlags(stop_words=str(tmp_path / "stop"), replacements=str(tmp_path / "replaced"))
    found = word_lists.with_fingerprints(flags)
    assert found.stop_words == hashlib.sha256(b"the\n").hexdigest()
    assert found.replacements == hashlib.sha256(b"us\tusa\n").hexdigest()
    assert word_lists.with_fingerprints(DataFlags(stop_words="english")).stop_words == "english"
    assert word_lists.with_fingerprints(DataFlags()) == DataFlags()


@pytest.mark.parametrize(
    "read",
    [
        word_lists.fingerprint,
        lambda path: word_lists.read_stop_words(path, clean()),
        lambda path: word_lists.read_replacements(path, clean()),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path, read):
    path = str(tmp_path / "none")
    with pytest.raises(BadInput) as refused:
        read(path)
    assert str(refused.value) == (
        f"can't read the words in {path} (No such file or directory): name a file"
    )


def test_the_options_of_a_text_have_each_flag_and_the_words_of_each_file(tmp_path):
    (tmp_path / "stop").write_text("\ufeffDon't\n# no word\n\nthe\r\nthe\r", encoding="utf-8")
    (tmp_path / "replaced").write_text("U.S.\tUnited  States\nus\tunited states\nfilm\t\n")
    flags = DataFlags(
        max_tokens=7,
        max_len=3,
        strip_html=True,
        normalize_unicode=True,
        stop_words=str(tmp_path / "stop"),
        replacements=str(tmp_path / "replaced"),
    )
    assert word_lists.text_options(flags) == transform.TextOptions(
        max_tokens=7,
        max_len=3,
        split="whitespace",
        strip_html=True,
        normalize_unicode=True,
        stop_words=("dont", "the"),
        replacements=(("film", ""), ("us", "united states")),
    )
    assert word_lists.text_options(DataFlags(split="character")).split == "character"
    english = word_lists.text_options(DataFlags(stop_words="english"))
    assert (english.stop_words, english.replacements) == (transform.ENGLISH_STOP_WORDS, ())


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"film\n\nso so\n", "line 3: 'so so' is 2 words after cleaning, not one"),
        (b"...\n", "line 1: '...' is 0 words after cleaning, not one"),
        (
            b"ok\na, b,c\n",
            "line 2: cleaning removes ',', which joins the words of 'a, b,c': put each on its own "
            "line, or add a space",
        ),
    ],
)
def test_a_line_that_is_not_a_word_is_named(tmp_path, content, why):
    (tmp_path / "stop").write_bytes(content)
    with pytest.raises(BadInput) as refused:
        word_lists.read_stop_words(str(tmp_path / "stop"), clean())
    assert str(refused.value) == f"{tmp_path}/stop, {why}"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("film\n", "line 1: 1 columns, not word, tab, replacement"),
        ("a\tb\tc\n", "line 1: 3 columns, not word, tab, replacement"),
        ("a\tb\n\nA\tc\n", "line 3: a has another replacement further up"),
    ],
)
def test_a_line_that_is_no_replacement_is_named(tmp_path, content, why):
    (tmp_path / "replaced").write_text(content)
    with pytest.raises(BadInput) as refused:
        word_lists.read_replacements(str(tmp_path / "replaced"), clean())
    assert str(refused.value) == f"{tmp_path}/replaced, {why}"


def test_words_that_are_not_utf_8_are_refused(tmp_path):
    (tmp_path / "stop").write_bytes(b"caf\xe9\n")
    with pytest.raises(BadInput) as refused:
        word_lists.read_stop_words(str(tmp_path / "stop"), clean())
    assert str(refused.value) == (
        f"the words in {tmp_path}/stop aren't UTF-8: save the file as UTF-8"
    )


def test_a_number_with_a_comma_is_one_word(tmp_path):
    (tmp_path / "stop").write_text("1,000\n")
    assert word_lists.read_stop_words(str(tmp_path / "stop"), clean()) == ("1000",)


@pytest.mark.parametrize("given", [{"stop_words": "english"}, {"replacements": "file"}])
def test_characters_have_no_lists_of_words(given):
    word_lists.check(DataFlags(**given))
    word_lists.check(DataFlags(split="character"))
    with pytest.raises(BadInput) as refused:
        word_lists.check(DataFlags(split="character", **given))
    assert str(refused.value) == (
        "--split character: --stop_words and --replacements are lists of words: drop them"
    )
