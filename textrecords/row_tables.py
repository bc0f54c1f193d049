"""Rows of ids of different lengths in one tensor, from which padded rows are gathered.

A row is its label, its length and its ids, in blocks that are copied at once: a ragged tensor of
single ids would take as much memory, but gathering would be several times slower.
"""

import tensorflow as tf

BLOCK = 16  # numbers; a row's last block is padded
HEAD = 2  # numbers before a row's ids: its label and its length


def make(tokens: tf.Tensor, lengths: tf.Tensor, labels: tf.Tensor) -> tf.RaggedTensor:
    """Makes a table of padded rows.

    Args:
      tokens: <int32>[n, max_len].
      lengths: of the rows without padding, <int64>[n].
      labels: <int64>[n].

    Returns:
      <int32>[n, (blocks), BLOCK].
    """
    max_len = tokens.shape[1]
    heads = tf.cast(tf.stack([labels, lengths], axis=1), tf.int32)
    behind = _blocks(max_len) * BLOCK - HEAD - max_len
    padded = tf.pad(tf.concat([heads, tokens], axis=1), [[0, 0], [0, behind]])
    starts = tf.range(tf.size(lengths, tf.int64)) * _blocks(max_len)
    blocks = tf.ragged.range(starts, starts + _blocks(lengths))
    return tf.gather(tf.reshape(padded, [-1, BLOCK]), blocks)


def lengths(table: tf.RaggedTensor, rows: tf.Tensor) -> tf.Tensor:
    """Returns the number of ids in rows of a table, <int32>[k]: <int32>[k]."""
    return tf.gather(table.values, tf.gather(table.row_starts(), rows))[:, 1]


def take(table: tf.RaggedTensor, rows: tf.Tensor, max_len: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns padded rows, <int32>[k, max_len], and their labels, <int64>[k].

    Args:
      table: <int32>[n, (blocks), BLOCK].
      rows: of the table, <int32>[k].
      max_len: the length they are padded to; none is longer.
    """
    blocks = tf.gather(table, rows).to_tensor(shape=[None, _blocks(max_len), BLOCK])
    numbers = tf.reshape(blocks, [-1, _blocks(max_len) * BLOCK])
    return numbers[:, HEAD : HEAD + max_len], tf.cast(numbers[:, 0], tf.int64)


def save(tables: tf.data.Dataset, path: str) -> None:
    """Writes the rows of tables to a TFRecord file, for `parse`."""
    with tf.io.TFRecordWriter(path) as writer:
        for table in tables:
            numbers = table.values.numpy().astype("<i4", copy=False).reshape(-1)
            for start in table.row_starts().numpy() * BLOCK:
                writer.write(numbers[start : start + HEAD + numbers[start + 1]].tobytes())


def parse(records: tf.Tensor, max_len: int) -> tf.RaggedTensor:
    """Makes a table from records that `save` wrote, <string>[n]."""
    rows = tf.io.decode_raw(records, tf.int32, fixed_length=4 * (HEAD + max_len))
    labels, lengths = tf.unstack(tf.cast(rows[:, :HEAD], tf.int64), axis=1)
    return make(rows[:, HEAD:], lengths, labels)


def _blocks(length: int | tf.Tensor) -> int | tf.Tensor:
    """Returns the number of blocks in a row with this number of ids."""
    return -(-(HEAD + length) // BLOCK)
