"""A dataset folder, as a Python object."""

import dataclasses
import functools
import itertools
import numbers
import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from textrecords import checksums, imports, spec, storage, text_source
from textrecords.errors import BadInput, Failure
from textrecords.manifest import Manifest

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import tensorflow as tf


def open_dataset(folder: str | os.PathLike[str], *, verify: bool = True) -> "Dataset":
    """Opens the dataset that `make preprocess` wrote into a folder.

    Args:
      folder: the dataset, on this machine or in Cloud Storage.
      verify: whether to compare the checksums of all its files.

    Raises:
      BadInput: if there is no dataset, or it is damaged or of another format version.
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
        return tuple(name for name, split in self.manifest.splits.items() if split.examples)

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes; a class's position is its label."""
        return self.manifest.classes

    @functools.cached_property
    def vocabulary(self) -> tuple[str, ...]:
        """The names of all ids; those of padding and OOV come first."""
        return token_names(os.path.join(self.folder, spec.VOCABULARY))

    @functools.cached_property
    def transform(self) -> "tf.Module":
        """The graph that turns text into ids; raises `BadInput` if it can't be loaded."""
        imports.tensorflow()
        from textrecords import transform_graph

        return transform_graph.load(self.folder)

    def num_examples(self, split: str) -> int:
        """Returns how many examples a split has; raises `BadInput` if there is no such split."""
        if split not in self.manifest.splits:
            makes_one = f"; to have one, preprocess with --{split}, for example --{split} 0.2"
            raise BadInput(
                f"{self.folder} has no {split} split: its splits are {', '.join(self.splits)}"
                f"{makes_one if split in spec.SPLITS else ''}"
            )
        return self.manifest.splits[split].examples

    def shard_paths(self, split: str) -> list[str]:
        """Returns the paths of a split's shards; raises `BadInput` if there is no such split."""
        self.num_examples(split)
        shards = self.manifest.splits[split].shards
        return [os.path.join(self.folder, shard.file) for shard in shards]

    def check_unchanged(self) -> None:
        """Raises `Failure` if the dataset was replaced since it was opened."""
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

        Pass `shuffle=False` to `fit`; otherwise it warns that it can't shuffle a dataset.

        Args:
          split: its name, such as "train".
          max_tokens: ids from this one on become OOV, as in a vocabulary of that size.
          max_len: tokens that a review is cut or padded to.
          batch_size: reviews per batch; the last batch may be smaller.
          shuffle_seed: shuffles the reviews anew in each epoch. The orders depend on this seed and,
            if set, on that of `keras.utils.set_random_seed`. By default the batches are in the
            order of the records.

        Returns:
          (tokens <int32>[batch_size, max_len], labels <int64>[batch_size]), kept in memory once
          read.

        Raises:
          BadInput: if there is no such split, its records were truncated below this size, or a
            number is too small.
        """
        size = self._input_size(max_tokens, max_len)
        _check_number("batch_size", batch_size, minimum=1)
        imports.tensorflow()
        from textrecords import input_pipeline

        rows = input_pipeline.read_split(self, split, size, cache="memory")
        if shuffle_seed is None:
            return input_pipeline.batches(rows, batch_size)
        return input_pipeline.reshuffled_batches(rows, batch_size, seed=shuffle_seed)

    def encode(
        self, texts: str | bytes | Sequence[str | bytes], max_tokens: int = 1000, max_len: int = 100
    ) -> "np.ndarray":
        """Returns the ids of texts as `batches` gives them, <int32>[number, max_len].

        Args:
          texts: one or more; bytes that aren't UTF-8 are replaced.
          max_tokens: ids from this one on become OOV.
          max_len: tokens that a text is cut or padded to.

        Raises:
          BadInput: if the records were truncated below this size, or a number is too small.
        """
        size = self._input_size(max_tokens, max_len)
        tf = imports.tensorflow()
        from textrecords import input_pipeline, transform_graph

        encoded = tf.constant(text_source.to_bytes(texts), tf.string)
        tokens = transform_graph.tokenize(self.transform, encoded)
        return input_pipeline.fit_tokens(tokens, size).numpy()

    def class_name(self, label: int) -> str | None:
        """Returns the name of a label's class; None for the label of unlabelled texts."""
        return None if label == spec.UNKNOWN_LABEL else self.classes[label]

    def decode(self, ids: Iterable[int]) -> str:
        """Returns the tokens of a review's ids, <int>[tokens], without padding."""
        separator = "" if self.manifest.flags.split == "character" else " "
        return separator.join(self.vocabulary[i] for i in ids if i != spec.PADDING_ID)

    def to_pandas(self, split: str, limit: int | None = None) -> "pd.DataFrame":
        """Returns examples as a table, one per row, in the order of the records.

        Its columns are `key` (a path, as `os.fsdecode` gives it), `label`, `class` (None for
        unlabelled texts), `tokens` (<int64>[tokens], of the whole review) and `text` (the decoded
        tokens, since records don't hold the original text).

        Args:
          split: its name, such as "train".
          limit: the maximum number of examples, from the first one on.

        Raises:
          BadInput: if there is no such split, the limit is negative, or pandas isn't installed.
        """
        imports.check_installed("to_pandas", "pandas")
        import pandas as pd

        if limit is not None:
            _check_number("limit", limit, minimum=0)
        imports.tensorflow()
        from textrecords import record_io

        rows = [
            (os.fsdecode(key), label, self.class_name(label), tokens, self.decode(tokens))
            for key, label, tokens in itertools.islice(record_io.read_examples(self, split), limit)
        ]
        # As objects: pandas' strings are UTF-8, but file names may not be.
        columns = [spec.KEY, spec.LABEL, "class", spec.TOKENS, "text"]
        return pd.DataFrame(rows, columns=columns, dtype=object).astype({spec.LABEL: "int64"})

    def _input_size(self, max_tokens: int, max_len: int) -> spec.InputSize:
        """Returns the input size of a network; raises `BadInput` if the records hold less."""
        _check_number("max_tokens", max_tokens, minimum=spec.NUM_RESERVED + 1)
        _check_number("max_len", max_len, minimum=1)
        size = spec.InputSize(max_tokens, max_len)
        self.manifest.check_fits(size)
        return size


def _check_number(name: str, value: int, *, minimum: int) -> None:
    if not isinstance(value, numbers.Integral) or value < minimum:
        raise BadInput(f"{name} must be an integer of at least {minimum}, not {value!r}")


def _read_manifest(folder: str) -> Manifest:
    storage.check_path(folder)
    if not storage.is_folder(folder):
        raise BadInput(f"no records folder {folder}: run `make preprocess` first")
    path = os.path.join(folder, spec.MANIFEST)
    try:
        return Manifest.from_json(storage.read_text(path))
    except FileNotFoundError:
        raise BadInput(
            f"{folder} has no {spec.MANIFEST}, so no complete dataset: run `make preprocess` first"
        ) from None
    except BadInput as error:
        raise BadInput(f"{path}: {error}") from None
    except (OSError, ValueError) as error:
        raise BadInput(f"{path} can't be read ({error}): run `make preprocess` again") from None


def token_names(path: str) -> tuple[str, ...]:
    """Returns the names of all ids of a vocabulary file; those of padding and OOV come first."""
    return ("[PAD]", "[OOV]", *map(os.fsdecode, read_vocabulary(path)))


def read_vocabulary(path: str) -> list[bytes]:
    """Returns the tokens of a vocabulary file; the first has the id `spec.NUM_RESERVED`.

    Only a line feed ends a token. `str.splitlines` would also split at U+2028 and a few control
    characters, which tokens may contain, and so give other tokens and ids.
    """
    return storage.read_bytes(path).split(b"\n")[:-1]
