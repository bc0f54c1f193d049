"""The records of a dataset, together with the input that they were made from."""

import dataclasses
import functools
import itertools
import os
from collections.abc import Iterable

import apache_beam as beam
import tensorflow as tf

from pipelines.preprocess import audit, plan, review_batches, write_shards
from pipelines.preprocess.find_input import Input
from textrecords import input_pipeline, record_io, spec
from textrecords.dataset import Dataset
from textrecords.text_source import Unread

BATCH_SIZE = 1024  # reviews in memory at once


@dataclasses.dataclass(frozen=True)
class RecordedReviews:
    """Records, and the input that they should have been made from."""

    tree: Input
    dataset: Dataset

    @functools.cached_property
    def listed(self) -> dict[bytes, Unread]:
        """The reviews of the input, by key."""
        return {unread.key: unread for unread in self.tree.all_reviews()}

    def batches(self, split: str) -> tf.data.Dataset:
        """Returns batches of the records' keys, labels and ids.

        These are `key` <string>[batch_size], `label` <int64>[batch_size] and `tokens`
        <int64>[batch_size, (tokens)].
        """
        records = record_io.read(self.dataset, split)
        return records.unbatch().batch(BATCH_SIZE).map(record_io.parse)

    def fed(self, split: str, size: spec.InputSize) -> tf.data.Dataset:
        """Returns batches of a network's input, in the order of `batches`."""
        rows = input_pipeline.read_split(self.dataset, split, size)
        return input_pipeline.batches(rows, BATCH_SIZE)

    def num_batches(self, split: str) -> int:
        """Returns the number of `batches` of a split."""
        return -(-self.dataset.num_examples(split) // BATCH_SIZE)

    def keys(self) -> dict[str, list[bytes]]:
        """Returns the keys of all records, in order, by the name of the shard."""
        keys = {}
        for split in self.dataset.splits:
            for path in self.dataset.shard_paths(split):
                records = record_io.read_shard(self.dataset, path)
                batches = [record_io.parse(r, [spec.KEY])[spec.KEY].numpy() for r in records]
                keys[os.path.basename(path)] = list(itertools.chain.from_iterable(batches))
        return keys

    def expected_keys(self) -> dict[str, list[bytes]]:
        """Returns the expected keys, given the texts of the input and the flags."""
        flags = self.dataset.manifest.flags
        assign = audit.Assign.from_flags(flags)
        num_shards = plan.num_shards(flags, self.tree.sizes(self.tree.listed))
        bucket = []
        source = self.tree.source
        for unread, content in source.read_good(self.listed.values(), {}):
            text, _ = source.decode(content)
            bucket.append(review_batches.Review.of(unread, self.class_label(unread.key), text))
        moved = assign.shares.moves(dict(assign.class_texts((0, [bucket]))))
        assigned = assign.place((0, [bucket]), moved, num_shards)
        keys = {
            spec.shard_name(split, index, number, flags.compression): []
            for split, number in num_shards.items()
            for index in range(number)
        }
        for found in assigned:
            if not isinstance(found, beam.pvalue.TaggedOutput):
                (split, index), kept = found
                name = spec.shard_name(split, index, num_shards[split], flags.compression)
                keys[name] += kept
        for name, kept in keys.items():
            keys[name] = [review.key for review in write_shards.in_order([kept])]
        return keys

    def read(self, keys: Iterable[bytes]) -> tuple[list[bytes], list[bytes]]:
        """Returns the raw bytes of reviews, and their texts, valid UTF-8."""
        contents = list(self.tree.source.read(self.listed[key] for key in keys))
        return contents, [self.tree.source.decode(each)[0] for each in contents]

    def class_label(self, key: bytes) -> int:
        """Returns the label of a review in the input."""
        name = self.listed[key].label
        return self.dataset.classes.index(name) if name else spec.UNKNOWN_LABEL
