"""Checks whether a training fits into this machine's memory, before TensorFlow allocates it."""

import contextlib
import os
from collections.abc import Iterator

from textrecords.errors import BadInput, Failure
from textrecords.model_folder import Network, Training

BYTES = 4  # of a number
COPIES = 4  # of each weight: itself, its gradient, and Adam's two moments
LOWER = "--batch_size, --max_len, --max_tokens, --embedding_dim or --lstm_units"


def check(network: Network, training: Training, examples: int) -> None:
    """Raises `BadInput` for a training that needs more memory than this machine has.

    Args:
      network: its shape, with `max_len`.
      training: how it is trained.
      examples: of the train split.
    """
    needed, available = min_bytes(network, training, examples), _machine_bytes()
    if needed > available:
        raise BadInput(
            f"the training needs at least {needed / 1e9:,.1f} GB of memory, and this machine has "
            f"{available / 1e9:,.1f} GB: lower {LOWER}"
        )


def min_bytes(network: Network, training: Training, examples: int) -> int:
    """Returns the minimum memory for the embedding, the LSTMs, and their outputs for a batch."""
    directions = 2 if network.bidirectional else 1
    known = min(network.embedding_tokens or network.max_tokens, network.max_tokens)
    weights, width, gates = known * network.embedding_dim, network.embedding_dim, 0
    for _ in range(network.lstm_layers):
        weights += directions * 4 * network.lstm_units * (width + network.lstm_units + 1)
        width = directions * network.lstm_units
        gates += 4 * width
    tokens = min(training.batch_size, examples) * network.max_len
    return BYTES * (COPIES * weights + tokens * (network.embedding_dim + gates))


@contextlib.contextmanager
def errors_as_failures() -> Iterator[None]:
    """Raises `Failure` if the block runs out of memory."""
    import tensorflow as tf

    try:
        yield
    except (MemoryError, tf.errors.ResourceExhaustedError):
        raise Failure(f"out of memory for this training: lower {LOWER}") from None


def _machine_bytes() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
