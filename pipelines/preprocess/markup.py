"""HTML in texts: what is a tag, what is an entity, and text without them, by TensorFlow alone."""

import html
import html.entities

import tensorflow as tf

# Comments, scripts and style sheets go with what they hold; "a < b" and "<3" are no tags.
TAG = (
    r"(?is:<!--.*?-->|<script\b.*?</script\s*>|<style\b.*?</style\s*>"
    r"|</?[a-z][^<>]*>|<![a-z\[][^<>]*>|<\?[^<>]*>)"
)
# Those that end with a semicolon.
NUMERIC = r"&#(?:[0-9]{1,7}|[xX][0-9a-fA-F]{1,6});"
ENTITY = rf"(?:{NUMERIC}|&[A-Za-z][A-Za-z0-9]{{1,31}};)"
# Of these HTML has others in mind: of 128 to 159, say, those that Windows has there.
_FIRST = [html.unescape(f"&#{code};") for code in range(0xA0)]
# Found in no text that is valid UTF-8.
_CUT = b"\xff"


class Stripper(tf.Module):
    """Makes tags spaces, and entities the characters that they stand for, as `html.unescape` does.

    Names of entities are those of HTML 5 (`html.entities`). What only looks like one stays.
    """

    def __init__(self):
        super().__init__()
        named = {
            f"&{name}": text for name, text in html.entities.html5.items() if name.endswith(";")
        }
        self._named = tf.lookup.StaticHashTable(
            tf.lookup.KeyValueTensorInitializer(
                list(named), list(named.values()), tf.string, tf.string
            ),
            default_value="",
        )

    def __call__(self, text: tf.Tensor) -> tf.Tensor:
        """Maps <string>[batch_size], valid UTF-8, to <string>[batch_size]."""
        text = tf.strings.regex_replace(text, TAG, " ")
        text = tf.strings.regex_replace(text, ENTITY, _CUT + rb"\0" + _CUT)
        pieces = tf.strings.split(text, _CUT)
        characters = self._characters(pieces.flat_values)
        return tf.strings.reduce_join(pieces.with_flat_values(characters), axis=-1)

    def _characters(self, pieces: tf.Tensor) -> tf.Tensor:
        """Replaces each piece that is an entity."""
        named = self._named.lookup(pieces)
        numeric = tf.strings.regex_full_match(pieces, NUMERIC)
        pieces = tf.where(named == "", pieces, named)
        return tf.where(numeric, _character(tf.where(numeric, pieces, "&#0;")), pieces)


def _character(entities: tf.Tensor) -> tf.Tensor:
    """Returns the character of each numeric entity, U+FFFD for what is none."""
    number = tf.strings.regex_replace(entities, "[&#;]", "")
    # TensorFlow reads hexadecimal numbers as floats only; these are exact.
    code = tf.cast(tf.strings.to_number(_as_0x(number), tf.float64), tf.int32)
    character = tf.strings.unicode_encode(code[:, tf.newaxis], "UTF-8", errors="replace")
    first = tf.gather(tf.constant(_FIRST), tf.minimum(code, len(_FIRST) - 1))
    return tf.where(code < len(_FIRST), first, character)


def _as_0x(number: tf.Tensor) -> tf.Tensor:
    return tf.strings.regex_replace(number, "^[xX]", "0x")
