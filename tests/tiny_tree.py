"""A small folder of text files."""

import os

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
