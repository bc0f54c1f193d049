"""A small dataset like those of `pipelines.preprocess`, written without Beam."""

import collections
import dataclasses
import hashlib
import os

import tensorflow as tf

from pipelines.preprocess import statistics
from textrecords import checksums, spec
from textrecords.manifest import Audit, DataFlags, Fingerprint, Manifest, Shard, Split, Vocabulary

FLAGS = {
    "classes": None,
    "pattern": "*.txt",
    "encoding": "utf-8",
    "validation": 0.0,
    "drop_leaked": False,
    "drop_duplicates": False,
    "min_tokens": 5,
    "max_tokens": 20000,
    "max_len": None,
    "stop_words": None,
    "replacements": None,
    "num_shards": None,
}


# What a transform graph takes.
REVIEWS = {
    spec.TEXT: tf.TensorSpec([None], tf.string),
    spec.LABEL: tf.TensorSpec([None], tf.int64),
    spec.KEY: tf.TensorSpec([None], tf.string),
}


class Transform(tf.Module):
    """Text to ids, split at spaces; a text with no tokens is one OOV token."""

    def __init__(self, vocabulary):
        super().__init__()
        lines = tf.lookup.TextFileInitializer(
            vocabulary,
            tf.string,
            tf.lookup.TextFileIndex.WHOLE_LINE,
            tf.int64,
            tf.lookup.TextFileIndex.LINE_NUMBER,
        )
        self.table = tf.lookup.StaticHashTable(lines, spec.OOV_ID - spec.NUM_RESERVED)

    @tf.function(input_signature=[REVIEWS])
    def transform_fn(self, inputs):
        text = tf.strings.lower(inputs[spec.TEXT], encoding="utf-8")
        words = tf.strings.split(tf.where(text == "", "(none)", text), sep=" ")
        ids = words.with_flat_values(self.table.lookup(words.flat_values) + spec.NUM_RESERVED)
        return {**inputs, spec.TOKENS: ids.to_sparse()}


def write(folder, reviews, *, classes=("neg", "pos"), num_shards=2, compression="none", **flags):
    """Writes `{split: [(text, label), ...]}` into a new folder, with `flags` in its manifest.

    Each record's key is its position in the split.
    """
    folder = os.fspath(folder)
    words = ranked(text for text, _ in reviews[spec.TRAIN])
    asset = os.path.join(folder, "tokens")
    os.makedirs(folder)
    with open(asset, "w", encoding="utf-8") as file:
        file.writelines(f"{word}\n" for word in words)
    tf.saved_model.save(Transform(asset), os.path.join(folder, spec.TRANSFORM_FN))
    os.remove(asset)
    ids = {word: rank + spec.NUM_RESERVED for rank, word in enumerate(words)}
    splits = {
        split: _write_split(folder, split, rows, ids, classes, num_shards, compression)
        for split, rows in reviews.items()
    }
    schema = os.path.join(folder, spec.SCHEMA)
    open(schema, "wb").close()
    manifest = Manifest(
        format_version=spec.FORMAT_VERSION,
        input=Fingerprint(0, 0, "0"),
        bad_files=0,
        misread_files={},
        data_version=spec.DATA_VERSION,
        classes=classes,
        flags=DataFlags(**FLAGS | {"compression": compression} | flags),
        vocabulary=Vocabulary(spec.VOCABULARY, len(ids) + 2, _sha256(words)),
        seen_once=0,
        splits=splits,
        audit=Audit((), 0, 0, 0, 0),
        schema_sha256=checksums.sha256(schema),
        skipped={},
    )
    with open(os.path.join(folder, spec.MANIFEST), "w", encoding="utf-8") as file:
        file.write(manifest.to_json())
    checksums.write(folder)


def ranked(texts):
    """Returns all words, the most frequent first."""
    counts = collections.Counter(word for text in texts for word in text.lower().split())
    return sorted(counts, key=lambda word: (counts[word], word), reverse=True)


def _sha256(words):
    return hashlib.sha256("".join(f"{word}\n" for word in words).encode()).hexdigest()


def _write_split(folder, split, rows, ids, classes, num_shards, compression):
    shards = [
        _write_shard(
            os.path.join(folder, spec.shard_name(split, shard, num_shards, compression)),
            [_record(n, *rows[n], ids) for n in range(shard, len(rows), num_shards)],
            spec.COMPRESSIONS[compression],
        )
        for shard in range(num_shards)
    ]
    counts = {field.name: 0 for field in dataclasses.fields(Split)}
    details = {name: {} for name in ("coverage", "token_length_histogram")}
    lengths = collections.Counter(max(len(text.split()), 1) for text, _ in rows)
    details["token_lengths"] = statistics.quantiles(lengths)
    labels = collections.Counter(label for _, label in rows)
    details["class_examples"] = {name: labels[n] for n, name in enumerate(classes)}
    details["shards"] = (*shards,)
    return Split(**{**counts, **details, "examples": len(rows)})


def _record(position, text, label, ids):
    tokens = [ids.get(word, spec.OOV_ID) for word in text.lower().split()]
    features = {
        spec.TOKENS: tf.train.Feature(int64_list=tf.train.Int64List(value=tokens or [spec.OOV_ID])),
        spec.LABEL: tf.train.Feature(int64_list=tf.train.Int64List(value=[label])),
        spec.KEY: tf.train.Feature(bytes_list=tf.train.BytesList(value=[str(position).encode()])),
    }
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def _write_shard(path, records, compression):
    with tf.io.TFRecordWriter(path, compression) as writer:
        for record in records:
            writer.write(record)
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Shard(os.path.basename(path), len(records), os.path.getsize(path), digest)
