"""`tokenizer.json` gives the ids that the transform graph gives."""

import json
import random

import needs
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from pipelines.preprocess import transform
from textrecords import spec, tokenizer_json
from textrecords.manifest import DataFlags

tokenizers = needs.package("tokenizers")

BOM = "\ufeff"
# All that Unicode, Python or C takes for white space or a separator, and what has no width.
SPACES = [
    *(chr(code) for code in range(0x110000) if chr(code).isspace()),
    *"\u180e\u200b\u200c\u200d\u2060\ufeff\u00ad",
]
HARD = [
    "".join(f"Left{space}right " for space in SPACES),
    "".join(f"c{chr(code)}D " for code in (*range(0x20), *range(0x7F, 0xA0))),
    "ÄÖÜ É ΑΒΓΣ ΟΔΟΣ ДЖ İ ẞ K \u212a \u01c5 \U00010400 e\u0301 E\u0301 \u0301alone",
    "a<BR/>b<br/>c<BR />d<br>e<br />f<br  />g<Br />h<br<br />/>i< br />j",
    *("\x00", "a\x00B \x00 \x00\x00", "one\ntwo\r\nthree\rfour\x0bfive\x0csix\n\r\n\n"),
    *(f"{BOM}film", f"{BOM}{BOM}film", f"film {BOM}film\n{BOM}film", f"{BOM}<br />film"),
    *(BOM, BOM * 2, f"{BOM}!", f"{BOM} ", f" {BOM}", "<br />", f"{BOM}<br />"),
    *("", " ", "\n", "!", "?!", "! !", " !", "- ", "'", "''", "<br />!<br />", "<br /><br />"),
    "[UNK] [OOV] [PAD] unk [oov] oov pad",
    '!"#$%&()*+,-./:;<=>?@[\\]^_`{|}~\' a!b"c#d e-f --g',
    *("\uff01 \u2014 \u201cquoted\u201d", "\ufffe \uffff \ufdd0 \U0010ffff", "x" * 10_000),
    "\U0001f469\u200d\U0001f469\u200d\U0001f467 \u2764\ufe0f \u05e9\u202eabc\u202c",
]
# What rules look at, amid all else.
TEXTS = st.lists(
    st.one_of(
        st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
        st.sampled_from([BOM, "<br />", " ", "\n", "\r\n", "\x0b", "\x85", "\xa0", *"!<>/-[']bA"]),
    ),
    max_size=12,
).map("".join)
MAX_LEN = 50


def ids_of_graph(tokenizer, texts, vocabulary):
    """Returns the ids that preprocessing gives, cut and padded."""
    ids = {token: n for n, token in enumerate(vocabulary)}
    rows = []
    for tokens in tokenizer(tf.constant(texts, tf.string)).to_list():
        row = [ids.get(token.decode(), spec.OOV_ID) for token in tokens][:MAX_LEN] or [spec.OOV_ID]
        rows.append(row + [spec.PADDING_ID] * (MAX_LEN - len(row)))
    return rows


def check(split, texts, vocabulary=None):
    """Compares the ids of texts; by default all their tokens but some are in the vocabulary."""
    of_graph = transform.Tokenizer(transform.TextOptions(split=split))
    if vocabulary is None:
        found = of_graph(tf.constant(texts, tf.string)).flat_values.numpy()
        vocabulary = ["[PAD]", "[OOV]", *dict.fromkeys(token.decode() for token in found[::3])]
    size = spec.InputSize(len(vocabulary), MAX_LEN)
    content = tokenizer_json.content([*vocabulary, "beyond"], size, split)
    tokenizer = tokenizers.Tokenizer.from_str(json.dumps(content))
    given = [row.ids for row in tokenizer.encode_batch([text or "!" for text in texts])]
    expected = ids_of_graph(of_graph, texts, vocabulary)
    for text, one, other in zip(texts, given, expected, strict=True):
        assert one == other, repr(text)


@pytest.mark.parametrize("split", ["whitespace", "character"])
def test_hard_texts_get_the_ids_of_the_graph(split):
    check(split, HARD)


@pytest.mark.parametrize("split", ["whitespace", "character"])
@given(st.lists(TEXTS, min_size=1, max_size=4))
def test_any_texts_get_the_ids_of_the_graph(split, texts):
    check(split, texts)


@pytest.mark.slow
@pytest.mark.parametrize("split", ["whitespace", "character"])
def test_every_character_of_unicode_gets_the_ids_of_the_graph(split):
    """Between letters, alone, and at either end of a word, a few thousand in random order each."""
    characters = [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000]
    characters = characters[:0x3000] + random.Random(0).sample(characters, 5_000)
    check(split, [f"{c}a b{c} a{c}b {c} {c}" for c in characters])


def test_a_text_is_cut_and_padded_and_words_beyond_the_vocabulary_are_oov():
    content = tokenizer_json.content(
        ["[PAD]", "[OOV]", "good", "bad", "film"], spec.InputSize(4, 3), "whitespace"
    )
    tokenizer = tokenizers.Tokenizer.from_str(json.dumps(content))
    texts = ["Good <br />film!", "bad", "good good bad bad", "...", " "]
    assert [tokenizer.encode(text).ids for text in texts] == [
        *([2, 1, 0], [3, 0, 0], [2, 2, 3], [1, 0, 0], [1, 0, 0])
    ]


def test_flags_that_cannot_be_expressed_are_named():
    assert tokenizer_json.obstacles(DataFlags(split="character", max_len=3)) == []
    flags = DataFlags(strip_html=True, normalize_unicode=True, stop_words="english")
    assert tokenizer_json.obstacles(flags) == [
        *("--strip_html", "--normalize_unicode", "--stop_words")
    ]
