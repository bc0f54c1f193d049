"""Rows of ids of their own lengths in one tensor, from which they are gathered padded.

A row is its label, the number of its ids and the ids, in chunks that are copied at once: a ragged
tensor of single ids would take no more memory, but be gathered several times slower.
"""

import tensorflow as tf

CHUNK = 16  # numbers; what they leave over in a row's last one is padding
HEAD = 2  # of a row's numbers: its label and its length


def make(tokens: tf.Tensor, lengths: tf.Tensor, labels: tf.Tensor) -> tf.RaggedTensor:
    """Makes a table of padded rows.

    Args:
      tokens: <int32>[n, max_len].
      lengths: how many of a row's ids aren't padding, <int64>[n].
      labels: <int64>[n].

    Returns:
      <int32>[n, (chunks), CHUNK]. The last row has a chunk of padding too many, for `take`.
    """
    number, width = tf.shape(tokens, tf.int64)[0], _chunks(tokens.shape[1]) + 1
    heads = tf.cast(tf.stack([labels, lengths], axis=1), tf.int32)
    behind = tf.zeros([number, width * CHUNK - HEAD - tokens.shape[1]], tf.int32)
    chunks = tf.reshape(tf.concat([heads, tokens, behind], axis=1), [-1, CHUNK])
    rows = tf.range(number)
    ends = rows * width + _chunks(lengths) + tf.cast(rows == number - 1, tf.int64)
    return tf.gather(chunks, tf.ragged.range(rows * width, ends))


def lengths(table: tf.RaggedTensor, rows: tf.Tensor) -> tf.Tensor:
    """Returns how many ids some rows of a table, <int32>[k], have: <int32>[k]."""
    return tf.gather(table.values, tf.gather(table.row_starts(), rows))[:, 1]


def take(table: tf.RaggedTensor, rows: tf.Tensor, max_len: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns padded rows, <int32>[k, max_len], and their labels, <int64>[k].

    Args:
      table: <int32>[n, (chunks), CHUNK].
      rows: which rows of the table, <int32>[k].
      max_len: what they are padded to; none is longer.
    """
    starts, ends = (tf.gather(of, rows)[:, None] for of in (table.row_starts(), table.row_limits()))
    chunks = starts + tf.range(_chunks(max_len), dtype=tf.int64)
    padding = table.row_splits[-1] - 1
    numbers = tf.gather(table.values, tf.where(chunks < ends, chunks, padding))
    numbers = tf.reshape(numbers, [-1, _chunks(max_len) * CHUNK])
    return numbers[:, HEAD : HEAD + max_len], tf.cast(numbers[:, 0], tf.int64)


def save(tables: tf.data.Dataset, path: str) -> None:
    """Writes the rows of tables into a file of records, from which `parse` makes tables again."""
    with tf.io.TFRecordWriter(path) as writer:
        for table in tables:
            numbers = table.values.numpy().astype("<i4", copy=False).reshape(-1)
            for start in table.row_starts().numpy() * CHUNK:
                writer.write(numbers[start : start + HEAD + numbers[start + 1]].tobytes())


def parse(records: tf.Tensor, max_len: int) -> tf.RaggedTensor:
    """Makes a table of records that `save` wrote, <string>[n]."""
    rows = tf.io.decode_raw(records, tf.int32, fixed_length=4 * (HEAD + max_len))
    labels, lengths = tf.unstack(tf.cast(rows[:, :HEAD], tf.int64), axis=1)
    return make(rows[:, HEAD:], lengths, labels)


def _chunks(length: int | tf.Tensor) -> int | tf.Tensor:
    """Returns how many chunks a row of so many ids has."""
    return -(-(HEAD + length) // CHUNK)
