import collections
import os

import numpy as np
import pytest
import tensorflow as tf
import tiny_dataset
from stage_contract import plain
from tiny_tree import write

from pipelines import sharding
from pipelines.findings import finding
from pipelines.preprocess import review_batches, write_shards
from pipelines.preprocess.review_batches import Batch, Review
from pipelines.preprocess.transform import TextOptions
from pipelines.preprocess.write_shards import Encoded, Encoder, Unwritten, WriteShard, Written
from textrecords import checksums, record_io, spec, text_source
from textrecords.manifest import Shard
from textrecords.text_source import Unread


class Graph(tf.Module):
    """What stands in for the transform graph: it only splits texts at whitespace."""

    def __init__(self, words):
        super().__init__()
        ids = tf.range(2, len(words) + 2, dtype=tf.int64)
        pairs = tf.lookup.KeyValueTensorInitializer(words, ids, tf.string, tf.int64)
        self.table = tf.lookup.StaticHashTable(pairs, spec.OOV_ID)

    @tf.function(input_signature=[tiny_dataset.REVIEWS])
    def transform_fn(self, inputs):
        ids = self.table.lookup(tf.strings.split(inputs[spec.TEXT])).to_sparse()
        filled, _ = tf.sparse.fill_empty_rows(ids, tf.constant(spec.OOV_ID, tf.int64))
        return {spec.TOKENS: filled}


def make_graph(folder, words):
    tf.saved_model.save(Graph(words), str(folder))
    write(folder, {spec.ASSET: "".join(f"{word}\n" for word in words)})
    return str(folder)


@pytest.fixture(scope="module")
def graph(tmp_path_factory):
    return make_graph(tmp_path_factory.mktemp("graph"), ["good", "bad", "film", "never"])


TEXTS = {
    "a": ("good film good", 1),
    "b": ("bad", 0),
    "c": ("...", 1),
    "d": (b"bad caf\xe9", 0),
    "e": ("\ufeffgood\0 <b>", -1),
}


def reviews_of(texts):
    """Returns reviews of texts and labels by key."""
    source = text_source.Source("")
    for key, (content, label) in texts.items():
        content = content.encode() if isinstance(content, str) else content
        misread = {}
        text = source.to_text(key.encode(), content, misread)
        yield Review.of(Unread(key.encode()), label, text, misread.get(key.encode()))


@pytest.fixture
def stage(tmp_path):
    write(tmp_path / "in", {key: text for key, (text, _) in TEXTS.items()})
    (tmp_path / "out").mkdir()
    source = text_source.Source(str(tmp_path / "in"))
    return WriteShard(source, str(tmp_path / "out"), "none", TextOptions(), 2)


def batch_of(texts, labels=None, keys=None):
    keys = keys or [b"%d" % n for n in range(len(texts))]
    return Batch(texts, labels or [0] * len(texts), keys, {b"1": "latin-1"})


def encoded(lengths, ids, labels, keys):
    """Returns a batch of which only the counts and records matter."""
    batch = Batch([b""] * len(keys), labels, keys, {})
    return Encoded(batch, np.array(ids), np.array(lengths))


def test_what_was_written_adds_up():
    def written(n, keys):
        shard = Shard(f"{n}.tfrecord", n, 10 * n, f"{n:064x}")
        lengths, notes = collections.Counter({7: n, n: 1}), collections.Counter({"short": n})
        return Written((shard,), np.array([n, 2]), lengths, np.array([5, n]), notes, keys)

    one, two = written(1, sharding.Keys(1, 3)), written(4, sharding.Keys(2, 2**64 - 1))
    assert plain(one + two) == plain(
        Written(
            one.shards + two.shards,
            np.array([5, 4]),
            collections.Counter({7: 5, 1: 1, 4: 1}),
            np.array([10, 5]),
            collections.Counter({"short": 5}),
            sharding.Keys(3, 2),
        )
    )


def test_nothing_has_as_many_labels_and_ids_as_there_are():
    nothing = write_shards._nothing(2, 3)
    counters = collections.Counter(), collections.Counter()
    expected = Written((), [0, 0], counters[0], [0, 0, 0], counters[1], sharding.NO_KEYS)
    assert plain(nothing) == plain(expected)
    assert nothing.label_counts.dtype == nothing.id_counts.dtype == np.int64
    assert nothing.length_counts is not nothing.notes


def test_a_batch_gets_the_ids_of_the_graph(graph):
    encoder = Encoder(graph, TextOptions())
    assert encoder.vocabulary_size == 6
    texts = [b"good film what", b"", b"never"]
    batch = batch_of(texts, [1, -1, 0], [b"x", b"y", b"\xff"])
    made = encoder.encode(batch)
    assert made.batch is batch
    assert plain([made.ids, made.lengths]) == [[2, 4, 1, 1, 5], [3, 1, 1]]
    assert [ids for ids, _, _ in made.examples()] == [[2, 4, 1], [1], [5]]


def test_a_text_without_tokens_is_told_from_one_unknown_word(graph):
    texts = [b"good film", b"...", b"unknown", b"never", b"", b"un known", b"stop!"]
    plainly, stopping = (
        Encoder(graph, TextOptions(stop_words=words)) for words in ((), ("stop", "never"))
    )
    made = plainly.encode(batch_of(texts))
    assert plainly.without_tokens(made).tolist() == [0, 1, 0, 0, 1, 0, 0]
    assert stopping.without_tokens(made).tolist() == [0, 1, 0, 0, 1, 0, 1]
    assert plainly.without_tokens(plainly.encode(batch_of([b"bad", b"film"]))).tolist() == [0, 0]


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_a_shard_has_its_records_counts_and_findings(tmp_path, graph, monkeypatch, compression):
    monkeypatch.setattr(review_batches, "BATCH_SIZE", 2)
    write(tmp_path / "in", {key: text for key, (text, _) in TEXTS.items()})
    (tmp_path / "out").mkdir()
    source = text_source.Source(str(tmp_path / "in"))
    stage = WriteShard(source, str(tmp_path / "out"), compression, TextOptions(), 2)
    shard = Unwritten("train", "a-shard", [*reviews_of(TEXTS)])
    written, found = stage.write(shard, graph, ("bad", "good", "none"))

    assert os.listdir(tmp_path / "out") == ["a-shard"]
    path = str(tmp_path / "out" / "a-shard")
    ids = [[2, 4, 2], [3], [1], [3, 1], [1, 1]]
    rows = zip(ids, TEXTS.items(), strict=True)
    assert list(
        tf.data.TFRecordDataset(path, "" if compression == "none" else "GZIP").as_numpy_iterator()
    ) == [*record_io.serialize((row, label, key.encode()) for row, (key, (_, label)) in rows)]
    size = os.path.getsize(path)
    assert plain(written) == plain(
        Written(
            (Shard("a-shard", 5, size, checksums.sha256(path)),),
            [2, 2, 0],
            {3: 1, 1: 2, 2: 2},
            [0, 4, 2, 2, 1, 0],
            {
                **{"not in the encoding": 1, "byte order mark": 1, "NUL bytes": 1, "HTML": 1},
                **{"no tokens": 1, "short": 2},
            },
            sharding.Keys.of([key.encode() for key in TEXTS]),
        )
    )
    assert found == [
        finding("short", [b"b"], split="train"),
        finding("not in the encoding", [b"d"], split="train", seems="latin-1 or cp1252"),
        finding("no tokens", [b"c"], split="train"),
        finding("short", [b"c"], split="train"),
        finding("byte order mark", [b"e"], split="train"),
        finding("NUL bytes", [b"e"], split="train"),
        finding("HTML", [b"e"], split="train"),
    ]


def test_a_shard_without_reviews_is_an_empty_file(stage, graph):
    written, found = stage.write(Unwritten("test", "empty", []), graph, ("bad", "good"))
    [shard] = written.shards
    assert (shard.file, shard.examples, shard.bytes) == ("empty", 0, 0)
    assert plain(written) == plain(write_shards._nothing(2, 6)) | {"shards": [plain(shard)]}
    assert found == []


def test_the_graph_is_loaded_once_for_all_shards(stage, graph, tmp_path, monkeypatch):
    loaded = []

    class Counted(Encoder):
        def __init__(self, *args):
            super().__init__(*args)
            loaded.append(args)

    monkeypatch.setattr(write_shards, "Encoder", Counted)
    for name in ("one", "two"):
        written, _ = stage.write(Unwritten("test", name, []), graph, ("bad",))
        assert written.id_counts.size == 6
    assert loaded == [(graph, stage.options)]
    other = make_graph(tmp_path / "other", ["good"])
    written, _ = stage.write(Unwritten("test", "three", []), other, ("bad",))
    assert written.id_counts.size == 3
    assert loaded == [(graph, stage.options), (other, stage.options)]


@pytest.mark.parametrize(
    ("min_tokens", "max_len", "short"),
    [
        (0, None, []),
        (1, None, [b"0", b"3"]),
        (2, None, [b"0", b"1", b"3"]),
        (3, None, [b"0", b"1", b"2", b"3"]),
        (3, 4, [b"0", b"1", b"2", b"3"]),
        (3, 2, [b"0", b"1", b"3"]),
        (3, 1, [b"0", b"3"]),
    ],
)
def test_a_review_is_short_below_the_minimum_unless_it_is_cut(graph, min_tokens, max_len, short):
    options = TextOptions(max_len=max_len)
    stage = WriteShard(text_source.Source(""), "", "none", options, min_tokens)
    encoder = Encoder(graph, options)
    made = encoder.encode(batch_of([b"...", b"bad", b"bad film", b"", b"never a good film"]))
    assert list(stage._notes("test", made, encoder)) == [
        finding("not in the encoding", [b"1"], split="test", seems="latin-1"),
        finding("no tokens", [b"0"], split="test"),
        finding("no tokens", [b"3"], split="test"),
        *(finding("short", [key], split="test") for key in short),
    ]


def test_counts_are_of_all_labels_and_ids():
    batch = encoded([2, 1, 2], [5, 1, 0, 1, 5], [1, -1, 0], [b"x", b"y", b"z"])
    noted = [finding(what, [b"x"]) for what in ("short", "HTML", "short")]
    made = write_shards._count(batch, noted, write_shards._nothing(3, 8))
    assert plain(made) == plain(
        Written(
            *((), [1, 1, 0], {2: 2, 1: 1}, [1, 2, 0, 0, 0, 2, 0, 0], {"short": 2, "HTML": 1}),
            sharding.Keys.of([b"x", b"y", b"z"]),
        )
    )


def test_a_review_without_a_row_of_its_own_is_not_left_out():
    batch = encoded([1], [2], [0, 1], [b"x", b"y"])
    with pytest.raises(ValueError, match="zip"):
        list(batch.examples())


def test_the_order_of_writing_is_that_of_the_hashes_of_the_keys():
    keys = [b"%d" % n for n in range(9)]
    reviews = [Review(b"words", key, 0, 1, b"text", None, 0, b"") for key in keys]
    lists = [[tuple(each) for each in part] for part in (reviews[:4], [], reviews[4:])]
    by_hash = sorted(keys, key=lambda key: (sharding.key_hash(key), key))
    assert by_hash != keys
    made = write_shards.in_order(lists)
    assert [review.key for review in made] == by_hash
    assert made == sorted(reviews, key=lambda review: by_hash.index(review.key))
