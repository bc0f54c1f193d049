"""How the files of an input are listed: what a place is split into, and that nothing is lost."""

import collections
import itertools

import hypothesis
import pytest
from hypothesis import strategies as st
from tiny_tree import write

from pipelines import list_files, places, sharding
from pipelines.places import Listed, Place
from textrecords import storage, text_source

BUCKET = text_source.Source("gs://bucket/in")


def serve(monkeypatch, names):
    """Fills a bucket with files below `in/`; returns the start of each listing."""
    asked = []

    def scan_below(folder, start="", end=""):
        assert folder.startswith("gs://bucket/in/")
        below = folder.removeprefix("gs://bucket/in/") + "/"
        asked.append((start, end))
        assert len(asked) < 10_000, "it's listed again and again"
        for name in sorted(names):
            path = name.removeprefix(below)
            if path != name and path >= start and (not end or path < end):
                yield storage.Entry(path, f"{folder}/{path}", False, len(name), 1)

    monkeypatch.setattr(storage, "scan_below", scan_below)
    return asked


def listed(place, most, times):
    """Lists a place like workers; returns the keys, the total `Listed`, and the last places."""
    keys, parts, waiting = [], [], [place]
    for number in range(times + 1):
        rest = []
        for each in waiting:
            for found in each.list_files(BUCKET, most if number < times else None):
                if isinstance(found, Place):
                    rest.append(found)
                elif isinstance(found, Listed):
                    parts.append(found)
                else:
                    keys += [key.decode() for key, *_ in found]
        waiting, last = rest, waiting
    assert not waiting
    return keys, sum(parts, Listed()), last


@pytest.mark.parametrize(
    "names",
    [
        [f"{n}_{n % 10}.txt" for n in range(12_500)],
        [f"review_{n:09d}.txt" for n in range(5_000)],
        [f"part{n // 1000}/{n}.txt" for n in range(5_000)],
    ],
)
def test_a_large_place_is_listed_in_many_parts_and_each_file_once(monkeypatch, names):
    asked = serve(monkeypatch, [f"train/pos/{name}" for name in names])
    keys, found, parts = listed(Place("train/pos", "pos"), 100, 2)
    assert sorted(keys) == sorted(f"train/pos/{name}" for name in names)
    assert found.reviews == {"train/pos": len(names)}
    assert len(set(asked)) == len(asked), "a range was listed twice"
    largest = max(places.list_here([part], BUCKET).num_reviews for part in parts)
    assert largest < len(names) / 5
    assert found == places.list_here([Place("train/pos", "pos")], BUCKET)


@hypothesis.given(
    names=st.sets(
        st.text("019aZz_.é/-", min_size=1, max_size=6).filter(
            lambda name: "//" not in name and not name.startswith("/") and not name.endswith("/")
        ),
        max_size=60,
    ),
    most=st.integers(1, 20),
)
def test_places_of_any_names_are_listed_in_parts_as_in_one(names, most):
    with pytest.MonkeyPatch.context() as patch:
        serve(patch, [f"a/{name}.txt" for name in names] + [f"a/{name}.md" for name in names])
        keys, found, _ = listed(Place("a", "a"), most, 2)
        whole, expected, _ = listed(Place("a", "a"), None, 0)
    assert sorted(keys) == sorted(whole)
    assert found == expected


def test_files_in_hidden_folders_are_skipped_as_on_a_disk(monkeypatch, tmp_path):
    names = ["b.txt", ".git/x.txt", ".git/y/z.txt", "deep/.c/1.txt", "deep/.d.txt", "deep/e.txt"]
    write(tmp_path, {f"a/{name}": "" for name in names})
    serve(monkeypatch, [f"a/{name}" for name in names])
    local = places.list_here([Place("a", "a")], text_source.Source(str(tmp_path)))
    assert local.skipped == {"hidden": 3}
    for most in range(1, len(names) + 1):
        keys, found, _ = listed(Place("a", "a"), most, 2)
        assert sorted(keys) == ["a/b.txt", "a/deep/e.txt"]
        assert (found.skipped, found.reviews, found.keys) == (
            local.skipped,
            local.reviews,
            local.keys,
        )


def test_a_hidden_folder_of_a_bucket_is_skipped(monkeypatch):
    """However many files are in it: the next listing starts after it."""
    hidden = [f"a/.git/{n:05d}" for n in range(10_000)]
    asked = serve(monkeypatch, ["a/.a.txt", *hidden, "a/1.txt", "a/deep/.b/2.txt", "a/deep/3.txt"])
    found = list(BUCKET.walk("a"))
    assert [(key, why) for key, _, why in found] == [
        (b"a/.a.txt", "hidden"),
        (b"a/.git/00000", "hidden"),
        (b"a/1.txt", None),
        (b"a/deep/.b/2.txt", "hidden"),
        (b"a/deep/3.txt", None),
    ]
    assert asked == [("", ""), (".git0", ""), ("deep/.b0", "")]


def test_names_that_are_no_paths_are_skipped(monkeypatch):
    """Their keys would lead out of the bucket, or be those of several files."""
    serve(monkeypatch, ["a//etc/b.txt", "a/x//c.txt", "a/./d.txt", "a/x/../e.txt", "a/f.txt"])
    for most in (1, 2, None):
        keys, found, _ = listed(Place("a", "a"), most, 2)
        assert keys == ["a/f.txt"]
        assert found.skipped.total() == 4
        assert found.skipped[text_source.NO_PATH] + found.skipped["hidden"] == 4


def test_the_files_of_a_skipped_place_are_counted(tmp_path):
    write(tmp_path, {f"unsup/{name}": "" for name in ("1.txt", "2.md", "deep/3.txt", ".4.txt")})
    source = text_source.Source(str(tmp_path))
    *_, found = Place("unsup", why="no labels").list_files(source)
    assert found == Listed(skipped={"no labels": 4})


def test_a_stage_tags_what_is_no_list_of_files_and_notes_their_keys(monkeypatch):
    serve(monkeypatch, ["a/1.txt", "a/2.txt", "a/3.txt"])
    outputs = list(list_files.list_place(Place("a", "b"), BUCKET, 2))
    tags = [getattr(output, "tag", "files") for output in outputs]
    assert tags[:4] == ["listed", "listed", "listed", "files"]
    assert set(tags[4:]) == {"rest"}
    assert outputs[3] == [(b"a/1.txt", "b", 0, b"", ""), (b"a/2.txt", "b", 0, b"", "")]
    keys = sum((each.value.keys for each in outputs[:3]), sharding.NO_KEYS)
    assert keys == sharding.Keys.of([b"a/1.txt", b"a/2.txt"])
    rest = itertools.chain.from_iterable(each.value.list_files(BUCKET) for each in outputs[4:])
    [last] = (found for found in rest if isinstance(found, list))
    assert last == [(b"a/3.txt", "b", 0, b"", "")]


class TwoReviews:
    """A place, as far as it's listed."""

    def list_files(self, source):
        yield Listed(collections.Counter({f"train/{source}": 2}))
        yield [1, 2]


def test_what_is_listed_in_this_process_is_counted_for_progress_bars():
    before = text_source.SEEN["listed"]
    found = [*places.found_here([TwoReviews(), TwoReviews()], "a")]
    assert found == [Listed({"train/a": 2}), [1, 2]] * 2
    assert text_source.SEEN["listed"] - before == 4
