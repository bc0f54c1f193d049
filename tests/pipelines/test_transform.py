import html
import html.entities
import random
import re

import hypothesis
import keras
import pytest
import tensorflow as tf
from hypothesis import strategies as st

from pipelines.preprocess import markup, transform, word_lists
from textrecords import manifest
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

CLEAN = transform.Tokenizer(transform.TextOptions())
# Of characters, except for noncharacters, which Python drops.
CODES = st.integers(0, 0x1100FF).filter(
    lambda code: code < 0xA0 or (code & 0xFFFE != 0xFFFE and not 0xFDD0 <= code <= 0xFDEF)
)


def tokens_of(text, **options):
    tokenizer = transform.Tokenizer(transform.TextOptions(**options))
    return [t.decode() for t in tokenizer(tf.constant([text])).flat_values.numpy()]


@pytest.mark.parametrize("text", HARD_TEXTS, ids=lambda text: ascii(text[:20]))
def test_tokens_are_those_of_keras(text):
    layer = keras.layers.TextVectorization(split="whitespace", output_mode="int", ragged=True)
    cleaned = tf.strings.regex_replace([text], "<br />", " ")
    expected = layer._preprocess(cleaned).flat_values.numpy().tolist()
    assert [token.encode() for token in tokens_of(text)] == expected


@pytest.mark.parametrize("text", HARD_TEXTS, ids=lambda text: ascii(text[:20]))
def test_characters_are_those_of_keras(text):
    layer = keras.layers.TextVectorization(split="character", output_mode="int", ragged=True)
    cleaned = re.sub("\r\n?|\n", " ", text.replace("<br />", " "))
    expected = layer._preprocess(tf.constant([cleaned])).flat_values.numpy().tolist()
    assert [token.encode() for token in tokens_of(text, split="character")] == expected


def test_characters_are_exact():
    text = "\ufeff真好看。\r\nGo!<br />A"
    assert "".join(tokens_of(text, split="character")) == "真好看。 go a"


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("bad<br>film<br/>and", ["bad", "film", "and"]),
        (
            "a&amp;b &lt;3 caf&eacute; &#233;&#xE9;&#XE9; &nbsp;x",
            ["ab", "3", "café", "ééé", "\u00a0x"],
        ),
        ("don&#39;t &#150; &hellip; it&rsquo;s", ["dont", "\u2013", "\u2026", "it\u2019s"]),
        ("<p class='x'>Good</p><!-- a\n<b> -->film<hr\n>", ["good", "film"]),
        ("<style>p {x: 1}</style>a<SCRIPT src=x>\nif (a < b) {}</script >b", ["a", "b"]),
        ("i <3 it; 1 < 2 > 0, a<b", ["i", "3", "it", "1", "2", "0", "ab"]),
        ("&lt;br /&gt;x &amp;lt; AT&T &foo; &#;", ["x", "lt", "att", "foo"]),
        ("&#99999999; &#xzz; &#ab;", ["99999999", "xzz", "ab"]),
        ("&#0065; &#xD800;&#1114112;&#0; 1&#13;&#10;2", ["a", "\ufffd\ufffd\ufffd", "1", "2"]),
        ("<!DOCTYPE html><?xml x?><![CDATA[y]]>z &notit;", ["z", "notit"]),
        ("\ufeff&NotEqualTilde;", ["\u2242\u0338"]),
        ("", []),
    ],
)
def test_html_is_stripped(text, tokens):
    assert tokens_of(text, strip_html=True) == tokens


@hypothesis.settings(deadline=None, derandomize=True, max_examples=300)
@hypothesis.given(
    pieces=st.lists(
        st.sampled_from([f"&{name}" for name in html.entities.html5 if name.endswith(";")])
        | st.builds(str.format, st.sampled_from(["&#{};", "&#x{:x};", "&#X{:X};"]), CODES)
        | st.text(st.characters(codec="utf-8", exclude_characters="<&;#"), max_size=5),
        max_size=8,
    )
)
def test_entities_are_those_of_python(pieces):
    text = "".join(pieces)
    stripped = markup.Stripper()(tf.constant([text]))[0].numpy().decode()
    assert stripped == html.unescape(text)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("É ÄÖÜ ДЖ ΟΔΟΣ \U00010400", ["é", "äöü", "дж", "οδος", "\U00010428"]),
        ("a\u00a0b\u3000c\u2028d\u0085e\u200bf\x0bg\x1fh", list("abcdefgh")),
        ("\u201cDon\u2019t\u201d \u2014 ¿qué? «bon» 好。看", ["dont", "qué", "bon", "好看"]),
        ("film\u2014good\u2026bad 1\u20132", ["film", "good", "bad", "1", "2"]),
        ("co\u00adop \u200eabc\u200f x\ufeffy", ["coop", "abc", "xy"]),
        ("!\"#$%&()*+,-./:;<=>?@[\\]^_`{|}~'", []),
        ("\U0001f600\u200d\u2640\ufe0f 5€", ["\U0001f600\u200d\u2640\ufe0f", "5€"]),
        ("nul\x00É", ["nulé"]),
    ],
)
def test_unicode_is_normalized(text, tokens):
    assert tokens_of(text, normalize_unicode=True) == tokens


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
def test_a_byte_order_mark_is_not_part_of_the_first_word(text, tokens):
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
    assert word_lists.read_stop_words(str(stop_words), CLEAN) == ("dont", "the")
    assert word_lists.read_replacements(str(replacements), CLEAN) == (
        ("cant", "can not"),
        ("gr8", "great"),
        ("um", ""),
    )


def test_the_english_stop_words_are_tokens_and_keep_negations():
    words = word_lists.read_stop_words("english", CLEAN)
    assert all(tokens_of(word) == [word] for word in words)
    assert not {"not", "no", "never", "nor"} & set(words)


def test_word_lists_are_cleaned_by_the_same_flags_as_text():
    flags = manifest.DataFlags(normalize_unicode=True, strip_html=True, max_len=7)
    options = word_lists.text_options(flags)
    assert (options.normalize_unicode, options.strip_html, options.max_len) == (True, True, 7)


def test_word_lists_may_have_a_byte_order_mark_comments_and_any_ends_of_lines(tmp_path):
    path = tmp_path / "words"
    path.write_bytes("\ufeffthe\r\n# a, list of: words\r\n#more\r\nC\u2028D\rwell\n".encode())
    assert word_lists.read_stop_words(str(path), CLEAN) == ("c\u2028d", "the", "well")
    path.write_bytes("\ufeffgr8\tgreat\n#um\t\n".encode())
    assert word_lists.read_replacements(str(path), CLEAN) == (("gr8", "great"),)


def test_what_is_replaced_is_a_word_as_texts_have_it(tmp_path):
    path = tmp_path / "words"
    path.write_text("U.S.\tusa\n1,000\tmany\n:-D\thappy, so happy\n")
    pairs = word_lists.read_replacements(str(path), CLEAN)
    assert pairs == (("1000", "many"), ("d", "happy so happy"), ("us", "usa"))
    assert tokens_of("us U.S. 1,000 d", replacements=pairs) == [
        *("usa", "usa", "many", "happy", "so", "happy")
    ]


@pytest.mark.parametrize(
    ("read", "text", "message"),
    [
        (word_lists.read_stop_words, "fine\ntwo words\n", "line 2: 'two words' is 2 words"),
        (word_lists.read_stop_words, "# list\nthe,a,an\n", "line 2: cleaning removes ',', which "),
        (word_lists.read_stop_words, "'the';'a'\n", "line 1: cleaning removes ';', "),
        (
            *(word_lists.read_replacements, "a\tgood|bad\n"),
            r"line 1: cleaning removes '\|', which joins the words of 'good\|bad'",
        ),
        (word_lists.read_replacements, "a,b\tc\n", "line 1: cleaning removes ',', which joins"),
        (word_lists.read_stop_words, "...\n", "line 1: '...' is 0 words"),
        (word_lists.read_replacements, "a b\n", "line 1: 1 columns, not word, tab, replacement"),
        (word_lists.read_replacements, "a b\tc\n", "line 1: 'a b' is 2 words"),
        (word_lists.read_replacements, "a\tb\nA!\tc\n", "line 2: a has another replacement"),
    ],
)
def test_bad_word_lists_are_refused_with_their_line(tmp_path, read, text, message):
    path = tmp_path / "words"
    path.write_text(text)
    with pytest.raises(BadInput, match=f"words, {message}"):
        read(str(path), CLEAN)


def test_a_missing_word_list_is_refused(tmp_path):
    with pytest.raises(BadInput, match=r"can't read the words in .* \(No such .*\): name a file$"):
        word_lists.read_stop_words(str(tmp_path / "none"), CLEAN)


def test_a_word_list_in_another_encoding_is_named_as_that(tmp_path):
    (tmp_path / "words").write_bytes(b"caf\xe9\n")
    with pytest.raises(BadInput) as error:
        word_lists.read_stop_words(str(tmp_path / "words"), CLEAN)
    assert str(error.value) == f"the words in {tmp_path}/words aren't UTF-8: save the file as UTF-8"
