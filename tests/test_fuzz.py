"""Arbitrary files, names and flags give a one-line error or a correct result, never a traceback.

`ARGS="tests/test_fuzz.py --hypothesis-profile=long"` tries a hundred times as much.
"""

import collections
import contextlib
import io
import itertools
import json
import os

import hypothesis
import numpy as np
import pytest
import tensorflow as tf
import tiny_dataset
from hypothesis import strategies as st
from test_train import QUICK
from tiny_tree import unread

from model import train
from pipelines import inspect_records
from pipelines.preprocess import __main__ as preprocess
from pipelines.preprocess import (
    audit,
    count_words,
    review_batches,
    split_assignment,
    transform,
    vocabulary,
)
from pipelines.preprocess.review_batches import Review
from textrecords import checksums, model_folder, spec, terminal, text_source
from textrecords.dataset import open_dataset
from textrecords.errors import BadInput

pytestmark = pytest.mark.slow

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.just("../../x"),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)
DEFAULT = transform.Tokenizer(transform.TextOptions())


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with a dataset and a model."""
    root = tmp_path_factory.mktemp("fuzz")
    tiny_dataset.write(str(root / "records"), {"train": [("a b", 0), ("b", 1)], "test": [("a", 0)]})
    train.main(["--records", str(root / "records"), "--model_dir", str(root / "model"), *QUICK])
    return root


def places(tree, path=()):
    """Yields the path of each node of a JSON tree."""
    yield path
    items = (
        tree.items()
        if isinstance(tree, dict)
        else enumerate(tree if isinstance(tree, list) else ())
    )
    for key, inner in items:
        yield from places(inner, (*path, key))


def replaced(tree, path, value):
    if not path:
        return value
    copy = tree.copy()
    copy[path[0]] = replaced(tree[path[0]], path[1:], value)
    return copy


@contextlib.contextmanager
def only_bad_input():
    """Takes a refusal in one line, and nothing else."""
    try:
        yield
    except BadInput as error:
        assert "\n" not in terminal.one_line(error)


@contextlib.contextmanager
def changed(path, data):
    """Temporarily replaces one value in a JSON file."""
    whole = path.read_text()
    tree = json.loads(whole)
    place = data.draw(st.sampled_from(list(places(tree))))
    path.write_text(json.dumps(replaced(tree, place, data.draw(JSON))))
    try:
        yield
    finally:
        path.write_text(whole)


@hypothesis.given(data=st.data())
def test_any_change_of_a_manifest_is_refused_or_read(made, data):
    records_dir = str(made / "records")
    with changed(made / "records" / spec.MANIFEST, data):
        with only_bad_input():
            dataset = open_dataset(records_dir, verify=False)
            for split in dataset.splits:
                for shard in dataset.shard_paths(split):
                    assert os.path.dirname(shard) == records_dir
            assert dataset.manifest.vocabulary.file == spec.VOCABULARY
        with pytest.raises(BadInput):
            open_dataset(records_dir)


@hypothesis.given(data=st.data())
def test_any_change_of_a_configuration_is_refused_or_read(made, data):
    with changed(made / "model" / model_folder.CONFIG, data), only_bad_input():
        model_folder.read(str(made / "model"), verify=False)


@hypothesis.given(
    name=st.sampled_from([spec.MANIFEST, checksums.SUMS, spec.SCHEMA]),
    content=st.binary(max_size=200),
)
def test_any_bytes_in_the_place_of_a_description_are_refused(made, name, content):
    path = made / "records" / name
    whole = path.read_bytes()
    hypothesis.assume(content != whole)
    try:
        path.write_bytes(content)
        with pytest.raises(BadInput) as error:
            open_dataset(str(made / "records"))
        assert "\n" not in terminal.one_line(error.value)
    finally:
        path.write_bytes(whole)


@hypothesis.given(
    argv=st.lists(
        st.sampled_from(
            [
                "--max_tokens",
                "--epochs",
                "--validation",
                "--classes",
                "--pattern",
                "--encoding",
                "--runner",
                "--min_tokens",
                "--num_shards",
            ]
        )
        | st.text(max_size=8)
    )
)
def test_any_flags_are_accepted_or_refused(argv):
    for parse in (preprocess._parser().parse_known_args, train.parse_args):
        with (
            only_bad_input(),
            contextlib.suppress(SystemExit),
            contextlib.redirect_stdout(io.StringIO()),
        ):
            parse(argv)


@hypothesis.given(
    content=st.binary(), encoding=st.sampled_from(["utf-8", "latin-1", "utf-16", "cp1252", "utf-7"])
)
def test_any_bytes_become_valid_text(content, encoding):
    text, replaced = text_source.Source("", encoding=encoding).decode(content)
    assert text.decode().encode() == text
    seems = text_source.Source("", encoding=encoding).seems_in(content, replaced)
    assert seems or not replaced
    if not replaced:
        assert text.decode() == content.decode(encoding)


@hypothesis.given(
    texts=st.lists(
        st.lists(
            st.sampled_from(["<br />", "\ufeff", "\r\n", "İ", "É", "\u2028", "\x1c", "\xa0", "a"])
            | st.text(st.characters(codec="utf-8"), max_size=4)
        ).map("".join),
        min_size=1,
    )
)
def test_words_that_are_compared_are_the_tokens_of_the_transform_graph(texts):
    tokens = DEFAULT(tf.constant(texts)).to_list()
    words = [review_batches.words(text.encode()) for text in texts]
    assert words == [b" ".join(each) for each in tokens]


@hypothesis.given(
    batches=st.lists(
        st.lists(st.sampled_from("abcdefgh").map(str.encode) | st.binary(max_size=3), max_size=30)
    ),
    top_k=st.integers(1, 9),
)
def test_words_are_counted_as_a_counter_does(batches, top_k):
    add = count_words.AddCounts()
    totals = collections.defaultdict(add.create_accumulator)
    for words in batches:
        unique, counts = np.unique(np.array([*words, b"x"], object), return_counts=True)
        buckets = np.array([len(word) for word in unique])
        for bucket, part in count_words.split_by_bucket(unique, counts, buckets):
            totals[bucket] = add.add_input(totals[bucket], part)
    most = vocabulary.MostFrequent(top_k)
    frequent = most.create_accumulator()
    for bucket, total in totals.items():
        counts = add.extract_output(total)
        of_bucket = vocabulary._most_frequent_of_bucket((bucket, counts), top_k)
        frequent = most.add_input(frequent, of_bucket)
    expected = collections.Counter(word for words in batches for word in [*words, b"x"])
    ranked = sorted(((count, word) for word, count in expected.items()), reverse=True)
    assert most.extract_output(frequent) == ranked[:top_k]


@hypothesis.given(
    texts=st.lists(st.sampled_from("abcdef") | st.text(max_size=3), max_size=30),
    validation=st.sampled_from([0, 0.3, 0.5]),
    test=st.sampled_from([0, 0.3, 0.4]),
    drop=st.tuples(st.booleans(), st.booleans()),
    order=st.randoms(use_true_random=False),
)
def test_where_reviews_go_depends_on_nothing_but_them(texts, validation, test, drop, order):
    splits = ("train", "train" if test else "test")
    found = [
        tuple(Review.of(unread(f"{splits[n % 2]}/c{n % 3}/{n}".encode()), n % 3, text.encode()))
        for n, text in enumerate(texts)
    ]
    shares = split_assignment.Shares(validation, test)
    assign = audit.Assign(shares, *drop)

    def assigned(lists):
        moved = shares.moves(dict(assign.class_texts((0, lists))))
        _, *parts, audited = assign.place((0, lists), moved, dict.fromkeys(spec.SPLITS, 2))
        return {shard: sorted(kept) for shard, kept in parts}, audited.value

    shuffled = list(found)
    order.shuffle(shuffled)
    half = len(found) // 2
    shards, audited = assigned([found])
    assert assigned([shuffled[:half], shuffled[half:]]) == (shards, audited)
    kept = [review for split in shards.values() for review in split]
    assert len(set(kept)) == len(kept)
    assert set(kept) <= set(found)
    assert any(drop) or sorted(kept) == sorted(found)
    dropped = audited.dropped_leaked.total() + audited.dropped_duplicates.total()
    assert len(kept) + dropped == len(found)


@hypothesis.given(
    texts=st.lists(st.tuples(st.integers(0, 99), st.integers(0, 2)), max_size=40),
    validation=st.sampled_from([0, 0.000001, 0.3, 0.5]),
    test=st.sampled_from([0, 0.3, 0.4]),
)
def test_every_class_is_in_every_split_as_far_as_its_own_texts_go(texts, validation, test):
    shares = split_assignment.Shares(validation, test)
    assign = audit.Assign(shares, True, False)
    buckets, labels = collections.defaultdict(list), collections.defaultdict(set)
    for n, (text, label) in enumerate(texts):
        review = Review.of(unread(f"train/c{label}/{n}".encode()), label, str(text).encode())
        buckets[review.words_hash[0] % 3].append([tuple(review)])
        labels[review.words_hash].add(label)
    lists = collections.defaultdict(list)
    for place, found in itertools.chain.from_iterable(map(assign.class_texts, buckets.items())):
        lists[place].append(found)
    moved = shares.moves({place: split_assignment.first(each) for place, each in lists.items()})
    found = collections.defaultdict(set)
    for bucket in buckets.items():
        _, *parts, _ = assign.place(bucket, moved, dict.fromkeys(spec.SPLITS, 2))
        for (split, _), reviews in parts:
            for review in reviews:
                found[review[0]].add(split)
    assert all(len(splits) == 1 for splits in found.values())
    for label in range(3):
        own = sum(labels[words] == {label} for words in found)
        splits = set().union(*(found[words] for words in found if label in labels[words]))
        wanted = ["train", *["test"] * (test > 0), *["validation"] * (validation > 0)]
        assert {*wanted[:own]} <= splits


NAMES = st.text(
    st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=20
)


@hypothesis.settings(max_examples=4)
@hypothesis.given(
    files=st.dictionaries(
        st.tuples(st.sampled_from(["train/a", "train/b", "test/a", "test/b"]), NAMES),
        st.binary(max_size=300) | st.text(max_size=300).map(str.encode),
        max_size=15,
    ),
    flags=st.lists(
        st.sampled_from(["--num_shards=3", "--max_len=2", "--max_tokens=4", "--compression=gzip"])
    ),
)
def test_any_tree_gives_a_record_of_each_file(tmp_path_factory, files, flags):
    root = tmp_path_factory.mktemp("tree")
    contents = {
        **{f"{split}/{c}/0.txt": b"a word" for split in ("train", "test") for c in ("a", "b")},
        **{
            f"{folder}/{name}.txt": content
            for (folder, name), content in files.items()
            if len(name.encode()) < 250 and name[0] != "."
        },
    }
    for key, content in contents.items():
        path = root / "in" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    flags = [*flags, "--on_bad_text=replace_all"]
    preprocess.main(["--input", str(root / "in"), "--output", str(root / "out"), *flags])
    dataset = open_dataset(str(root / "out"))
    compression = spec.COMPRESSIONS[dataset.manifest.flags.compression]
    labels = {}
    for split in dataset.splits:
        for path in dataset.shard_paths(split):
            for record in tf.data.TFRecordDataset(path, compression).as_numpy_iterator():
                feature = tf.train.Example.FromString(record).features.feature
                key = os.fsdecode(feature[spec.KEY].bytes_list.value[0])
                assert key not in labels
                labels[key] = feature[spec.LABEL].int64_list.value[0]
                assert len(feature[spec.TOKENS].int64_list.value) >= 1
    assert labels == {key: "ab".index(key.split("/")[1]) for key in contents}
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        inspect_records.main(["--records", str(root / "out"), "--count=99"])
    assert all(line.isprintable() for line in printed.getvalue().splitlines())
