"""Epochs of any records and settings are permutations of what NumPy cuts and pads."""

import collections

import hypothesis
import numpy as np
import pytest
import tiny_dataset
from hypothesis import strategies as st

from textrecords import input_pipeline, record_io
from textrecords.dataset import open_dataset
from textrecords.spec import InputSize

pytestmark = pytest.mark.integration

WORDS = "abcdefgh"
REVIEWS = st.lists(
    st.tuples(st.lists(st.sampled_from(WORDS), max_size=9).map(" ".join), st.integers(0, 1)),
    max_size=40,
).map(lambda reviews: [("a b", 1), *reviews])  # of one word at least


def rows_of_numpy(reviews, size):
    """Returns the rows of reviews, as counts of (ids, label), cut and padded by NumPy."""
    ids = {word: n for n, word in enumerate(tiny_dataset.ranked(text for text, _ in reviews), 2)}
    rows = np.zeros([len(reviews), size.max_len], int)
    for row, (text, _) in zip(rows, reviews, strict=True):
        tokens = [ids[word] for word in text.split()] or [1]
        row[: len(tokens)] = tokens[: size.max_len]
    rows[rows >= size.max_tokens] = 1
    labels = [label for _, label in reviews]
    return collections.Counter(zip(map(tuple, rows.tolist()), labels, strict=True))


def counted(batches, max_len):
    """Returns the rows of batches in the same form, whatever their width."""
    found = collections.Counter()
    for tokens, labels in batches:
        padded = np.pad(tokens, [(0, 0), (0, max_len - tokens.shape[1])])
        found.update(zip(map(tuple, padded.tolist()), labels.tolist(), strict=True))
    return found


@hypothesis.settings(max_examples=12)
@hypothesis.given(
    reviews=REVIEWS,
    size=st.builds(InputSize, st.integers(3, 12), st.integers(1, 10)),
    num_shards=st.integers(1, 4),
    batch_size=st.integers(1, 12),
    cache=st.sampled_from(["memory", "none", "folder"]),
    by_length=st.booleans(),
    seed=st.integers(0, 2**31 - 1),
    window=st.none() | st.integers(1, 20),
)
def test_every_epoch_is_a_permutation_of_the_rows_of_numpy(tmp_path_factory, **drawn):
    folder = tmp_path_factory.mktemp("epochs")
    reviews, size, batch_size = drawn["reviews"], drawn["size"], drawn["batch_size"]
    tiny_dataset.write(folder / "records", {"train": reviews}, num_shards=drawn["num_shards"])
    cache = str(folder / "cache") if drawn["cache"] == "folder" else drawn["cache"]
    number = -(-len(reviews) // batch_size)
    sizes = [batch_size] * (number - 1) + [len(reviews) - batch_size * (number - 1)]
    with pytest.MonkeyPatch.context() as patch:
        if drawn["window"]:
            patch.setattr(record_io, "PARSED_TOGETHER", 3)
            patch.setattr(input_pipeline, "WHOLE_IDS", 0)
            row = size.max_len + input_pipeline.IDS_A_ROW
            patch.setattr(input_pipeline, "WINDOW_IDS", drawn["window"] * row)
        rows = input_pipeline.read_split(
            open_dataset(folder / "records"), "train", size, cache=cache
        )
        batches = input_pipeline.shuffled_batches(
            rows, batch_size, seed=drawn["seed"], by_length=drawn["by_length"]
        )
        steps = [*batches.take(3 * number).as_numpy_iterator()]
        in_order = [*input_pipeline.batches(rows, batch_size).as_numpy_iterator()]
    expected = rows_of_numpy(reviews, size)
    for epoch in (steps[:number], steps[number : 2 * number], steps[2 * number :], in_order):
        assert [len(labels) for _, labels in epoch] == sizes
        assert counted(epoch, size.max_len) == expected
