"""Hypothesis strategies of texts of all scripts, and their tokens as Python and Keras have them."""

import dataclasses
import html
import html.parser
import re
import string
import unicodedata

import keras
import tensorflow as tf
from hypothesis import strategies as st

BREAK = "<br />"
TAGS = [
    "<b>",
    "</B >",
    "<br>",
    "<p class='x'>",
    "<!-- a\n<i> -->",
    "<STYLE>p {}</style>",
    "<?x y?>",
]
ENTITIES = ["&amp;", "&#39;", "&eacute;", "&nbsp;", "&#xE9;", "&#150;", "&lt;br /&gt;", "&none;"]
WORDS = [
    *(
        "good",
        "Good",
        "GOOD!",
        "bad",
        "it's",
        "don't",
        "the",
        "a",
        "of",
        "us",
        "U.S.",
        "gr8",
        "...",
    ),
    *("É", "é", "e\u0301", "İ", "ß", "ΟΔΟΣ", "Жук", "\U00010400", "naïve", "co\u00adop"),
    *(
        "שלום",
        "\u202e\u05e2\u05d5\u05dc\u05dd\u202c",
        "عربى",
        "हिन्दी",
        "ไทย",
        "한국어",
        "真好看。",
        "日本語",
        "👍🏽",
        "👩\u200d🔬",
    ),
    *(
        BREAK,
        BREAK * 2,
        "<BR/>",
        "1 < 2",
        "i <3 it",
        "fish & chips",
        "“quoted”",
        "film—good…",
        "¿qué?",
    ),
]
CONTROLS = [*"\0\t\n\r\x0b\x0c\x1b\x1c\x1f\x7f\x85\xa0\u200b\u2028\u3000\ufeff\ufffd\uffff", "\r\n"]
CHARACTERS = st.characters(codec="utf-8", exclude_characters="<>&")
PIECES = st.sampled_from(WORDS + CONTROLS + TAGS + ENTITIES) | st.text(CHARACTERS, max_size=4)
TEXTS = st.lists(st.tuples(PIECES, st.sampled_from([" ", " ", "\n", ""])), max_size=8).map(
    lambda pieces: "".join(map("".join, pieces))
)

ASCII_SPACES = re.compile("[ \t\n\v\f\r]+")
STRIP = str.maketrans(string.ascii_uppercase, string.ascii_lowercase, string.punctuation)
INVISIBLE = {*map(chr, (0, 0xAD, 0x200E, 0x200F, 0x2060, 0xFEFF))} | {
    chr(code)
    for first, last in ((0x202A, 0x202E), (0x2066, 0x2069))
    for code in range(first, last + 1)
}
DASHES = {*"\u200b\u2012\u2013\u2014\u2015\u2026"}


@dataclasses.dataclass(frozen=True)
class Cleaning:
    """The flags of `preprocess` that clean and split texts, with word lists as they are used."""

    split: str = "whitespace"
    strip_html: bool = False
    normalize_unicode: bool = False
    stop_words: tuple[str, ...] = ()
    replacements: tuple[tuple[str, str], ...] = ()


WORD_LISTS = st.fixed_dictionaries(
    {
        "stop_words": st.lists(st.sampled_from(["the", "good", "é", "真好看。"]), unique=True).map(
            lambda words: tuple(sorted(words))
        ),
        "replacements": st.dictionaries(
            st.sampled_from(["gr8", "us", "bad"]), st.sampled_from(["great", "a good", "the", ""])
        ).map(lambda pairs: tuple(sorted(pairs.items()))),
    }
)
CLEANINGS = st.builds(
    lambda split, html, unicode, lists: Cleaning(
        split, html, unicode, **(lists if split == "whitespace" else {})
    ),
    st.sampled_from(["whitespace", "whitespace", "character"]),
    st.booleans(),
    st.booleans(),
    st.just({}) | WORD_LISTS,
)


class Markup(html.parser.HTMLParser):
    """Python's own parser of HTML, which keeps the text and counts the rest."""

    def __init__(self, text):
        super().__init__(convert_charrefs=False)
        self.parts, self.found = [], 0
        self.hidden = False
        self.feed(text)
        self.close()

    def _tag(self, *_):
        self.parts.append(" ")
        self.found += 1

    def _reference(self, text):
        self.parts.append(html.unescape(text))
        self.found += 1

    def handle_starttag(self, tag, attrs):
        self.hidden = tag in ("script", "style")
        self._tag()

    def handle_endtag(self, tag):
        if not self.hidden:  # a style sheet is one space as a whole
            self._tag()
        self.hidden = False

    def handle_data(self, data):
        if not self.hidden:
            self.parts.append(data)

    def handle_entityref(self, name):
        self._reference(f"&{name};")

    def handle_charref(self, name):
        self._reference(f"&#{name};")

    handle_startendtag = handle_comment = handle_decl = handle_pi = unknown_decl = _tag


def has_markup(text):
    """Returns whether a text has tags or entities, other than `<br />`."""
    return Markup(text.replace(BREAK, " ")).found > 0


def words(text):
    """Returns the words by which texts are compared, however the tokens are made."""
    return [
        *filter(None, ASCII_SPACES.split(_without_mark(text).replace(BREAK, " ").translate(STRIP)))
    ]


def before_keras(text, cleaning):
    """Does to a text what the flags ask for beyond `TextVectorization`, in Python.

    What Keras does after it, lower-casing and stripping, changes none of this.
    """
    text = _without_mark(text)
    if cleaning.strip_html:
        text = "".join(Markup(text).parts)
    text = text.replace(BREAK, " ")
    if cleaning.split == "character":
        text = re.sub("\r\n?|\n", " ", text)
    if cleaning.normalize_unicode:
        text = "".join(" " if _is_space(c) else c for c in text if c not in INVISIBLE)
        text = re.sub(" +", " ", text).lower()
        text = "".join(c for c in text if not _is_punctuation(c))
    if cleaning.stop_words or cleaning.replacements:
        tokens = ASCII_SPACES.split(text.translate(STRIP))
        replaced = " ".join(dict(cleaning.replacements).get(token, token) for token in tokens)
        text = " ".join(token for token in replaced.split(" ") if token not in cleaning.stop_words)
    return text


def tokens(texts, cleaning):
    """Returns the tokens that Keras' own layer makes of each text."""
    layer = keras.layers.TextVectorization(split=cleaning.split, ragged=True)
    return layer._preprocess(_batch(texts, cleaning)).to_list()


def adapted(texts, cleaning, max_tokens=None):
    """Returns Keras' own layer, adapted on texts."""
    layer = keras.layers.TextVectorization(max_tokens, split=cleaning.split, ragged=True)
    layer.adapt(_batch(texts, cleaning))
    return layer


def ids(layer, texts, cleaning):
    """Returns the ids that Keras gives each text."""
    return layer(_batch(texts, cleaning)).to_list()


def _batch(texts, cleaning):
    return tf.constant([before_keras(text, cleaning).encode() for text in texts])


def _without_mark(text):
    return text.removeprefix("\ufeff")


def _is_space(character):
    return character.isspace() or unicodedata.category(character)[0] == "Z" or character in DASHES


def _is_punctuation(character):
    return unicodedata.category(character)[0] == "P" or character in "$+<=>^`|~"
