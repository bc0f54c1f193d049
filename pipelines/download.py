"""Downloads the IMDb reviews, or takes a local archive, and unpacks it: `make data`."""

import contextlib
import dataclasses
import gzip
import http.client
import lzma
import os
import shutil
import tarfile
import urllib.request
import zlib
from typing import IO

from textrecords import app, checksums, command_line, spec, storage, terminal
from textrecords.errors import BadInput, Failure

TIMEOUT_S = 30  # for the connection and for each read, not for the whole download
# Text packs to a third or a tenth. Small archives may be of a few files that repeat themselves.
MOST_UNPACKED = 50
LEAST_LIMIT = 100_000_000  # bytes
BYTES_A_FILE = 1_000  # what a file costs on disk beside its content
MOST_HEADER = 2**20  # bytes of a long name and the like, which tarfile reads into memory at once


@dataclasses.dataclass(frozen=True)
class Archive:
    """A published file: `size` in bytes, `sha256` in hex."""

    url: str
    size: int
    sha256: str

    def is_at(self, path: str) -> bool:
        """Returns whether the whole, unchanged file lies at `path`."""
        return os.path.getsize(path) == self.size and checksums.sha256(path) == self.sha256


# The Large Movie Review Dataset of Maas et al. (2011).
IMDB = Archive(
    url="http://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz",
    size=84_125_825,
    sha256="c40f74a18d3b61f90feba1e17730e0d38e8b97c05fde7008942e91923d1658fe",
)


def fetch(archive: Archive, path: str) -> None:
    """Downloads `archive` to `path`, unless the verified file is there already.

    What a broken download has left in `<path>.partial` is resumed, now or by the next call.

    Raises:
      Failure: if the file can't be had, or is not the published one.
    """
    if os.path.exists(path) and archive.is_at(path):
        return
    partial = f"{path}.partial"
    resumed = _download(archive, partial)
    if resumed and not archive.is_at(partial):
        os.remove(partial)  # what was there belonged to another file
        _download(archive, partial)
    if not archive.is_at(partial):
        found = f"{os.path.getsize(partial)} bytes, SHA-256 {checksums.sha256(partial)}"
        os.remove(partial)
        raise Failure(
            f"{archive.url} is not the published file: {found}, "
            f"but {archive.size} bytes, SHA-256 {archive.sha256} is right; nothing was unpacked"
        )
    os.replace(partial, path)


def _download(archive: Archive, partial: str) -> bool:
    """Writes to `partial` what it lacks; returns whether it kept what was there."""
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
                _show("downloading", file, archive.size),
            ):
                shutil.copyfileobj(response, file)
        size = os.path.getsize(partial)
        if size < archive.size:
            raise ConnectionError(f"it ended after {size} of {archive.size} bytes")
    except (OSError, http.client.HTTPException) as error:
        raise Failure(
            f"{archive.url} can't be downloaded ({getattr(error, 'reason', error)}): run it again "
            "to resume, or get the file elsewhere and run `make data ARCHIVE=path/to/file.tar.gz`"
        ) from None
    return resumed


def _show(what: str, file: IO[bytes], size: int) -> contextlib.AbstractContextManager[None]:
    """Shows how far into a file of so many bytes its reader or writer is."""
    return terminal.progress(lambda: (what, file.tell(), size), of_bytes=True)


def unpack(path: str, output: str) -> int:
    """Unpacks the tar archive at `path` to the folder `output`, whole or not at all.

    A single folder at the archive's top becomes `output` itself, unless it is a split.

    Returns:
      The number of files.

    Raises:
      BadInput: if the file is no archive, is broken, or holds anything that isn't a plain
        file or folder below `output`.
      Failure: if the files can't be written.
    """
    partial = f"{output}.partial"
    shutil.rmtree(partial, ignore_errors=True)  # of a run that was killed
    os.makedirs(partial)
    try:
        _extract(path, partial)
        files = sum(len(names) for _, _, names in os.walk(partial))
        if not files:
            raise BadInput(f"{path} holds no files: name a tar archive of text files")
        top = _top(partial)
        if not os.path.isdir(os.path.join(top, spec.TRAIN)):
            raise BadInput(f"{path} has no folder train: it must hold train/<class>/*.txt")
        os.rename(top, output)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return files


def _extract(path: str, folder: str) -> None:
    size = os.path.getsize(path)
    try:
        with (
            open(path, "rb") as file,
            _show("unpacking", file, size),
            tarfile.open(fileobj=file, tarinfo=_Header) as tar,
        ):
            tar.extractall(folder, filter=_Limited(size))
    except (
        tarfile.TarError,
        gzip.BadGzipFile,
        zlib.error,
        lzma.LZMAError,
        EOFError,
        ValueError,
    ) as error:
        reason = str(error).partition(":\n")[0]  # what each compression finds amiss follows
        raise BadInput(
            f"{path} can't be unpacked ({reason}): name a whole tar archive of plain text files"
        ) from None
    except OSError as error:
        raise Failure(f"{path} can't be unpacked ({error})") from None


class _Header(tarfile.TarInfo):
    """A header, refused for its size before tarfile goes by it."""

    @classmethod
    def frombuf(cls, buf: bytes, encoding: str, errors: str) -> "_Header":
        header = super().frombuf(buf, encoding, errors)
        is_file = header.type in (tarfile.REGTYPE, tarfile.AREGTYPE)
        if header.size < 0 or (header.size > MOST_HEADER and not is_file):
            raise tarfile.FilterError(f"{header.name!r} has {header.size:,} bytes")
        return header


class _Limited:
    """A tarfile filter that takes plain files as long as they are no bomb.

    Args:
      packed: bytes of the archive; all that is in it may take `MOST_UNPACKED` as many.
    """

    def __init__(self, packed: int):
        self._left = max(LEAST_LIMIT, MOST_UNPACKED * packed)

    def __call__(self, member: tarfile.TarInfo, folder: str) -> tarfile.TarInfo:
        self._left -= member.size + BYTES_A_FILE
        if self._left < 0:
            raise tarfile.FilterError(
                f"it unpacks to more than {MOST_UNPACKED} times its own size, as no texts do"
            )
        return _plain_data(member, folder)


def _plain_data(member: tarfile.TarInfo, folder: str) -> tarfile.TarInfo:
    """A tarfile filter, stricter than Python's own, which it uses for `..` and the owner.

    Python's strips the root from an absolute name, and lets links within the tree through, by
    which early releases of 3.11 to 3.13 could be led out of it. Modes and times aren't kept: a
    review needs none, and a file is made with fewer system calls.
    """
    if os.path.isabs(member.name):
        raise tarfile.AbsolutePathError(member)
    if member.issym() or member.islnk():
        raise tarfile.FilterError(f"{member.name!r} is a link")
    return tarfile.data_filter(member, folder).replace(mode=None, mtime=None, deep=False)


def _top(folder: str) -> str:
    """Returns the only folder in `folder`, or `folder` itself if there is more or it is a split."""
    names = os.listdir(folder)
    top = os.path.join(folder, names[0])
    is_wrapper = len(names) == 1 and os.path.isdir(top) and names[0] not in spec.SPLITS
    return top if is_wrapper else folder


def main(argv: list[str]) -> None:
    parser = command_line.ArgumentParser(
        prog="pipelines.download", description="Downloads and unpacks the IMDb reviews."
    )
    parser.add_argument("--output", default="data/aclImdb", help="the folder to make")
    parser.add_argument("--archive", help="unpack this local tar archive, and download nothing")
    args = parser.parse_args(argv)

    storage.check_local(args.output)
    output = os.path.realpath(args.output)
    if os.path.isfile(output):
        raise BadInput(f"{args.output} is a file: name a new folder")
    if os.path.isdir(output) and os.listdir(output):
        terminal.say(f"{args.output} is there already: delete it to unpack again")
        return
    if args.archive and not os.path.isfile(args.archive):
        raise BadInput(f"no file {args.archive}: name a tar archive")
    os.makedirs(os.path.dirname(output), exist_ok=True)
    archive = args.archive or os.path.join(os.path.dirname(output), os.path.basename(IMDB.url))
    if not args.archive:
        fetch(IMDB, archive)
    terminal.say(f"{archive}: SHA-256 {checksums.sha256(archive)}")
    number = unpack(archive, output)
    from pipelines import summary  # here, since it takes a while

    summary.show_files(output)
    terminal.say(f"{args.output}: {number:,} files")


if __name__ == "__main__":
    app.run(main)
