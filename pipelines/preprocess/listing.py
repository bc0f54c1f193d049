"""The listing of an input: paths, sizes and versions (see `storage`) of its reviews.

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
    def of(cls, source: text_source.Source, files: Fingerprint, manifest: Manifest) -> "Listing":
        """Returns the listing of a folder of which a dataset was made."""
        folder = terminal.one_line(storage.real(source.input_dir))
        return cls(folder, files, manifest.sha256)

    def is_kept_in(self, dataset_dir: str) -> bool:
        """Tells whether a dataset was made of files with this listing."""
        try:
            return json_files.read(Listing, os.path.join(dataset_dir, spec.LISTING)) == self
        except (OSError, ValueError):
            return False

    def keep_in(self, dataset_dir: str) -> None:
        """Writes the listing into a dataset; raises `OSError`."""
        json_files.write(os.path.join(dataset_dir, spec.LISTING), self)


def fingerprint(
    files: Iterable[tuple[bytes, os.DirEntry[str] | storage.Entry]],
) -> Fingerprint:
    """Returns the fingerprint of files, given with their keys, by path, size and version."""
    return Fingerprint.of(_size_and_digest(key, entry) for key, entry in files)


def _size_and_digest(key: bytes, entry: os.DirEntry[str] | storage.Entry) -> tuple[int, bytes]:
    try:
        size, version = storage.size_and_version(entry)
    except OSError:  # it has gone since: it is only counted
        return 0, b""
    line = b"%d:%b%d:%d" % (len(key), key, size, version)
    return size, hashlib.sha256(line).digest()
