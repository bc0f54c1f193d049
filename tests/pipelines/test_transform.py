import random

import keras
import pytest
import tensorflow as tf

from pipelines.preprocess import transform, word_lists
from textrecords.errors import BadInput

HARD_TEXTS = [
    "It's <br /><br />GREAT!!!",
    "a<br/>b <BR /> c<br />d",
    "  tabs\tand\nlines\r\nand\x0bmore\x0c ",
    "no\u00a0break\u2003em\u3000wide\u0085next\u2028line",
    "ÄÖÜ É ΑΒΓ İ ß",
    "e\u0301 combining",
    "nul\x00inside \x00",
    "emoji \U0001f600\u200d\u2640\ufe0f ok",
    "\u05e9\u05dc\u05d5\u05dd \u202eright-to-left\u202c",
    "!\"#$%&()*+,-./:;<=>?@[\\]^_`{|}~'",
    "x" * 100_000,
    "",
    " ",
]


def tokens_of(text, **options):
    tokenizer = transform.Tokenizer(transform.TextOptions(**options))
    return [t.decode() for t in tokenizer(tf.constant([text])).flat_values.numpy()]


@pytest.mark.parametrize("text", HARD_TEXTS, ids=lambda text: ascii(text[:20]))
def test_tokens_are_those_of_keras(text):
    layer = keras.layers.TextVectorization(split="whitespace", output_mode="int", ragged=True)
    cleaned = tf.strings.regex_replace([text], "<br />", " ")
    expected = layer._preprocess(cleaned).flat_values.numpy().tolist()
    assert [token.encode() for token in tokens_of(text)] == expected


def test_tokens_are_exact():
    assert tokens_of("Don't<br />STOP -- the Café's 'É'") == ["dont", "stop", "the", "cafés", "É"]


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("\ufeffGood film", ["good", "film"]),
        ("\ufeff<br />good", ["good"]),
        ("\ufeff", []),
        ("\ufeff\ufeffgood", ["\ufeffgood"]),
        ("a \ufeffgood", ["a", "\ufeffgood"]),
        ("one\n\ufefftwo", ["one", "\ufefftwo"]),
    ],
)
def test_a_byte_order_mark_is_no_part_of_the_first_word(text, tokens):
    assert tokens_of(text) == tokens


def test_tokens_are_alike_inside_a_dataset():
    tokenizer = transform.Tokenizer(transform.TextOptions(stop_words=("stop",)))
    dataset = tf.data.Dataset.from_tensors(["A stop, b", ""]).map(tokenizer)
    assert next(iter(dataset)).to_list() == [[b"a", b"b"], []]


def test_bytes_decode_in_the_graph_as_in_python():
    """Files are decoded by Python, requests to the served model by TensorFlow."""
    draw = random.Random(0)
    pieces = [b"a", b"\x00", b"\xc2", b"\xe2\x82", b"\xed\xa0\x80", b"\xf0\x9f", b"\xff", b"\xbf"]
    texts = [b"".join(draw.choices(pieces, k=draw.randrange(8))) for _ in range(5000)]
    decoded = tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8", errors="replace").numpy()
    assert decoded.tolist() == [text.decode("utf-8", "replace").encode() for text in texts]


def test_stop_words_are_removed():
    assert tokens_of("The film, the END", stop_words=("the",)) == ["film", "end"]
    assert tokens_of("the THE", stop_words=("the",)) == []


def test_replacements_give_none_one_or_several_tokens():
    replacements = (("gr8", "great"), ("gonna", "going to"), ("um", ""))
    assert tokens_of("Um gr8, gonna watch um", replacements=replacements) == [
        *("great", "going", "to", "watch")
    ]


def test_replacements_come_before_stop_words():
    options = {"replacements": (("teh", "the"),), "stop_words": ("the",)}
    assert tokens_of("teh film", **options) == ["film"]


def test_word_lists_are_cleaned_as_text_is(tmp_path):
    stop_words, replacements = tmp_path / "stop.txt", tmp_path / "replace.tsv"
    stop_words.write_text("The\n\nDON'T\n")
    replacements.write_text("Gr8!\tGREAT\ncan't\tcan not\num\t\n")
    assert word_lists.read_stop_words(str(stop_words)) == ("dont", "the")
    assert word_lists.read_replacements(str(replacements)) == (
        ("cant", "can not"),
        ("gr8", "great"),
        ("um", ""),
    )


def test_the_english_stop_words_are_tokens_and_keep_negations():
    words = word_lists.read_stop_words("english")
    assert all(tokens_of(word) == [word] for word in words)
    assert not {"not", "no", "never", "nor"} & set(words)


@pytest.mark.parametrize(
    ("read", "text", "message"),
    [
        (word_lists.read_stop_words, "fine\ntwo words\n", "line 2: 'two words' is 2 words"),
        (word_lists.read_stop_words, "...\n", "line 1: '...' is 0 words"),
        (word_lists.read_replacements, "a b\n", "line 1: 1 columns, not from, tab, to"),
        (word_lists.read_replacements, "a b\tc\n", "line 1: 'a b' is 2 words"),
        (word_lists.read_replacements, "a\tb\nA!\tc\n", "line 2: a has another replacement"),
    ],
)
def test_bad_word_lists_are_refused_with_their_line(tmp_path, read, text, message):
    path = tmp_path / "words"
    path.write_text(text)
    with pytest.raises(BadInput, match=f"words, {message}"):
        read(str(path))


def test_a_missing_word_list_is_refused(tmp_path):
    with pytest.raises(BadInput, match="can't read the words in"):
        word_lists.read_stop_words(str(tmp_path / "none"))
