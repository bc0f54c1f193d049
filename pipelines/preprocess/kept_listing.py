"""The listing of an input: paths, sizes and versions (see `storage`) of its reviews.

As long as it stays the same, the reviews are assumed to be unchanged and aren't read. It is kept in
a hidden file of the dataset, outside the manifest and the checksums, since times differ between
machines and everything else doesn't.
"""

import dataclasses
import os

from textrecords import json_files, spec, storage, terminal, text_source
from textrecords.manifest import Fingerprint, Manifest


@dataclasses.dataclass(frozen=True)
class KeptListing:
    """The listing of an input folder when a dataset was made from it.

    Attributes:
      input: the folder's path, since files of another one may have the same names, sizes and times.
      files: as in `places.Listed`.
      manifest_sha256: of the dataset, since another one may be copied over it.
    """

    input: str
    files: Fingerprint
    manifest_sha256: str

    @classmethod
    def of(
        cls, source: text_source.Source, files: Fingerprint, manifest: Manifest
    ) -> "KeptListing":
        """Returns the listing of a folder from which a dataset was made."""
        folder = terminal.one_line(storage.real(source.input_dir))
        return cls(folder, files, manifest.sha256)

    def is_kept_in(self, dataset_dir: str) -> bool:
        """Returns whether a dataset was made from files with this listing."""
        try:
            return json_files.read(KeptListing, os.path.join(dataset_dir, spec.LISTING)) == self
        except (OSError, ValueError):
            return False

    def keep_in(self, dataset_dir: str) -> None:
        """Writes the listing to a dataset; raises `OSError`."""
        json_files.write(os.path.join(dataset_dir, spec.LISTING), self)
