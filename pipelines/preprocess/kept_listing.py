"""The listing of an input: paths, sizes and versions (see `storage`) of its reviews.

As long as it stays the same, the reviews are taken to be unchanged and aren't read. It is kept in
a hidden file of the dataset, beside the manifest and the sums, since times differ between machines
while all else is the same.
"""

import dataclasses
import os

from textrecords import json_files, spec, storage, terminal, text_source
from textrecords.manifest import Fingerprint, Manifest


@dataclasses.dataclass(frozen=True)
class KeptListing:
    """What an input folder held when a dataset was made of it.

    Attributes:
      input: the folder's path: files of another one may have the same names, sizes and times.
      files: as in `places.Listed`.
      manifest_sha256: of the dataset: one that is copied over it is another's.
    """

    input: str
    files: Fingerprint
    manifest_sha256: str

    @classmethod
    def of(
        cls, source: text_source.Source, files: Fingerprint, manifest: Manifest
    ) -> "KeptListing":
        """Returns the listing of a folder of which a dataset was made."""
        folder = terminal.one_line(storage.real(source.input_dir))
        return cls(folder, files, manifest.sha256)

    def is_kept_in(self, dataset_dir: str) -> bool:
        """Tells whether a dataset was made of files with this listing."""
        try:
            return json_files.read(KeptListing, os.path.join(dataset_dir, spec.LISTING)) == self
        except (OSError, ValueError):
            return False

    def keep_in(self, dataset_dir: str) -> None:
        """Writes the listing into a dataset; raises `OSError`."""
        json_files.write(os.path.join(dataset_dir, spec.LISTING), self)
