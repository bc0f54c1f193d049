"""Unpacks tar and zip archives of text files atomically; refuses hostile ones."""

import contextlib
import gzip
import lzma
import os
import pathlib
import shutil
import stat
import tarfile
import uuid
import zipfile
import zlib
from collections.abc import Iterator
from typing import IO

from textrecords import atomic, spec, storage, terminal
from textrecords.errors import BadInput, Failure

# Text compresses to a third or a tenth. Small archives may have a few repetitive files.
MAX_RATIO = 50
MIN_LIMIT = 100_000_000  # bytes
BYTES_PER_FILE = 1_000  # overhead of a file on disk
MAX_HEADER = 2**20  # bytes of a long name or similar, which tarfile reads into memory at once

# The errors of the libraries for an archive that is broken, truncated, encrypted or hostile.
ERRORS = (
    tarfile.TarError,
    zipfile.BadZipFile,
    gzip.BadGzipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    NotImplementedError,
    ValueError,
)


def unpack(path: str, output: str) -> int:
    """Unpacks the archive at `path` to the folder `output`, which must be empty or missing.

    A single folder at the top of the archive becomes `output` itself, unless it is a split.

    Returns:
      The number of files.

    Raises:
      BadInput: if the file isn't an archive, is broken, or contains anything other than plain files
        and folders below `output`.
      Failure: if the files can't be written.
    """
    with atomic.write_folder(output, holds=atomic.NOTHING, marker="") as folder:
        unpacked = os.path.join(folder, uuid.uuid4().hex)
        os.mkdir(unpacked)
        with _errors_reported(path):
            _extract(path, unpacked)
        top = _top(unpacked)
        number = sum(len(names) for _, _, names in os.walk(top))
        if not number:
            raise BadInput(f"{path} contains no files: name an archive of text files")
        if not os.path.isdir(os.path.join(top, spec.TRAIN)):
            raise BadInput(
                f"{path} has no folder train: it must contain train/<class>/*.txt; if it has only "
                "class folders, unpack it yourself, and give preprocess --test 0.2"
            )
        for name in os.listdir(top):
            os.rename(os.path.join(top, name), os.path.join(folder, name))
        shutil.rmtree(unpacked)
    return number


def _extract(path: str, folder: str) -> None:
    size = os.path.getsize(path)
    limited = _Limited(size)
    with open(path, "rb") as file, terminal.file_progress("unpacking", file, size):
        if zipfile.is_zipfile(file):
            _extract_zip(file, folder, limited)
            return
        file.seek(0)
        with tarfile.open(fileobj=file, tarinfo=_Header) as tar:
            tar.extractall(folder, filter=limited.tar_filter)


@contextlib.contextmanager
def _errors_reported(path: str) -> Iterator[None]:
    try:
        yield
    except ERRORS as error:
        reason = str(error).partition(":\n")[0]  # followed by the error of each compression
        raise BadInput(
            f"{path} can't be unpacked ({reason}): name a complete tar or zip archive of plain "
            "text files"
        ) from None
    except OSError as error:
        raise Failure(f"{path} can't be unpacked ({error})") from None


def _extract_zip(file: IO[bytes], folder: str, limited: "_Limited") -> None:
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        for member in members:
            limited.take(member.file_size)
            _check_plain(member)
        for member in members:
            archive.extract(member, folder)


def _check_plain(member: zipfile.ZipInfo) -> None:
    """Raises `ValueError` for an encrypted zip member, or one that isn't a plain file or folder."""
    parts = pathlib.PurePosixPath(member.filename.replace("\\", "/")).parts
    kind = stat.S_IFMT(member.external_attr >> 16)  # Unix mode; 0 if it was made elsewhere
    if not parts or parts[0] == "/" or ".." in parts or ":" in parts[0]:
        raise ValueError(f"{member.filename!r} leads out of the archive")
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise ValueError(f"{member.filename!r} is a link or a special file")
    if member.flag_bits & 1:
        raise ValueError(f"{member.filename!r} is encrypted")


class _Header(tarfile.TarInfo):
    """A header whose size is checked before tarfile uses it."""

    @classmethod
    def frombuf(cls, buf: bytes, encoding: str, errors: str) -> "_Header":
        header = super().frombuf(buf, encoding, errors)
        is_file = header.type in (tarfile.REGTYPE, tarfile.AREGTYPE)
        if header.size < 0 or (header.size > MAX_HEADER and not is_file):
            raise tarfile.FilterError(f"{header.name!r} has {header.size:,} bytes")
        return header


class _Limited:
    """Limits the unpacked size, against decompression bombs.

    Args:
      packed: bytes of the archive; its content may have `MAX_RATIO` times as many.
    """

    def __init__(self, packed: int):
        self._left = max(MIN_LIMIT, MAX_RATIO * packed)

    def take(self, size: int) -> None:
        """Counts the bytes of a file; raises `ValueError` if the limit is exceeded."""
        self._left -= size + BYTES_PER_FILE
        if self._left < 0:
            raise ValueError(
                f"it unpacks to more than {MAX_RATIO} times its size, which texts never do"
            )

    def tar_filter(self, member: tarfile.TarInfo, folder: str) -> tarfile.TarInfo:
        """A tarfile filter."""
        self.take(member.size)
        return _plain_data(member, folder)


def _plain_data(member: tarfile.TarInfo, folder: str) -> tarfile.TarInfo:
    """A tarfile filter, stricter than Python's own, which it uses for `..` and the owner.

    Python's filter strips the root from absolute names, and allows links within the tree, through
    which early releases of 3.11 to 3.13 could be led out of it. Modes and times aren't kept:
    reviews don't need them, and files are created with fewer system calls.
    """
    if os.path.isabs(member.name):
        raise tarfile.AbsolutePathError(member)
    if member.issym() or member.islnk():
        raise tarfile.FilterError(f"{member.name!r} is a link")
    return tarfile.data_filter(member, folder).replace(mode=None, mtime=None, deep=False)


def _top(folder: str) -> str:
    """Returns the only folder in `folder`, or `folder` itself if there is more or it's a split.

    Files of operating systems don't count.
    """
    names = [name for name in os.listdir(folder) if not storage.is_leftover(name)]
    tops = [os.path.join(folder, name) for name in names if name not in spec.SPLITS]
    return tops[0] if len(names) == len(tops) == 1 and os.path.isdir(tops[0]) else folder
