"""Files below a folder: which are listed or skipped, and how those in Cloud Storage are read."""

import errno
import os

import pytest

from textrecords import storage, text_source
from textrecords.errors import Failure
from textrecords.text_source import Source


def serve(monkeypatch, *names):
    """Fills `gs://bucket/in/a`; returns the arguments of each listing."""
    asked = []

    def scan_below(*args):
        asked.append(args)
        assert len(asked) < 100, "it's listed again and again"
        folder, start, end = args
        for name in sorted(names):
            if name >= start and (not end or name < end):
                yield storage.Entry(name, f"{folder}/{name}", False, len(name), 1)

    monkeypatch.setattr(storage, "scan_below", scan_below)
    return asked


def walked(found):
    return [(key, entry.path, why) for key, entry, why in found]


@pytest.mark.parametrize(
    ("path", "folder"),
    [
        ("a/.b/.c/d.txt", "a/.b"),
        (".b/c", ".b"),
        ("a/b/.c/d/e", "a/b/.c"),
        ("__MACOSX/a.txt", "__MACOSX"),
        ("a/Thumbs.db/c.txt", "a/Thumbs.db"),
        ("a/.b", None),
        (".b", None),
        ("a/b/c.txt", None),
        ("", None),
    ],
)
def test_the_outermost_hidden_folder_is_found(path, folder):
    assert text_source._hidden_folder(path) == folder


def test_a_file_in_cloud_storage_may_be_as_large_as_the_limit(monkeypatch):
    monkeypatch.setattr(text_source, "MAX_FILE_BYTES", 3)
    asked, content = [], b"abcd"

    def read_bytes(*args):
        asked.append(args)
        return content[: args[1]]

    monkeypatch.setattr(storage, "read_bytes", read_bytes)
    source = Source("gs://bucket/in")
    bad = {}
    assert list(source.read_good([text_source.Unread(b"caf\xe9.txt")], bad)) == []
    assert bad == {b"caf\xe9.txt": "more than 10,000,000 bytes"}
    with pytest.raises(OSError) as error:
        text_source._read_remote(b"gs://bucket/a.txt")
    assert error.value.args == (errno.EFBIG, "more than 10,000,000 bytes")
    content = b"abc"
    assert text_source._read_remote(b"gs://bucket/a.txt") == b"abc"
    assert asked == [("gs://bucket/in/caf\udce9.txt", 4), *[("gs://bucket/a.txt", 4)] * 2]


def test_a_bucket_is_listed_in_order_with_each_hidden_folder_once(monkeypatch):
    names = ["1.txt", ".g/1.txt", ".g/2.txt", "b/.h/1.txt", "b/.h/i/2.txt", "b/3.txt", "c.md"]
    asked = serve(monkeypatch, *names, "x//y.txt", "z.txt/.k", "z.txt/1.txt")
    path = "gs://bucket/in/a"
    assert walked(Source("gs://bucket/in").walk("a")) == [
        (b"a/.g/1.txt", f"{path}/.g/1.txt", "hidden"),
        (b"a/1.txt", f"{path}/1.txt", None),
        (b"a/b/.h/1.txt", f"{path}/b/.h/1.txt", "hidden"),
        (b"a/b/3.txt", f"{path}/b/3.txt", None),
        (b"a/c.md", f"{path}/c.md", "not *.txt"),
        (b"a/x//y.txt", f"{path}/x//y.txt", "names that are no paths"),
        (b"a/z.txt/.k", f"{path}/z.txt/.k", "hidden"),
        (b"a/z.txt/1.txt", f"{path}/z.txt/1.txt", None),
    ]
    assert asked == [(path, "", ""), (path, ".g0", ""), (path, "b/.h0", "")]


def test_a_range_of_a_bucket_may_begin_in_a_hidden_folder(monkeypatch):
    names = ["1.txt", "b/.h/1.txt", "b/.h/2.txt", "b/3.txt", "c/.i/1.txt", "c/2.txt"]
    asked = serve(monkeypatch, *names)
    found = Source("gs://bucket/in").walk("a", "b/.h/2.txt", "c/2")
    assert [(key, why) for key, _, why in found] == [
        (b"a/b/3.txt", None),
        (b"a/c/.i/1.txt", "hidden"),
    ]
    path = "gs://bucket/in/a"
    assert asked == [(path, "b/.h0", "c/2"), (path, "c/.i0", "c/2")]


def test_the_input_itself_is_listed_by_its_own_path(monkeypatch, tmp_path):
    asked = serve(monkeypatch, "1.txt")
    assert walked(Source("gs://bucket").walk()) == [(b"1.txt", "gs://bucket/1.txt", None)]
    assert asked == [("gs://bucket", "", "")]
    (tmp_path / "1.txt").touch()
    assert walked(Source(str(tmp_path)).walk()) == [(b"1.txt", f"{tmp_path}/1.txt", None)]


def test_files_of_a_disk_are_skipped_for_the_first_reason(tmp_path):
    (tmp_path / "in/a.b/deep").mkdir(parents=True)
    (tmp_path / "in/.a").mkdir()
    (tmp_path / "other").mkdir()
    for name in ("a1.txt", "b1.txt", ".a2.txt", "a.b/a3.txt", "a.b/deep/a4.txt", "a.b/deep/b.txt"):
        (tmp_path / "in" / name).touch()
    os.symlink(tmp_path / "other", tmp_path / "in/a5.txt")
    os.symlink(tmp_path / "in/b1.txt", tmp_path / "in/a6.txt")
    os.mkfifo(tmp_path / "in/b2.txt")
    source = Source(str(tmp_path), pattern="a[0-9].*")
    special = "links to folders, and special files"
    assert sorted(walked(source.walk("in"))) == [
        (f"in/{name}".encode(), f"{tmp_path}/in/{name}", why)
        for name, why in (
            (".a", "hidden"),
            (".a2.txt", "hidden"),
            ("a.b/a3.txt", None),
            ("a.b/deep/a4.txt", None),
            ("a.b/deep/b.txt", "not a[0-9].*"),
            ("a1.txt", None),
            ("a5.txt", special),
            ("a6.txt", None),
            ("b1.txt", "not a[0-9].*"),
            ("b2.txt", special),
        )
    ]


def test_a_folder_that_cannot_be_listed_fails_with_its_path(monkeypatch, tmp_path):
    message = "can't list {} ({}): fix or remove it, and run again"
    with pytest.raises(Failure) as error:
        list(Source(str(tmp_path)).walk("none"))
    assert str(error.value) == message.format(f"{tmp_path}/none", "No such file or directory")

    def scan_below(*_):
        raise OSError(errno.EACCES, "no access")

    monkeypatch.setattr(storage, "scan_below", scan_below)
    with pytest.raises(Failure) as error:
        list(Source("gs://bucket/in").walk("a"))
    assert str(error.value) == message.format("gs://bucket/in/a", "no access")


def test_a_file_may_be_as_large_as_the_limit_also_if_its_size_is_unknown(monkeypatch, tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    files = {os.fsencode(tmp_path / "a"): b"abc"}
    if os.path.exists("/proc/self/cmdline"):  # only on Linux
        files[b"/proc/self/cmdline"] = text_source._read_file(b"/proc/self/cmdline")
    for path, content in files.items():
        monkeypatch.setattr(text_source, "MAX_FILE_BYTES", len(content))
        assert text_source._read_file(path) == content
        monkeypatch.setattr(text_source, "MAX_FILE_BYTES", len(content) - 1)
        with pytest.raises(OSError) as raised:
            text_source._read_file(path)
        assert (raised.value.errno, raised.value.strerror) == (errno.EFBIG, text_source.TOO_LARGE)


def test_a_pipe_is_no_file_and_stops_nobody(tmp_path):
    os.mkfifo(tmp_path / "a")
    with pytest.raises(OSError) as raised:
        text_source._read_file(os.fsencode(tmp_path / "a"))
    assert (raised.value.errno, raised.value.strerror) == (errno.EINVAL, "not a file")


def test_a_review_that_cannot_be_read_is_named_by_its_path(tmp_path):
    (tmp_path / "a").write_bytes(b"good")
    reviews = [text_source.Unread(b"a"), text_source.Unread(b"b")]
    source = Source(str(tmp_path))
    read = source.read(reviews)
    assert next(read) == b"good"
    with pytest.raises(Failure) as failed:
        next(read)
    assert str(failed.value) == (
        f"can't read {tmp_path}/b (No such file or directory): fix or remove it, and run again"
    )
    bad = {}
    assert list(source.read_good(reviews, bad)) == [(reviews[0], b"good")]
    assert bad == {b"b": "No such file or directory"}


def test_texts_in_cloud_storage_are_read_many_at_once(monkeypatch):
    asked = []

    def read_bytes(path, limit):
        asked.append(path)
        return b"text"

    def map_concurrently(work, items):
        asked.append("many")
        return map(work, items)

    monkeypatch.setattr(storage, "read_bytes", read_bytes)
    monkeypatch.setattr(storage, "map_concurrently", map_concurrently)
    assert list(Source("gs://bucket/in").read([text_source.Unread(b"a")])) == [b"text"]
    assert asked == ["many", "gs://bucket/in/a"]
