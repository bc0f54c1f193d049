"""The transform graph: from raw text to token ids, all in TensorFlow so that serving matches."""

import dataclasses

import apache_beam as beam
import tensorflow as tf
import tensorflow_transform as tft

from pipelines.preprocess import markup, vocabulary
from textrecords import cleaning, spec

INPUTS = {spec.TEXT: tf.string, spec.LABEL: tf.int64, spec.KEY: tf.string}
# Many Windows editors put it before a text; it isn't part of it. Elsewhere U+FEFF is a character.
BYTE_ORDER_MARK = r"^\x{FEFF}"
# `--normalize_unicode`: characters that separate words, including dashes and the ellipsis;
# characters without width or meaning; punctuation, with the symbols that Keras counts as such.
UNICODE_SPACE = r"[\p{Z}\s\x0B\x{1C}-\x{1F}\x{85}\x{200B}\x{2012}-\x{2015}\x{2026}]+"
UNICODE_INVISIBLE = (
    r"[\x00\x{AD}\x{200E}\x{200F}\x{202A}-\x{202E}\x{2060}\x{2066}-\x{2069}\x{FEFF}]"
)
UNICODE_PUNCTUATION = r"[\p{P}$+<=>^`|~]"
# `--stop_words english`. Without negations, since they invert a verdict.
ENGLISH_STOP_WORDS = (
    *("a", "an", "and", "are", "as", "at", "be", "been", "being", "by", "for", "from", "had"),
    *("has", "have", "he", "her", "him", "his", "i", "in", "into", "is", "it", "its", "me", "my"),
    *("of", "on", "or", "our", "she", "so", "than", "that", "the", "their", "them", "then"),
    *("there", "these", "they", "this", "those", "to", "us", "was", "we", "were", "which", "who"),
    *("will", "with", "you", "your"),
)


@dataclasses.dataclass(frozen=True)
class TextOptions:
    """The flags that determine the ids of a text.

    Attributes:
      max_tokens: size of the vocabulary, counting padding and OOV; at least 3.
      max_len: how many tokens of a review are kept; None keeps all.
      stop_words: tokens to remove, after `replacements`.
      replacements: (token, replacement); a replacement has any number of tokens.
      split: "whitespace" or "character", as in `keras.layers.TextVectorization`.
      strip_html: whether tags are replaced with spaces, and entities are decoded.
      normalize_unicode: whether letters, spaces and punctuation are those of Unicode, not of ASCII.
    """

    max_tokens: int = 20_000
    max_len: int | None = None
    stop_words: tuple[str, ...] = ()
    replacements: tuple[tuple[str, str], ...] = ()
    split: str = "whitespace"
    strip_html: bool = False
    normalize_unicode: bool = False


class Tokenizer(tf.Module):
    """Cleans text and splits it into tokens."""

    def __init__(self, options: TextOptions):
        super().__init__()
        self._options = options
        self._strip_html = markup.Stripper() if options.strip_html else None
        self._replacements = _table(dict(options.replacements), default="")
        self._stop_words = _table(dict.fromkeys(options.stop_words, "stop"), default="")

    def standardize(self, text: tf.Tensor) -> tf.Tensor:
        """Cleans text like Keras' `lower_and_strip_punctuation`, with `<br />` replaced by a space.

        A byte order mark at the start is removed. If text is split into characters, line ends
        become spaces, since a vocabulary file has one token per line.

        Args:
          text: <string>[batch_size], valid UTF-8.

        Returns:
          <string>[batch_size]
        """
        text = tf.strings.regex_replace(text, BYTE_ORDER_MARK, "", replace_global=False)
        if self._strip_html is not None:
            text = self._strip_html(text)
        text = tf.strings.regex_replace(text, cleaning.LINE_BREAK, " ")
        if self._options.split == "character":
            text = tf.strings.regex_replace(text, cleaning.LINE_END, " ")
        if self._options.normalize_unicode:
            return _lower_and_strip_unicode(text)
        return tf.strings.regex_replace(tf.strings.lower(text), f"{cleaning.PUNCTUATION}+", "")

    def __call__(self, text: tf.Tensor) -> tf.RaggedTensor:
        """Returns the tokens of `text`, <string>[batch_size], as <string>[batch_size, (tokens)]."""
        return self.split(self.standardize(text))

    def split(self, text: tf.Tensor) -> tf.RaggedTensor:
        """Splits cleaned text as Keras does, then applies replacements and stop words."""
        if self._options.split == "character":
            return tf.strings.unicode_split(text, "UTF-8")
        tokens = tf.strings.split(text)
        if self._replacements is not None:
            replaced = tokens.with_flat_values(self._replace(tokens.flat_values))
            # A replacement may have several tokens, so they are split again.
            tokens = tf.strings.split(tf.strings.reduce_join(replaced, axis=-1, separator=" "))
        if self._stop_words is not None:
            is_stop_word = self._stop_words.lookup(tokens.flat_values) != ""
            tokens = tf.ragged.boolean_mask(tokens, tokens.with_flat_values(~is_stop_word))
        return tokens

    def _replace(self, tokens: tf.Tensor) -> tf.Tensor:
        found = self._replacements.lookup(tokens)
        # The table has " to": the space distinguishes an empty replacement from a missing one.
        return tf.where(found == "", tokens, tf.strings.strip(found))


def _lower_and_strip_unicode(text: tf.Tensor) -> tf.Tensor:
    text = tf.strings.regex_replace(text, UNICODE_INVISIBLE, "")
    text = tf.strings.regex_replace(text, UNICODE_SPACE, " ")
    text = tf.strings.lower(
        text, encoding="utf-8"
    )  # it truncates texts at NUL, which is removed above
    return tf.strings.regex_replace(text, UNICODE_PUNCTUATION, "")


def _table(mapping: dict[str, str], *, default: str) -> tf.lookup.StaticHashTable | None:
    if not mapping:
        return None
    keys, values = list(mapping), [f" {value}" for value in mapping.values()]
    return tf.lookup.StaticHashTable(
        tf.lookup.KeyValueTensorInitializer(keys, values, tf.string, tf.string), default
    )


def preprocessing_fn(
    inputs: dict[str, tf.Tensor], options: TextOptions, words: beam.PCollection
) -> dict[str, tf.Tensor]:
    """tf.Transform's `preprocessing_fn`.

    Args:
      inputs: `text` <string>[batch_size], valid UTF-8; `label` <int64>[batch_size]; `key`
        <string>[batch_size].
      options: the flags that determine the ids.
      words: those to choose from, with their counts, as `count_words.CountWords` returns them.

    Returns:
      `tokens`, a SparseTensor <int64>[batch_size, longest], and `label` and `key` unchanged. A
      review without tokens becomes one OOV, since cuDNN's LSTM fails on rows of only padding.
    """
    # Made with tf.Transform's tracker, so that the tables are saved with the graph.
    tokenizer = tft.make_and_track_object(lambda: Tokenizer(options), name="tokenizer")
    tokens = tokenizer(inputs[spec.TEXT])
    path = vocabulary.write_vocabulary(
        words, top_k=options.max_tokens - spec.NUM_RESERVED, filename=spec.TOKENS
    )
    ids = tft.apply_vocabulary(tokens, path, default_value=-1)
    ids += spec.NUM_RESERVED  # tf.Transform's OOV, -1, becomes 1, and its first token, 0, 2
    ids = ids[:, : options.max_len].to_sparse()
    filled, _ = tf.sparse.fill_empty_rows(ids, tf.constant(spec.OOV_ID, tf.int64))
    # If all rows were empty, the longest now has length 1.
    shape = tf.maximum(filled.dense_shape, [0, 1])
    return {
        spec.TOKENS: tf.SparseTensor(filled.indices, filled.values, shape),
        spec.LABEL: inputs[spec.LABEL],
        spec.KEY: inputs[spec.KEY],
    }
