"""Assigns keys to shards, and orders them."""

import dataclasses
import hashlib
from collections.abc import Collection, Iterator

from textrecords.errors import Failure

KEYS_PER_SHARD = 10_000
MAX_SHARDS = 10_000

ShardId = tuple[str, int]  # name of the shards, such as a split, and index


def default_num_shards(num_keys: int) -> int:
    """Returns the number of shards, which only depends on the size, for reproducible bytes."""
    return min(max(1, -(-num_keys // KEYS_PER_SHARD)), MAX_SHARDS)


def key_hash(key: bytes) -> bytes:
    """Returns 8 bytes that decide a key's shard and its order there, the same in any process."""
    return hashlib.blake2b(key, digest_size=8, key=b"textrecords").digest()


def order_in_shard(key: bytes) -> tuple[bytes, bytes]:
    """Returns the sort key of a key in a shard."""
    return key_hash(key), key


def shard_of(name: str, key: bytes, num_shards: dict[str, int]) -> ShardId:
    """Returns the shard of a key."""
    return name, int.from_bytes(key_hash(key), "big") % num_shards[name]


def every_shard(num_shards: dict[str, int]) -> Iterator[ShardId]:
    """Yields the ids of all shards."""
    for name, number in num_shards.items():
        yield from ((name, index) for index in range(number))


@dataclasses.dataclass(frozen=True)
class Keys:
    """A checksum of keys: their number, and the sum of their hashes modulo 2**64.

    A difference shows that keys were lost on the way, or came twice.
    """

    number: int = 0
    hashes: int = 0

    @classmethod
    def of(cls, keys: Collection[bytes]) -> "Keys":
        total = sum(int.from_bytes(key_hash(key), "big") for key in keys)
        return cls(len(keys), total % 2**64)

    def __add__(self, other: "Keys") -> "Keys":
        return Keys(self.number + other.number, (self.hashes + other.hashes) % 2**64)


NO_KEYS = Keys()


def lost(listed: Keys, what: str) -> Failure:
    """Returns the error to raise if keys were lost or duplicated.

    Args:
      listed: the keys.
      what: should have happened to each of them, once.
    """
    return Failure(
        f"not each of {listed.number:,} {what} once: the runner lost or duplicated some; run "
        "again, or use another runner"
    )
