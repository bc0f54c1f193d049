import pytest

from pipelines.preprocess import split_assignment
from pipelines.preprocess.split_assignment import Shares, Text
from textrecords import spec
from textrecords.errors import BadInput
from textrecords.manifest import DataFlags


def hashed(fraction):
    """Returns a hash of words, of which only the end counts, as a fraction of 2**48."""
    return b"any hash: " + fraction.to_bytes(6, "big")


def test_the_shares_are_those_of_the_flags():
    assert Shares.from_flags(DataFlags()) == Shares() == Shares(validation=0.0, test=0.0)
    flags = DataFlags(test=0.25, validation=0.625)
    assert Shares.from_flags(flags) == Shares(validation=0.625, test=0.25)


@pytest.mark.parametrize(("test", "validation"), [(0.5, 0.5), (0.75, 0.5), (0.5, 0.75)])
def test_shares_leave_some_for_train(test, validation):
    with pytest.raises(BadInput) as error:
        Shares.from_flags(DataFlags(test=test, validation=validation))
    assert str(error.value) == (
        f"--test {test} and --validation {validation} leave nothing for train: give less"
    )


def test_sizes_are_rounded_and_train_has_the_rest():
    assert list(Shares(0.16, 0.25).sizes(11).items()) == [
        *(("train", 6), ("validation", 2), ("test", 3))
    ]
    assert Shares(validation=0.5).sizes(3) == {"train": 1, "validation": 2}
    assert Shares(test=0.5).sizes(5) == {"train": 3, "test": 2}
    assert Shares(test=0.001).sizes(7) == {"train": 7, "test": 0}
    assert Shares().sizes(7) == {"train": 7}


def test_wanted_splits_come_in_the_order_in_which_few_texts_go_to_them():
    assert Shares(0.1, 0.2).wanted == ("train", "test", "validation")
    assert Shares(validation=0.1).wanted == ("train", "validation")
    assert Shares(test=0.1).wanted == ("train", "test")
    assert Shares().wanted == ()


@pytest.mark.parametrize(
    ("fraction", "split"),
    [
        (0, "validation"),
        (2**46 - 1, "validation"),
        (2**46, "train"),
        (2**47 - 1, "train"),
        (2**47, "test"),
        (2**48 - 1, "test"),
    ],
)
def test_the_end_of_the_hash_decides_the_split(fraction, split):
    shares = Shares(validation=0.25, test=0.5)
    assert shares.split_by_hash(hashed(fraction)) == split
    assert shares.split(hashed(fraction), {}) == split


def test_without_shares_all_texts_are_in_train():
    assert {Shares().split_by_hash(hashed(fraction)) for fraction in (0, 2**48 - 1)} == {"train"}


def test_a_text_that_moved_is_where_it_moved_to_whatever_its_hash():
    moved = {hashed(0): "test", hashed(2**48 - 1): "train"}
    shares = Shares(validation=0.25, test=0.5)
    fractions = (0, 1, 2**48 - 2, 2**48 - 1)
    assert [shares.split(hashed(fraction), moved) for fraction in fractions] == [
        *("test", "validation", "test", "train")
    ]


def test_the_first_texts_are_one_for_each_split_and_those_that_can_move_come_first():
    texts = [Text(fixed, name) for fixed in (True, False) for name in (b"d", b"a", b"c", b"b")]
    expected = [Text(False, name) for name in (b"a", b"b", b"c")]
    assert split_assignment.first([texts]) == expected
    assert split_assignment.first([texts[5:], texts[:5]]) == expected
    assert split_assignment.first([[texts[0]], [], [texts[5]]]) == [texts[5], texts[0]]


def test_texts_are_moved_only_where_a_split_lacks_their_class():
    shares = Shares(validation=0.2, test=0.2)
    one, two, three = (Text(False, name) for name in (b"1", b"2", b"3"))
    fixed = Text(True, b"0")
    has_all = {
        (0, split): [text] for split, text in zip(spec.SPLITS, [one, two, three], strict=True)
    }
    assert shares.moves({}) == {}
    assert shares.moves(has_all) == {}
    for train, test, validation, moved in [
        ([one, two, three], [], [], {b"1": "test", b"2": "validation"}),
        ([], [one, two, three], [], {b"1": "train", b"2": "validation"}),
        ([], [one], [two, three], {b"2": "train"}),
        ([one, two], [], [], {b"1": "test"}),
        ([one, two], [], [three], {b"1": "test"}),
        ([], [], [one, two], {b"1": "train", b"2": "test"}),
        ([], [one], [two], {b"2": "train"}),
        ([one], [], [two], {b"2": "test"}),
        ([one], [two], [], {}),
        ([], [], [one], {b"1": "train"}),
        ([one], [], [], {}),
        ([fixed], [one], [fixed], {}),
        ([one, fixed], [], [fixed], {b"1": "test"}),
        ([], [one], [fixed, fixed], {b"1": "train"}),
        ([fixed, fixed], [], [], {}),
    ]:
        texts = {(1, "train"): train, (1, "test"): test, (1, "validation"): validation}
        before = {place: [*of_class] for place, of_class in texts.items()}
        assert shares.moves(has_all | texts) == moved
        assert texts == before


def test_texts_move_in_each_class_and_only_to_wanted_splits():
    one, two, three, four, five = (Text(False, name) for name in (b"1", b"2", b"3", b"4", b"5"))
    texts = {(0, "train"): [one, two], (1, "test"): [three, four], (1, "validation"): [five]}
    assert Shares(test=0.2).moves(texts) == {b"1": "test", b"3": "train"}
    assert Shares(validation=0.2).moves(texts) == {b"1": "validation", b"5": "train"}
    assert Shares().moves(texts) == {}
