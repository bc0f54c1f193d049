"""HTML in texts: patterns of tags and entities, and their removal, only in TensorFlow."""

import html
import html.entities

import tensorflow as tf

# Comments, scripts and style sheets include their content; "a < b" and "<3" are not tags.
TAG = (
    r"(?is:<!--.*?-->|<script\b.*?</script\s*>|<style\b.*?</style\s*>"
    r"|</?[a-z][^<>]*>|<![a-z\[][^<>]*>|<\?[^<>]*>)"
)
# Entities that end with a semicolon.
NUMERIC = r"&#(?:[0-9]{1,7}|[xX][0-9a-fA-F]{1,6});"
ENTITY = rf"(?:{NUMERIC}|&[A-Za-z][A-Za-z0-9]{{1,31}};)"
# HTML maps some of these to other characters: for example 128 to 159 to those of Windows.
_FIRST = [html.unescape(f"&#{code};") for code in range(0xA0)]
# Never part of valid UTF-8.
_CUT = b"\xff"


class Stripper(tf.Module):
    """Replaces tags with spaces, and entities with their characters, as `html.unescape` does.

    The entity names are those of HTML 5 (`html.entities`). Unknown names stay.
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
        parts = tf.strings.split(text, _CUT)
        characters = self._characters(parts.flat_values)
        return tf.strings.reduce_join(parts.with_flat_values(characters), axis=-1)

    def _characters(self, parts: tf.Tensor) -> tf.Tensor:
        """Replaces each part that is an entity."""
        named = self._named.lookup(parts)
        numeric = tf.strings.regex_full_match(parts, NUMERIC)
        parts = tf.where(named == "", parts, named)
        return tf.where(numeric, _character(tf.where(numeric, parts, "&#0;")), parts)


def _character(entities: tf.Tensor) -> tf.Tensor:
    """Returns the character of each numeric entity, U+FFFD for an invalid one."""
    number = tf.strings.regex_replace(entities, "[&#;]", "")
    # TensorFlow reads hexadecimal numbers as floats only; these are exact.
    code = tf.cast(tf.strings.to_number(_as_0x(number), tf.float64), tf.int32)
    character = tf.strings.unicode_encode(code[:, tf.newaxis], "UTF-8", errors="replace")
    first = tf.gather(tf.constant(_FIRST), tf.minimum(code, len(_FIRST) - 1))
    return tf.where(code < len(_FIRST), first, character)


def _as_0x(number: tf.Tensor) -> tf.Tensor:
    return tf.strings.regex_replace(number, "^[xX]", "0x")
