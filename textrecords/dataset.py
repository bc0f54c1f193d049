"""A dataset folder, as a Python object."""

import dataclasses
import functools
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

from textrecords import checksums, spec, storage
from textrecords.errors import BadInput, Failure
from textrecords.manifest import Manifest

if TYPE_CHECKING:
    import pandas as pd
    import tensorflow as tf


def open_dataset(folder: str, *, verify: bool = True) -> "Dataset":
    """Opens the dataset that `make preprocess` wrote into a folder.

    Args:
      folder: the dataset, on this machine or in Cloud Storage.
      verify: whether all its files must be as they were written.

    Raises:
      BadInput: if there is no dataset, a damaged one, or one that this version can't read.
    """
    folder = os.fspath(folder)
    dataset = Dataset(folder, _read_manifest(folder))
    if verify:
        checksums.check(folder, "preprocess")
    return dataset


@dataclasses.dataclass(frozen=True, repr=False)
class Dataset:
    """A folder of records, and the manifest that describes it."""

    folder: str
    manifest: Manifest

    def __repr__(self) -> str:
        splits = ", ".join(f"{name}: {s.examples:,}" for name, s in self.manifest.splits.items())
        return (
            f"Dataset({self.folder!r}, examples={{{splits}}}, classes={list(self.classes)}, "
            f"vocabulary of {self.manifest.vocabulary.size:,} tokens)"
        )

    @property
    def splits(self) -> tuple[str, ...]:
        return tuple(self.manifest.splits)

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes; a class's position is its label."""
        return self.manifest.classes

    @functools.cached_property
    def vocabulary(self) -> tuple[str, ...]:
        """The names of all ids; those of padding and OOV come first."""
        tokens = read_vocabulary(os.path.join(self.folder, spec.VOCABULARY))
        return ("[PAD]", "[OOV]", *map(os.fsdecode, tokens))

    def num_examples(self, split: str) -> int:
        """Returns how many examples a split has; raises `BadInput` if there is no such split."""
        if split not in self.manifest.splits:
            raise BadInput(
                f"{self.folder} holds no {split} split: its splits are {', '.join(self.splits)}"
            )
        return self.manifest.splits[split].examples

    def shard_paths(self, split: str) -> list[str]:
        """Returns the paths of a split's shards; raises `BadInput` if there is no such split."""
        self.num_examples(split)
        shards = self.manifest.splits[split].shards
        return [os.path.join(self.folder, shard.file) for shard in shards]

    def check_unchanged(self) -> None:
        """Raises `Failure` if another dataset has taken the place of this one since it was read."""
        if _read_manifest(self.folder) != self.manifest:
            raise Failure(f"{self.folder} was replaced while it was being read: run again")

    def batches(
        self,
        split: str,
        max_tokens: int = 1000,
        max_len: int = 100,
        batch_size: int = 32,
        shuffle_seed: int | None = None,
    ) -> "tf.data.Dataset":
        """Returns batches for `keras.Model.fit`, `evaluate` and `predict`.

        Args:
          split: "train", say.
          max_tokens: ids from here on become OOV, as in a vocabulary of that size.
          max_len: tokens that a review is cut or padded to.
          batch_size: reviews a batch; the last one may be smaller.
          shuffle_seed: for a new order each time that the batches are gone through; by default
            they come in the order of the records.

        Returns:
          (tokens <int32>[batch_size, max_len], labels <int64>[batch_size]).

        Raises:
          BadInput: if there is no such split, or its records were cut below this size.
        """
        from textrecords import input_pipeline

        size = spec.InputSize(max_tokens, max_len)
        self.manifest.check_fits(size)
        rows = input_pipeline.read_split(self, split, size, cache="memory")
        if shuffle_seed is None:
            return input_pipeline.batches(rows, batch_size)
        return input_pipeline.reshuffled_batches(rows, batch_size, seed=shuffle_seed)

    def decode(self, ids: Iterable[int]) -> str:
        """Returns the tokens of a review's ids, <int>[tokens], without padding."""
        separator = "" if self.manifest.flags.split == "character" else " "
        return separator.join(self.vocabulary[i] for i in ids if i != spec.PADDING_ID)

    def to_pandas(self, split: str, limit: int | None = None) -> "pd.DataFrame":
        """Returns examples as a table of `key`, `label`, `class`, `tokens` (ids) and `text`.

        The text is what `decode` makes of the ids: the records hold no other.

        Args:
          split: "train", say.
          limit: how many examples to return at most, from the first one on.

        Raises:
          BadInput: if there is no such split.
        """
        import pandas as pd

        from textrecords import record_io

        examples = record_io.read_examples(self, split)
        if limit is not None:
            examples = examples.take(limit)
        table = pd.DataFrame(
            examples.as_numpy_iterator(), columns=[spec.KEY, spec.LABEL, spec.TOKENS]
        )
        table[spec.KEY] = table[spec.KEY].map(os.fsdecode)
        table.insert(2, "class", table[spec.LABEL].map(lambda label: self.classes[label]))
        table["text"] = table[spec.TOKENS].map(self.decode)
        return table


def _read_manifest(folder: str) -> Manifest:
    storage.check_path(folder)
    if not storage.is_folder(folder):
        raise BadInput(f"no records folder {folder}: run `make preprocess` first")
    path = os.path.join(folder, spec.MANIFEST)
    try:
        return Manifest.from_json(storage.read_text(path))
    except FileNotFoundError:
        raise BadInput(
            f"{folder} holds no {spec.MANIFEST}, so no whole dataset: run `make preprocess` first"
        ) from None
    except BadInput as error:
        raise BadInput(f"{path}: {error}") from None
    except (OSError, ValueError) as error:
        raise BadInput(f"{path} can't be read ({error}): run `make preprocess` again") from None


def read_vocabulary(path: str) -> list[bytes]:
    """Returns the tokens of a vocabulary file; the first has the id `spec.NUM_RESERVED`.

    A token ends with a line feed and with nothing else: `str.splitlines` also ends lines at U+2028
    and a few control characters, which tokens may hold, and so gives other tokens and ids.
    """
    return storage.read_bytes(path).split(b"\n")[:-1]
