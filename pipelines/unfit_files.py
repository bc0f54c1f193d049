"""Files that can't be read, or aren't in the encoding: which, and how many there may be."""

import collections
import dataclasses
import heapq
import json
import os
from collections.abc import Iterable
from typing import Any, Literal

from textrecords import encoding_guess, spec, text_source
from textrecords.command_line import flag
from textrecords.errors import Failure

# Which share of the files may be bad, by `--on_bad_file`.
MAX_BAD = {"skip": 0.01, "fail": 0.0}
# Which share of the files may be in another encoding than `--encoding`, by `--on_bad_text`.
MAX_BAD_TEXTS = {"replace": 0.01, "replace_all": 1.0, "fail": 0.0}
# So many may be where that is more: a stray byte is no reason to refuse a small folder. If they are
# more than half of its files, though, it isn't in the encoding.
FEW = 10
NAMED = 3  # of the files that end a run
# What is wrong ("finding") with which files ("keys"): a line of `spec.AUDIT`.
Finding = dict[str, Any]


def finding(what: str, keys: Iterable[bytes], **more: Any) -> Finding:
    """Describes what is wrong with the files of `keys`."""
    return {"finding": what, **more, "keys": [os.fsdecode(key) for key in keys]}


def to_lines(findings: Iterable[Finding]) -> str:
    """Returns findings as `spec.AUDIT` holds them: a JSON object a line, in an order of their own.

    They are escaped, since a key may hold bytes that aren't UTF-8.
    """
    return "".join(sorted(json.dumps(finding) + "\n" for finding in findings))


@dataclasses.dataclass(frozen=True)
class Limits:
    """The flags that say how many there may be."""

    on_bad_file: Literal[tuple(MAX_BAD)] = flag(
        "what can't be read, or is larger than 10 MB: leave out up to 1%%, or none", "skip"
    )
    on_bad_text: Literal[tuple(MAX_BAD_TEXTS)] = flag(
        "bytes that aren't in the encoding: replace them in up to 1%% of the files (or in "
        f"{FEW}, but no more than half), in all, or in none",
        "replace",
    )

    def max_bad(self, num_files: int) -> float:
        """Returns how many of so many files may be bad."""
        return MAX_BAD[self.on_bad_file] * num_files

    def max_bad_texts(self, num_files: int) -> float:
        """Returns how many of so many files may be in another encoding."""
        most = MAX_BAD_TEXTS[self.on_bad_text] * num_files
        return max(most, min(FEW, num_files / 2)) if self.on_bad_text == "replace" else most


@dataclasses.dataclass(frozen=True)
class UnfitFiles:
    """Those of one or several lists of files.

    Attributes:
      bad: findings on those that can't be read.
      misread: files that seem to be in another encoding, by that encoding.
      examples: the first few of these, as (key, encoding).
    """

    bad: list[Finding]
    misread: collections.Counter[str]
    examples: list[tuple[bytes, str]]

    @classmethod
    def of(cls, bad: dict[bytes, str], misread: dict[bytes, str]) -> "UnfitFiles":
        """Takes why files can't be read, and the encodings that files seem to be in, by key."""
        findings = [finding(spec.BAD_FILE, [key], why=why) for key, why in bad.items()]
        examples = heapq.nsmallest(NAMED, misread.items())
        return cls(findings, collections.Counter(misread.values()), examples)

    def __add__(self, other: "UnfitFiles") -> "UnfitFiles":
        return UnfitFiles(
            self.bad + other.bad,
            self.misread + other.misread,
            heapq.nsmallest(NAMED, self.examples + other.examples),
        )

    def check(self, source: text_source.Source, num_files: int, limits: Limits) -> None:
        """Raises `Failure` if there are more among so many files than may be."""
        self._check_bad(source, num_files, limits)
        self._check_encoding(source, num_files, limits)

    def _check_bad(self, source: text_source.Source, num_files: int, limits: Limits) -> None:
        if len(self.bad) > limits.max_bad(num_files):
            named = sorted(f"{finding['keys'][0]} ({finding['why']})" for finding in self.bad)
            named = named[:NAMED] + ["..."] * (len(named) > NAMED)
            raise Failure(
                f"{len(self.bad):,} of {num_files:,} files of {source.input_dir} can't be read: "
                f"{', '.join(named)}; mend or remove them, and run again"
            )

    def _check_encoding(self, source: text_source.Source, num_files: int, limits: Limits) -> None:
        total = self.misread.total()
        if total <= limits.max_bad_texts(num_files):
            return
        named = [f"{os.fsdecode(key)} ({seems}?)" for key, seems in self.examples]
        named += ["..."] * (total > len(named))
        likeliest = max(sorted(self.misread), key=self.misread.__getitem__)
        name = "NAME" if likeliest == encoding_guess.UNKNOWN else likeliest.partition(" ")[0]
        raise Failure(
            f"{total:,} of {num_files:,} files of {source.input_dir} aren't in "
            f"{source.encoding}: {', '.join(named)}; if most are in another encoding, give "
            f"--encoding {name}; to replace what can't be decoded, give --on_bad_text replace_all"
        )
