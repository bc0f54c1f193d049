"""Which shard a key goes into, and its place there."""

import hashlib

import apache_beam as beam

KEYS_PER_SHARD = 10_000
MAX_SHARDS = 10_000

ShardId = tuple[str, int]  # name of the shards (a split, say), index


def default_num_shards(num_keys: int) -> int:
    """Returns the number of shards: a function of the size alone, so that bytes repeat."""
    return min(max(1, -(-num_keys // KEYS_PER_SHARD)), MAX_SHARDS)


def key_hash(key: bytes) -> bytes:
    """Returns 8 bytes that decide a key's shard and its place there, alike in any process."""
    return hashlib.blake2b(key, digest_size=8, key=b"textrecords").digest()


def order_in_shard(key: bytes) -> tuple[bytes, bytes]:
    """Returns what the keys of a shard are sorted by."""
    return key_hash(key), key


def shard_of(name: str, key: bytes, num_shards: dict[str, int]) -> ShardId:
    """Returns the shard that this key goes into."""
    return name, int.from_bytes(key_hash(key), "big") % num_shards[name]


class GroupByShard(beam.PTransform):
    """Groups (ShardId, list) by shard; every shard comes out, also an empty one.

    Args:
      num_shards: by the name of the shards.
    """

    def __init__(self, num_shards: dict[str, int]):
        super().__init__()
        self._num_shards = num_shards

    def expand(self, assigned: beam.PCollection) -> beam.PCollection:
        every_shard = [
            ((name, index), [])
            for name, number in self._num_shards.items()
            for index in range(number)
        ]
        empty = assigned.pipeline | "EveryShard" >> beam.Create(every_shard, reshuffle=False)
        # (ShardId, list) -> (ShardId, lists)
        return (assigned, empty) | beam.Flatten() | beam.GroupByKey()
