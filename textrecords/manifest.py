"""The manifest of a dataset: what its folder contains, and what it was made from."""

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
    """One file of a dataset; `bytes` and `sha256` (hex) are of the file as stored."""

    file: str
    examples: int
    bytes: int
    sha256: str

    @classmethod
    def of(cls, path: str, name: str, examples: int) -> "Shard":
        """Describes the file at `path`, which will have this name."""
        return cls(name, examples, os.path.getsize(path), checksums.sha256(path))


@dataclasses.dataclass(frozen=True)
class Split:
    """One split. `found` and the distinct texts are counted before reviews are dropped."""

    found: int  # reviews of the input that belong to the split
    distinct_texts: int  # of those found
    distinct_by_words: int  # the same, counting texts with the same words as one
    dropped_leaked: int
    dropped_duplicates: int
    examples: Count
    class_examples: dict[str, int]
    tokens: int
    oov_tokens: int
    coverage: dict[str, float]  # the share of the tokens that the N most frequent words cover
    token_lengths: dict[str, int]  # quantiles of a review's number of tokens: "min", "50%", ...
    token_length_histogram: dict[str, int]  # reviews, by their number of tokens: "64-127", ...
    undecodable: int  # reviews in another encoding: decoded with replacement, or full of NUL
    byte_order_marks: int  # reviews that began with one, which is removed
    nul_bytes: int  # reviews with NUL bytes, which no text has unless it's in another encoding
    html: int  # reviews with tags or entities other than `<br />`
    without_tokens: int  # reviews without tokens after cleaning, kept as one OOV token
    short: int  # reviews with fewer tokens than `--min_tokens`, or than `--max_len` if that's less
    shards: tuple[Shard, ...]


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """`size` counts padding and OOV, as in Keras; the file has one token per line, id 2 first."""

    file: Literal[spec.VOCABULARY]
    size: Size
    sha256: str


@dataclasses.dataclass(frozen=True)
class Fingerprint:
    """Identifies files of an input: `sha256` is the sum of their digests, modulo 2**256, in hex.

    A sum doesn't depend on the order of the files, and workers can add up theirs.
    """

    files: int
    bytes: int
    sha256: str

    @classmethod
    def of(cls, files: Iterable[tuple[int, bytes]]) -> "Fingerprint":
        """Returns the fingerprint of files, given as size in bytes and digest."""
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
    """Counts of texts that occur more than once in the input; the shards name their keys.

    Texts are the same by their words if they differ only in punctuation, case, spaces, line ends,
    `<br />` or a byte order mark.
    """

    shards: tuple[Shard, ...]  # of all findings, including those on single reviews; none is empty
    leaked_texts: int  # distinct texts in two or more splits
    leaked_by_words: int
    conflicting_texts: int  # distinct texts in two or more classes
    conflicting_by_words: int


@dataclasses.dataclass(frozen=True)
class DataFlags:
    """The flags of `pipelines.preprocess` that shape the data.

    In a manifest, `stop_words` and `replacements` are the SHA-256 of the file, or the name of a
    built-in list.
    """

    classes: tuple[str, ...] | None = flag(
        "the class folders, in the order of their labels", None, metavar="NAME"
    )
    pattern: str = flag("file names of reviews", "*.txt")
    encoding: Annotated[str, Predicate(text_source.is_encoding)] = flag("of the files", "utf-8")
    text_column: tuple[str, ...] | None = flag(command_line.TEXT_COLUMN, None, metavar="NAME")
    label_column: str | None = flag(
        "column with the classes (default: label, class, sentiment or category)",
        None,
        metavar="NAME",
    )
    split_column: str | None = flag(
        "column with train, validation or test (default: by the names of the tables)",
        None,
        metavar="NAME",
    )
    key_column: str | None = flag(
        "column with unique keys for the records (default: keys such as reviews.csv#12)",
        None,
        metavar="NAME",
    )
    delimiter: str | None = flag(command_line.DELIMITER, None, metavar="CHARACTER")
    test: Share = flag(
        "share of train, or of class folders without train, that becomes the test split",
        0.0,
        metavar="SHARE",
    )
    validation: Share = flag("share of it that becomes the validation split", 0.0, metavar="SHARE")
    unlabelled: Switch | None = flag(
        "write texts without a label to the split unlabelled: those of train/unsup and unlabelled/ "
        "(default: if there are any), or rows of tables without a label",
        None,
    )
    vocabulary_from: Literal["train", "all"] = flag(
        "count the words of train, or those of unlabelled texts as well", "train"
    )
    drop_leaked: bool = flag(
        "keep texts with the same words in one split only: test, else validation, else train", False
    )
    drop_duplicates: bool = flag("keep texts with the same words only once per split", False)
    min_tokens: Count = flag("report reviews with fewer tokens", 5)
    max_tokens: VocabularySize = flag("vocabulary size, counting padding and OOV", 20_000)
    max_len: Size | None = flag("tokens of a review to keep (default: all)", None)
    split: Literal["whitespace", "character"] = flag(
        "split texts at whitespace or, for languages without spaces between words, into characters",
        "whitespace",
    )
    strip_html: bool = flag("replace tags by spaces, and decode entities", False)
    normalize_unicode: bool = flag(
        "lower-case all letters, strip all punctuation and split at all spaces, not only those of "
        "ASCII",
        False,
    )
    stop_words: Path | None = flag(
        "words to remove, one per line, cleaned as texts are; lines that begin with # are "
        "comments; `english` is a short built-in list",
        None,
        metavar="FILE",
    )
    replacements: Path | None = flag(
        "words to replace before counting, one per line: word, tab, replacement; cleaned as texts "
        "are (U.S. becomes us, and so replaces every us); lines that begin with # are comments",
        None,
        metavar="FILE",
    )
    num_shards: NumShards | None = flag("shards per split (default: one per 10,000 reviews)", None)
    compression: Literal[tuple(spec.COMPRESSIONS)] = flag("of the shards", "none")

    @property
    def derived_splits(self) -> tuple[str, ...]:
        """The splits that are taken from train."""
        shares = ((spec.VALIDATION, self.validation), (spec.TEST, self.test))
        return tuple(split for split, share in shares if share)

    @property
    def counted_splits(self) -> tuple[str, ...]:
        """The splits whose words are counted for the vocabulary."""
        return (spec.TRAIN, spec.UNLABELLED) if self.vocabulary_from == "all" else (spec.TRAIN,)

    def source(self, input_dir: str) -> text_source.Source:
        """Returns the source of the reviews in a folder, with the pattern and encoding set."""
        return text_source.Source(input_dir, self.pattern, self.encoding)


@dataclasses.dataclass(frozen=True)
class Manifest:
    """What a dataset folder contains. It is written last: without it there is no dataset."""

    format_version: int
    input: Fingerprint  # of the files that could be read
    bad_files: int  # files that couldn't be read, and were skipped
    misread_files: dict[str, int]  # files that seem to be in another encoding, by that encoding
    data_version: int  # `spec.DATA_VERSION` of the program that wrote it
    flags: DataFlags
    classes: tuple[str, ...]
    vocabulary: Vocabulary
    seen_once: int  # words that occur only once in train
    splits: dict[Literal[spec.ALL_SPLITS], Split]
    audit: Audit
    schema_sha256: str
    skipped: dict[str, int]  # number of files or rows by reason

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def shard_sums(self) -> dict[str, str]:
        """Returns the SHA-256 of each shard, by its file."""
        of_splits = (split.shards for split in self.splits.values())
        shards = itertools.chain(self.audit.shards, *of_splits)
        return {shard.file: shard.sha256 for shard in shards}

    def check_fits(self, size: spec.InputSize) -> None:
        """Raises `BadInput` if the records were truncated below the input size of a network.

        Their ids would differ from those of a dataset made for that size.
        """
        if self.vocabulary.size == self.flags.max_tokens < size.max_tokens:
            _refuse("max_tokens", size.max_tokens, self.flags.max_tokens)
        if self.flags.max_len is not None and self.flags.max_len < size.max_len:
            _refuse("max_len", size.max_len, self.flags.max_len)

    def to_json(self) -> str:
        return json_files.to_json(self)

    @classmethod
    def from_json(cls, text: str) -> "Manifest":
        """Parses a manifest; raises `BadInput` for another format version, else `ValueError`."""
        version = json_files.parse(_Format, text).format_version
        if version != spec.FORMAT_VERSION:
            raise BadInput(
                f"format version {version}, but this program reads {spec.FORMAT_VERSION}: "
                "run `make preprocess` again"
            )
        manifest = json_files.parse(cls, text)
        for shard in manifest.audit.shards:
            if not re.fullmatch(spec.AUDIT, shard.file):
                raise ValueError(f"{shard.file} isn't the name of an audit shard")
        for name, split in manifest.splits.items():
            total = len(split.shards)
            if split.examples != sum(shard.examples for shard in split.shards):
                raise ValueError(f"the shards of {name} don't hold {split.examples:,} examples")
            for index, shard in enumerate(split.shards):
                if shard.file != spec.shard_name(name, index, total, manifest.flags.compression):
                    raise ValueError(f"{shard.file} isn't the name of shard {index} of {name}")
        return manifest


def _refuse(flag: str, wanted: int, limit: int) -> None:
    raise BadInput(
        f"--{flag} {wanted}: the records were made with {limit}; give at most that, "
        f"or preprocess again with --{flag} {wanted}"
    )


@dataclasses.dataclass(frozen=True)
class _Format:
    """The field that manifests of all versions have."""

    format_version: int


@dataclasses.dataclass(frozen=True)
class RunInfo:
    """Facts about a single run, which don't belong in the manifest."""

    input: str
    started: str
    seconds: float
    host: str
    python: str
    packages: dict[str, str]

    @classmethod
    def read(cls, folder: str) -> "RunInfo | None":
        """Returns the run that made a dataset; None if it isn't recorded."""
        try:
            return json_files.read(cls, os.path.join(checksums.about(folder), spec.RUN))
        except (OSError, ValueError):
            return None
