"""Downloads the IMDb reviews, or takes a local archive, and unpacks it: `make data`."""

import dataclasses
import http.client
import os
import shutil
import urllib.request

from pipelines import archives
from textrecords import app, atomic, checksums, command_line, storage, terminal
from textrecords.command_line import flag
from textrecords.errors import BadInput, Failure
from textrecords.field_types import Path

TIMEOUT_S = 30  # for the connection and for each read, not for the whole download


@dataclasses.dataclass(frozen=True)
class Archive:
    """A published file: `size` in bytes, `sha256` in hex."""

    url: str
    size: int
    sha256: str

    def is_at(self, path: str) -> bool:
        """Returns whether the complete, unchanged file is at `path`."""
        return os.path.getsize(path) == self.size and checksums.sha256(path) == self.sha256


# The Large Movie Review Dataset of Maas et al. (2011).
IMDB = Archive(
    url="http://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz",
    size=84_125_825,
    sha256="c40f74a18d3b61f90feba1e17730e0d38e8b97c05fde7008942e91923d1658fe",
)


def fetch(archive: Archive, path: str) -> None:
    """Downloads `archive` to `path`, unless the verified file is already there.

    An interrupted download is resumed, now or by the next call.

    Raises:
      Failure: if the file can't be downloaded, or is not the published one.
    """
    if os.path.exists(path) and archive.is_at(path):
        return
    partial = atomic.sibling(path, "partial")
    resumed = _download(archive, partial)
    if resumed and not archive.is_at(partial):
        os.remove(partial)  # it was part of another file
        _download(archive, partial)
    if not archive.is_at(partial):
        found = f"{os.path.getsize(partial)} bytes, SHA-256 {checksums.sha256(partial)}"
        os.remove(partial)
        raise Failure(
            f"{archive.url} is not the published file: {found}, instead of {archive.size} bytes, "
            f"SHA-256 {archive.sha256}; nothing was unpacked"
        )
    os.replace(partial, path)


def _download(archive: Archive, partial: str) -> bool:
    """Downloads what is missing of `partial`; returns whether it kept what was there."""
    start = os.path.getsize(partial) if os.path.exists(partial) else 0
    if start >= archive.size:
        return True
    headers = {"Range": f"bytes={start}-"} if start else {}
    request = urllib.request.Request(archive.url, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
            resumed = response.status == http.HTTPStatus.PARTIAL_CONTENT
            with (
                open(partial, "ab" if resumed else "wb") as file,
                terminal.file_progress("downloading", file, archive.size),
            ):
                shutil.copyfileobj(response, file)
        size = os.path.getsize(partial)
        if size < archive.size:
            raise ConnectionError(f"it ended after {size} of {archive.size} bytes")
    except (OSError, http.client.HTTPException) as error:
        raise Failure(
            f"{archive.url} can't be downloaded ({getattr(error, 'reason', error)}): run again to "
            "resume, or get the file elsewhere and run `make data ARCHIVE=path/to/file`"
        ) from None
    return resumed


@dataclasses.dataclass(frozen=True)
class Options:
    """The flags."""

    output: Path = flag("the folder to create", "data/aclImdb")
    archive: Path | None = flag("local tar or zip archive to unpack, instead of a download", None)


def main(argv: list[str]) -> None:
    parser = command_line.ArgumentParser(
        prog="pipelines.download", description="Downloads and unpacks the IMDb reviews."
    )
    command_line.add_flags(parser, Options)
    args = parser.parse_args(argv)

    storage.check_local(args.output)
    if args.archive:
        storage.check_apart(archive=args.archive, output=args.output)
    output = os.path.realpath(args.output)
    if os.path.isfile(output):
        raise BadInput(f"{args.output} is a file: name a new folder")
    if os.path.isdir(output) and os.listdir(output):
        terminal.say(f"{args.output} already exists: delete it to unpack again")
        return
    if args.archive and not os.path.isfile(args.archive):
        raise BadInput(f"no file {args.archive}: name a tar or zip archive")
    os.makedirs(os.path.dirname(output), exist_ok=True)
    archive = args.archive or os.path.join(os.path.dirname(output), os.path.basename(IMDB.url))
    if not args.archive:
        fetch(IMDB, archive)
    terminal.say(f"{archive}: SHA-256 {checksums.sha256(archive)}")
    number = archives.unpack(archive, output)
    from pipelines import summary  # here, since the import is slow

    summary.show_files(output)
    terminal.say(f"{args.output}: {number:,} files")


if __name__ == "__main__":
    app.run(main)
