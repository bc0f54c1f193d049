import subprocess
import sys

import pytest
import tensorflow as tf
import tiny_dataset

from textrecords import checksums, input_pipeline, record_io, row_tables
from textrecords.dataset import open_dataset
from textrecords.errors import BadInput
from textrecords.spec import InputSize

# The vocabulary: c 2, b 3, a 4.
REVIEWS = [("c c c b b a", 0), ("a b", 1), ("c", 1), ("", 0), ("b c a c", 1)]
# In the order of the rows: the two shards take turns.
TOKENS = [[2, 2, 2, 3, 3, 4], [4, 3], [2], [1], [3, 2, 4, 2]]
LABELS = [0, 1, 1, 0, 1]


def read(folder, *, split="train", max_tokens=100, max_len=6, cache="none"):
    size = InputSize(max_tokens, max_len)
    return input_pipeline.read_split(open_dataset(folder), split, size, cache=cache)


def rows_of(blocks):
    single = blocks.unbatch().as_numpy_iterator()
    return [(tokens.tolist(), int(label)) for tokens, label in single]


@pytest.fixture
def records(tmp_path):
    tiny_dataset.write(tmp_path / "records", {"train": REVIEWS})
    return tmp_path / "records"


def test_rows_are_the_padded_reviews_with_their_labels(records):
    rows = read(records)
    spec = (tf.TensorSpec([None, 6], tf.int32), tf.TensorSpec([None], tf.int64))
    assert rows.blocks.element_spec == spec
    assert rows.number == 5
    # Every other review is in the first shard.
    assert rows_of(rows.blocks) == [
        (TOKENS[n] + [0] * (6 - len(TOKENS[n])), LABELS[n]) for n in (0, 2, 4, 1, 3)
    ]


def test_rows_are_cut_and_rare_ids_become_oov(records):
    assert rows_of(read(records, max_tokens=3, max_len=3).blocks) == [
        ([2, 2, 2], 0),
        ([2, 0, 0], 1),
        ([1, 2, 1], 1),
        ([1, 1, 0], 1),
        ([1, 0, 0], 0),
    ]


def test_fit_tokens_gives_the_same_eagerly_and_in_a_dataset():
    tokens = tf.ragged.constant([[5, 6, 7, 8], [9]], dtype=tf.int64)

    def fit(tokens):
        return input_pipeline.fit_tokens(tokens, InputSize(max_tokens=7, max_len=3))

    eager = fit(tokens)
    assert eager.dtype == tf.int32
    assert eager.numpy().tolist() == [[5, 6, 1], [1, 0, 0]]
    in_graph = tf.data.Dataset.from_tensors(tokens).map(fit).get_single_element()
    assert in_graph.dtype == tf.int32
    assert in_graph.numpy().tolist() == [[5, 6, 1], [1, 0, 0]]


@pytest.mark.parametrize("num_shards", [1, 3, 12])
def test_records_come_in_the_order_of_the_rows(tmp_path, num_shards):
    reviews = [(f"w{n:02}", 0) for n in range(30)]  # w29 has id 2, w00 has id 31
    folder = str(tmp_path / "records")
    tiny_dataset.write(folder, {"train": reviews}, num_shards=num_shards)
    records = record_io.read(open_dataset(folder), "train")
    examples = map(tf.train.Example.FromString, records.unbatch().as_numpy_iterator())
    keys = [int(e.features.feature["key"].bytes_list.value[0]) for e in examples]
    assert [([31 - key], 0) for key in keys] == rows_of(read(folder, max_len=1).blocks)


@pytest.mark.parametrize("num_shards", [1, 3, 12])
def test_any_number_of_shards_gives_each_review_once(tmp_path, num_shards):
    reviews = [(f"w{n:02}", n % 2) for n in range(30)]  # w29 has id 2, w00 has id 31
    tiny_dataset.write(tmp_path / "records", {"train": reviews}, num_shards=num_shards)
    rows = rows_of(read(tmp_path / "records", max_len=1).blocks)
    assert sorted(rows) == [([id], (31 - id) % 2) for id in range(2, 32)]


def test_gzip_shards_give_the_same_rows(tmp_path, records):
    tiny_dataset.write(tmp_path / "zipped", {"train": REVIEWS}, compression="gzip")
    assert (tmp_path / "zipped" / "train-00000-of-00002.tfrecord.gz").exists()
    assert rows_of(read(tmp_path / "zipped").blocks) == rows_of(read(records).blocks)


@pytest.mark.parametrize("cache", ["memory", "none", "folder"])
@pytest.mark.parametrize("by_length", [False, True])
def test_every_epoch_has_each_review_once_in_a_new_order(tmp_path, cache, by_length):
    reviews = [(f"w{n:02}", 0) for n in range(50)]
    tiny_dataset.write(tmp_path / "records", {"train": reviews})
    cache = str(tmp_path / "cache") if cache == "folder" else cache
    rows = read(tmp_path / "records", max_len=1, cache=cache)

    def orders():
        batches = input_pipeline.shuffled_batches(rows, 8, seed=1, by_length=by_length)
        ids = [tokens[0] for tokens, _ in rows_of(batches.take(3 * 7))]
        return [ids[:50], ids[50:100], ids[100:]]

    first = orders()
    assert [sorted(order) for order in first] == [list(range(2, 52))] * 3
    assert len({tuple(order) for order in first}) == 3
    assert orders() == first


@pytest.mark.parametrize("gathered_together", [2048, 3])
@pytest.mark.parametrize("by_length", [False, True])
def test_resuming_at_any_step_gives_the_batches_of_an_uninterrupted_run(
    records, monkeypatch, gathered_together, by_length
):
    monkeypatch.setattr(input_pipeline, "GATHERED_TOGETHER", gathered_together)
    rows = read(records)

    def batches(**first):
        shuffled = input_pipeline.shuffled_batches(rows, 2, seed=1, by_length=by_length, **first)
        steps = shuffled.take(9 - first.get("first_step", 0)).as_numpy_iterator()
        return [(tokens.tolist(), labels.tolist()) for tokens, labels in steps]

    whole = batches()
    assert [len(labels) for _, labels in whole] == [2, 2, 1] * 3
    for step in range(9):
        assert batches(first_step=step) == whole[step:]


@pytest.fixture
def large(tmp_path, monkeypatch):
    """Returns records of four windows, of 4, 4, 4 and 1 rows, which begin with the ids 3 to 15."""
    monkeypatch.setattr(record_io, "PARSED_TOGETHER", 2)
    monkeypatch.setattr(input_pipeline, "WHOLE_IDS", 12 * (6 + input_pipeline.IDS_A_ROW))
    monkeypatch.setattr(input_pipeline, "WINDOW_IDS", 4 * (6 + input_pipeline.IDS_A_ROW))
    reviews = [(" ".join([f"w{n:02}"] + ["x"] * (n % 6)), n % 2) for n in range(13)]
    tiny_dataset.write(tmp_path / "large", {"train": reviews}, num_shards=6)
    return tmp_path / "large"


@pytest.mark.parametrize("by_length", [False, True])
def test_a_large_split_comes_in_the_same_order_wherever_it_is_kept(tmp_path, large, by_length):
    def batches(cache):
        rows = read(large, cache=cache)
        shuffled = input_pipeline.shuffled_batches(rows, 3, seed=1, by_length=by_length)
        steps = shuffled.take(3 * 5).as_numpy_iterator()
        return [(tokens.tolist(), labels.tolist()) for tokens, labels in steps]

    expected = batches("none")
    assert [len(labels) for _, labels in expected] == [3, 3, 3, 3, 1] * 3
    for cache in "memory", str(tmp_path / "cache"), str(tmp_path / "cache"):
        assert batches(cache) == expected
    epochs = [expected[n : n + 5] for n in (0, 5, 10)]
    orders = [[ids[0] for tokens, _ in epoch for ids in tokens] for epoch in epochs]
    assert [sorted(order) for order in orders] == [list(range(3, 16))] * 3
    assert len({tuple(order) for order in orders}) == 3
    for tokens, labels in expected:
        assert labels == [(15 - ids[0]) % 2 for ids in tokens]


@pytest.mark.parametrize(("cache", "by_length"), [("memory", False), ("none", True)])
def test_a_large_split_resumes_at_any_step(large, cache, by_length):
    rows = read(large, cache=cache)

    def batches(first_step):
        shuffled = input_pipeline.shuffled_batches(
            rows, 3, seed=1, by_length=by_length, first_step=first_step
        )
        steps = shuffled.take(11 - first_step).as_numpy_iterator()
        return [(tokens.tolist(), labels.tolist()) for tokens, labels in steps]

    whole = batches(0)
    for step in range(11):
        assert batches(step) == whole[step:]


def test_a_window_has_rows_of_a_few_shards_that_change_from_epoch_to_epoch(large):
    batches = input_pipeline.shuffled_batches(read(large), 13, seed=1).take(8)
    orders = [tokens[:, 0].tolist() for tokens, _ in batches.as_numpy_iterator()]
    # Review n begins with the id 15 - n, and is in shard n % 6, with one or two others.
    shards = [{(15 - id) % 6 for id in order[:4]} for order in orders]
    assert all(len(of) <= 3 for of in shards)
    assert len({tuple(of) for of in shards}) > 1


def test_batches_of_like_length_fill_up_across_windows(tmp_path, monkeypatch):
    monkeypatch.setattr(record_io, "PARSED_TOGETHER", 5)
    monkeypatch.setattr(input_pipeline, "WHOLE_IDS", 0)
    monkeypatch.setattr(input_pipeline, "WINDOW_IDS", 10 * (8 + input_pipeline.IDS_A_ROW))
    texts = [" ".join(["w"] * n) for n in range(1, 9)] * 5
    tiny_dataset.write(tmp_path / "records", {"train": [(text, 0) for text in texts]}, num_shards=1)
    rows = read(tmp_path / "records", max_len=8)
    batches = input_pipeline.shuffled_batches(rows, 4, seed=0, by_length=True).take(10)
    lengths = [(tokens > 0).sum(axis=1) for tokens, _ in batches.as_numpy_iterator()]
    assert [len(of) for of in lengths] == [4] * 10
    # A window has ten rows: the third batch of five is of two windows.
    for one, other in (0, 1), (3, 4), (5, 6), (8, 9):
        shorter, longer = sorted((lengths[one], lengths[other]), key=max)
        assert max(shorter) <= min(longer)


def test_rows_in_memory_take_as_much_as_they_are_long(records):
    table = read(records, max_len=6000, cache="memory").table
    assert table.values.shape == [5, row_tables.BLOCK]


def test_batches_by_length_are_cut_to_their_longest_row(tmp_path):
    texts = [" ".join(["w"] * n) for n in range(1, 17)] * 2
    tiny_dataset.write(tmp_path / "records", {"train": [(text, 0) for text in texts]})
    rows = read(tmp_path / "records", max_len=16)
    batches = input_pipeline.shuffled_batches(rows, 4, seed=0, by_length=True).take(8)
    tokens = [tokens for tokens, _ in batches.as_numpy_iterator()]
    # Two texts of each length, in 8 widths: 1 or 2 tokens, 3 or 4, and so on.
    assert sorted(batch.shape[1] for batch in tokens) == [2, 4, 6, 8, 10, 12, 14, 16]
    assert [batch.shape[1] for batch in tokens] != [2, 4, 6, 8, 10, 12, 14, 16]
    lengths = [sorted((batch > 0).sum(axis=1).tolist()) for batch in tokens]
    assert sorted(lengths) == [[n, n, n + 1, n + 1] for n in range(1, 17, 2)]


def test_another_seed_gives_another_order(records):
    tiny_dataset.write(records / "more", {"train": [(f"w{n}", 0) for n in range(20)]})
    rows = read(records / "more", max_len=1)
    one, two = (
        rows_of(input_pipeline.shuffled_batches(rows, 20, seed=seed).take(1)) for seed in (1, 2)
    )
    assert one != two
    assert sorted(one) == sorted(two)


def test_batches_keep_the_order_and_the_last_is_smaller(records):
    batches = input_pipeline.batches(read(records, max_len=1), 2)
    assert len(batches) == 3
    labels = [labels.tolist() for _, labels in batches.as_numpy_iterator()]
    assert labels == [[0, 1], [1, 1], [0]]


def test_a_damaged_cache_is_rebuilt(tmp_path, records):
    rows = rows_of(read(records, cache=str(tmp_path / "cache")).blocks)
    (sums,) = (tmp_path / "cache").glob(f"*/{checksums.SUMS}")
    for line in sums.read_text().splitlines():
        path = sums.parent / line[66:]
        whole = path.read_bytes()
        path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        assert rows_of(read(records, cache=str(tmp_path / "cache")).blocks) == rows
    assert checksums.find_damage(str(sums.parent)) is None


def test_a_cache_where_tensorflow_would_find_nothing_is_refused(tmp_path, records):
    with pytest.raises(BadInput, match=r"\[old\]/.* or contains one of"):
        read(records, cache=str(tmp_path / "[old]"))


def test_a_cache_folder_serves_later_runs(tmp_path, records, monkeypatch):
    cache = str(tmp_path / "cache")
    rows = rows_of(read(records, cache=cache).blocks)
    monkeypatch.delattr(row_tables, "save")  # nothing is written a second time
    assert rows_of(read(records, cache=cache).blocks) == rows


def test_a_cache_folder_separates_sizes(tmp_path, records):
    cache = str(tmp_path / "cache")
    read(records, cache=cache)
    for size in {"max_len": 2}, {"max_tokens": 3}:
        assert rows_of(read(records, cache=cache, **size).blocks) == rows_of(
            read(records, **size).blocks
        )


# Reads 200,000 rows, which are the same shards forty times, and prints the MiB that this took.
FORTY_TIMES = """
import dataclasses, resource, sys

from textrecords import input_pipeline, record_io
from textrecords.dataset import open_dataset
from textrecords.spec import InputSize

def mib():
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit

_, folder, cache = sys.argv
rows = input_pipeline.read_split(open_dataset(folder), "train", InputSize(100, 1000), cache=cache)
next(iter(input_pipeline.batches(dataclasses.replace(rows, in_memory=False), 32)))
before = mib()
shards = record_io.Shards(rows.shards.paths * 40, rows.shards.sizes * 40)
rows = dataclasses.replace(rows, shards=shards)
number = input_pipeline.num_batches(rows, 512)
batches = input_pipeline.shuffled_batches(rows, 512, seed=0).take(2 * number)
assert sum(len(labels) for _, labels in batches) == 400_000
assert sum(len(labels) for _, labels in input_pipeline.batches(rows, 512)) == 200_000
print(mib() - before)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("cache", "limit"), [("memory", 1024), ("none", 700)])
def test_short_reviews_take_little_memory_however_far_they_are_padded(tmp_path, cache, limit):
    reviews = [(" ".join(["w"] * (n % 60)), n % 2) for n in range(5000)]
    tiny_dataset.write(tmp_path / "records", {"train": reviews})
    command = [sys.executable, "-c", FORTY_TIMES, str(tmp_path / "records"), cache]
    done = subprocess.run(command, capture_output=True, text=True)
    assert not done.returncode, done.stderr
    assert float(done.stdout) < limit


def test_a_split_that_is_not_there_is_named(records):
    with pytest.raises(BadInput, match="has no test split"):
        read(records, split="test")
