"""Files that can't be read or aren't in the encoding, and the limits on their number."""

import collections
import dataclasses
import heapq
import os
from typing import Literal

from pipelines import sharding
from textrecords import encoding_guess, text_source
from textrecords.command_line import flag
from textrecords.errors import Failure

# The share of the files that may be bad, by `--on_bad_file`.
MAX_BAD = {"skip": 0.01, "fail": 0.0}
# The share of the files that may not be in `--encoding`, by `--on_bad_text`.
MAX_BAD_TEXTS = {"replace": 0.01, "replace_all": 1.0, "fail": 0.0}
# This many are always allowed: a stray byte is no reason to refuse a small folder. But if they are
# more than half of its files, the folder isn't in the encoding.
FEW = 10
NAMED = 3  # of the files that fail a run


@dataclasses.dataclass(frozen=True)
class Limits:
    """The flags that limit their number."""

    on_bad_file: Literal[tuple(MAX_BAD)] = flag(
        "files that can't be read or are larger than 10 MB: skip up to 1%%, or none", "skip"
    )
    on_bad_text: Literal[tuple(MAX_BAD_TEXTS)] = flag(
        "bytes that aren't in the encoding: replace them in up to 1%% of the files (or in "
        f"{FEW}, but in no more than half), in all, or in none",
        "replace",
    )

    def max_bad(self, num_files: int) -> float:
        """Returns how many of `num_files` files may be bad."""
        return MAX_BAD[self.on_bad_file] * num_files

    def max_bad_texts(self, num_files: int) -> float:
        """Returns how many of `num_files` files may be in another encoding."""
        limit = MAX_BAD_TEXTS[self.on_bad_text] * num_files
        return max(limit, min(FEW, num_files / 2)) if self.on_bad_text == "replace" else limit


@dataclasses.dataclass(frozen=True)
class UnfitFiles:
    """The unfit files of one or several lists.

    Attributes:
      num_bad: how many can't be read.
      bad: the first few of these, as (key, error).
      misread: files that seem to be in another encoding, by that encoding.
      examples: the first few of these, as (key, encoding).
      keys: of those that can't be read.
    """

    num_bad: int
    bad: list[tuple[bytes, str]]
    misread: collections.Counter[str]
    examples: list[tuple[bytes, str]]
    keys: sharding.Keys

    @classmethod
    def of(cls, bad: dict[bytes, str], misread: dict[bytes, str]) -> "UnfitFiles":
        """Takes the errors of files, and the encodings that files seem to be in, by key."""
        return cls(
            len(bad),
            heapq.nsmallest(NAMED, bad.items()),
            collections.Counter(misread.values()),
            heapq.nsmallest(NAMED, misread.items()),
            sharding.Keys.of(bad),
        )

    def __add__(self, other: "UnfitFiles") -> "UnfitFiles":
        return UnfitFiles(
            self.num_bad + other.num_bad,
            heapq.nsmallest(NAMED, self.bad + other.bad),
            self.misread + other.misread,
            heapq.nsmallest(NAMED, self.examples + other.examples),
            self.keys + other.keys,
        )

    def check(self, source: text_source.Source, num_files: int, limits: Limits) -> None:
        """Raises `Failure` if there are more among `num_files` files than allowed."""
        self._check_bad(source, num_files, limits)
        self._check_encoding(source, num_files, limits)

    def _check_bad(self, source: text_source.Source, num_files: int, limits: Limits) -> None:
        if self.num_bad > limits.max_bad(num_files):
            named = [f"{os.fsdecode(key)} ({why})" for key, why in self.bad]
            named += ["..."] * (self.num_bad > len(named))
            raise Failure(
                f"{self.num_bad:,} of {num_files:,} {source.items} of {source.input_dir} can't be "
                f"read: {', '.join(named)}; fix or remove them, and run again"
            )

    def _check_encoding(self, source: text_source.Source, num_files: int, limits: Limits) -> None:
        total = self.misread.total()
        if total <= limits.max_bad_texts(num_files):
            return
        named = [f"{os.fsdecode(key)} ({seems}?)" for key, seems in self.examples]
        named += ["..."] * (total > len(named))
        most_likely = max(sorted(self.misread), key=self.misread.__getitem__)
        name = "NAME" if most_likely == encoding_guess.UNKNOWN else most_likely.partition(" ")[0]
        raise Failure(
            f"{total:,} of {num_files:,} {source.items} of {source.input_dir} aren't in "
            f"{source.encoding}: {', '.join(named)}; if most are in another encoding, give "
            f"--encoding {name}; to replace what can't be decoded, give --on_bad_text replace_all"
        )
