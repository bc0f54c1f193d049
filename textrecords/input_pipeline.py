"""From the shards of a dataset to the batches that a network takes.

The stages, in this order: read the shards in parallel; parse many records by one op; cut and pad;
cache what never changes; gather the rows in a new order each epoch; prefetch; batch. A cache behind
the shuffle would freeze the first epoch's order.

Rows travel in blocks up to the last stage: to hand on single ones takes longer than to make them.
"""

import dataclasses
import functools
import hashlib
import os
from typing import TYPE_CHECKING

import tensorflow as tf

from textrecords import atomic, checksums, record_io, spec, storage

if TYPE_CHECKING:
    from textrecords.dataset import Dataset

# Rows put into a new order together.
GATHERED_TOGETHER = 4096
# Widths that batches of rows of like length are cut to: for each of them XLA compiles the step.
WIDTHS = 8


@dataclasses.dataclass(frozen=True)
class Rows:
    """The rows of one split, always in the same order, each of them once.

    Attributes:
      blocks: (tokens <int32>[n, max_len], labels <int64>[n]) for any n.
      number: of all rows.
    """

    blocks: tf.data.Dataset
    number: int


def read_split(
    dataset: "Dataset", split: str, size: spec.InputSize, *, cache: str = "none"
) -> Rows:
    """Returns the rows of one split.

    Args:
      dataset: the dataset.
      split: the name of the split.
      size: what a row holds of a review, as `fit_tokens` makes it.
      cache: where parsed rows are kept for the next epoch: `memory`, `none`, or a folder, which
        also serves later runs.

    Raises:
      BadInput: if the dataset has no such split.
    """
    blocks = record_io.read(dataset, split).map(
        functools.partial(_parse, size=size), num_parallel_calls=tf.data.AUTOTUNE
    )
    number = dataset.num_examples(split)
    if cache == "memory":
        blocks = blocks.rebatch(number).cache()
    elif cache != "none":
        identity = f"{dataset.manifest.sha256} {size.max_tokens} {size.max_len}"
        name = f"{split}-{hashlib.sha256(identity.encode()).hexdigest()[:16]}"
        blocks = _saved(blocks, os.path.join(cache, name))
    return Rows(blocks, number)


def num_batches(rows: Rows, batch_size: int) -> int:
    """Returns how many batches go through all rows once."""
    return -(-rows.number // batch_size)


def batches(rows: Rows, batch_size: int) -> tf.data.Dataset:
    """Returns batches (tokens <int32>[batch_size, max_len], labels <int64>[batch_size]).

    They go through all rows once. The last one is smaller if the rows don't come out even.
    """
    known = tf.data.experimental.assert_cardinality(num_batches(rows, batch_size))
    return rows.blocks.rebatch(batch_size).apply(known).prefetch(2).apply(_in_order)


def shuffled_batches(
    rows: Rows, batch_size: int, *, seed: int, first_step: int = 0, by_length: bool = False
) -> tf.data.Dataset:
    """Returns batches as `batches` does, but epoch after epoch without end, each in a new order.

    An epoch's order is a function of the seed and of its number, so that a training that was
    stopped goes on at any step with the batches that it would have had.

    Args:
      rows: what `read_split` returns.
      batch_size: rows a batch.
      seed: of all orders.
      first_step: how many batches to leave out.
      by_length: put rows of like length into a batch, and cut it to the longest: tokens become
        <int32>[batch_size, at most max_len], of `WIDTHS` widths.
    """
    first_epoch, skipped = divmod(first_step, num_batches(rows, batch_size))
    numbers = tf.data.Dataset.counter(first_epoch)
    shuffled = _epochs(numbers, rows, batch_size, seed=seed, by_length=by_length).skip(skipped)
    if by_length:
        shuffled = shuffled.map(_trim)
    endless = tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY)
    return shuffled.apply(endless).apply(_in_order)


def reshuffled_batches(rows: Rows, batch_size: int, *, seed: int) -> tf.data.Dataset:
    """Returns batches as `batches` does, but in a new order each time that they are gone through.

    The orders of the first time, the second and so on are functions of the seed.
    """
    number = tf.data.Dataset.random(seed, rerandomize_each_iteration=True).take(1)
    known = tf.data.experimental.assert_cardinality(num_batches(rows, batch_size))
    return _epochs(number, rows, batch_size, seed=seed).apply(known).apply(_in_order)


def _epochs(
    numbers: tf.data.Dataset, rows: Rows, batch_size: int, *, seed: int, by_length: bool = False
) -> tf.data.Dataset:
    """Returns the batches of an epoch for each number, <int64>[], which decides the order."""

    def epoch(number: tf.Tensor, data: tuple[tf.Tensor, tf.Tensor]) -> tf.data.Dataset:
        tokens, labels = data
        seeds = [seed, tf.cast(number, tf.int32)]
        order = tf.random.experimental.stateless_shuffle(tf.range(rows.number), seeds)
        if by_length:
            order = _by_length(order, tokens, batch_size, seeds)

        def gather(start: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            taken = order[start : start + GATHERED_TOGETHER]
            return tf.gather(tokens, taken), tf.gather(labels, taken)

        starts = tf.data.Dataset.range(0, rows.number, GATHERED_TOGETHER)
        # Few large blocks wait ahead, not many small batches: each would wake a thread.
        return starts.map(gather).prefetch(2).rebatch(batch_size)

    # An epoch an element. To look for a row more shows the end, and only then a cache is whole.
    whole = rows.blocks.rebatch(rows.number + 1).repeat()
    return tf.data.Dataset.zip(numbers, whole).flat_map(epoch)


def _by_length(
    order: tf.Tensor, tokens: tf.Tensor, batch_size: int, seeds: list[tf.Tensor]
) -> tf.Tensor:
    """Makes an order in which the rows of a batch are of like width, and the batches shuffled."""
    widths = tf.gather(_width(tokens), order)
    order = tf.gather(order, tf.argsort(widths, stable=True))
    whole = tf.size(order) // batch_size * batch_size  # what is left comes last
    full = tf.reshape(order[:whole], [-1, batch_size])
    full = tf.random.experimental.stateless_shuffle(full, seeds)
    return tf.concat([tf.reshape(full, [-1]), order[whole:]], axis=0)


def _trim(tokens: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Cuts a batch to the width of its longest row."""
    return tokens[:, : tf.reduce_max(_width(tokens))], labels


def _width(tokens: tf.Tensor) -> tf.Tensor:
    """Returns the least of the `WIDTHS` that holds each row of a batch, <int32>[batch_size]."""
    step = -(-tokens.shape[1] // WIDTHS)
    lengths = tf.math.count_nonzero(tokens, axis=1, dtype=tf.int32)
    return tf.minimum(-(-lengths // step) * step, tokens.shape[1])


def _in_order(dataset: tf.data.Dataset) -> tf.data.Dataset:
    options = tf.data.Options()
    # Parallel reads must not change the order: a seed repeats a run.
    options.deterministic = True
    # There's little to tune, and its thread can hold up the end of an epoch for a second or more.
    options.autotune.enabled = False
    return dataset.with_options(options)


def fit_tokens(tokens: tf.RaggedTensor, size: spec.InputSize) -> tf.Tensor:
    """Makes whole reviews what a network of this size takes, in training as in serving.

    Ids are ranked by frequency, so that leaving out those from `max_tokens` on gives exactly the
    ids of a vocabulary of that size. Shorter reviews are padded on the right.

    Args:
      tokens: ids, <int64>[batch_size, (tokens)].
      size: ids from `max_tokens` on become OOV, and a review is cut at `max_len`.

    Returns:
      <int32>[batch_size, max_len].
    """
    dense = tf.cast(tokens.to_tensor(spec.PADDING_ID, shape=[None, size.max_len]), tf.int32)
    return tf.where(dense < size.max_tokens, dense, spec.OOV_ID)


def _parse(records: tf.Tensor, size: spec.InputSize) -> tuple[tf.Tensor, tf.Tensor]:
    """Turns <string>[n] records into (tokens <int32>[n, max_len], labels <int64>[n])."""
    features = record_io.parse(records, (spec.TOKENS, spec.LABEL))
    return fit_tokens(features[spec.TOKENS], size), features[spec.LABEL]


def _saved(dataset: tf.data.Dataset, path: str) -> tf.data.Dataset:
    """Reads the dataset from disk, where it is put unless it's there already, and undamaged.

    `Dataset.cache(path)` is not used: once stopped half-way, it fails ever after.

    Raises:
      BadInput: if TensorFlow would find no file in `path`.
    """
    storage.check_local(path)
    storage.check_path(storage.real(path))
    if checksums.find_damage(path):
        with atomic.write_folder(path, holds=".*", marker="dataset_spec.pb") as new:
            dataset.save(new)
            checksums.write(new)
    return tf.data.Dataset.load(path)
