"""A small folder of text files."""

import os

from pipelines.preprocess.review_batches import Review
from textrecords import spec, text_source


def write(folder, files):
    """Writes `{path: text or bytes}` below a folder."""
    for path, text in files.items():
        full = os.path.join(folder, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "wb") as file:
            file.write(text.encode() if isinstance(text, str) else text)


def unread(key, label=""):
    """Returns a review as it's listed, with the split of its folder."""
    split = spec.split_of(key.partition(b"/")[0].decode()) or spec.TRAIN
    return text_source.Unread(key, label, spec.SPLITS.index(split))


def shard_of(folder, texts):
    """Writes texts to files; returns the source, and (ShardId, lists of Review)."""
    keys = [b"train/a/%d.txt" % number for number in range(len(texts))]
    write(folder, dict(zip(map(os.fsdecode, keys), texts, strict=True)))
    pairs = zip(map(unread, keys), texts, strict=True)
    reviews = [Review.of(listed, 0, text.encode()) for listed, text in pairs]
    return text_source.Source(str(folder)), ((spec.TRAIN, 0), [reviews])
