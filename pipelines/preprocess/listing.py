"""The listing of an input: paths, sizes and modification times of its reviews.

As long as it stays the same, the reviews are taken to be unchanged and aren't read. It is kept in
a hidden file of the dataset, beside the manifest and the sums, since times differ between machines
while all else is the same.
"""

import dataclasses
import hashlib
import os
from collections.abc import Iterable

from textrecords import json_files, spec, storage, terminal, text_source
from textrecords.manifest import Fingerprint, Manifest


@dataclasses.dataclass(frozen=True)
class Listing:
    """What an input folder held when a dataset was made of it.

    Attributes:
      input: the folder's path: files of another one may have the same names, sizes and times.
      files: as `fingerprint` returns it.
      manifest_sha256: of the dataset: one that is copied over it is another's.
    """

    input: str
    files: Fingerprint
    manifest_sha256: str

    @classmethod
    def of(
        cls, source: text_source.Source, files: Fingerprint, manifest: Manifest
    ) -> "Listing | None":
        """Returns the listing of a folder; None in Cloud Storage, where it says too little."""
        if storage.is_remote(source.input_dir):
            return None
        folder = terminal.one_line(storage.real(source.input_dir))
        return cls(folder, files, manifest.sha256)

    def is_kept_in(self, dataset_dir: str) -> bool:
        """Tells whether a dataset was made of files with this listing."""
        try:
            return json_files.read(Listing, os.path.join(dataset_dir, spec.LISTING)) == self
        except (OSError, ValueError):
            return False


def fingerprint(source: text_source.Source, keys: Iterable[bytes]) -> Fingerprint:
    """Returns the fingerprint of files by path, size in bytes, and modification time in ns.

    In Cloud Storage they are only counted: TensorFlow would ask for the size and time of each file
    in a request of its own, which takes as long as reading a small file.
    """
    if storage.is_remote(source.input_dir):
        return Fingerprint.of((0, b"") for _ in keys)
    return Fingerprint.of(_size_and_digest(source, key) for key in keys)


def _size_and_digest(source: text_source.Source, key: bytes) -> tuple[int, bytes]:
    try:
        status = os.stat(source.path(key))
    except OSError:  # it has gone since: it is only counted
        return 0, b""
    line = b"%d:%b%d:%d" % (len(key), key, status.st_size, status.st_mtime_ns)
    return status.st_size, hashlib.sha256(line).digest()


def write(dataset_dir: str, listing: Listing | None) -> None:
    """Keeps a listing, if there is one, in a dataset; raises `OSError`."""
    if listing is not None:
        json_files.write(os.path.join(dataset_dir, spec.LISTING), listing)
