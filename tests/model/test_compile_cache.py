import errno
import hashlib
import os
import subprocess
import sys

import pytest
import tiny_dataset

from model.training import compile_cache

FLAGS = compile_cache.FLAGS


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Returns the folder of compiled steps."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv(FLAGS, raising=False)
    return tmp_path / "textrecords" / "xla"


def compiled(cache):
    """Returns the content of each file by name, without the checksums."""
    return {path.name: path.read_bytes() for path in cache.iterdir() if path.name != "SHA256SUMS"}


def sums(cache):
    return (cache / "SHA256SUMS").read_text()


def sums_of(files):
    lines = ((hashlib.sha256(files[name]).hexdigest(), name) for name in sorted(files))
    return "".join(f"{sha256}  {name}\n" for sha256, name in lines)


def test_tensorflow_keeps_steps_in_the_cache_by_what_they_are_compiled_with(cache):
    with compile_cache.used():
        folder, prefix, devices = os.environ[FLAGS].split()
        assert folder == f"--tf_xla_persistent_cache_directory={cache}"
        assert devices == "--tf_xla_persistent_cache_device_types=CPU"
        name, _, made_with = prefix.partition("=")
        assert name == "--tf_xla_persistent_cache_prefix"
        assert len(bytes.fromhex(made_with)) == 8
        assert cache.stat().st_mode & 0o777 == 0o700
        (cache / "new").write_bytes(b"compiled")
    assert os.environ[FLAGS] == ""
    assert sums(cache) == sums_of({"new": b"compiled"})
    with compile_cache.used():
        assert os.environ[FLAGS].split() == [folder, prefix, devices]
        assert compiled(cache) == {"new": b"compiled"}


@pytest.mark.parametrize(
    "change",
    [
        lambda patch, tmp_path: patch.setenv("XLA_FLAGS", "--xla_cpu_enable_fast_math=true"),
        lambda patch, tmp_path: patch.setattr("platform.node", lambda: "another machine"),
        lambda patch, tmp_path: patch.setattr("platform.machine", lambda: "arm64"),
        lambda patch, tmp_path: patch.setattr(compile_cache, "CPU_INFO", f"{tmp_path}/none"),
        lambda patch, tmp_path: patch.setattr("os.sched_getaffinity", lambda process: range(99)),
        lambda patch, tmp_path: patch.setattr("importlib.metadata.version", lambda name: "2.99.0"),
        lambda patch, tmp_path: patch.setattr(
            "importlib.util.find_spec", lambda name: type("Spec", (), {"origin": str(tmp_path)})
        ),
    ],
    ids=["flags", "machine", "architecture", "CPU", "cores", "TensorFlow", "installation"],
)
def test_what_is_compiled_with_anything_else_has_another_name(tmp_path, monkeypatch, change):
    before = compile_cache._made_with()
    assert compile_cache._made_with() == before
    change(monkeypatch, tmp_path)
    assert compile_cache._made_with() != before


@pytest.mark.parametrize(
    ("info", "found"),
    [
        (
            "processor : 0\nmodel name : A\ncpu MHz : 2596.1\nflags : fpu avx\nbogomips : 5.1\n",
            ["model name : A", "flags : fpu avx"],
        ),
        (
            "processor : 0\nBogoMIPS : 243.75\nFeatures : fp asimd\nCPU part : 0xd40\n",
            ["Features : fp asimd", "CPU part : 0xd40"],
        ),
        (None, []),
    ],
    ids=["x86", "ARM", "macOS"],
)
def test_cores_are_described_by_number_model_and_features(tmp_path, monkeypatch, info, found):
    if info:
        (tmp_path / "cpuinfo").write_text(2 * f"{info}\n")
    monkeypatch.setattr(compile_cache, "CPU_INFO", str(tmp_path / "cpuinfo"))
    monkeypatch.setattr("os.sched_getaffinity", lambda process: {0, 3})
    assert compile_cache._cores() == (2, 2 * found)
    monkeypatch.delattr("os.sched_getaffinity")
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    assert compile_cache._cores() == (8, 2 * found)


def test_damaged_and_unfinished_files_are_removed_before_tensorflow_sees_them(cache):
    with compile_cache.used():
        for name in ("whole", "cut", "gone"):
            (cache / name).write_bytes(name.encode())
    (cache / "cut").write_bytes(b"cu")
    (cache / "gone").unlink()
    (cache / "unfinished").write_bytes(b"of a training that was killed")
    (cache / "folder").mkdir()
    with compile_cache.used():
        (cache / "folder").rmdir()
        assert compiled(cache) == {"whole": b"whole"}
    (cache / "SHA256SUMS").unlink()
    with compile_cache.used():
        assert compiled(cache) == {}


def test_only_the_newest_files_are_kept(cache, monkeypatch):
    monkeypatch.setattr(compile_cache, "MAX_FILES", 2)
    with compile_cache.used():
        for age, name in enumerate(("newest", "second", "oldest", "third")):
            (cache / name).write_bytes(name.encode())
            os.utime(cache / name, (0, 1_000_000 - age))
    assert compiled(cache).keys() == {"newest", "second"}
    assert sums(cache) == sums_of({"newest": b"newest", "second": b"second"})


def test_files_are_listed_also_after_a_failure(cache):
    with pytest.raises(KeyboardInterrupt), compile_cache.used():
        (cache / "new").write_bytes(b"compiled")
        raise KeyboardInterrupt
    assert sums(cache) == sums_of({"new": b"compiled"})
    assert os.environ[FLAGS] == ""


def test_other_flags_are_kept_and_a_folder_of_the_users_is_left_alone(cache, monkeypatch):
    monkeypatch.setenv(FLAGS, "--tf_xla_clustering_debug")
    with compile_cache.used():
        assert os.environ[FLAGS].startswith("--tf_xla_clustering_debug --tf_xla_persistent_cache_d")
    assert os.environ[FLAGS] == "--tf_xla_clustering_debug"
    own = f"--tf_xla_persistent_cache_directory={cache.parent}"
    monkeypatch.setenv(FLAGS, own)
    with compile_cache.used():
        assert os.environ[FLAGS] == own
    assert sums(cache) == ""


@pytest.mark.parametrize("name", ["with space", "file/below", "~/unknown"])
def test_without_a_folder_that_tensorflow_can_use_nothing_is_kept(tmp_path, monkeypatch, name):
    (tmp_path / "file").write_text("")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", name if name[0] == "~" else str(tmp_path / name))
    monkeypatch.setenv(FLAGS, "")
    with compile_cache.used():
        assert os.environ[FLAGS] == ""
    assert os.listdir(tmp_path) == ["file"]


def test_without_room_the_cache_is_not_used(cache, monkeypatch):
    """TensorFlow would fail."""

    def full(**_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("tempfile.TemporaryFile", full)
    with compile_cache.used():
        assert FLAGS not in os.environ
    assert os.listdir(cache) == []


def test_a_file_of_flags_is_left_to_tensorflow(cache, monkeypatch):
    monkeypatch.setenv(FLAGS, "/path/of/flags")
    with compile_cache.used():
        assert os.environ[FLAGS] == "/path/of/flags"


def test_one_training_at_a_time_uses_the_cache(cache):
    other = (
        "from model.training import compile_cache as c; c.used().__enter__(); print(c.os.environ)"
    )
    with compile_cache.used():
        (cache / "unfinished").write_bytes(b"of this training")
        [environment] = subprocess.run(
            [sys.executable, "-c", other],
            env=os.environ | {FLAGS: ""},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.splitlines()
        assert f"{FLAGS}': ''" in environment
        assert compiled(cache) == {"unfinished": b"of this training"}
    assert sums(cache) == sums_of({"unfinished": b"of this training"})


@pytest.mark.integration
def test_the_second_training_compiles_nothing_and_learns_the_same(cache, tmp_path):
    reviews = [("good film", 1), ("bad film", 0)] * 2
    tiny_dataset.write(tmp_path / "records", {"train": reviews, "test": reviews})

    def train():
        command = [sys.executable, "-m", "model.train", "--epochs", "1", "--batch_size", "3"]
        for flag in ("records", "model_dir"):
            command += [f"--{flag}", str(tmp_path / flag)]
        subprocess.run(command, check=True, capture_output=True)
        return (tmp_path / "model_dir" / "model.weights.h5").read_bytes()

    def files():
        return {path.name: path.stat().st_ino for path in cache.iterdir() if path.suffix == ".pb"}

    weights = train()
    first = files()
    assert len(first) == 2  # for full batches and for the last one
    assert sums(cache) == sums_of(compiled(cache))
    assert train() == weights
    assert files() == first
    damaged = cache / min(first)
    damaged.write_bytes(damaged.read_bytes()[:5000])
    assert train() == weights
    assert sums(cache) == sums_of(compiled(cache))
    assert files().keys() == first.keys()
    assert damaged.stat().st_size > 5000
