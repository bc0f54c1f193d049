"""`pipelines.download`: what is downloaded, resumed, refused and unpacked."""

import hashlib
import http.server
import io
import os
import re
import stat
import subprocess
import sys
import tarfile
import threading
import zipfile

import pytest

from pipelines import archives, download
from textrecords import checksums
from textrecords.errors import BadInput, Failure

REVIEWS = {"train/pos/0_9.txt": b"good", "train/neg/0_2.txt": b"bad", "README": b"all of it"}
BODY = bytes(range(256)) * 1000


def file_member(name, data=b"x"):
    member = tarfile.TarInfo(name)
    member.size = len(data)
    return member, data


def special_member(name, kind, linkname=""):
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, linkname
    return member, b""


def write_tar(path, members, mode="w:gz"):
    with tarfile.open(path, mode) as tar:
        for member, data in members:
            tar.addfile(member, io.BytesIO(data))
    return str(path)


def write_reviews(path, prefix="aclImdb/", mode="w:gz"):
    return write_tar(path, [file_member(prefix + name, REVIEWS[name]) for name in REVIEWS], mode)


def tree(folder):
    return {
        os.path.relpath(path, folder): open(path, "rb").read()
        for path in (os.path.join(at, name) for at, _, names in os.walk(folder) for name in names)
    }


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        wanted = self.headers["Range"]
        self.server.ranges.append(wanted)
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0
        partial = wanted and self.server.honours_range
        self.send_response(206 if partial else 200)
        body = BODY[start:] if partial else BODY
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: self.server.sends])

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        server.ranges, server.honours_range, server.sends = [], True, len(BODY)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def published(server, body=BODY):
    url = f"http://127.0.0.1:{server.server_port}/file.tar.gz"
    return download.Archive(url, size=len(body), sha256=hashlib.sha256(body).hexdigest())


def test_download_is_verified_and_not_repeated(server, tmp_path):
    path = tmp_path / "file.tar.gz"
    download.fetch(published(server), str(path))
    download.fetch(published(server), str(path))
    assert path.read_bytes() == BODY
    assert server.ranges == [None]
    assert os.listdir(tmp_path) == ["file.tar.gz"]


def test_broken_download_is_kept_and_resumed(server, tmp_path):
    path = tmp_path / "file.tar.gz"
    server.sends = 1000
    with pytest.raises(Failure, match=r"ended after 1000 of 256000 bytes.*ARCHIVE="):
        download.fetch(published(server), str(path))
    assert os.listdir(tmp_path) == [".file.tar.gz.textrecords-partial"]
    server.sends = len(BODY)
    download.fetch(published(server), str(path))
    assert path.read_bytes() == BODY
    assert server.ranges == [None, "bytes=1000-"]


def test_download_restarts_if_the_server_does_not_resume(server, tmp_path):
    server.honours_range = False
    (tmp_path / ".file.textrecords-partial").write_bytes(BODY[:1000])
    download.fetch(published(server), str(tmp_path / "file"))
    assert (tmp_path / "file").read_bytes() == BODY
    assert server.ranges == ["bytes=1000-"]


@pytest.mark.parametrize("left", [b"not the beginning", b"too long" * len(BODY)])
def test_download_restarts_if_what_was_left_does_not_fit(server, tmp_path, left):
    (tmp_path / ".file.textrecords-partial").write_bytes(left)
    download.fetch(published(server), str(tmp_path / "file"))
    assert (tmp_path / "file").read_bytes() == BODY
    assert server.ranges[-1] is None


@pytest.mark.parametrize("expected", [BODY[::-1], BODY[:-1]], ids=["hash", "size"])
def test_another_file_than_the_published_one_is_refused(server, tmp_path, expected):
    with pytest.raises(Failure, match="is not the published file"):
        download.fetch(published(server, expected), str(tmp_path / "file"))
    assert os.listdir(tmp_path) == []


def test_a_changed_file_is_downloaded_again(server, tmp_path):
    (tmp_path / "file").write_bytes(BODY[::-1])
    download.fetch(published(server), str(tmp_path / "file"))
    assert (tmp_path / "file").read_bytes() == BODY


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz"])
@pytest.mark.parametrize("prefix", ["aclImdb/", "./aclImdb/", "", "./"])
def test_a_single_top_folder_becomes_the_output(tmp_path, prefix, mode):
    output = tmp_path / "out"
    archive = write_reviews(tmp_path / "a.tar", prefix, mode)
    assert archives.unpack(archive, str(output)) == 3
    assert tree(output) == REVIEWS
    assert sorted(os.listdir(tmp_path)) == ["a.tar", "out"]


def test_files_of_macos_next_to_the_top_folder_are_ignored(tmp_path):
    left = [file_member("__MACOSX/aclImdb/._README"), file_member(".DS_Store")]
    members = [file_member(f"aclImdb/{name}", text) for name, text in REVIEWS.items()]
    archives.unpack(write_tar(tmp_path / "a.tar", [*left, *members]), str(tmp_path / "out"))
    assert tree(tmp_path / "out") == REVIEWS


def test_an_archive_of_class_folders_alone_is_named_with_what_splits_it(tmp_path):
    archive = write_tar(tmp_path / "a.tar", [file_member(f"a/{c}/0.txt") for c in ("bad", "good")])
    with pytest.raises(BadInput) as error:
        archives.unpack(archive, str(tmp_path / "out"))
    assert str(error.value) == (
        f"{archive} has no folder train: it must contain train/<class>/*.txt; if it has only "
        "class folders, unpack it yourself, and give preprocess --test 0.2"
    )
    assert os.listdir(tmp_path) == ["a.tar"]


def test_a_single_split_stays_a_split(tmp_path):
    archive = write_tar(tmp_path / "a.tar", [file_member("train/pos/0_9.txt", b"good")])
    archives.unpack(archive, str(tmp_path / "out"))
    assert tree(tmp_path / "out") == {"train/pos/0_9.txt": b"good"}


@pytest.mark.parametrize(
    ("member", "message"),
    [
        (file_member("/absolute.txt"), "'/absolute.txt' has an absolute path"),
        (file_member("../up.txt"), "'../up.txt' would be extracted to .* outside"),
        (file_member("a/../../up.txt"), "'a/../../up.txt' would be extracted to .* outside"),
        (special_member("out", tarfile.SYMTYPE, "../.."), "'out' is a link"),
        (special_member("out", tarfile.SYMTYPE, "/etc"), "'out' is a link"),
        (special_member("in", tarfile.SYMTYPE, "train"), "'in' is a link"),
        (special_member("hard", tarfile.LNKTYPE, "../../other"), "'hard' is a link"),
        (special_member("pipe", tarfile.FIFOTYPE), "'pipe' is a special file"),
        (special_member("null", tarfile.CHRTYPE), "'null' is a special file"),
        (special_member("disk", tarfile.BLKTYPE), "'disk' is a special file"),
    ],
)
def test_a_hostile_archive_is_refused_and_leaves_nothing(tmp_path, member, message):
    members = [file_member("train/pos/0_9.txt"), member, file_member("train/neg/0_2.txt")]
    archive = write_tar(tmp_path / "a.tar", members)
    with pytest.raises(BadInput, match=message):
        archives.unpack(archive, str(tmp_path / "data" / "out"))
    assert os.listdir(tmp_path / "data") == []
    assert sorted(os.listdir(tmp_path)) == ["a.tar", "data"]


@pytest.mark.parametrize(
    ("size", "number"), [(9_000, 1), (1_000, 4), (0, 40)], ids=["one", "several", "empty files"]
)
def test_an_archive_that_is_a_bomb_is_refused_and_leaves_nothing(
    tmp_path, monkeypatch, size, number
):
    monkeypatch.setattr(archives, "MIN_LIMIT", 9_000)
    monkeypatch.setattr(archives, "MAX_RATIO", 5)
    members = [file_member(f"train/pos/{n}.txt", b"a" * size) for n in range(number)]
    monkeypatch.setattr(archives, "BYTES_PER_FILE", 1_500)
    archive = write_tar(tmp_path / "a.tar.gz", members, "w:xz")
    assert os.path.getsize(archive) < 1_500
    with pytest.raises(BadInput, match="unpacks to more than 5 times its size"):
        archives.unpack(archive, str(tmp_path / "data" / "out"))
    assert os.listdir(tmp_path / "data") == []


@pytest.mark.parametrize(
    ("kind", "size", "message"),
    [
        (tarfile.REGTYPE, 2**40, "it unpacks to more than 50 times its size"),
        (tarfile.REGTYPE, -512, "has -512 bytes"),
        (tarfile.GNUTYPE_LONGNAME, 2**31, "has 2,147,483,648 bytes"),
        (tarfile.XHDTYPE, 2**31, "has 2,147,483,648 bytes"),
        (tarfile.GNUTYPE_SPARSE, 2**31, "has 2,147,483,648 bytes"),
    ],
)
def test_a_size_is_refused_before_so_much_is_read(tmp_path, kind, size, message):
    """The archive declares the bytes, but contains none of them."""
    member = tarfile.TarInfo("train/pos/0_9.txt")
    member.type, member.size = kind, size
    (tmp_path / "a.tar").write_bytes(member.tobuf(tarfile.GNU_FORMAT))
    with pytest.raises(BadInput, match=message) as error:
        archives.unpack(str(tmp_path / "a.tar"), str(tmp_path / "out"))
    assert "\n" not in str(error.value)
    assert os.listdir(tmp_path) == ["a.tar"]


@pytest.mark.parametrize("kept", [0, 10, -20], ids=["empty", "begun", "cut"])
def test_a_broken_archive_is_refused_and_leaves_nothing(tmp_path, kept):
    archive = write_reviews(tmp_path / "a.tar")
    with open(archive, "rb+") as file:
        file.truncate(kept % os.path.getsize(archive))
    with pytest.raises(BadInput, match="can't be unpacked") as error:
        archives.unpack(archive, str(tmp_path / "out"))
    assert "\n" not in str(error.value)
    assert os.listdir(tmp_path) == ["a.tar"]


def test_an_archive_without_files_is_refused(tmp_path):
    archive = write_tar(tmp_path / "a.tar", [special_member("train", tarfile.DIRTYPE)])
    with pytest.raises(BadInput, match="contains no files"):
        archives.unpack(archive, str(tmp_path / "out"))
    assert os.listdir(tmp_path) == ["a.tar"]


def test_what_a_killed_run_left_is_not_mixed_in(tmp_path):
    left = tmp_path / ".out.textrecords-new" / "0" / "train"
    left.mkdir(parents=True)
    (left / "old.txt").write_text("old")
    archives.unpack(write_reviews(tmp_path / "a.tar"), str(tmp_path / "out"))
    assert tree(tmp_path / "out") == REVIEWS
    assert sorted(os.listdir(tmp_path)) == ["a.tar", "out"]


def test_a_users_own_folder_next_to_the_output_stays(tmp_path):
    (tmp_path / "out.partial").mkdir()
    (tmp_path / "out.partial" / "mine.txt").write_text("mine")
    archives.unpack(write_reviews(tmp_path / "a.tar"), str(tmp_path / "out"))
    assert tree(tmp_path / "out.partial") == {"mine.txt": b"mine"}


def test_hidden_files_and_folders_are_unpacked(tmp_path):
    names = (".x", ".git/config", "train/pos/0.txt", "train/pos/.y")
    archive = write_tar(tmp_path / "a.tar", [file_member(name) for name in names])
    archives.unpack(archive, str(tmp_path / "out"))
    assert set(tree(tmp_path / "out")) == set(names)


def test_a_folder_with_the_name_of_its_parent_is_unpacked(tmp_path):
    members = [file_member(f"train/train/{name}/0.txt", name.encode()) for name in ("a", "b")]
    archive = write_tar(tmp_path / "a.tar", members)
    archives.unpack(archive, str(tmp_path / "out"))
    assert tree(tmp_path / "out") == {"train/train/a/0.txt": b"a", "train/train/b/0.txt": b"b"}


def write_zip(path, members, compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return str(path)


def zip_link(name):
    member = zipfile.ZipInfo(name)
    member.create_system, member.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    return member


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("prefix", ["dataset/", ""])
def test_a_zip_is_unpacked_as_a_tar_is(tmp_path, prefix, compression):
    members = [(prefix + name, data) for name, data in REVIEWS.items()]
    archive = write_zip(tmp_path / "a.zip", members, compression)
    assert archives.unpack(archive, str(tmp_path / "out")) == 3
    assert tree(tmp_path / "out") == REVIEWS


@pytest.mark.parametrize(
    ("member", "message"),
    [
        ("/absolute.txt", "'/absolute.txt' leads out of the archive"),
        ("../up.txt", "'../up.txt' leads out of the archive"),
        ("a/../../up.txt", "leads out of the archive"),
        ("a\\..\\up.txt", "leads out of the archive"),
        ("C:/up.txt", "'C:/up.txt' leads out of the archive"),
        (zip_link("in"), "'in' is a link or a special file"),
    ],
)
def test_a_hostile_zip_is_refused_and_leaves_nothing(tmp_path, member, message):
    archive = write_zip(tmp_path / "a.zip", [("train/pos/0.txt", b"x"), (member, b"x")])
    with pytest.raises(BadInput, match=re.escape(message)):
        archives.unpack(archive, str(tmp_path / "data" / "out"))
    assert os.listdir(tmp_path / "data") == []
    assert sorted(os.listdir(tmp_path)) == ["a.zip", "data"]


def test_a_zip_that_is_a_bomb_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MIN_LIMIT", 9_000)
    archive = write_zip(tmp_path / "a.zip", [("train/pos/0.txt", b"a" * 200_000)])
    with pytest.raises(BadInput, match="unpacks to more than 50 times its size"):
        archives.unpack(archive, str(tmp_path / "out"))


@pytest.mark.parametrize("damage", ["cut", "changed", "encrypted"])
def test_a_zip_that_cannot_be_read_is_refused(tmp_path, damage):
    archive = write_zip(
        tmp_path / "a.zip", [("train/pos/0.txt", b"good " * 99)], zipfile.ZIP_STORED
    )
    content = bytearray((tmp_path / "a.zip").read_bytes())
    if damage == "cut":
        del content[-30:]
    elif damage == "changed":
        content[60] ^= 1
    else:
        for at in (content.index(b"PK\x03\x04") + 6, content.index(b"PK\x01\x02") + 8):
            content[at] |= 1
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(BadInput, match="can't be unpacked") as error:
        archives.unpack(archive, str(tmp_path / "out"))
    assert "\n" not in str(error.value)
    assert os.listdir(tmp_path) == ["a.zip"]


def command(*args, **env):
    return subprocess.run(
        [sys.executable, "-m", "pipelines.download", *map(str, args)],
        capture_output=True,
        text=True,
        env={**os.environ, **env},
        check=False,
    )


def test_command_prints_the_hash_and_the_number_of_files_once(tmp_path):
    archive = write_reviews(tmp_path / "a.tar.gz")
    output = tmp_path / "data" / "out"
    done = command("--output", output, "--archive", archive)
    assert done.returncode == 0
    assert f"SHA-256 {checksums.sha256(archive)}" in done.stdout
    assert done.stdout.endswith(f"{output}: 3 files\n")
    again = command("--output", output, "--archive", archive)
    assert again.returncode == 0
    assert again.stdout == f"{output} already exists: delete it to unpack again\n"


def test_command_counts_files_of_nested_folders_and_takes_a_split_that_is_a_file(tmp_path):
    names = ("train/neg/0.txt", "train/neg/deep/1.txt", "train/pos/0.txt", "test")
    archive = write_tar(tmp_path / "a.tar.gz", [file_member(name) for name in names])
    done = command("--output", tmp_path / "out", "--archive", archive)
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split() for line in done.stdout.splitlines() if "train" in line] == [
        ["train", "neg", "2"],
        ["train", "pos", "1"],
    ]
    assert done.stdout.endswith(f"{tmp_path / 'out'}: 4 files\n")


def test_command_refuses_a_missing_archive_in_one_line(tmp_path):
    done = command("--output", tmp_path / "out", "--archive", tmp_path / "none.tar")
    assert done.returncode == 2
    assert done.stderr == f"error: no file {tmp_path / 'none.tar'}: name a tar or zip archive\n"
    assert os.listdir(tmp_path) == []


def test_command_without_a_network_names_the_other_way_in_one_line(tmp_path):
    proxy = "http://127.0.0.1:1"  # where nothing listens
    done = command("--output", tmp_path / "out", http_proxy=proxy, no_proxy="")
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {download.IMDB.url} can't be downloaded (")
    assert done.stderr.endswith("`make data ARCHIVE=path/to/file`\n")
    assert done.stderr.count("\n") == 1
    assert os.listdir(tmp_path) == []
