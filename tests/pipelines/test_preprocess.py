import hashlib
import json
import operator
import os
import re
import shutil
import subprocess
import sys

import keras
import pytest
import tensorflow as tf
import tensorflow_transform as tft
from tiny_tree import write

from model import evaluate, train
from pipelines import places, sample
from pipelines.preprocess import __main__ as preprocess
from pipelines.preprocess import input_tree, review_batches, staleness
from pipelines.unfit_files import Limits
from textrecords import checksums, model_folder, spec, text_source
from textrecords.dataset import open_dataset
from textrecords.errors import BadInput, Failure

pytestmark = pytest.mark.integration

# Counts: film 4; b, a 2 each; good, bad, É, é 1 each. Ties go by falling token.
TREE = {
    "train/neg/0.txt": "Bad FILM.<br />A film, a b",
    "train/pos/0.txt": "good (film) B; film É é",
    "test/neg/0.txt": "a <br />new bad film!",
    "test/pos/0.txt": "...",
}
VOCABULARY = ["film", "b", "a", "é", "É", "good", "bad"]


def run(source, target, *flags):
    preprocess.main(["--input", str(source), "--output", str(target), *flags])
    return open_dataset(str(target)).manifest


def read(folder, split, compression=""):
    """Returns `{key: (label, ids)}` of a split."""
    records = {}
    paths = sorted(map(str, folder.glob(f"{split}-*.tfrecord*")))
    for record in tf.data.TFRecordDataset(paths, compression).as_numpy_iterator():
        feature = tf.train.Example.FromString(record).features.feature
        ids = list(feature["tokens"].int64_list.value)
        key = os.fsdecode(feature["key"].bytes_list.value[0])
        assert key not in records
        records[key] = feature["label"].int64_list.value[0], ids
    return records


def digests(folder):
    """Returns the SHA-256 of everything that the manifest describes, and of the manifest."""
    names = [spec.MANIFEST, spec.SCHEMA, spec.VOCABULARY]
    names += [path.name for path in folder.glob("*.tfrecord*")]
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    write(folder / "in", TREE)
    manifest = run(folder / "in", folder / "out")
    return folder, manifest


def test_vocabulary_and_ids_are_exact(tiny):
    folder, manifest = tiny
    tokens = (folder / "out" / spec.VOCABULARY).read_text().splitlines()
    assert tokens == VOCABULARY
    assert manifest.vocabulary.size == 9
    assert read(folder / "out", "train") == {
        "train/neg/0.txt": (0, [8, 2, 4, 2, 4, 3]),
        "train/pos/0.txt": (1, [7, 2, 3, 2, 6, 5]),
    }
    assert read(folder / "out", "test") == {
        "test/neg/0.txt": (0, [4, 1, 8, 2]),
        "test/pos/0.txt": (1, [1]),
    }


def test_the_manifest_describes_what_was_written(tiny):
    folder, manifest = tiny
    assert manifest.classes == ("neg", "pos")
    test = manifest.splits["test"]
    assert test.examples == 2
    assert test.class_examples == {"neg": 1, "pos": 1}
    assert (test.tokens, test.oov_tokens, test.without_tokens, test.undecodable) == (5, 2, 1, 0)
    assert test.token_lengths == {"min": 1, "50%": 1, "90%": 4, "99%": 4, "max": 4}
    for split in manifest.splits.values():
        for shard in split.shards:
            content = (folder / "out" / shard.file).read_bytes()
            assert shard.bytes == len(content)
            assert shard.sha256 == hashlib.sha256(content).hexdigest()
    vocabulary = (folder / "out" / manifest.vocabulary.file).read_bytes()
    assert manifest.vocabulary.sha256 == hashlib.sha256(vocabulary).hexdigest()


def test_tf_transform_reads_the_records_by_its_own_metadata(tiny):
    folder, _ = tiny
    spec = tft.TFTransformOutput(str(folder / "out")).transformed_feature_spec()
    paths = list(map(str, (folder / "out").glob("train-*")))
    parsed = [tf.io.parse_example([r], spec) for r in tf.data.TFRecordDataset(paths)]
    by_key = {p["key"].numpy()[0]: p["tokens"].values.numpy().tolist() for p in parsed}
    assert by_key[b"train/neg/0.txt"] == [8, 2, 4, 2, 4, 3]


def test_the_transform_graph_gives_the_ids_of_the_records_without_tf_transform(tiny):
    folder, _ = tiny
    graph = tf.saved_model.load(str(folder / "out" / spec.TRANSFORM_FN))
    texts = tf.constant([TREE["test/neg/0.txt"], TREE["test/pos/0.txt"]])
    features = {"text": texts, "label": tf.zeros([2], tf.int64), "key": tf.zeros_like(texts)}
    tokens = graph.transform_fn(features)["tokens"]
    assert tf.RaggedTensor.from_sparse(tokens).to_list() == [[4, 1, 8, 2], [1]]


def test_flags_shape_the_data(tmp_path):
    write(tmp_path / "in", {**TREE, "train/pos/1.txt": b"caf\xe9 gr8"})
    (tmp_path / "stop.txt").write_text("a\n")
    (tmp_path / "replace.tsv").write_text("gr8\tgood\n")
    manifest = run(
        *(tmp_path / "in", tmp_path / "out", "--max_tokens=4", "--max_len=3", "--num_shards=2"),
        *("--compression=gzip", f"--stop_words={tmp_path / 'stop.txt'}", "--classes", "pos", "neg"),
        f"--replacements={tmp_path / 'replace.tsv'}",
    )
    assert manifest.classes == ("pos", "neg")
    assert manifest.vocabulary.size == 4
    assert manifest.flags.max_tokens == 4
    assert manifest.flags.max_len == 3
    assert manifest.flags.stop_words == hashlib.sha256(b"a\n").hexdigest()
    assert manifest.splits["train"].undecodable == 1
    assert sorted(os.listdir(tmp_path / "out")) == [
        *(".listing.json", "SHA256SUMS", "audit-00000-of-00001.jsonl"),
        *("croissant.json", "manifest.json", "metadata", "run.json"),
        "schema.pbtxt",
        *("test-00000-of-00002.tfrecord.gz", "test-00001-of-00002.tfrecord.gz"),
        "train-00000-of-00002.tfrecord.gz",
        *("train-00001-of-00002.tfrecord.gz", "transform_fn", "transformed_metadata"),
    ]
    # film 4, then good and b, 2 each: good comes first.
    assert read(tmp_path / "out", "train", "GZIP") == {
        "train/neg/0.txt": (1, [1, 2, 2]),
        "train/pos/0.txt": (0, [3, 2, 1]),
        "train/pos/1.txt": (0, [1, 3]),
    }


TRY = "for a language without spaces between words (Chinese, Japanese, Thai), try --split character"


@pytest.mark.parametrize(
    ("texts", "flags", "said"),
    [
        (
            ["真好看", "不好看。", "真好 看"],
            [],
            f"most reviews of train are a single token: {TRY}\n",
        ),
        (["真 好看", "不好 看。"], [], f"most tokens of train occur there only once: {TRY}\n"),
        (["真", "不"], ["--split=character"], ""),
        (["a film a", "a film b"], [], ""),
    ],
)
def test_texts_that_spaces_do_not_split_are_reported(tmp_path, capsys, texts, flags, said):
    tree = {f"train/{n % 2}/{n}.txt": text for n, text in enumerate(texts)}
    write(tmp_path / "in", tree)
    run(tmp_path / "in", tmp_path / "out", *flags)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.endswith(TRY)]
    assert "".join(f"{line}\n" for line in lines) == said


def test_files_listed_and_read_are_counted_for_the_progress_bar(tmp_path):
    write(tmp_path / "in", TREE)
    before = text_source.SEEN.copy()
    run(tmp_path / "in", tmp_path / "out")
    seen = text_source.SEEN - before
    number = open_dataset(str(tmp_path / "out")).manifest.input.files
    assert seen == {"listed": number, "read": number}


def test_odd_file_names_are_kept_as_keys(tmp_path):
    names = ["new\nline.txt", "qu'o\"te $x `y`.txt", "é ü.txt", os.fsdecode(b"\xff.txt")]
    write(tmp_path / "in", {f"train/{c}/{name}": "x" for name in names for c in ("a b", "[ß]")})
    run(tmp_path / "in", tmp_path / "out")
    keys = {f"train/{c}/{name}" for name in names for c in ("a b", "[ß]")}
    assert set(read(tmp_path / "out", "train")) == keys


def test_a_train_split_without_words_is_refused(tmp_path):
    write(tmp_path / "in", {"train/a/0.txt": "...", "train/b/0.txt": ""})
    with pytest.raises(BadInput, match="no review of train has a word left"):
        run(tmp_path / "in", tmp_path / "out")
    assert os.listdir(tmp_path) == ["in"]


@pytest.fixture(scope="module")
def sampled(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sampled")
    sample.main(["--output", str(folder / "in"), "--count", "600"])
    run(folder / "in", folder / "out", "--num_shards=3")
    return folder


@pytest.mark.parametrize(("max_tokens", "max_len"), [(50, None), (200, 20), (1000, 100)])
def test_ids_equal_those_of_keras_at_any_size(sampled, max_tokens, max_len):
    def clean(paths):
        texts = tf.constant([(sampled / "in" / path).read_bytes() for path in paths])
        return tf.strings.regex_replace(texts, "<br />", " ")

    layer = keras.layers.TextVectorization(max_tokens, ragged=True)
    train = read(sampled / "out", "train")
    assert len(train) == 400
    layer.adapt(clean(sorted(train)))
    for records in (train, read(sampled / "out", "test")):
        keys = sorted(records)
        expected = layer(clean(keys)).to_list()
        for key, ids in zip(keys, expected, strict=True):
            kept = [i if i < max_tokens else spec.OOV_ID for i in records[key][1]]
            assert kept[:max_len] == ids[:max_len], key


def test_a_run_that_fails_leaves_the_old_dataset_and_nothing_else(tmp_path, monkeypatch):
    write(tmp_path / "in", TREE)
    run(tmp_path / "in", tmp_path / "out")
    before = digests(tmp_path / "out")
    write(tmp_path / "in", {"train/pos/2.txt": "another film"})

    def fail(*_):
        raise RuntimeError("disk full")

    monkeypatch.setattr("textrecords.record_io.serialize", fail)
    with pytest.raises(RuntimeError, match="disk full"):
        run(tmp_path / "in", tmp_path / "out")
    assert digests(tmp_path / "out") == before
    assert sorted(os.listdir(tmp_path)) == ["in", "out"]
    monkeypatch.undo()
    assert run(tmp_path / "in", tmp_path / "out").splits["train"].examples == 3


def ran(source, target, *flags):
    """Runs preprocess; returns whether it made a dataset."""
    before = os.stat(target).st_ino
    preprocess.main(["--input", str(source), "--output", str(target), *flags])
    return os.stat(target).st_ino != before


def test_nothing_is_done_if_nothing_has_changed(tmp_path):
    write(tmp_path / "in", TREE)
    source, target = tmp_path / "in", tmp_path / "out"
    run(source, target)
    assert not ran(source, target)
    assert ran(source, target, "--force")
    assert ran(source, target, "--max_tokens=50")
    assert ran(source, target)  # the flags are others again
    (source / "train/neg/0.txt").write_text("Bad FILM.<br />A film, a c")  # of the same size
    assert ran(source, target)
    (source / "train/neg/0.txt").rename(source / "train/neg/1.txt")
    assert ran(source, target)
    write(source, {"train/neg/2.txt": "new"})
    assert ran(source, target)
    write(source, {"train/neg/notes.md": "left out"})
    assert ran(source, target)
    assert not ran(source, target)


def forbid_reading(monkeypatch):
    def fail(path):
        raise AssertionError(f"{path} was read")

    monkeypatch.setattr(text_source, "_read_file", fail)


def watch_reading(monkeypatch):
    """Returns the list that the paths of files are added to as they are read."""
    read = []
    forth = text_source._read_file
    monkeypatch.setattr(text_source, "_read_file", lambda path: read.append(path) or forth(path))
    return read


@pytest.mark.parametrize("flags", [[], ["--if_needed"]])
def test_no_text_is_read_while_the_listing_is_the_same(tiny, tmp_path, monkeypatch, flags):
    folder, _ = tiny
    run(folder / "in", tmp_path / "out")
    forbid_reading(monkeypatch)
    assert not ran(folder / "in", tmp_path / "out", *flags)
    with pytest.raises(AssertionError, match="was read"):
        ran(folder / "in", tmp_path / "out", *flags, "--check_contents")


def test_if_needed_leaves_hashing_to_what_reads_the_dataset(tiny):
    folder, _ = tiny
    before = checksums.SEEN.copy()
    assert not ran(folder / "in", folder / "out", "--if_needed")
    assert before == checksums.SEEN
    assert not ran(folder / "in", folder / "out")
    assert checksums.SEEN["hashed"] > before["hashed"]


def test_touched_files_leave_a_dataset_as_it_is_and_are_read_once(tmp_path, monkeypatch):
    write(tmp_path / "in", TREE)
    source, target = tmp_path / "in", tmp_path / "out"
    run(source, target)
    os.utime(source / "train/neg/0.txt", ns=(1, 1))
    before = (target / spec.LISTING).read_text()
    assert not ran(source, target, "--if_needed")
    assert (target / spec.LISTING).read_text() != before
    forbid_reading(monkeypatch)
    assert not ran(source, target, "--if_needed")


def test_only_check_contents_finds_a_change_that_size_and_time_do_not_show(tmp_path):
    write(tmp_path / "in", TREE)
    source, target = tmp_path / "in", tmp_path / "out"
    changed = source / "train/neg/0.txt"
    os.utime(changed, ns=(5, 5))
    run(source, target)
    changed.write_text("Bad FILM.<br />A film, a c")  # of the same size
    os.utime(changed, ns=(5, 5))
    assert not ran(source, target)
    assert ran(source, target, "--check_contents")


def test_files_of_another_folder_are_read_even_if_sizes_and_times_are_the_same(tmp_path):
    write(tmp_path / "in", TREE)
    shutil.copytree(tmp_path / "in", tmp_path / "copy")  # times too
    changed = tmp_path / "copy/train/neg/0.txt"
    status = changed.stat()
    changed.write_text("Bad FILM.<br />A film, a c")
    os.utime(changed, ns=(status.st_atime_ns, status.st_mtime_ns))
    run(tmp_path / "in", tmp_path / "out")
    with pytest.raises(BadInput, match="contains the dataset of"):  # so it isn't up to date
        run(tmp_path / "copy", tmp_path / "out")


def test_the_dataset_of_another_input_is_replaced_by_force_alone(tiny, tmp_path):
    folder, _ = tiny
    write(tmp_path / "in", {**TREE, "train/neg/1.txt": "another"})
    source, target = tmp_path / "in", tmp_path / "out"
    shutil.copytree(folder / "out", target)
    for flags in ([], ["--if_needed"], ["--max_tokens=50"]):
        with pytest.raises(BadInput) as error:
            run(source, target, *flags)
        assert str(error.value) == (
            f"{target} contains the dataset of {folder}/in: name another --output, or give --force "
            "to replace it"
        )
    assert ran(source, target, "--force")
    (tmp_path / "link").symlink_to("in")
    assert not ran(tmp_path / "link", target)


def test_the_flags_of_a_replaced_dataset_are_reported(tiny, tmp_path, capsys):
    folder, _ = tiny
    run(folder / "in", tmp_path / "out", "--max_tokens=50", "--drop_leaked")
    assert "was made with" not in capsys.readouterr().out
    run(folder / "in", tmp_path / "out")
    said = capsys.readouterr().out.splitlines()[0]
    assert said == (
        f"{tmp_path}/out was made with --drop_leaked, --max_tokens 50: rebuilding it with other "
        "flags"
    )


def test_a_file_that_changes_during_the_run_is_noticed_by_the_next(tmp_path, monkeypatch):
    write(tmp_path / "in", TREE)
    source, target = tmp_path / "in", tmp_path / "out"

    def change():
        (source / "train/neg/0.txt").write_text("Bad FILM.<br />A film, a c")

    with monkeypatch.context() as patch:
        swap_after_listing(patch, change)
        run(source, target)
    read = watch_reading(monkeypatch)
    assert not ran(source, target)  # the records hold what it was changed to
    assert len(read) == len(TREE)


@pytest.mark.slow
def test_workers_of_an_engine_list_what_is_too_much_for_the_launcher(tmp_path, monkeypatch):
    source, target = tmp_path / "in", tmp_path / "out"
    many(source, 3)
    run(source, target)
    monkeypatch.setattr(staleness, "LISTED_HERE", 5)
    monkeypatch.setattr(staleness.places, "list_here", None)
    engine = "--runner=BundleBasedDirectRunner"
    assert not ran(source, target, engine)
    (source / "train/neg/3.txt").write_text("worse")
    assert ran(source, target, engine)
    assert not ran(source, target, engine)
    os.utime(source / "train/neg/3.txt", (1, 1))  # whether it has changed isn't read here
    assert ran(source, target, engine)


@pytest.mark.slow
def test_an_error_of_a_worker_process_is_one_line_as_it_is_here(tmp_path):
    """What Beam raises is its text alone."""
    source = tmp_path / "in"
    many(source, 1)
    write(source, {f"test/{name}/{n}.md": "" for name in ("neg", "pos") for n in range(1_000)})
    processes = ["--direct_running_mode=multi_processing", "--direct_num_workers=2"]
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pipelines.preprocess", "--input", source),
            *("--output", tmp_path / "out", *processes),
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    [line] = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert line.startswith(f"error: {source}/test has no *.txt files of a class of train: ")
    assert sorted(os.listdir(tmp_path)) == ["in"]


def test_a_grown_input_is_listed_only_up_to_its_old_size(tmp_path, monkeypatch):
    source, target = tmp_path / "in", tmp_path / "out"
    many(source, 3)
    run(source, target)
    many(source, 50)
    monkeypatch.setattr(places, "LISTED_TOGETHER", 1)
    before = text_source.SEEN["listed"]
    with pytest.raises(SystemExit):
        monkeypatch.setattr(input_tree, "find_as_flagged", find_twice(input_tree.find_as_flagged))
        run(source, target)
    assert text_source.SEEN["listed"] - before == 7


def find_twice(find):
    """Lets an input be looked at to see if it has changed, and then ends the run."""
    trees = []

    def find_or_end(*args):
        if trees:
            sys.exit()
        trees.append(find(*args))
        return trees[0]

    return find_or_end


def test_the_listing_is_neither_in_the_manifest_nor_in_the_sums(tiny):
    folder, manifest = tiny
    assert spec.LISTING not in (folder / "out" / "SHA256SUMS").read_text()
    kept = json.loads((folder / "out" / spec.LISTING).read_text())["files"]
    assert (kept["files"], kept["bytes"]) == (
        len(TREE),
        sum(len(t.encode()) for t in TREE.values()),
    )
    assert kept["sha256"] not in manifest.to_json()
    open_dataset(str(folder / "out"))


@pytest.mark.parametrize("change", ["missing", "changed", "added", "vocabulary"])
def test_a_damaged_dataset_is_made_again(tiny, tmp_path, change):
    folder, _ = tiny
    target = tmp_path / "out"
    shutil.copytree(folder / "out", target)
    shard = target / "test-00000-of-00001.tfrecord"
    if change == "missing":
        shard.unlink()
    elif change == "changed":
        shard.write_bytes(shard.read_bytes()[:-1] + b"x")
    elif change == "added":
        shutil.copy(shard, target / "test-00001-of-00002.tfrecord")
    else:
        (target / spec.VOCABULARY).write_text("film\n")
    assert not ran(folder / "in", target, "--if_needed")  # readers compare the checksums
    assert ran(folder / "in", target)
    assert digests(target) == digests(folder / "out")


def test_another_data_version_makes_a_dataset_stale(tiny, tmp_path, monkeypatch):
    folder, _ = tiny
    shutil.copytree(folder / "out", tmp_path / "out")
    monkeypatch.setattr(spec, "DATA_VERSION", spec.DATA_VERSION + 1)
    assert ran(folder / "in", tmp_path / "out")


def test_if_needed_keeps_a_dataset_of_other_flags_while_its_input_is_the_same(tmp_path):
    write(tmp_path / "in", TREE)
    source, target = tmp_path / "in", tmp_path / "out"
    run(source, target, "--max_tokens=50", "--pattern=0.*")
    assert not ran(source, target, "--if_needed")
    write(source, {"train/pos/9.txt": "not in the pattern"})
    assert not ran(source, target, "--if_needed")
    write(source, {"train/pos/deep/0.txt": "in the pattern"})
    with pytest.raises(BadInput, match=r"made with --pattern 0\.\*, --max_tokens 50: run"):
        ran(source, target, "--if_needed")
    run(source, target)
    write(source, {"train/pos/10.txt": "another"})
    assert ran(source, target, "--if_needed")


def test_if_needed_names_an_input_that_is_not_there(tmp_path):
    write(tmp_path / "in", TREE)
    run(tmp_path / "in", tmp_path / "out", "--min_tokens=3")
    with pytest.raises(BadInput, match=r"^no input folder .*/typo: name one with train/ or"):
        run(tmp_path / "typo", tmp_path / "out", "--if_needed")


def test_a_folder_with_other_files_is_not_replaced(tmp_path):
    write(tmp_path, {**{f"in/{path}": text for path, text in TREE.items()}, "out/mine.txt": "x"})
    with pytest.raises(BadInput, match=r"contains mine\.txt, which would be lost"):
        run(tmp_path / "in", tmp_path / "out")
    assert (tmp_path / "out" / "mine.txt").read_text() == "x"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--max_token=5"], "neither this command nor Beam has --max_token=5"),
        (
            ["--max_tokens=2"],
            "argument --max_tokens: must be at least 3 and at most 2147483647, not 2",
        ),
        (["--num_shards=0"], "argument --num_shards: must be at least 1 and at most 99999, not 0"),
        (["--compression=zip"], "argument --compression: invalid choice: 'zip'"),
        (["--direct_num_workers=x"], "argument --direct_num_workers: invalid int value: 'x'"),
        (["--max_len=99999999999"], "must be at least 1 and at most 2147483647"),
        (
            ["--split=character", "--stop_words=english"],
            "--split character: --stop_words and --repl",
        ),
        (["--split=words"], "argument --split: invalid choice: 'words'"),
        (["--runner=Foo"], "--runner Foo: "),
        (["--stop_words=none.txt"], "can't read the words in none.txt"),
    ],
)
def test_a_wrong_flag_is_refused(tmp_path, flags, message):
    write(tmp_path / "in", TREE)
    with pytest.raises(BadInput, match=message):
        run(tmp_path / "in", tmp_path / "out", *flags)
    assert os.listdir(tmp_path) == ["in"]


def command(*args, **kwargs):
    return subprocess.run(
        [sys.executable, "-m", *map(str, args)], capture_output=True, text=True, **kwargs
    )


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "no input folder"),
        ({"in/test/a/0.txt": "x"}, "has test/, but no train/"),
        (
            {"in/a/0.txt": "x", "in/b/0.txt": "y"},
            "no train/: to split its classes, give --test 0.2",
        ),
        ({"in/train/0.txt": "x"}, "has no class folders"),
        ({"in/train/a/0.txt": "x"}, "has only one class"),
        ({"in/train/a/0.txt": "x", "in/train/b/0.md": "x"}, "has no *.txt files"),
        ({f"in/{d}/0.txt": "x" for d in ("train/a", "train/b", "test/c")}, "but train has a, b"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(tmp_path, files, message):
    write(tmp_path, files)
    before = sorted(os.listdir(tmp_path))
    done = command("pipelines.preprocess", "--input", tmp_path / "in", "--output", tmp_path / "out")
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert sorted(os.listdir(tmp_path)) == before


def test_control_characters_in_a_message_are_escaped(tmp_path):
    done = command("pipelines.preprocess", "--input", tmp_path / "a\n\x1b", "--output", "x")
    assert done.stderr == (
        f"error: no input folder {tmp_path}/a\\n\\x1b: name one with train/ or class "
        "folders, or a table\n"
    )


def test_class_names_are_no_markup(tmp_path, capsys):
    classes = ("[red]a", "b[", "c\\[d]")
    write(tmp_path / "in", {f"train/{name}/0.txt": "a film" for name in classes})
    run(tmp_path / "in", tmp_path / "out")
    printed = capsys.readouterr().out
    assert "train: 1 [red]a, 1 b[, 1 c\\[d]\n" in printed
    evaluate.show(evaluate.Evaluation(0, 0, [[1] * 3] * 3, 0), classes)
    table = capsys.readouterr().out
    assert all(table.count(name) == 2 for name in ("[red]a", "b[", "c\\[d]"))


def test_for_many_classes_no_full_confusion_matrix_is_printed(capsys):
    matrix = [[0] * 11 for _ in range(11)]
    matrix[0][:3], matrix[1][1] = [5, 1, 2], 4
    evaluate.show(evaluate.Evaluation(0, 0, matrix, 0), tuple("abcdefghijk"))
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split("  ") == [
        "",
        "class",
        " most often confused with",
        " reviews",
        " correct",
    ]
    assert [line.split() for line in lines[3:5]] == [["a", "c", "8", "5"], ["b", "none", "4", "4"]]
    assert len(lines) == 3 + 11 + 2


def test_inspect_prints_records_as_text(tiny):
    folder, _ = tiny
    done = command("pipelines.inspect_records", "--records", folder / "out", "--split", "test")
    assert done.returncode == 0
    *records, table = done.stdout.strip("\n").split("\n\n")
    assert table.splitlines() == [
        "  split   shown   examples   shards",
        " ───────────────────────────────────",
        "  test        2          2        1",
    ]
    assert sorted(records) == [
        "key     test/neg/0.txt\nlabel   neg\ntokens  4, 1 of them OOV\na [OOV] bad film",
        "key     test/pos/0.txt\nlabel   pos\ntokens  1, 1 of them OOV\n[OOV]",
    ]
    refused = command("pipelines.inspect_records", "--records", folder / "in")
    assert refused.returncode == 2
    assert "has no manifest.json" in refused.stderr


def test_another_format_version_is_refused(tiny, tmp_path):
    _folder, manifest = tiny
    fields = json.loads(manifest.to_json()) | {"format_version": 99}
    (tmp_path / spec.MANIFEST).write_text(json.dumps(fields))
    with pytest.raises(BadInput, match=f"version 99, but this program reads {spec.FORMAT_VERSION}"):
        open_dataset(str(tmp_path))


def test_if_needed_follows_the_datasets_own_pattern_and_classes(tmp_path):
    tree = {
        f"{split}/{c}/0": "a film" for split in ("train", "test") for c in ("neg", "pos", "odd")
    }
    write(tmp_path / "in", tree)
    source, target = tmp_path / "in", tmp_path / "out"
    run(source, target, "--pattern=*", "--classes", "pos", "neg")
    assert not ran(source, target, "--if_needed")
    write(source, {"train/.DS_Store": "x", "train/odd/1": "x"})
    assert not ran(source, target, "--if_needed")
    assert not ran(source, target, "--pattern=*", "--classes", "pos", "neg", "--if_needed")
    write(source, {"train/neg/1": "another film"})
    message = "was made with --classes pos neg, --pattern *: run"
    with pytest.raises(BadInput, match=re.escape(message)):
        run(source, target, "--if_needed")


def test_an_unreadable_manifest_is_not_replaced_unless_requested(tmp_path):
    write(tmp_path / "in", TREE)
    run(tmp_path / "in", tmp_path / "out", "--max_tokens=50")
    (tmp_path / "out" / spec.MANIFEST).write_text("{")
    with pytest.raises(BadInput, match="can't be read"):
        run(tmp_path / "in", tmp_path / "out", "--if_needed")
    assert ran(tmp_path / "in", tmp_path / "out")


def test_what_a_killed_run_left_is_swept_also_if_there_is_nothing_to_do(tiny, tmp_path):
    folder, _ = tiny
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    write(tmp_path, {".out.textrecords-lock": "", ".out.textrecords-new/0/train-0": "half"})
    assert not ran(tmp_path / "in", tmp_path / "out")
    assert sorted(os.listdir(tmp_path)) == ["in", "out"]


def test_if_needed_keeps_a_dataset_whose_replacement_was_stopped_half_way(tmp_path):
    """Its own flags would be lost otherwise."""
    write(tmp_path / "in", TREE)
    run(tmp_path / "in", tmp_path / "out", "--max_tokens=5")
    (tmp_path / "out").rename(tmp_path / ".out.textrecords-old")
    write(tmp_path, {".out.textrecords-lock": ""})
    assert run(tmp_path / "in", tmp_path / "out", "--if_needed").flags.max_tokens == 5


def test_a_misspelled_flag_is_refused_also_if_there_is_nothing_to_do(tmp_path):
    write(tmp_path / "in", TREE)
    run(tmp_path / "in", tmp_path / "out")
    with pytest.raises(BadInput, match="nor Beam has --max_lenn=3"):
        run(tmp_path / "in", tmp_path / "out", "--max_lenn=3")


@pytest.mark.parametrize("name", ["../train/neg", ".", "", "neg/", "caf\udce9"])
def test_a_class_is_a_folder_of_train_by_its_name(tmp_path, name):
    write(tmp_path / "in", TREE)
    with pytest.raises(BadInput, match=r"has no folder|has a control character"):
        run(tmp_path / "in", tmp_path / "out", "--classes", name, "pos")


def test_names_that_are_not_utf8_are_skipped_readably(tmp_path):
    write(tmp_path / "in", {**TREE, "train/caf\udce9/0.txt": "x"})
    manifest = run(tmp_path / "in", tmp_path / "out", "--classes", "neg", "pos")
    assert manifest.skipped == {"train/caf\\udce9: not a chosen class": 1}


def many(folder, number=150):
    """Writes this many reviews of each class."""
    for n in range(number):
        write(folder, {f"train/neg/{n}.txt": f"bad {n}", f"train/pos/{n}.txt": f"good {n}"})


def swap_after_listing(monkeypatch, change):
    """Has something happen to files after they were listed, before they are read."""
    check = input_tree.Tree.check_listed

    def check_and_change(*args):
        listed = check(*args)
        change()
        return listed

    monkeypatch.setattr(input_tree.Tree, "check_listed", check_and_change)


def test_up_to_one_percent_of_bad_files_is_skipped_and_named(tmp_path, monkeypatch):
    source, target = tmp_path / "in", tmp_path / "out"
    many(source)
    (source / "train/pos/7.txt").write_bytes(b"x" * 10_000_001)

    def pipe():
        os.remove(source / "train/neg/3.txt")
        os.mkfifo(source / "train/neg/3.txt")

    with monkeypatch.context() as patch:
        swap_after_listing(patch, pipe)
        manifest = run(source, target)
    assert manifest.bad_files == 2
    assert (manifest.input.files, manifest.splits["train"].examples) == (298, 298)
    lines = (target / "audit-00000-of-00001.jsonl").read_text().splitlines()
    findings = sorted(map(json.loads, lines), key=operator.itemgetter("keys"), reverse=True)
    assert [finding for finding in findings if finding["finding"] == "bad file"] == [
        {"finding": "bad file", "why": "more than 10,000,000 bytes", "keys": ["train/pos/7.txt"]},
        {"finding": "bad file", "why": "not a file", "keys": ["train/neg/3.txt"]},
    ]


def test_a_dataset_without_its_bad_files_is_up_to_date(tmp_path, monkeypatch):
    source, target = tmp_path / "in", tmp_path / "out"
    many(source)
    (source / "train/pos/7.txt").write_bytes(b"x" * 10_000_001)
    assert run(source, target).bad_files == 1
    with monkeypatch.context() as patch:
        read = watch_reading(patch)
        assert not ran(source, target)
    assert read == [os.fsencode(source / "train/pos/7.txt")]
    (source / "train/pos/7.txt").write_bytes(b"x")
    assert ran(source, target)


def test_bad_files_are_checked_again_for_a_dataset_without_them(tmp_path):
    source, target = tmp_path / "in", tmp_path / "out"
    many(source)
    (source / "train/pos/7.txt").write_bytes(b"x" * 10_000_001)
    run(source, target)
    with pytest.raises(Failure, match=r"^1 of 300 files of .*7\.txt \(more than"):
        run(source, target, "--on_bad_file=fail")
    assert open_dataset(str(target)).manifest.bad_files == 1


def test_a_split_of_bad_files_alone_is_refused(tmp_path):
    many(tmp_path / "in")
    for name in ("neg", "pos"):
        write(tmp_path / "in", {f"test/{name}/0.txt": b"x" * 10_000_001})
    with pytest.raises(BadInput) as error:
        run(tmp_path / "in", tmp_path / "out")
    assert str(error.value) == (
        "nothing is left of reviews in test because of files that can't be read (2): change that, "
        "or add reviews with other words"
    )
    assert os.listdir(tmp_path) == ["in"]


@pytest.mark.parametrize("flags", [["--on_bad_file=fail"], []])
def test_bad_files_that_are_too_many_fail_the_run_in_one_line(tmp_path, monkeypatch, flags):
    """By default, more than one percent."""
    source = tmp_path / "in"
    many(source)
    gone = range(1) if flags else range(4)
    swap_after_listing(
        monkeypatch, lambda: [os.remove(source / f"train/neg/{n}.txt") for n in gone]
    )
    with pytest.raises(Failure) as error:
        run(source, tmp_path / "out", *flags)
    named = ", ".join(f"train/neg/{n}.txt (No such file or directory)" for n in gone[:3])
    assert str(error.value) == (
        f"{len(gone)} of 300 files of {source} can't be read: {named}{'' if flags else ', ...'}; "
        "fix or remove them, and run again"
    )
    assert os.listdir(tmp_path) == ["in"]


@pytest.mark.parametrize(
    ("encoding", "guess", "flag"),
    [("utf-16", "utf-16", "utf-16"), ("latin-1", "latin-1 or cp1252", "latin-1")],
)
def test_a_folder_in_another_encoding_fails_the_run_in_one_line(tmp_path, encoding, guess, flag):
    source = tmp_path / "in"
    keys = [f"train/{c}/{n}.txt" for c in ("neg", "pos") for n in range(3)]
    write(source, {key: f"café {key}".encode(encoding) for key in keys})
    with pytest.raises(Failure) as error:
        run(source, tmp_path / "out")
    named = ", ".join(f"{key} ({guess}?)" for key in keys[:3])
    assert str(error.value) == (
        f"6 of 6 files of {source} aren't in utf-8: {named}, ...; if most are in another encoding, "
        f"give --encoding {flag}; to replace what can't be decoded, give --on_bad_text replace_all"
    )
    assert os.listdir(tmp_path) == ["in"]
    manifest = run(source, tmp_path / "out", "--on_bad_text=replace_all")
    assert (manifest.misread_files, manifest.splits["train"].undecodable) == ({guess: 6}, 6)
    manifest = run(source, tmp_path / "out", f"--encoding={flag}")
    assert (manifest.misread_files, manifest.splits["train"].undecodable) == ({}, 0)


def test_a_few_files_in_another_encoding_are_named_and_kept(tmp_path, capsys):
    source, target = tmp_path / "in", tmp_path / "out"
    many(source, 2)
    write(source, {"train/neg/5.txt": "bad".encode("utf-16"), "train/neg/6.txt": b"caf\xe9"})
    assert run(source, target).misread_files == {"latin-1 or cp1252": 1, "utf-16": 1}
    assert "not in utf-8, but perhaps in utf-16: 1\n" in capsys.readouterr().out
    assert not ran(source, target)
    with pytest.raises(
        Failure, match=r"^2 of 6 files of .* aren't in utf-8: train/neg/5.txt \(utf"
    ):
        run(source, target, "--on_bad_text=fail")


@pytest.mark.parametrize(
    ("choice", "number", "most"),
    [
        ("replace", 4, 2),
        ("replace", 20, 10),
        ("replace", 900, 10),
        ("replace", 5000, 50),
        ("replace_all", 4, 4),
        ("fail", 5000, 0),
    ],
)
def test_how_many_files_may_be_in_another_encoding(choice, number, most):
    assert Limits(on_bad_text=choice).max_bad_texts(number) == most


def test_a_file_that_changes_between_two_readings_fails_the_run_in_one_line(tmp_path, monkeypatch):
    write(tmp_path / "in", TREE)
    read_batch = review_batches.read_batch

    def change_and_read(source, files):
        write(tmp_path / "in", {os.fsdecode(files[0][1]): "other"})
        return read_batch(source, files)

    monkeypatch.setattr(review_batches, "read_batch", change_and_read)
    with pytest.raises(Failure, match=r"txt changed while it was being read: run again$"):
        run(tmp_path / "in", tmp_path / "out")
    assert os.listdir(tmp_path) == ["in"]


def test_special_files_and_loops_are_skipped(tmp_path):
    write(tmp_path / "in", TREE)
    folder = tmp_path / "in/train/neg"
    os.mkfifo(folder / "pipe.txt")
    (folder / "loop.txt").symlink_to("loop.txt")
    (folder / "up").symlink_to("..")
    (folder / "null.txt").symlink_to(os.devnull)
    manifest = run(tmp_path / "in", tmp_path / "out")
    assert manifest.skipped["links to folders, and special files"] == 4


def test_words_and_texts_of_any_length_are_accepted(tmp_path):
    texts = {"train/neg/long.txt": "x" * 9_999_999, "train/pos/many.txt": "y " * 500_000}
    write(tmp_path / "in", {**TREE, **texts})
    manifest = run(tmp_path / "in", tmp_path / "out")
    assert manifest.splits["train"].token_lengths["max"] == 500_000
    assert manifest.bad_files == 0


def test_a_full_disk_fails_the_run_in_one_line(tmp_path):
    """Simulated by a limit on file size: writing fails in the middle of a shard."""
    many(tmp_path / "in", 30)
    program = (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, 2_000));"
        "from pipelines.preprocess import __main__ as preprocess;"
        "from textrecords import app; app.run(preprocess.main)"
    )
    flags = ["--input", str(tmp_path / "in"), "--output", str(tmp_path / "out")]
    done = subprocess.run([sys.executable, "-c", program, *flags], capture_output=True, text=True)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1] == (
        f"error: can't write {tmp_path}/out (File too large): free some space, or name another "
        "folder"
    )
    assert os.listdir(tmp_path) == ["in"]


def test_a_folder_whose_name_is_not_utf8_gives_a_complete_dataset(tmp_path):
    source, target = tmp_path / "caf\udce9", tmp_path / "out"
    write(source, TREE)
    run(source, target)
    assert json.loads((target / spec.RUN).read_text())["input"] == f"{tmp_path}/caf\\udce9"
    assert not ran(source, target)


@pytest.mark.parametrize("name", ["out\udce9", "out [old]", "back\\slash", "*"])
def test_a_folder_that_tensorflow_cannot_work_in_is_refused(tmp_path, name):
    write(tmp_path / "in [1]*", TREE)
    write(tmp_path / name, {spec.MANIFEST: "{}", model_folder.CONFIG: "{}"})
    made, message = str(tmp_path / name), "isn't UTF-8 or contains one of"
    with pytest.raises(BadInput, match=message):
        run(tmp_path / "in [1]*", made)
    with pytest.raises(BadInput, match=message):
        open_dataset(made)
    with pytest.raises(BadInput, match=message):
        model_folder.read(made)
    run(tmp_path / "in [1]*", tmp_path / "out")
    with pytest.raises(BadInput, match=message):
        train.main(["--records", str(tmp_path / "out"), "--model_dir", made])
