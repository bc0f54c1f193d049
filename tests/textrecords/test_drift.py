import json
import math

import numpy as np
import pytest

from textrecords import drift, model_folder

KNOWN = drift.Profile(
    200, {"known": 900, "oov": 100}, {"4-7": 200}, {"0.0-0.1": 100, "0.9-1.0": 100}
)


def test_texts_are_counted_by_words_length_and_score():
    tokens = np.array([[2, 1, 3, 0], [5, 0, 0, 0], [1, 1, 2, 3]], np.int32)
    scores = np.array([0.05, 1.0, 0.95], np.float32)
    assert drift.Profile.of(tokens, scores) == drift.Profile(
        texts=3,
        words={"known": 5, "oov": 3},
        lengths={"2-3": 1, "1-1": 1, "4-7": 1},
        scores={"0.0-0.1": 1, "0.9-1.0": 2},
    )


def test_profiles_of_parts_add_up_to_that_of_all():
    tokens = np.random.default_rng(0).integers(0, 4, [50, 8]).astype(np.int32)
    scores = np.linspace(0, 1, 50, dtype=np.float32)
    whole = drift.Profile.of(tokens, scores)
    assert (
        drift.Profile.of(tokens[:20], scores[:20]) + drift.Profile.of(tokens[20:], scores[20:])
        == whole
    )
    assert whole.oov_share == (tokens == 1).sum() / (tokens != 0).sum()


def test_the_same_texts_have_not_drifted():
    assert drift.compare(KNOWN, KNOWN) == {"words": 0, "lengths": 0, "scores": 0}


def test_psi_is_that_of_its_formula():
    # Each bin counts half a text more: shares of 1/8, 7/8 and of 5/8, 3/8.
    assert drift.psi({"a": 0, "b": 3}, {"a": 2, "b": 1}) == pytest.approx(
        (1 / 8 - 5 / 8) * math.log(1 / 5) + (7 / 8 - 3 / 8) * math.log(7 / 3)
    )


def test_a_bin_that_one_of_the_two_lacks_counts():
    assert drift.psi({"a": 1}, {"b": 1}) == pytest.approx(math.log(3))


def test_the_lines_show_what_differs_and_how_much():
    new = drift.Profile(100, {"known": 700, "oov": 300}, {"4-7": 100}, {"0.9-1.0": 100})
    assert drift.describe(new, KNOWN, "m") == [
        "drift from m: words 0.27, lengths 0.00, scores 2.63; OOV tokens 30.00%, there 10.00%",
        "these texts differ from those of m: words much, scores much (PSI of 0.1 or more: "
        "somewhat, 0.25 or more: much), so the model may do worse on them",
    ]
    assert drift.describe(KNOWN, KNOWN, "m") == [
        "drift from m: words 0.00, lengths 0.00, scores 0.00; OOV tokens 10.00%, there 10.00%"
    ]


def test_few_texts_give_no_lines():
    few = drift.Profile(99, {"known": 1, "oov": 300}, {"4-7": 99}, {"0.9-1.0": 99})
    assert drift.describe(few, KNOWN, "x") == []


@pytest.mark.parametrize("metrics", [None, {"test": None}, {"test": {"loss": 0.5}}, {}])
def test_models_without_data_on_their_texts_have_no_profile(metrics, tmp_path):
    if metrics is not None:
        (tmp_path / model_folder.METRICS).write_text(json.dumps(metrics))
    assert model_folder.read_profile(str(tmp_path)) is None
