"""Pieces of the search for class folders, by themselves; test_any_folder.py runs commands."""

import collections
import os

import pytest

from pipelines.places import Place
from pipelines.preprocess import input_tree
from textrecords import spec
from textrecords.errors import BadInput

UNLABELLED = spec.ALL_SPLITS.index(spec.UNLABELLED)


@pytest.mark.parametrize(
    ("folder", "is_moved"),
    [
        ("unsup", True),
        ("train/unsup", True),
        ("test/unsup", False),
        ("train/deep/unsup", False),
        ("train/other", False),
    ],
)
def test_a_folder_without_labels_is_a_split_at_the_top_or_in_train(folder, is_moved):
    place = Place(folder, why="no labels")
    expected = Place(folder, "", UNLABELLED) if is_moved else place
    assert input_tree._as_unlabelled(place, "train") == expected


def test_a_class_of_this_name_keeps_its_labels():
    place = Place("train/unsup", "unsup", 0)
    assert input_tree._as_unlabelled(place, "train") is place


def test_each_skipped_link_counts_as_a_file_and_a_folder_is_listed(tmp_path):
    (tmp_path / "a").mkdir()
    for name in ("b", "c"):
        (tmp_path / name).symlink_to(tmp_path / "a")
    outside = collections.Counter()
    entries = sorted(os.scandir(tmp_path), key=lambda entry: entry.name)
    places = [
        each
        for entry in entries
        for each in input_tree._skipped(entry, f"x/{entry.name}", "why", outside)
    ]
    assert places == [Place("x/a", why="why")]
    assert outside == {"why": 2}


@pytest.mark.parametrize(
    ("chosen", "found", "why"),
    [
        ((), [], "has no class folders: it must contain a folder for each class"),
        (("a",), ["a"], "has only one class, a: a classifier needs at least two"),
        (("a", "b"), ["a"], "has no folder b: its classes are a"),
        (("a", "x\n"), ["a"], None),
        (("a", "e\u0301"), ["a", "\xe9"], None),
    ],
)
def test_the_folder_whose_classes_do_not_fit_is_named(tmp_path, chosen, found, why):
    (tmp_path / "a").mkdir()
    with pytest.raises(BadInput) as refused:
        input_tree._check_classes(str(tmp_path), chosen, found)
    message = str(refused.value)
    assert message == f"{tmp_path} {why}" if why else message.startswith(f"{tmp_path}: the name of")


def test_a_class_without_labels_can_be_chosen_by_its_folder(tmp_path):
    for name in ("a", "unsup"):
        (tmp_path / name).mkdir()
    input_tree._check_classes(str(tmp_path), ("a", "unsup"), ["a"])
