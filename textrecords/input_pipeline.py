"""Turns the shards of a dataset into the batches that a network takes.

The stages, in this order: read the shards; parse many records with one op, and truncate; cache what
never changes; gather the rows in a new order each epoch, and pad; prefetch; batch. A cache after
the shuffle would freeze the first epoch's order.

A split is shuffled as a whole, unless it's large. Then an epoch shuffles the shards, and the rows
within one window after the other, so that only a window has to be in memory. The order doesn't
depend on where the rows are cached.

Rows are passed in blocks up to the last stage: passing single rows takes longer than making them.
"""

import dataclasses
import functools
import hashlib
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

import tensorflow as tf

from textrecords import atomic, checksums, record_io, row_tables, spec, storage

if TYPE_CHECKING:
    from textrecords.dataset import Dataset

# A split of up to WHOLE_IDS ids, of 4 bytes each, is shuffled as a whole; a larger one in windows
# of WINDOW_IDS. IDS_A_ROW accounts for what a row takes in addition to its ids.
WHOLE_IDS, WINDOW_IDS, IDS_A_ROW = 2**26, 2**24, 8
# Rows gathered together.
GATHERED_TOGETHER = 4096
# Widths that batches of rows of similar length are cut to; XLA compiles the step for each of them.
WIDTHS = 8

# AutoGraph would take longer to look for Python's loops and branches on tensors in the functions of
# a dataset than TensorFlow takes to trace them; there are none.
_without_autograph = tf.autograph.experimental.do_not_convert


@dataclasses.dataclass(frozen=True)
class Rows:
    """The rows of one split, each once.

    Attributes:
      shards: the files that hold them.
      parse: turns records of the shards, <string>[n], into a table, as `row_tables.make` does.
      max_len: ids that a row is cut or padded to.
      in_memory: whether they stay in memory once they are read.
    """

    shards: record_io.Shards
    parse: Callable[[tf.Tensor], tf.RaggedTensor]
    max_len: int
    in_memory: bool

    @property
    def number(self) -> int:
        """The number of rows."""
        return sum(self.shards.sizes)

    @property
    def window(self) -> int:
        """The number of rows that are shuffled at once."""
        size = self.max_len + IDS_A_ROW
        if self.number * size <= WHOLE_IDS:
            return self.number
        together = record_io.PARSED_TOGETHER
        return max(WINDOW_IDS // size // together, 1) * together

    @property
    @_without_autograph
    def blocks(self) -> tf.data.Dataset:
        """Blocks (tokens <int32>[n, max_len], labels <int64>[n]) in a fixed order."""
        if self.in_memory:
            return _gathered(self.table, tf.range(self.number), self.max_len)
        return _tables(self.shards.read(), self.parse).map(
            lambda table: row_tables.take(table, tf.range(table.nrows()), self.max_len)
        )

    @functools.cached_property
    def table(self) -> tf.RaggedTensor:
        """All rows, in the order of `blocks`, kept in memory."""
        return self._kept.values

    @property
    def whole(self) -> tf.data.Dataset:
        """A single element, all rows: tables, <int32>[tables, (rows), (blocks), BLOCK]."""
        if self.in_memory:
            return tf.data.Dataset.from_tensors(self._kept)
        return _tables(self.shards.read(), self.parse).batch(self.number)

    @functools.cached_property
    def places(self) -> tf.RaggedTensor:
        """Where the rows of each shard are in `table`, <int32>[number of shards, (rows)]."""
        with tf.init_scope():
            return self.shards.places()

    @functools.cached_property
    def _kept(self) -> tf.RaggedTensor:
        """The element of `whole`, kept in memory."""
        with tf.init_scope():
            return dataclasses.replace(self, in_memory=False).whole.get_single_element()


def read_split(
    dataset: "Dataset", split: str, size: spec.InputSize, *, cache: str = "none"
) -> Rows:
    """Returns the rows of one split.

    Args:
      dataset: the dataset.
      split: the name of the split.
      size: the input size of the network, as `fit_tokens` takes it.
      cache: where parsed rows are kept for the next epoch: `memory`, `none`, or a folder, which
        later runs reuse.

    Raises:
      BadInput: if the dataset has no such split.
    """
    shards, parse = record_io.shards(dataset, split), functools.partial(_parse, size=size)
    if cache not in ("memory", "none"):
        identity = f"rows {dataset.manifest.sha256} {size.max_tokens} {size.max_len}"
        name = f"{split}-{hashlib.sha256(identity.encode()).hexdigest()[:16]}"
        shards = _saved(shards, parse, os.path.join(cache, name))
        parse = functools.partial(row_tables.parse, max_len=size.max_len)
    return Rows(shards, parse, size.max_len, in_memory=cache == "memory")


def _tables(
    records: tf.data.Dataset, parse: Callable[[tf.Tensor], tf.RaggedTensor]
) -> tf.data.Dataset:
    return records.map(parse, num_parallel_calls=tf.data.AUTOTUNE)


def _gathered(table: tf.RaggedTensor, order: tf.Tensor, max_len: int) -> tf.data.Dataset:
    """Returns blocks, like `Rows.blocks`, of the rows of a table in this order, <int32>[n]."""

    def gather(start: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return row_tables.take(table, order[start : start + GATHERED_TOGETHER], max_len)

    return tf.data.Dataset.range(0, tf.size(order, tf.int64), GATHERED_TOGETHER).map(gather)


def num_batches(rows: Rows, batch_size: int) -> int:
    """Returns the number of batches per epoch."""
    return -(-rows.number // batch_size)


def batches(rows: Rows, batch_size: int) -> tf.data.Dataset:
    """Returns batches (tokens <int32>[batch_size, max_len], labels <int64>[batch_size]).

    They cover all rows once. The last batch may be smaller.
    """
    known = tf.data.experimental.assert_cardinality(num_batches(rows, batch_size))
    return rows.blocks.rebatch(batch_size).apply(known).prefetch(2).apply(_in_order)


@_without_autograph
def shuffled_batches(
    rows: Rows, batch_size: int, *, seed: int, first_step: int = 0, by_length: bool = False
) -> tf.data.Dataset:
    """Returns batches like those of `batches`, for endless epochs, each in a new order.

    An epoch's order depends only on the seed and the epoch's number, so that an interrupted
    training resumes at any step with the batches that it would have had.

    Args:
      rows: what `read_split` returns.
      batch_size: rows per batch.
      seed: of all orders.
      first_step: the number of batches to skip.
      by_length: put rows of similar length into a batch, and cut it to the longest: tokens become
        <int32>[batch_size, at most max_len], of `WIDTHS` widths.
    """
    first_epoch, skipped = divmod(first_step, num_batches(rows, batch_size))
    epochs = _Epochs(rows, batch_size, seed, by_length, (first_epoch, skipped * batch_size))
    # Not `counter`, which calls a function for each number.
    shuffled = epochs.batches(tf.data.Dataset.range(first_epoch, tf.int64.max))
    if by_length:
        shuffled = shuffled.map(_trim)
    endless = tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY)
    return shuffled.apply(endless).apply(_in_order)


@_without_autograph
def reshuffled_batches(rows: Rows, batch_size: int, *, seed: int) -> tf.data.Dataset:
    """Returns batches like those of `batches`, in a new order for each iteration.

    The order of the n-th iteration depends only on the seed and n.
    """
    numbers = tf.data.Dataset.random(seed, rerandomize_each_iteration=True)
    number = num_batches(rows, batch_size)
    shuffled = _Epochs(rows, batch_size, seed).batches(numbers).take(number)
    return shuffled.apply(tf.data.experimental.assert_cardinality(number)).apply(_in_order)


@dataclasses.dataclass(frozen=True)
class _Epochs:
    """Rows in a different order for each epoch.

    Attributes:
      rows: what `read_split` returns.
      batch_size: rows per batch.
      seed: of all orders.
      by_length: whether the rows of a batch are of similar length.
      start: the number of an epoch, and how many of its rows to skip.
    """

    rows: Rows
    batch_size: int
    seed: int
    by_length: bool = False
    start: tuple[int, int] = (0, 0)

    def batches(self, numbers: tf.data.Dataset) -> tf.data.Dataset:
        """Returns the batches of the epochs with these numbers, <int64>[]."""
        if self.rows.window < self.rows.number:
            return numbers.flat_map(lambda number: self._batches(self._windows(number)))
        # Reads outside of the function: TensorFlow takes longer to start what is nested.
        wholes = tf.data.Dataset.zip(numbers, self.rows.whole.repeat())
        return wholes.flat_map(lambda *whole: self._batches(self._whole(*whole)))

    def _batches(self, blocks: tf.data.Dataset) -> tf.data.Dataset:
        # Prefetches a few large blocks, not many small batches, each of which would wake a thread.
        return blocks.prefetch(2).rebatch(self.batch_size)

    def _start(self, number: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns an epoch's seeds, <int32>[2], and how many of its rows to skip, <int64>[]."""
        epoch, skipped = self.start
        seeds = tf.stack([self.seed, tf.cast(number, tf.int32)])
        return seeds, tf.where(number == epoch, tf.constant(skipped, tf.int64), 0)

    def _whole(self, number: tf.Tensor, tables: tf.RaggedTensor) -> tf.data.Dataset:
        """Returns the blocks of an epoch that is shuffled as a whole, without skipped rows."""
        seeds, skipped = self._start(number)
        return self._shuffled(0, tables.values, tf.range(self.rows.number), seeds, skipped)

    def _windows(self, number: tf.Tensor) -> tf.data.Dataset:
        """Returns the blocks of an epoch, window by window, without skipped rows."""
        rows, window = self.rows, self.rows.window
        seeds, skipped = self._start(number)

        def shuffled(first: tf.Tensor, table: tf.RaggedTensor, of: tf.Tensor) -> tf.data.Dataset:
            own = tf.random.experimental.stateless_fold_in(seeds, tf.cast(first, tf.int32))
            return self._shuffled(first, table, of, own, tf.maximum(skipped - first, 0))

        def joined(first: tf.Tensor, tables: tf.RaggedTensor) -> tf.data.Dataset:
            table = tables.values
            return shuffled(first, table, tf.range(table.nrows(tf.int32)))

        begin = skipped // window * window
        firsts = tf.data.Dataset.range(begin, rows.number, window)
        shards = tf.random.experimental.stateless_shuffle(tf.range(len(rows.shards.sizes)), seeds)
        if rows.in_memory:
            order = tf.gather(rows.places, shards).flat_values
            return firsts.flat_map(
                lambda first: shuffled(first, rows.table, order[first : first + window])
            )
        tables = _tables(rows.shards.read_one_by_one(shards, begin), rows.parse)
        windows = tables.batch(window // record_io.PARSED_TOGETHER)
        return tf.data.Dataset.zip(firsts, windows).flat_map(joined)

    def _shuffled(
        self,
        first: int | tf.Tensor,
        table: tf.RaggedTensor,
        order: tf.Tensor,
        seeds: tf.Tensor,
        skipped: tf.Tensor,
    ) -> tf.data.Dataset:
        """Returns the blocks of a window, without skipped rows.

        Args:
          first: the number of the epoch's rows before it, <int64>[].
          table: contains its rows.
          order: which rows of the table are in the window, <int32>[n].
          seeds: of their order, <int32>[2].
          skipped: how many of them to skip, <int64>[].
        """
        order = tf.random.experimental.stateless_shuffle(order, seeds)
        if self.by_length:
            head = -first % self.batch_size  # these fill the last batch of the previous window
            widths = _width(row_tables.lengths(table, order[head:]), self.rows.max_len)
            rest = _by_length(order[head:], widths, self.batch_size, seeds)
            order = tf.concat([order[:head], rest], axis=0)
        return _gathered(table, order[skipped:], self.rows.max_len)


def _by_length(order: tf.Tensor, widths: tf.Tensor, batch_size: int, seeds: tf.Tensor) -> tf.Tensor:
    """Groups rows of these widths, <int32>[n], into batches of like width; shuffles the batches."""
    order = tf.gather(order, tf.argsort(widths, stable=True))
    whole = tf.size(order) // batch_size * batch_size  # the rest comes last
    full = tf.reshape(order[:whole], [-1, batch_size])
    full = tf.random.experimental.stateless_shuffle(full, seeds)
    return tf.concat([tf.reshape(full, [-1]), order[whole:]], axis=0)


def _trim(tokens: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Cuts a batch to the width of its longest row."""
    lengths = tf.math.count_nonzero(tokens, axis=1, dtype=tf.int32)
    return tokens[:, : tf.reduce_max(_width(lengths, tokens.shape[1]))], labels


def _width(lengths: tf.Tensor, max_len: int) -> tf.Tensor:
    """Returns the smallest of the `WIDTHS` that fits each row, <int32>[n], given its length."""
    step = -(-max_len // WIDTHS)
    return tf.minimum(-(-lengths // step) * step, max_len)


def _in_order(dataset: tf.data.Dataset) -> tf.data.Dataset:
    options = tf.data.Options()
    # Parallel reads must not change the order: a seed reproduces a run.
    options.deterministic = True
    # There's little to tune, and its thread can delay the end of an epoch by a second or more.
    options.autotune.enabled = False
    return dataset.with_options(options)


def fit_tokens(tokens: tf.RaggedTensor, size: spec.InputSize) -> tf.Tensor:
    """Cuts and pads reviews to the input size of a network, for training and serving alike.

    Ids are ranked by frequency, so making those from `max_tokens` on OOV gives exactly the ids of a
    vocabulary of that size. Shorter reviews are padded on the right.

    Args:
      tokens: ids, <int64>[batch_size, (tokens)].
      size: ids from `max_tokens` on become OOV, and a review is cut at `max_len`.

    Returns:
      <int32>[batch_size, max_len].
    """
    dense = tf.cast(tokens.to_tensor(spec.PADDING_ID, shape=[None, size.max_len]), tf.int32)
    return tf.where(dense < size.max_tokens, dense, spec.OOV_ID)


def _parse(records: tf.Tensor, size: spec.InputSize) -> tf.RaggedTensor:
    """Returns a table of <string>[n] records of a dataset."""
    features = record_io.parse(records, (spec.TOKENS, spec.LABEL))
    tokens, labels = features[spec.TOKENS], features[spec.LABEL]
    lengths = tf.cast(tf.minimum(tokens.row_lengths(), size.max_len), tf.int64)
    return row_tables.make(fit_tokens(tokens, size), lengths, labels)


@_without_autograph
def _saved(
    shards: record_io.Shards, parse: Callable[[tf.Tensor], tf.RaggedTensor], folder: str
) -> record_io.Shards:
    """Returns shards of parsed rows in a folder, written there unless they exist undamaged.

    `Dataset.cache(path)` is not used: once interrupted, it fails in every later run.

    Raises:
      BadInput: if TensorFlow can't find files in `folder`.
    """
    storage.check_local(folder)
    storage.check_path(storage.real(folder))
    names = [f"rows-{n:05d}.tfrecord" for n in range(len(shards.paths))]
    if checksums.find_damage(folder):
        with atomic.write_folder(folder, holds=".*", marker=checksums.SUMS) as new:
            for n, name in enumerate(names):
                tables = _tables(shards.read_one_by_one([n], first=0), parse)
                row_tables.save(tables, os.path.join(new, name))
            checksums.write(new)
    return record_io.Shards([os.path.join(folder, name) for name in names], shards.sizes)
