"""Folders are complete or absent."""

import contextlib
import errno
import os
import shutil
import signal
import subprocess
import sys
import tempfile

import needs
import pytest
from tiny_tree import write

from textrecords import atomic, checksums, storage
from textrecords.errors import BadInput, Failure

OURS = {"holds": "a|b", "marker": "a"}


def fill(folder):
    with open(os.path.join(folder, "a"), "w") as file:
        file.write("new")


def test_a_complete_folder_replaces_an_old_one_of_this_program(tmp_path):
    write(tmp_path, {"out/a": "old", "out/b": "old"})
    with atomic.write_folder(str(tmp_path / "out"), **OURS) as new:
        fill(new)
        assert (tmp_path / "out" / "a").read_text() == "old"
    assert os.listdir(tmp_path) == ["out"]
    assert os.listdir(tmp_path / "out") == ["a"]
    assert (tmp_path / "out" / "a").read_text() == "new"


def test_a_block_that_fails_leaves_all_as_it_was(tmp_path):
    write(tmp_path, {"out/a": "old"})
    with pytest.raises(KeyError), atomic.write_folder(str(tmp_path / "out"), **OURS) as new:
        fill(new)
        raise KeyError
    assert os.listdir(tmp_path) == ["out"]
    assert (tmp_path / "out" / "a").read_text() == "old"


def test_a_file_that_fails_half_way_leaves_the_old_one(tmp_path):
    write(tmp_path, {"x.html": "old"})
    with pytest.raises(UnicodeEncodeError):
        atomic.write_text(str(tmp_path / "x.html"), "new\ud800")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


@pytest.mark.parametrize("name", ["b", "c"])
def test_a_users_own_folder_is_refused(tmp_path, name):
    """`b` is a valid name, but that doesn't count without the marker."""
    write(tmp_path, {f"out/{name}": "mine"})
    with (
        pytest.raises(BadInput, match=f"contains {name}, which would be lost"),
        atomic.write_folder(str(tmp_path / "out"), **OURS),
    ):
        pass
    assert (tmp_path / "out" / name).read_text() == "mine"


def test_all_files_with_sums_are_on_the_disk(tmp_path, monkeypatch):
    """Otherwise a power cut could leave a complete list of incomplete files."""
    write(tmp_path, {"out/a": "x", "out/deep/er/b": "y", "out/logs/c": "z"})
    flushed, fsync = set(), os.fsync

    def record(file):
        flushed.add(os.fstat(file).st_ino)
        fsync(file)

    monkeypatch.setattr(os, "fsync", record)
    checksums.write(str(tmp_path / "out"))
    made = [tmp_path / "out", *(tmp_path / "out").rglob("*")]
    assert flushed == {path.stat().st_ino for path in made}
    assert checksums.SUMS in os.listdir(tmp_path / "out")


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk")
    for _ in range(2):
        with atomic.write_folder(str(tmp_path / "out"), **OURS) as new:
            fill(new)
        assert (tmp_path / "out").is_symlink()
        assert sorted(os.listdir(tmp_path)) == ["disk", "out"]
        assert os.listdir(tmp_path / "disk") == ["a"]


def test_a_second_run_is_refused_until_the_first_has_ended(tmp_path):
    path = str(tmp_path / "out")
    with atomic.write_folder(path, **OURS):
        with pytest.raises(BadInput) as error, atomic.write_folder(path, **OURS):
            pass
        assert str(error.value) == (
            f"another run is writing {path} (process {os.getpid()}): wait for it, or name another "
            "folder"
        )
        with atomic.write_folder(str(tmp_path / "other"), **OURS):
            pass
    with atomic.write_folder(path, **OURS):
        pass
    assert sorted(os.listdir(tmp_path)) == ["other", "out"]


def test_what_a_killed_run_left_is_swept(tmp_path):
    left = tmp_path / ".out.textrecords-new"
    (left / ".temp-x" / "deeper").mkdir(parents=True)
    (left / "manifest.json").write_text("half")
    (left / "link").symlink_to(tmp_path)
    with atomic.write_folder(str(tmp_path / "out"), **OURS) as new:
        assert os.listdir(new) == []
    assert os.listdir(tmp_path) == ["out"]
    assert os.listdir(tmp_path / "out") == []


def finish(folder, name, text):
    """Writes a file and notes that it's finished."""
    write(folder, {name: text, os.path.basename(atomic.note(name, atomic.FINISHED)): "whole"})


def test_what_is_finished_is_kept_until_a_run_succeeds(tmp_path):
    path, kept = str(tmp_path / "out"), tmp_path / ".out.textrecords-kept"
    for error in (KeyboardInterrupt, Failure):
        with pytest.raises(error), atomic.write_folder(path, **OURS) as new:
            finish(new, "a", error.__name__)
            write(new, {"b": "not noted", f".{'0f' * 16}-c": "half", ".c.finished": "no such file"})
            raise error
        assert sorted(os.listdir(tmp_path)) == [kept.name]
        assert sorted(os.listdir(kept)) == [".a.finished", "a"]
        assert (kept / "a").read_text() == error.__name__  # the last run's
        assert atomic.left_to(path) == (str(kept),)
    with pytest.raises(KeyError), atomic.write_folder(path, **OURS):
        raise KeyError  # before it has finished any
    assert atomic.noted(str(kept), atomic.FINISHED) == ["a"]
    with atomic.write_folder(path, **OURS) as new:
        finish(new, "a", "new")
    assert os.listdir(tmp_path) == ["out"]
    assert os.listdir(tmp_path / "out") == ["a"]
    assert atomic.left_to(path) == ()


def test_what_a_killed_run_has_finished_is_kept(tmp_path):
    killed(tmp_path, "open(f'{new}/.a.finished', 'w').close(); kill()")
    atomic.recover(str(tmp_path / "out"))
    assert os.listdir(tmp_path) == [".out.textrecords-kept"]
    assert sorted(os.listdir(tmp_path / ".out.textrecords-kept")) == [".a.finished", "a"]
    atomic.forget(str(tmp_path / "out"))
    assert os.listdir(tmp_path) == []


def test_what_is_finished_goes_if_the_input_is_bad(tmp_path):
    with pytest.raises(BadInput), atomic.write_folder(str(tmp_path / "out"), **OURS) as new:
        finish(new, "a", "new")
        raise BadInput
    assert os.listdir(tmp_path) == []


def test_temporary_files_are_beside_the_folder_and_removed_with_the_block(tmp_path):
    before = tempfile.gettempdir()
    with atomic.write_folder(str(tmp_path / "out"), **OURS) as new:
        descriptor, path = tempfile.mkstemp()
        os.close(descriptor)
        assert os.path.dirname(os.path.dirname(path)) == os.path.dirname(new)
        assert os.environ["TMPDIR"] == os.path.dirname(path)
        assert os.listdir(new) == []
    assert os.listdir(tmp_path) == ["out"]
    assert os.listdir(tmp_path / "out") == []
    assert tempfile.gettempdir() == before


def killed(tmp_path, last):
    """Runs a program that makes `out` and is killed in `last`; returns what it printed."""
    program = (
        "import os; from textrecords import atomic, checksums\n"
        "kill = lambda: os.kill(os.getpid(), 9)\n"
        f"with atomic.write_folder({str(tmp_path / 'out')!r}, holds='a|b', marker='a') as new:\n"
        "  open(f'{new}/a', 'w').write('new'); print(new, flush=True)\n"
        f"  {last}"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    return done.stdout.strip()


@pytest.fixture
def exchanges(tmp_path):
    """Skips a test if the system can't swap two folders atomically."""
    write(tmp_path, {"one/x": "", "other/x": ""})
    if not atomic._exchange(str(tmp_path / "one"), str(tmp_path / "other")):
        needs.skip_without("renameat2", "it's a call of Linux")
    shutil.rmtree(tmp_path / "one")
    shutil.rmtree(tmp_path / "other")


def test_a_folder_is_there_at_any_moment_of_its_replacement(tmp_path, exchanges):
    write(tmp_path, {"out/a": "old"})
    killed(tmp_path, "was = atomic._exchange; atomic._exchange = lambda *a: (was(*a), kill())")
    assert (tmp_path / "out" / "a").read_text() == "new"
    atomic.recover(str(tmp_path / "out"))
    assert os.listdir(tmp_path) == ["out"]
    assert (tmp_path / "out" / "a").read_text() == "new"


def test_recover_leaves_an_active_run_alone(tmp_path):
    with atomic.write_folder(str(tmp_path / "out"), **OURS) as new:
        fill(new)
        atomic.recover(str(tmp_path / "out"))
    assert (tmp_path / "out" / "a").read_text() == "new"


def test_a_worker_that_outlives_its_run_writes_nothing_into_the_next(tmp_path):
    of_the_killed = killed(tmp_path, "kill()")
    with atomic.write_folder(str(tmp_path / "out"), **OURS) as new:
        assert new != of_the_killed
        assert not os.path.exists(of_the_killed)


def test_what_a_worker_left_half_written_does_not_stay(tmp_path):
    for _ in range(2):
        with atomic.write_folder(str(tmp_path / "out"), **OURS) as new:
            fill(new)
            write(new, {f".{'0f' * 16}-a": "half"})
        assert os.listdir(tmp_path / "out") == ["a"]


def test_a_thread_that_goes_on_after_a_failure_leaves_nothing(tmp_path, monkeypatch):
    """It may write when a folder has been emptied, and is about to be removed."""
    rmdir = os.rmdir
    with pytest.raises(Failure), atomic.write_folder(str(tmp_path / "out"), **OURS) as new:
        folders = [new, tempfile.gettempdir()]

        def write_and_remove(*args, **kwargs):
            for folder in folders:
                with contextlib.suppress(FileNotFoundError), open(f"{folder}/late", "w"):
                    pass
            rmdir(*args, **kwargs)

        monkeypatch.setattr(os, "rmdir", write_and_remove)
        finish(new, "a", "new")
        raise Failure
    assert os.listdir(tmp_path) == [".out.textrecords-kept"]
    assert sorted(os.listdir(tmp_path / ".out.textrecords-kept")) == [".a.finished", "a"]


def test_what_is_finished_is_kept_even_if_its_folder_cannot_be_renamed(tmp_path, monkeypatch):
    rename = os.rename

    def fail(source, target):
        if os.path.dirname(source) == os.path.dirname(target):
            raise OSError(errno.EBUSY, "busy")
        rename(source, target)

    with pytest.raises(Failure), atomic.write_folder(str(tmp_path / "out"), **OURS) as new:
        finish(new, "a", "new")
        monkeypatch.setattr(os, "rename", fail)
        raise Failure
    assert os.listdir(tmp_path) == [".out.textrecords-kept"]
    assert sorted(os.listdir(tmp_path / ".out.textrecords-kept")) == [".a.finished", "a"]


def test_a_stop_between_the_two_renames_is_recovered(tmp_path):
    write(tmp_path, {".out.textrecords-old/a": "old", ".out.textrecords-new/a": "half"})
    with pytest.raises(KeyError), atomic.write_folder(str(tmp_path / "out"), **OURS):
        raise KeyError
    assert os.listdir(tmp_path) == ["out"]
    assert (tmp_path / "out" / "a").read_text() == "old"


@pytest.mark.parametrize(
    ("fault", "error"),
    [(KeyboardInterrupt(), KeyboardInterrupt), (OSError(errno.EBUSY, "busy"), BadInput)],
)
def test_a_failure_between_the_two_renames_puts_the_old_one_back(
    tmp_path, monkeypatch, fault, error
):
    write(tmp_path, {"out/a": "old"})
    rename = os.rename

    def fail(source, target):
        if "-new" in source and target == str(tmp_path / "out"):
            raise fault
        rename(source, target)

    monkeypatch.setattr(os, "rename", fail)
    monkeypatch.setattr(atomic, "_exchange", lambda *_: False)
    with pytest.raises(error), atomic.write_folder(str(tmp_path / "out"), **OURS) as new:
        fill(new)
    assert os.listdir(tmp_path) == ["out"]
    assert (tmp_path / "out" / "a").read_text() == "old"


def test_the_lock_is_held_until_all_is_swept(tmp_path, monkeypatch):
    """Or one run would sweep what the next has begun."""
    path = str(tmp_path / "out")
    rmtree = shutil.rmtree
    swept = []

    def start_another(folder, **kwargs):
        swept.append(folder)
        with pytest.raises(BadInput, match="another run"), atomic.locked(path):
            pass
        rmtree(folder, **kwargs)

    with atomic.write_folder(path, **OURS) as new:
        fill(new)
        monkeypatch.setattr(shutil, "rmtree", start_another)
    assert atomic.sibling(path, "new") in swept


def test_the_lock_of_a_killed_run_is_taken_over(tmp_path):
    write(tmp_path, {".out.textrecords-lock": "4000000000"})
    path = str(tmp_path / "out")
    with atomic.write_folder(path, **OURS):
        assert (tmp_path / ".out.textrecords-lock").read_text() == str(os.getpid())
    assert os.listdir(tmp_path) == ["out"]


def test_a_mount_point_is_refused_at_once(tmp_path, monkeypatch):
    write(tmp_path, {"out/a": "old"})
    monkeypatch.setattr(os.path, "ismount", lambda path: path == str(tmp_path / "out"))
    with (
        pytest.raises(BadInput, match="is a mount point, which can't be replaced"),
        atomic.write_folder(str(tmp_path / "out"), **OURS),
    ):
        pass


def test_a_link_that_leads_to_itself_is_refused_before_the_work(tmp_path):
    (tmp_path / "out").symlink_to("out")
    with (
        pytest.raises(BadInput, match="out is a link to itself"),
        atomic.write_folder(str(tmp_path / "out"), **OURS),
    ):
        pytest.fail("the work has begun")
    assert os.listdir(tmp_path) == ["out"]


@pytest.mark.parametrize("path", ["file", "file/below"])
def test_a_place_that_cannot_be_written_is_refused(tmp_path, path):
    write(tmp_path, {"file": "x"})
    with (
        pytest.raises(BadInput, match=r"can't write .*Not a directory"),
        atomic.write_folder(str(tmp_path / path), **OURS),
    ):
        pass


@pytest.mark.parametrize("name", ["a/mine", "b/deep/er/mine", "mine"])
def test_a_file_of_the_users_own_is_refused_at_any_depth(tmp_path, name):
    files = {"a/x": "old", "b/deep/er/y": "old"}
    write(tmp_path / "out", files)
    checksums.write(str(tmp_path / "out"))
    flags = {"holds": f"a|b|{checksums.SUMS}", "marker": checksums.SUMS}
    with atomic.write_folder(str(tmp_path / "out"), **flags) as new:
        write(new, files)
        checksums.write(new)
    write(tmp_path / "out", {name: "mine"})
    with (
        pytest.raises(BadInput, match=f"out contains {name}, which would be lost"),
        atomic.write_folder(str(tmp_path / "out"), **flags),
    ):
        pytest.fail("it was taken")
    assert (tmp_path / "out" / name).read_text() == "mine"


@pytest.mark.parametrize("name", [".DS_Store", "b/.hidden/x", "Thumbs.db", "b/desktop.ini"])
def test_leftovers_of_systems_stop_no_run(tmp_path, name):
    write(tmp_path / "out", {"a": "old", "b/x": "old", name: "left"})
    with atomic.write_folder(str(tmp_path / "out"), holds="a|b", marker="a") as new:
        fill(new)
    assert (tmp_path / "out" / "a").read_text() == "new"


def test_in_cloud_storage_what_other_runs_have_finished_can_be_read(monkeypatch):
    names = {
        "gs://bucket/.out.textrecords-new": ["1", "2", "3"],
        "gs://bucket/.out.textrecords-new/1": ["a", ".a.finished"],
        "gs://bucket/.out.textrecords-new/2": ["a", ".b.finished"],
        "gs://bucket/.out.textrecords-new/3": ["a", ".a.finished"],
        "gs://bucket/.out.textrecords-kept": ["a", "b", ".b.finished", ".a.reused"],
    }
    monkeypatch.setattr(storage, "names", lambda folder: names.get(folder, []))
    new = "gs://bucket/.out.textrecords-new"
    assert atomic.left_to("gs://bucket/out") == (
        *("gs://bucket/.out.textrecords-kept", f"{new}/1", f"{new}/3"),
    )


@pytest.mark.parametrize("error", [BadInput("another run is writing"), OSError("read-only")])
@pytest.mark.parametrize("clean_up", [atomic.recover, atomic.forget])
def test_what_cannot_be_cleaned_up_stops_no_run(monkeypatch, tmp_path, clean_up, error):
    def fail(path):
        raise error

    for what in ("lock", atomic.KEPT):
        (tmp_path / f".out.textrecords-{what}").mkdir()
    for name in ("locked", "_swept"):
        monkeypatch.setattr(atomic, name, fail)
    clean_up(str(tmp_path / "out"))
    assert len(list(tmp_path.iterdir())) == 2
