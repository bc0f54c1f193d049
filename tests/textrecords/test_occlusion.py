import numpy as np
import pytest

from textrecords import occlusion


def count_twos(tokens):
    """Scores rows by their number of id 2, and by nothing else."""
    return 1 / (1 + np.exp(-(tokens == 2).sum(axis=1).astype(np.float32)))


def test_the_effect_of_a_token_is_what_the_log_odds_fall_by_without_it():
    tokens = np.array([2, 3, 1, 2, 0, 0], np.int32)
    found = occlusion.effects(count_twos, tokens, batch_size=1)
    assert found == pytest.approx([1, 0, 0, 1, 0, 0], abs=1e-5)


def test_of_three_classes_the_effect_is_on_the_most_likely():
    def probabilities(tokens):
        twos = count_twos(tokens)
        return np.stack([(1 - twos) / 2, twos, (1 - twos) / 2], axis=1)

    found = occlusion.effects(probabilities, np.array([3, 2], np.int32), batch_size=8)
    assert found == pytest.approx([0, 1], abs=1e-5)


def test_a_text_of_no_known_token_has_no_effects():
    found = occlusion.effects(count_twos, np.array([1, 0], np.int32), batch_size=8)
    assert found.tolist() == [0, 0]
