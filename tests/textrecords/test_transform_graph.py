import hypothesis
import pytest
import tensorflow as tf
from hypothesis import strategies as st

from textrecords import transform_graph

PARTS = st.sampled_from([b"\x80", b"\xbf", b"\xc1", b"\xe0", b"\xed\xa0", b"\xef\xbb", b"\xf4\x90"])


@hypothesis.given(texts=st.lists(st.lists(PARTS | st.binary(max_size=3), max_size=4), max_size=4))
def test_bytes_that_are_not_utf8_are_replaced_as_by_python(texts):
    texts = [b"".join(parts) for parts in texts]
    expected = [text.decode("utf-8", "replace").encode() for text in texts]
    assert transform_graph._to_utf8(tf.constant(texts, tf.string)).numpy().tolist() == expected


@pytest.mark.parametrize("invalid", [[], [b"\xff"]])  # without any, nothing is replaced
def test_no_character_is_replaced(invalid):
    characters = [chr(n).encode() for n in range(0x110000) if not 0xD800 <= n < 0xE000]
    replaced = transform_graph._to_utf8(tf.constant([*characters, *invalid])).numpy().tolist()
    assert replaced[: len(characters)] == characters
    assert replaced[len(characters) :] == ["\ufffd".encode()] * len(invalid)
    whole = b"".join(characters)
    assert transform_graph._to_utf8(tf.constant([whole])).numpy().tolist() == [whole]
