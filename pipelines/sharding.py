"""Which shard a key goes into, and its place there."""

import dataclasses
import hashlib
from collections.abc import Collection, Iterator

from textrecords.errors import Failure

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


def every_shard(num_shards: dict[str, int]) -> Iterator[ShardId]:
    """Yields the ids of all shards."""
    for name, number in num_shards.items():
        yield from ((name, index) for index in range(number))


@dataclasses.dataclass(frozen=True)
class Keys:
    """Stands for keys: how many there are, and the sum of their hashes modulo 2**64.

    Two that differ tell that keys were lost on the way, or came twice.
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
    """Returns what to raise if what became of keys isn't what was listed.

    Args:
      listed: the keys.
      what: should have become of each of them, once.
    """
    return Failure(
        f"not each of {listed.number:,} {what} once: the runner lost some, or took some twice; run "
        "again, or use another runner"
    )
