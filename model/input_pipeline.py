"""From the shards of a dataset to the batches that a network takes.

The stages, in this order: read the shards in parallel; parse many records by one op; cut and pad;
cache what never changes; shuffle single rows anew each epoch; batch; prefetch. A cache behind the
shuffle would freeze the first epoch's order.
"""

import functools
import hashlib
import os

import tensorflow as tf

from pipelines import contract

# Records read and parsed together: one at a time is several times slower, and more gain nothing.
PARSED_TOGETHER = 512
# Shards open at once. A fixed number, since the order of the rows depends on it.
OPEN_SHARDS = 8


def read_split(
    records_dir: str,
    manifest: contract.Manifest,
    split: str,
    *,
    max_tokens: int,
    max_len: int,
    cache: str = "none",
) -> tf.data.Dataset:
    """Returns the rows of one split, always in the same order, each of them once.

    Args:
      records_dir: the dataset's folder.
      manifest: what the folder holds.
      split: the name of the split.
      max_tokens: ids from here on become OOV.
      max_len: tokens a row, as `fit_tokens` makes them.
      cache: where parsed rows are kept for the next epoch: `memory`, `none`, or a folder, which
        also serves later runs.

    Returns:
      A dataset of (tokens <int32>[max_len], label <int64>[]) of known length.

    Raises:
      BadInput: if the dataset has no such split, or a shard is missing, damaged or added.
    """
    blocks = read_records(records_dir, manifest, split).map(
        functools.partial(_parse, max_tokens=max_tokens, max_len=max_len),
        num_parallel_calls=tf.data.AUTOTUNE,
    )
    identity = f"{manifest.to_json()} {max_tokens} {max_len}"
    name = f"{split}-{hashlib.sha256(identity.encode()).hexdigest()[:16]}"
    rows = _cached_rows(blocks, cache, name)
    return rows.apply(tf.data.experimental.assert_cardinality(manifest.splits[split].examples))


def read_records(records_dir: str, manifest: contract.Manifest, split: str) -> tf.data.Dataset:
    """Returns the serialized records of one split, <string>[n], in the order of `read_split`.

    They come in blocks, each of one shard: single ones would take longer to hand on than to parse.

    Raises:
      BadInput: if the dataset has no such split, or a shard is missing, damaged or added.
    """
    paths = contract.shard_paths(records_dir, manifest, split)
    compression = contract.COMPRESSIONS[manifest.flags.compression]
    return tf.data.Dataset.from_tensor_slices(paths).interleave(
        lambda path: tf.data.TFRecordDataset(path, compression).batch(PARSED_TOGETHER),
        cycle_length=OPEN_SHARDS,
        num_parallel_calls=tf.data.AUTOTUNE,
    )


def batches(rows: tf.data.Dataset, batch_size: int, *, seed: int | None = None) -> tf.data.Dataset:
    """Returns batches (tokens <int32>[batch_size, max_len], labels <int64>[batch_size]).

    The last one is smaller if the rows don't come out even.

    Args:
      rows: what `read_split` returns.
      batch_size: rows a batch.
      seed: if given, all rows are shuffled anew each epoch; the same seed repeats all orders.
    """
    if seed is not None:
        rows = rows.shuffle(len(rows), seed=seed, reshuffle_each_iteration=True)
    return rows.batch(batch_size).prefetch(tf.data.AUTOTUNE).with_options(_options())


def fit_tokens(tokens: tf.RaggedTensor, *, max_tokens: int, max_len: int) -> tf.Tensor:
    """Makes whole reviews what a network of this size takes, in training as in serving.

    Ids are ranked by frequency, so that leaving out those from `max_tokens` on gives exactly the
    ids of a vocabulary of that size.

    Args:
      tokens: ids, <int64>[batch_size, (tokens)].
      max_tokens: ids from here on become OOV.
      max_len: where a review is cut; a shorter one is padded on the right.

    Returns:
      <int32>[batch_size, max_len].
    """
    dense = tf.cast(tokens.to_tensor(contract.PADDING_ID, shape=[None, max_len]), tf.int32)
    return tf.where(dense < max_tokens, dense, contract.OOV_ID)


def _parse(records: tf.Tensor, *, max_tokens: int, max_len: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Turns <string>[n] records into (tokens <int32>[n, max_len], labels <int64>[n])."""
    features = tf.io.parse_example(
        records,
        {
            contract.TOKENS: tf.io.RaggedFeature(tf.int64),
            contract.LABEL: tf.io.FixedLenFeature([], tf.int64),
        },
    )
    tokens = fit_tokens(features[contract.TOKENS], max_tokens=max_tokens, max_len=max_len)
    return tokens, features[contract.LABEL]


def _cached_rows(blocks: tf.data.Dataset, cache: str, name: str) -> tf.data.Dataset:
    """Takes blocks of rows apart, once (`memory`) or each epoch."""
    if cache == "memory":
        return blocks.unbatch().cache()  # single rows, which a shuffle can share, not copy
    if cache != "none":
        blocks = _saved(blocks, os.path.join(cache, name))
    return blocks.unbatch()


def _saved(dataset: tf.data.Dataset, path: str) -> tf.data.Dataset:
    """Reads the dataset from disk, where the first run puts it, whole or not at all.

    `Dataset.cache(path)` is not used: once stopped half-way, it fails ever after.
    """
    if not os.path.exists(path):
        with contract.whole_folder(path, files=".*", marker="dataset_spec.pb") as new:
            dataset.save(new)
    return tf.data.Dataset.load(path)


def _options() -> tf.data.Options:
    options = tf.data.Options()
    # Parallel reads must not change the order: a seed repeats a run.
    options.deterministic = True
    # There's little to tune, and its thread can hold up the end of an epoch for a second or more.
    options.autotune.enabled = False
    return options
