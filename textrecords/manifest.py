"""The manifest of a dataset: all that its folder holds, and what it was made of."""

import dataclasses
import hashlib
import itertools
import os
import re
from collections.abc import Iterable
from typing import Annotated, Literal

from annotated_types import Predicate

from textrecords import checksums, command_line, json_files, spec, text_source
from textrecords.command_line import flag
from textrecords.errors import BadInput
from textrecords.field_types import Count, NumShards, Path, Share, Size, Switch, VocabularySize


@dataclasses.dataclass(frozen=True)
class Shard:
    """One file of a dataset; `bytes` and `sha256` (hex) are of the file as it lies on disk."""

    file: str
    examples: int
    bytes: int
    sha256: str

    @classmethod
    def of(cls, path: str, name: str, examples: int) -> "Shard":
        """Describes the file that lies at `path` and is to have this name."""
        return cls(name, examples, os.path.getsize(path), checksums.sha256(path))


@dataclasses.dataclass(frozen=True)
class Split:
    """One split. What was found is counted before any review is dropped; all else is as written."""

    found: int  # reviews of the input that belong to the split
    distinct_texts: int  # of those found
    distinct_by_words: int  # the same, but texts of the same words count as one
    dropped_leaked: int
    dropped_duplicates: int
    examples: Count
    class_examples: dict[str, int]
    tokens: int
    oov_tokens: int
    coverage: dict[str, float]  # which share of the tokens the so many most frequent words make up
    token_lengths: dict[str, int]  # quantiles of a review's number of tokens: "min", "50%", ...
    token_length_histogram: dict[str, int]  # reviews, by their number of tokens: "64-127", ...
    undecodable: int  # reviews in another encoding: decoded with replacement, or full of NUL
    byte_order_marks: int  # reviews that began with one, which is left out
    nul_bytes: int  # reviews that hold any: no text has them, unless it's in another encoding
    html: int  # reviews with tags or entities, other than `<br />`
    without_tokens: int  # reviews with no token left once cleaned, kept as one OOV token
    short: int  # reviews of fewer tokens than `--min_tokens`, or than `--max_len` if that is less
    shards: tuple[Shard, ...]


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """`size` counts padding and OOV, as Keras does; the file holds one token a line, id 2 first."""

    file: Literal[spec.VOCABULARY]
    size: Size
    sha256: str


@dataclasses.dataclass(frozen=True)
class Fingerprint:
    """Stands for files of an input: `sha256` is the sum of a digest of each, modulo 2**256, in hex.

    A sum, so that files may be taken in any order and by many workers.
    """

    files: int
    bytes: int
    sha256: str

    @classmethod
    def of(cls, files: Iterable[tuple[int, bytes]]) -> "Fingerprint":
        """Returns the fingerprint of files, each given by its size in bytes and its digest."""
        number = size = total = 0
        for file_size, digest in files:
            number += 1
            size += file_size
            total += int.from_bytes(digest, "big")
        return cls(number, size, f"{total % 2**256:064x}")

    def __add__(self, other: "Fingerprint") -> "Fingerprint":
        total = (int(self.sha256, 16) + int(other.sha256, 16)) % 2**256
        return Fingerprint(self.files + other.files, self.bytes + other.bytes, f"{total:064x}")


@dataclasses.dataclass(frozen=True)
class Audit:
    """What is wrong with texts that stand in the input more than once; the shards name the keys.

    By their words, texts are the same that differ in punctuation, case, spaces, ends of lines,
    `<br />` or a byte order mark alone.
    """

    shards: tuple[Shard, ...]  # of all findings, also on single reviews; none is empty
    leaked_texts: int  # distinct texts that stand in two splits or more
    leaked_by_words: int
    conflicting_texts: int  # distinct texts that stand in two classes or more
    conflicting_by_words: int


@dataclasses.dataclass(frozen=True)
class DataFlags:
    """The flags of `pipelines.preprocess` that shape the data.

    In a manifest, `stop_words` and `replacements` are the SHA-256 of the file, or the name of a
    built-in list.
    """

    classes: tuple[str, ...] | None = flag(
        "the class folders, in the order of labels", None, metavar="NAME"
    )
    pattern: str = flag("which file names are reviews", "*.txt")
    encoding: Annotated[str, Predicate(text_source.is_encoding)] = flag("of the files", "utf-8")
    text_column: tuple[str, ...] | None = flag(command_line.TEXT_COLUMN, None, metavar="NAME")
    label_column: str | None = flag(
        "what holds the classes (else label, class, sentiment or category)", None, metavar="NAME"
    )
    split_column: str | None = flag(
        "what says train, validation or test (else the names of the tables do)",
        None,
        metavar="NAME",
    )
    key_column: str | None = flag(
        "what records are to be known by (else reviews.csv#12)", None, metavar="NAME"
    )
    delimiter: str | None = flag(command_line.DELIMITER, None, metavar="CHARACTER")
    test: Share = flag(
        "how much of train, or of class folders without train, becomes the test split",
        0.0,
        metavar="SHARE",
    )
    validation: Share = flag("how much of them becomes the validation split", 0.0, metavar="SHARE")
    unlabelled: Switch | None = flag(
        "write texts without a label as a split of their own, unlabelled: those of train/unsup and "
        "unlabelled/, by itself if there are any, or rows of tables without a label",
        None,
    )
    vocabulary_from: Literal["train", "all"] = flag(
        "count the words of train, or also those of texts without a label", "train"
    )
    drop_leaked: bool = flag(
        "keep texts of the same words only in test, else validation, else train", False
    )
    drop_duplicates: bool = flag("keep texts of the same words only once a split", False)
    min_tokens: Count = flag("report reviews of fewer tokens", 5)
    max_tokens: VocabularySize = flag("size of the vocabulary, counting padding and OOV", 20_000)
    max_len: Size | None = flag("how many tokens of a review to keep (else all)", None)
    split: Literal["whitespace", "character"] = flag(
        "texts at whitespace, or, for languages without spaces between words, into characters",
        "whitespace",
    )
    strip_html: bool = flag("make tags spaces, and entities what they stand for", False)
    normalize_unicode: bool = flag(
        "lower-case all letters, not ASCII's alone; the same for spaces and punctuation", False
    )
    stop_words: Path | None = flag(
        "words to remove, one a line, cleaned as texts are; a line that begins with # is a "
        "comment; `english` is a short list that comes along",
        None,
        metavar="FILE",
    )
    replacements: Path | None = flag(
        "words to replace before counting, a line each: from, tab, to; cleaned as texts are (U.S. "
        "is us, and so replaces every us); a line that begins with # is a comment",
        None,
        metavar="FILE",
    )
    num_shards: NumShards | None = flag(
        "of each split (one for every 10,000 reviews by default)", None
    )
    compression: Literal[tuple(spec.COMPRESSIONS)] = flag("of shards", "none")

    @property
    def made_splits(self) -> tuple[str, ...]:
        """The splits that are made of train."""
        shares = ((spec.VALIDATION, self.validation), (spec.TEST, self.test))
        return tuple(split for split, share in shares if share)

    @property
    def counted_splits(self) -> tuple[str, ...]:
        """The splits whose words are counted for the vocabulary."""
        return (spec.TRAIN, spec.UNLABELLED) if self.vocabulary_from == "all" else (spec.TRAIN,)

    def source(self, input_dir: str) -> text_source.Source:
        """Returns the folder, read as these flags want it."""
        return text_source.Source(input_dir, self.pattern, self.encoding)


@dataclasses.dataclass(frozen=True)
class Manifest:
    """What a dataset folder holds. It is written last: without it there is no dataset."""

    format_version: int
    input: Fingerprint  # of the files that could be read
    bad_files: int  # those that couldn't, and are left out
    misread_files: dict[str, int]  # that seem to be in another encoding, by that encoding
    data_version: int  # `spec.DATA_VERSION` of the program that wrote it
    flags: DataFlags
    classes: tuple[str, ...]
    vocabulary: Vocabulary
    seen_once: int  # tokens of train that are the only one of their word
    splits: dict[Literal[spec.ALL_SPLITS], Split]
    audit: Audit
    schema_sha256: str
    skipped: dict[str, int]  # why: how many files

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def shard_sums(self) -> dict[str, str]:
        """Returns the SHA-256 of each shard, by its file."""
        of_splits = (split.shards for split in self.splits.values())
        shards = itertools.chain(self.audit.shards, *of_splits)
        return {shard.file: shard.sha256 for shard in shards}

    def check_fits(self, size: spec.InputSize) -> None:
        """Raises `BadInput` if the records were cut below what a network of this size takes.

        Their ids wouldn't be those of a fresh dataset of the network's size.
        """
        if self.vocabulary.size == self.flags.max_tokens < size.max_tokens:
            _refuse("max_tokens", size.max_tokens, self.flags.max_tokens)
        if self.flags.max_len is not None and self.flags.max_len < size.max_len:
            _refuse("max_len", size.max_len, self.flags.max_len)

    def to_json(self) -> str:
        return json_files.to_json(self)

    @classmethod
    def from_json(cls, text: str) -> "Manifest":
        """Rebuilds a manifest; raises `BadInput` for another format, else `ValueError`."""
        version = json_files.parse(_Format, text).format_version
        if version != spec.FORMAT_VERSION:
            raise BadInput(
                f"format version {version}, but this program reads {spec.FORMAT_VERSION}: "
                "run `make preprocess` again"
            )
        manifest = json_files.parse(cls, text)
        for shard in manifest.audit.shards:
            if not re.fullmatch(spec.AUDIT, shard.file):
                raise ValueError(f"{shard.file} is no name of a shard of the audit")
        for name, split in manifest.splits.items():
            total = len(split.shards)
            if split.examples != sum(shard.examples for shard in split.shards):
                raise ValueError(f"the shards of {name} don't hold {split.examples:,} examples")
            for index, shard in enumerate(split.shards):
                if shard.file != spec.shard_name(name, index, total, manifest.flags.compression):
                    raise ValueError(f"{shard.file} is no name of shard {index} of {name}")
        return manifest


def _refuse(flag: str, wanted: int, limit: int) -> None:
    raise BadInput(
        f"--{flag} {wanted}: the records were cut at {limit}; take at most that, "
        f"or preprocess again with --{flag} {wanted}"
    )


@dataclasses.dataclass(frozen=True)
class _Format:
    """What the manifest of any version holds."""

    format_version: int


@dataclasses.dataclass(frozen=True)
class RunInfo:
    """What is true of one run alone, and so doesn't belong into the manifest."""

    input: str
    started: str
    seconds: float
    host: str
    python: str
    packages: dict[str, str]

    @classmethod
    def read(cls, folder: str) -> "RunInfo | None":
        """Returns what a dataset says of its making; None if it says nothing."""
        try:
            return json_files.read(cls, os.path.join(checksums.about(folder), spec.RUN))
        except (OSError, ValueError):
            return None
