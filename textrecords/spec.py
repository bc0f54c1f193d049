"""Names and ids shared by all parts of a dataset; FORMAT.md describes the files."""

import re
from typing import NamedTuple

from textrecords import checksums

FORMAT_VERSION = 8  # of the manifest
# Raised when the same input and flags give different bytes: datasets of other versions are stale.
DATA_VERSION = 4
TRAIN, VALIDATION, TEST = SPLITS = ("train", "validation", "test")
# Texts without a label, neither trained nor evaluated on.
UNLABELLED = "unlabelled"
ALL_SPLITS = (*SPLITS, UNLABELLED)
UNKNOWN_LABEL = -1
UNLABELLED_FOLDERS = ("unsup", "unsupervised", "unlabeled")  # other common names
VALIDATION_FOLDERS = ("val", "valid", "dev")  # other common names of the split's folder
# The features of a record.
TOKENS = "tokens"  # <int64>[number of tokens], the ids of the whole review
LABEL = "label"  # <int64>[], the position of the review's class in `Manifest.classes`, or -1
KEY = "key"  # <string>[], the file's path below the input folder, or the key of a row
# The transform graph's input in place of `TOKENS`.
TEXT = "text"  # <string>[], valid UTF-8
# Ids as in `keras.layers.TextVectorization`. The most frequent token has id `NUM_RESERVED`.
PADDING_ID, OOV_ID = 0, 1
NUM_RESERVED = 2


class InputSize(NamedTuple):
    """What a network sees of a review: ids below `max_tokens`, of the first `max_len` tokens."""

    max_tokens: int
    max_len: int


# The files of a dataset other than its shards.
MANIFEST = "manifest.json"
SCHEMA = "schema.pbtxt"  # the records, as TensorFlow Metadata describes them
AUDIT = r"audit-\d{5}-of-\d{5}\.jsonl"  # problems of reviews, one finding per line
BAD_FILE = "bad file"  # one of these findings
RUN = "run.json"  # where, when and with what the dataset was made; the data doesn't depend on it
LISTING = ".listing.json"  # sizes and times of the input's files; if unchanged, they aren't read
TEXTS = ".texts"  # of tables, while a dataset is made from them
TRANSFORM_FN = "transform_fn"
TRANSFORMED_METADATA = "transformed_metadata"
RAW_METADATA = "metadata"  # the input of the transform graph, where tf.Transform looks for it
# For reading the shards with TensorFlow Datasets.
TFDS_FILES = TFDS_FEATURES, TFDS_INFO, TFDS_LABELS = (
    "features.json",
    "dataset_info.json",
    f"{LABEL}.labels.txt",
)
CROISSANT = "croissant.json"
ASSET = f"assets/{TOKENS}"  # the vocabulary, in the transform graph
VOCABULARY = f"{TRANSFORM_FN}/{ASSET}"
# Everything that `pipelines.preprocess` writes to a dataset folder.
SHARD_FILES = rf"({'|'.join(ALL_SPLITS)})-\d{{5}}-of-\d{{5}}\.tfrecord(\.gz)?"
DATASET_FILES = "|".join(
    (
        *map(re.escape, (MANIFEST, SCHEMA, RUN, TRANSFORM_FN, TRANSFORMED_METADATA)),
        *map(re.escape, (RAW_METADATA, *TFDS_FILES, CROISSANT, checksums.SUMS)),
        AUDIT,
        SHARD_FILES,
    )
)
COMPRESSIONS = {"none": "", "gzip": "GZIP"}  # the flag's value: TensorFlow's name for it


def split_of(folder: str) -> str | None:
    """Returns the split that a folder's name stands for, ignoring case; None if for none."""
    name = folder.lower()
    if name in VALIDATION_FOLDERS:
        return VALIDATION
    if name in UNLABELLED_FOLDERS:
        return UNLABELLED
    return name if name in ALL_SPLITS else None


def shard_name(split: str, index: int, num_shards: int, compression: str = "none") -> str:
    """Returns the file name of shard `index`, counted from 0."""
    suffix = ".gz" if compression == "gzip" else ""
    return f"{split}-{index:05d}-of-{num_shards:05d}.tfrecord{suffix}"


def audit_name(index: int, num_shards: int) -> str:
    """Returns the file name of audit shard `index`, counted from 0."""
    return f"audit-{index:05d}-of-{num_shards:05d}.jsonl"
