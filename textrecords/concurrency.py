"""Work on several items at once, in threads, and the cores for that."""

import collections
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent import futures
from typing import TypeVar

T = TypeVar("T")
U = TypeVar("U")


def usable_cores() -> int:
    """Returns how many cores there are for this process."""
    # macOS can't restrict a process to some of them.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def prefetch(items: Iterable[T], work: Callable[[T], U], *, threads: int = 1) -> Iterator[U]:
    """Yields `work(item)` for each item, in order, while threads work on the next ones.

    With one thread, one core reads or writes files while TensorFlow computes on another. At most
    as many results as threads are held in memory.
    """
    with futures.ThreadPoolExecutor(threads) as pool:
        coming: collections.deque[futures.Future[U]] = collections.deque()
        for item in items:
            coming.append(pool.submit(work, item))
            if len(coming) > threads:
                yield coming.popleft().result()
        while coming:
            yield coming.popleft().result()
