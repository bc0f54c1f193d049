"""The next run reuses what an interrupted run has finished, and nothing else."""

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys

import pytest
import test_reproducible
from tiny_tree import write

from pipelines.preprocess import __main__ as preprocess
from pipelines.preprocess import metadata, write_shards
from textrecords import atomic, spec
from textrecords.errors import BadInput, Failure

pytestmark = pytest.mark.slow

NUM_SHARDS = 8  # four of train, four of test
FLAGS = ["--num_shards=4", "--max_tokens=12"]
TEXTS = ["A good film, is it not?", "bad", "a bad <b>film</b> it was, not good", "not a film"]
TREE = {
    f"{split}/{name}/{n}.txt": f"{TEXTS[n % 4]} {name}"
    for split, name, n in itertools.product(("train", "test"), ("neg", "pos"), range(16))
} | {"test/neg/odd.txt": b"caf\xe9 \xef\xbf\xbd", "train/pos/even.txt": "\ufeffa film\0"}
STOPPED = "stopped here; finished shards kept for the next run: {} (--no_resume starts over)"
KEPT, NEW, LOCK = (f".out.textrecords-{what}" for what in ("kept", "new", "lock"))
SHARD = "test-00002-of-00004.tfrecord"  # any of them


def run(folder, *flags):
    paths = ["--input", str(folder / "in"), "--output", str(folder / "out")]
    preprocess.main([*paths, *FLAGS, *flags])


def stop(folder, *flags, after):
    """Runs preprocess until it has written this many shards."""
    writes, forth = itertools.count(), write_shards.WriteShard.write

    def write_or_fail(self, *args):
        if next(writes) == after:
            raise Failure("stopped here")
        return forth(self, *args)

    def fail(*_):
        raise Failure("stopped here")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(write_shards.WriteShard, "write", write_or_fail)
        patch.setattr(metadata, "write", fail)
        with pytest.raises(Failure) as error:
            run(folder, *flags)
    return str(error.value)


def content(folder):
    """Returns the files of a dataset by their paths; of those that differ in each run, no bytes."""
    out = folder / "out"
    paths = [path.relative_to(out) for path in out.rglob("*") if path.is_file()]
    read = {str(path): (out / path).read_bytes() for path in paths}
    sums = read["SHA256SUMS"].splitlines()
    read["SHA256SUMS"] = [line for line in sums if not line.endswith((b"run.json", b".pb"))]
    graph = (f"{spec.TRANSFORM_FN}/{name}.pb" for name in ("saved_model", "fingerprint"))
    return read | dict.fromkeys((spec.RUN, spec.LISTING, *graph))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The files of a dataset whose run was never stopped."""
    folder = tmp_path_factory.mktemp("whole")
    write(folder / "in", TREE)
    run(folder)
    assert sorted(os.listdir(folder)) == ["in", "out"]
    return content(folder)


@pytest.fixture(scope="module")
def all_finished(tmp_path_factory):
    """An input, and all shards of a run that was interrupted in its last stage."""
    folder = tmp_path_factory.mktemp("stopped")
    write(folder / "in", TREE)
    assert stop(folder, after=NUM_SHARDS) == STOPPED.format(NUM_SHARDS)
    return folder


@pytest.fixture
def stopped(all_finished, tmp_path):
    """A copy of that."""
    shutil.copytree(all_finished, tmp_path, dirs_exist_ok=True)
    return tmp_path


def reused(capsys):
    """Returns what a run has printed about reused shards."""
    lines = capsys.readouterr().out.splitlines()
    return [line for line in lines if line.startswith("reused ")]


def said(number):
    return [f"reused {number} of {NUM_SHARDS} shards from an interrupted run"] if number else []


def test_a_run_that_fails_leaves_its_finished_shards_and_nothing_else(tmp_path, whole, capsys):
    write(tmp_path / "in", TREE)
    assert stop(tmp_path, after=3) == STOPPED.format(3)
    assert sorted(os.listdir(tmp_path)) == [KEPT, "in"]
    kept = os.listdir(tmp_path / KEPT)
    shards = [name for name in kept if not name.startswith(".")]
    assert len(shards) == 3
    assert sorted(kept) == sorted([*shards, *(f".{name}.finished" for name in shards)])
    capsys.readouterr()
    run(tmp_path)
    assert reused(capsys) == said(3)
    assert content(tmp_path) == whole
    assert sorted(os.listdir(tmp_path)) == ["in", "out"]


PROGRAM = """
import itertools, os, signal
from textrecords import app, imports
with imports.quiet():
    from pipelines.preprocess import __main__ as preprocess, write_shards
command, writes, forth = os.getpid(), itertools.count(), write_shards.WriteShard.write
def write(self, *args):
    if next(writes) == {after}:
        os.kill(command, {signal})
        signal.pause()
    return forth(self, *args)
write_shards.WriteShard.write = write
app.run(preprocess.main)
"""


def end_by(number, *flags, after=3, cores=1, env=None):
    """Runs preprocess, sends a signal after this many shards; returns its errors.

    With several cores, it's after this many shards of one helper.
    """
    program = PROGRAM.format(signal=int(number), after=after)
    usable = [*os.sched_getaffinity(0)][:cores]
    with subprocess.Popen(
        [sys.executable, "-c", program, *flags],
        stderr=subprocess.PIPE,
        text=True,
        env=env,
        preexec_fn=lambda: os.sched_setaffinity(0, usable),
    ) as command:
        errors = command.stderr.read()  # until its helpers have ended, too
    assert command.returncode == (-9 if number == signal.SIGKILL else 128 + number), errors
    return errors


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_the_next_run_resumes_what_a_signal_stopped(tmp_path, whole, capsys, number):
    write(tmp_path / "in", TREE)
    paths = ["--input", tmp_path / "in", "--output", tmp_path / "out"]
    errors = end_by(number, *paths, *FLAGS)
    if number == signal.SIGKILL:
        assert sorted(os.listdir(tmp_path)) == [LOCK, NEW, "in"]
    else:
        kept = "finished shards kept for the next run: 3 (--no_resume starts over)"
        assert errors == f"stopped: {kept}\n"
        assert sorted(os.listdir(tmp_path)) == [KEPT, "in"]
    run(tmp_path)
    assert reused(capsys) == said(3)
    assert content(tmp_path) == whole
    assert sorted(os.listdir(tmp_path)) == ["in", "out"]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_the_next_run_resumes_what_helpers_have_finished(tmp_path, whole, capsys, number):
    write(tmp_path / "in", TREE)
    paths = ["--input", tmp_path / "in", "--output", tmp_path / "out"]
    errors = end_by(number, *paths, *FLAGS, after=2, cores=2)
    [left] = set(os.listdir(tmp_path)) - {"in", LOCK}
    finished = len([*(tmp_path / left).rglob(f".*.{atomic.FINISHED}")])
    assert 2 <= finished <= 4
    if number != signal.SIGKILL:
        kept = f"finished shards kept for the next run: {finished} (--no_resume starts over)"
        assert errors == f"stopped: {kept}\n"
    run(tmp_path)
    assert reused(capsys) == said(finished)
    assert content(tmp_path) == whole
    assert sorted(os.listdir(tmp_path)) == ["in", "out"]


def test_successive_interrupted_runs_make_progress(tmp_path, whole, capsys):
    write(tmp_path / "in", TREE)
    for finished in (2, 4, 6):
        assert stop(tmp_path, after=2) == STOPPED.format(finished)
        assert len(os.listdir(tmp_path / KEPT)) == 2 * finished
    assert stop(tmp_path, after=0) == STOPPED.format(6)
    capsys.readouterr()
    run(tmp_path)
    assert reused(capsys) == said(6)
    assert content(tmp_path) == whole


def test_shards_of_other_flags_are_kept_together_once(stopped, capsys):
    stop(stopped, "--num_shards=2", after=4)
    stop(stopped, "--min_tokens=3", after=1)
    assert len(os.listdir(stopped / KEPT)) == 2 * (NUM_SHARDS + 4)
    capsys.readouterr()
    run(stopped)
    assert reused(capsys) == said(NUM_SHARDS - 1)
    assert sorted(os.listdir(stopped)) == ["in", "out"]


def test_no_resume_rewrites_all(stopped, whole, capsys):
    assert stop(stopped, "--no_resume", after=1) == STOPPED.format(1)
    run(stopped, "--no_resume")
    assert reused(capsys) == []
    assert content(stopped) == whole
    assert sorted(os.listdir(stopped)) == ["in", "out"]


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("test/neg/1.txt", "Bad neg"),  # of the same words and the same size
        ("test/neg/new.txt", "new"),
        ("test/neg/odd.txt", "caf\ufffd \ufffd"),  # the same text, but none of it was replaced
    ],
)
def test_the_shard_of_a_changed_review_is_rewritten(stopped, capsys, key, text):
    write(stopped / "in", {key: text})
    run(stopped)
    assert reused(capsys) == said(NUM_SHARDS - 1)
    resumed = content(stopped)
    run(stopped, "--force")
    assert reused(capsys) == []
    assert content(stopped) == resumed


@pytest.mark.parametrize(
    "flags",
    [
        ["--classes", "pos", "neg"],
        ["--min_tokens=3"],
        ["--max_tokens=11"],
        ["--max_len=2"],
        ["--normalize_unicode"],
        ["--compression=gzip"],
        ["--encoding=latin-1", "--on_bad_text=replace_all"],
    ],
)
def test_no_shard_of_other_flags_is_reused(stopped, capsys, flags):
    run(stopped, *flags)
    assert reused(capsys) == []


def test_no_shard_of_another_vocabulary_is_reused(stopped, capsys):
    write(stopped / "in", {"train/neg/1.txt": "worse worse worse"})
    run(stopped)
    assert reused(capsys) == []


@pytest.mark.parametrize(
    ("what", "version"),
    [
        ("textrecords.spec.DATA_VERSION", spec.DATA_VERSION + 1),
        ("textrecords.spec.FORMAT_VERSION", spec.FORMAT_VERSION + 1),
        ("importlib.metadata.version", lambda _: "0"),
    ],
)
def test_no_shard_of_another_version_is_reused(stopped, capsys, monkeypatch, what, version):
    monkeypatch.setattr(what, version)
    run(stopped)
    assert reused(capsys) == []


def flip(path):
    content = path.read_bytes()
    middle = len(content) // 2
    path.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])


@pytest.mark.parametrize("name", [SHARD, f".{SHARD}.finished"])
@pytest.mark.parametrize(
    "damage",
    [
        flip,
        os.remove,
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        lambda path: path.write_bytes(b""),
        lambda path: shutil.copyfile(str(path).replace("00002", "00001"), path),
        lambda path: path.unlink() or path.mkdir(),
    ],
)
def test_a_damaged_shard_or_marker_is_not_reused(stopped, whole, capsys, name, damage):
    damage(stopped / KEPT / name)
    run(stopped)
    assert reused(capsys) == said(NUM_SHARDS - 1)
    assert content(stopped) == whole
    assert sorted(os.listdir(stopped)) == ["in", "out"]


def test_a_marker_with_other_counts_is_not_taken(stopped, whole, capsys):
    path = stopped / KEPT / f".{SHARD}.finished"
    sha256, _, text = path.read_text().partition("\n")
    marker = json.loads(text)
    marker["label_counts"] = marker["label_counts"][::-1]
    path.write_text(f"{sha256}\n{json.dumps(marker, indent=2)}\n")
    run(stopped)
    assert reused(capsys) == said(NUM_SHARDS - 1)
    assert content(stopped) == whole


def test_shards_are_copied_where_they_cannot_be_linked(stopped, whole, capsys, monkeypatch):
    def refuse(*_):
        raise OSError

    monkeypatch.setattr(os, "link", refuse)
    run(stopped)
    assert reused(capsys) == said(NUM_SHARDS)
    assert content(stopped) == whole


def test_worker_processes_reuse_shards(stopped, whole):
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pipelines.preprocess", *FLAGS, "--input", stopped / "in"),
            *("--output", stopped / "out", "--direct_num_workers=2"),
            "--direct_running_mode=multi_processing",
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert said(NUM_SHARDS)[0] in done.stdout.splitlines()
    assert content(stopped) == whole


def test_a_run_that_is_refused_keeps_nothing_and_what_was_kept(stopped, capsys):
    kept = sorted(os.listdir(stopped / KEPT))
    shutil.move(stopped / "in", stopped / "was")
    write(stopped / "in", {"train/neg/0.txt": "...", "train/pos/0.txt": "!"})
    with pytest.raises(BadInput, match="no review of train has a word left after cleaning: add"):
        run(stopped)
    assert sorted(os.listdir(stopped)) == [KEPT, "in", "was"]
    assert sorted(os.listdir(stopped / KEPT)) == kept


def test_kept_shards_are_removed_once_the_dataset_is_up_to_date(stopped, capsys):
    shutil.move(stopped / KEPT, stopped / "kept")
    run(stopped)
    shutil.move(stopped / "kept", stopped / KEPT)
    run(stopped, "--if_needed")
    assert sorted(os.listdir(stopped)) == [KEPT, "in", "out"]
    with atomic.locked(str(stopped / "out")):  # another run may be reusing them
        run(stopped)
        assert sorted(os.listdir(stopped)) == [KEPT, LOCK, "in", "out"]
    run(stopped)
    assert sorted(os.listdir(stopped)) == ["in", "out"]


def test_an_error_in_marking_a_shard_as_finished_is_reported_like_others(tmp_path, monkeypatch):
    write(tmp_path / "in", TREE)

    def fail(path, text):
        raise OSError(28, "No space left on device", path)

    monkeypatch.setattr(atomic, "write_text", fail)
    with pytest.raises(
        Failure, match=r"can't write .*out \(No space left on device\): free some space"
    ):
        run(tmp_path)
    assert os.listdir(tmp_path) == ["in"]


def test_the_bytes_of_a_resumed_run_have_not_changed(tmp_path):
    write(tmp_path / "in", test_reproducible.TREE)
    flags = [*test_reproducible.FLAGS, "--on_bad_text=replace_all"]
    stop(tmp_path, *flags, after=4)
    expected = test_reproducible.run(tmp_path / "in", tmp_path / "other")
    assert test_reproducible.run(tmp_path / "in", tmp_path / "out") == expected
