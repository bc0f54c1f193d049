"""What `pipelines/` and `model/` agree on: names, ids, and the manifest of a dataset.

Of `pipelines/`, `model/` imports only this, `folders`, `files` and `commands`, and for its report
`reviews`. None of them imports TensorFlow or Beam, so that `--help` and a refusal of bad input are
immediate.
"""

import dataclasses
import hashlib
import json
import os
import re
from typing import Annotated, Literal, TypeVar

from annotated_types import Ge, Interval, Predicate

from pipelines import commands, files, folders

FORMAT_VERSION = 3

TRAIN, VALIDATION, TEST = SPLITS = ("train", "validation", "test")

# The features of a record.
TOKENS = "tokens"  # <int64>[number of tokens], the ids of the whole review
LABEL = "label"  # <int64>[], the position of the review's class in `Manifest.classes`
KEY = "key"  # <string>[], the file's path below the input folder
# What the transform graph takes in the place of `TOKENS`.
TEXT = "text"  # <string>[], valid UTF-8

# Ids as `keras.layers.TextVectorization` gives them. The most frequent token has `NUM_RESERVED`.
PADDING_ID, OOV_ID = 0, 1
NUM_RESERVED = 2

# The files of a dataset, beside its shards.
MANIFEST = "manifest.json"
SCHEMA = "schema.pbtxt"  # the records, as TensorFlow Metadata describes them
AUDIT = "audit.jsonl"  # what is wrong with single reviews, one finding a line
RUN = "run.json"  # where, when and on what the dataset was made: nothing reads the data by it
TRANSFORM_FN = "transform_fn"
TRANSFORMED_METADATA = "transformed_metadata"
ASSET = f"assets/{TOKENS}"  # the vocabulary, as the transform graph keeps it
VOCABULARY = f"{TRANSFORM_FN}/{ASSET}"

# All that `pipelines.preprocess` puts into a dataset folder.
SHARD_FILES = rf"({'|'.join(SPLITS)})-\d{{5}}-of-\d{{5}}\.tfrecord(\.gz)?"
DATASET_FILES = "|".join(
    (
        *map(re.escape, (MANIFEST, SCHEMA, AUDIT, RUN, TRANSFORM_FN, TRANSFORMED_METADATA)),
        re.escape(folders.SUMS),
        SHARD_FILES,
    )
)

COMPRESSIONS = {"none": "", "gzip": "GZIP"}  # the flag's value: TensorFlow's name for it

# What stands in a name or text for bytes that couldn't be decoded, and UTF-8 can't hold.
SURROGATES = re.compile("[\ud800-\udfff]")

T = TypeVar("T")

# What a number of a manifest or configuration may be.
Count = Annotated[int, Ge(0)]
Size = Annotated[int, Interval(ge=1, le=commands.LARGEST)]
Share = Annotated[float, Interval(ge=0, lt=1)]


def is_encoding(name: str) -> bool:
    """Tells whether Python knows a text encoding of this name."""
    try:
        b"\xff".decode(name, "replace")  # fails for those that aren't of text, such as base64
    except (LookupError, ValueError):
        return False
    return True


def shard_name(split: str, index: int, num_shards: int, compression: str = "none") -> str:
    """Returns the file name of shard `index`, counted from 0."""
    suffix = ".gz" if compression == "gzip" else ""
    return f"{split}-{index:05d}-of-{num_shards:05d}.tfrecord{suffix}"


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
        return cls(name, examples, os.path.getsize(path), files.sha256(path))


@dataclasses.dataclass(frozen=True)
class Split:
    """One split. What was found is counted before any review is dropped; all else is as written."""

    found: int  # reviews of the input that belong to the split
    distinct_texts: int  # of those found
    dropped_leaked: int
    dropped_duplicates: int
    examples: Count
    class_examples: dict[str, int]
    tokens: int
    oov_tokens: int
    coverage: dict[str, float]  # which share of the tokens the so many most frequent words make up
    token_lengths: dict[str, int]  # quantiles of a review's number of tokens: "min", "50%", ...
    token_length_histogram: dict[str, int]  # reviews, by their number of tokens: "64-127", ...
    undecodable: int  # reviews decoded with replacement characters
    without_tokens: int  # reviews with no token left once cleaned, kept as one OOV token
    short: int  # reviews of fewer tokens than `--min_tokens`, or than `--max_len` if that is less
    shards: tuple[Shard, ...]


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """`size` counts padding and OOV, as Keras does; the file holds one token a line, id 2 first."""

    file: Literal[VOCABULARY]
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

    def __add__(self, other: "Fingerprint") -> "Fingerprint":
        total = (int(self.sha256, 16) + int(other.sha256, 16)) % 2**256
        return Fingerprint(self.files + other.files, self.bytes + other.bytes, f"{total:064x}")


@dataclasses.dataclass(frozen=True)
class Audit:
    """What is wrong with texts that stand in the input more than once; `file` lists the keys."""

    file: Literal[AUDIT]
    sha256: str
    leaked_texts: int  # distinct texts that stand in two splits or more
    contrary_texts: int  # distinct texts that stand in two classes or more


@dataclasses.dataclass(frozen=True)
class Flags:
    """The flags of `pipelines.preprocess` that shape the data; it says what each does.

    `stop_words` and `replacements` are the SHA-256 of the file, or the name of a built-in list.
    """

    classes: tuple[str, ...] | None
    pattern: str
    encoding: Annotated[str, Predicate(is_encoding)]
    validation: Share
    drop_leaked: bool
    drop_duplicates: bool
    min_tokens: Count
    max_tokens: Size
    max_len: Size | None
    stop_words: str | None
    replacements: str | None
    num_shards: Size | None
    compression: Literal[tuple(COMPRESSIONS)]


@dataclasses.dataclass(frozen=True)
class Manifest:
    """What a dataset folder holds. It is written last: without it there is no dataset."""

    format_version: int
    input: Fingerprint  # of the files that could be read
    bad_files: int  # those that couldn't, and are left out
    code_sha256: str  # of the modules that shape the data
    flags: Flags
    classes: tuple[str, ...]
    vocabulary: Vocabulary
    splits: dict[Literal[SPLITS], Split]
    audit: Audit
    schema_sha256: str
    left_out: dict[str, int]  # why: how many files

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def shard_sums(self) -> dict[str, str]:
        """Returns the SHA-256 of each shard, by its file."""
        return {s.file: s.sha256 for split in self.splits.values() for s in split.shards}

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Manifest":
        """Rebuilds a manifest; raises `BadInput` for another format, else `ValueError`."""
        version = parse_json(_Format, text).format_version
        if version != FORMAT_VERSION:
            raise commands.BadInput(
                f"format version {version}, but this program reads {FORMAT_VERSION}: "
                "run `make preprocess` again"
            )
        manifest = parse_json(cls, text)
        for name, split in manifest.splits.items():
            total = len(split.shards)
            if split.examples != sum(shard.examples for shard in split.shards):
                raise ValueError(f"the shards of {name} don't hold {split.examples:,} examples")
            for index, shard in enumerate(split.shards):
                if shard.file != shard_name(name, index, total, manifest.flags.compression):
                    raise ValueError(f"{shard.file} is no name of shard {index} of {name}")
        return manifest


@dataclasses.dataclass(frozen=True)
class _Format:
    """What the manifest of any version holds."""

    format_version: int


def parse_json(of: type[T], text: str) -> T:
    """Rebuilds a dataclass from JSON; raises `ValueError` in one line."""
    import pydantic  # here, since it takes a while

    try:
        return pydantic.TypeAdapter(of).validate_json(text, strict=True)
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "all of it"
        raise ValueError(f"{where}: {first['msg']}") from None


@dataclasses.dataclass(frozen=True)
class Run:
    """What is true of one run alone, and so doesn't belong into the manifest."""

    input: str
    started: str
    seconds: float
    host: str
    python: str
    packages: dict[str, str]


def read_manifest(records_dir: str, *, verify: bool = True) -> Manifest:
    """Reads the manifest of the dataset in `records_dir`.

    Args:
      records_dir: the dataset.
      verify: whether all its files must be as they were written.

    Raises:
      BadInput: if there is no dataset, a damaged one, or one that this version cannot read.
    """
    folders.check_path(records_dir)
    if not files.is_folder(records_dir):
        raise commands.BadInput(f"no records folder {records_dir}: run `make preprocess` first")
    path = os.path.join(records_dir, MANIFEST)
    try:
        manifest = Manifest.from_json(files.read_text(path))
    except FileNotFoundError:
        raise commands.BadInput(
            f"{records_dir} holds no {MANIFEST}, so no whole dataset: run `make preprocess` first"
        ) from None
    except commands.BadInput as error:
        raise commands.BadInput(f"{path}: {error}") from None
    except (OSError, ValueError) as error:
        raise commands.BadInput(
            f"{path} can't be read ({error}): run `make preprocess` again"
        ) from None
    if verify:
        folders.check_whole(records_dir, "preprocess")
    return manifest


def check_unchanged(records_dir: str, manifest: Manifest) -> None:
    """Raises `Failure` if another dataset has taken the place of this one while it was read."""
    if read_manifest(records_dir, verify=False) != manifest:
        raise commands.Failure(f"{records_dir} was replaced while it was being read: run again")


def shard_paths(records_dir: str, manifest: Manifest, split: str) -> list[str]:
    """Returns the paths of a split's shards; raises `BadInput` if there is no such split."""
    if split not in manifest.splits:
        raise commands.BadInput(f"{records_dir} holds no {split} split")
    return [os.path.join(records_dir, shard.file) for shard in manifest.splits[split].shards]


def read_vocabulary(path: str) -> list[bytes]:
    """Returns the tokens of a vocabulary file; the first has the id `NUM_RESERVED`."""
    return files.read_bytes(path).split(b"\n")[:-1]
