"""Every command with every path in Cloud Storage, as an emulator serves it."""

import functools
import hashlib
import itertools
import json
import os
import pathlib
import signal
import subprocess
import sys

import dataflow
import gcs
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
import test_dataflow
import test_finished_shards
import test_reproducible
import test_score
from tiny_tree import write

from textrecords import spec

pytestmark = pytest.mark.slow

BUCKET = "bucket"
REVIEWS = {
    **{
        f"{split}/pos/{n}.txt": f"good film {n}<br />" for split in ("train", "test") for n in "123"
    },
    **{f"{split}/neg/{n}.txt": f"bad film {n}" for split in ("train", "test") for n in "123"},
    "train/neg/deeper/4.txt": b"caf\xe9",
    "train/neg/empty.txt": "",
    "train/neg/notes.md": "no review",
    "train/.hidden": "",
    "train/unsup/1.txt": "no label",
}
INPUT, RECORDS, MODEL, SCORES = (f"gs://{BUCKET}/{name}" for name in ("in", "r", "m/m", "s"))
SMALL = ["--max_len=4", "--embedding_dim=2", "--lstm_units=2", "--dense_units=2", "--epochs=2"]
MADE = {
    "r/": [
        "SHA256SUMS",
        "audit-00000-of-00001.jsonl",
        "croissant.json",
        "dataset_info.json",
        "features.json",
        "label.labels.txt",
        "manifest.json",
        "run.json",
        "schema.pbtxt",
    ],
    "m/m/": ["SHA256SUMS", "config.json", "metrics.json", "model.weights.h5"],
    "s/": ["scores-00000-of-00001.jsonl"],
    "s/__about__/": ["SHA256SUMS", "run.json", "scores.json"],
}


class Store:
    """A bucket and the commands that see it."""

    def __init__(self, env, requests):
        self.requests = requests
        self.port = env["EMULATOR_PORT"]
        self.env = os.environ | env

    def run(self, command, *flags, code=0):
        done = subprocess.run(
            [sys.executable, "-m", command, *flags],
            env=self.env,
            capture_output=True,
            text=True,
            timeout=180,
        )
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout if code == 0 else done.stderr

    def names(self, prefix=""):
        return [n for n in gcs.names(self.port, BUCKET) if n.startswith(prefix)]

    def read(self, name):
        return gcs.read(self.port, BUCKET, name)

    def write(self, name, content):
        gcs.write(self.port, BUCKET, name, content)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    requests = []
    with gcs.serve(tmp_path_factory.mktemp("gcs"), BUCKET, requests) as env:
        store = Store(env, requests)
        for key, content in REVIEWS.items():
            store.write(f"in/{key}", content if isinstance(content, bytes) else content.encode())
        yield store


@pytest.fixture(scope="module")
def made(store):
    """The bucket with a dataset, a model and scores, and what the commands printed."""
    flags = ["--records", RECORDS, "--model_dir", MODEL]
    return {
        "preprocess": store.run("pipelines.preprocess", "--input", INPUT, "--output", RECORDS),
        "train": store.run("model.train", *flags, *SMALL),
        "score": store.run(
            "pipelines.score", "--input", INPUT, "--output", SCORES, "--model_dir", MODEL
        ),
    }


def test_a_dataset_is_byte_for_byte_the_local_one(store, made, tmp_path):
    write(tmp_path / "in", REVIEWS)
    store.run(
        "pipelines.preprocess", "--input", str(tmp_path / "in"), "--output", str(tmp_path / "r")
    )
    local = test_reproducible.digests(tmp_path / "r")
    assert len(local) == 7
    assert {name: hashlib.sha256(store.read(f"r/{name}")).hexdigest() for name in local} == local


def test_nothing_but_the_results_is_left(store, made):
    for folder, expected in MADE.items():
        files = [name.removeprefix(folder) for name in store.names(folder)]
        assert [name for name in files if name in expected] == expected
    assert [n for n in store.names() if not n.startswith(("in/", *MADE))] == ["m/"]


def test_a_dataset_that_is_there_stays_and_no_text_is_read(store, made):
    store.requests.clear()
    said = store.run("pipelines.preprocess", "--input", f"{INPUT}/", "--output", f"{RECORDS}/")
    assert said == f"{RECORDS}/ is up to date with {INPUT}/\n"
    assert [path for _, path in store.requests if path.startswith("/bucket/in%2F")] == []
    assert ("GET", "/bucket/r%2Fmanifest.json") in store.requests


def test_all_agree_on_every_token(store, made):
    flags = ["--records", RECORDS, "--model_dir", MODEL]
    said = store.run("pipelines.verify", "--input", INPUT, *flags)
    assert "scores of the SavedModel: maximum difference 0" in said
    assert "test accuracy" in store.run("model.evaluate", *flags)
    assert "label   neg" in store.run("pipelines.inspect_records", "--records", RECORDS)


def test_scores_are_those_of_predict(store, made):
    rows = [json.loads(line) for line in store.read(f"s/{MADE['s/'][0]}").splitlines()]
    assert [row["key"] for row in rows] == sorted(key for key in REVIEWS if key.endswith(".txt"))
    printed = store.run("model.predict", "--model_dir", MODEL, "--json", "good film 1<br />")
    scores = {row["key"]: row["score"] for row in rows}
    assert json.loads(printed)["score"] == pytest.approx(scores["test/pos/1.txt"], abs=1e-6)


def test_a_report_is_written_there(store, made):
    flags = ["--records", RECORDS, "--model_dir", MODEL, "--input", INPUT]
    store.run("model.report", *flags, "--output", f"gs://{BUCKET}/page/report.html")
    assert store.read("page/report.html").startswith(b"<!doctype html>")
    report = json.loads(store.read("page/report.json"))
    assert report["training"]["epochs"][0]["seconds"] > 0
    assert all(row["is_text"] for row in report["mistakes"])


def test_a_pattern_is_scored(store, made):
    flags = ["--input", f"{INPUT}/train/neg/*", "--output", f"{SCORES}2", "--model_dir", MODEL]
    assert f"wrote 5 scores to {SCORES}2" in store.run("pipelines.score", *flags)


def test_a_dataset_is_replaced_and_stays_if_the_next_fails(store, made):
    flags = ["--input", INPUT, "--output", f"gs://{BUCKET}/again"]
    store.write("again/train-00007-of-00009.tfrecord", b"of a run that was stopped")
    store.run("pipelines.preprocess", *flags, "--num_shards=2")
    store.run("pipelines.preprocess", *flags)
    before = {name: store.read(name) for name in store.names("again/")}
    shards = [name for name in before if name.endswith(".tfrecord")]
    assert shards == [f"again/{s}-00000-of-00001.tfrecord" for s in ("test", "train", "unlabelled")]
    failed = store.run("pipelines.preprocess", *flags, "--max_tokens=3", "--pattern=e*", code=2)
    assert failed.startswith("error: ")
    assert {name: store.read(name) for name in store.names("again/")} == before
    assert store.names(".again") == []


def test_a_run_reuses_what_others_have_finished(store, made):
    """What was killed may as well be under way: it's read, and left as it is."""
    flags = ["--input", INPUT, "--output", f"gs://{BUCKET}/finished", "--num_shards=2"]
    stop = functools.partial(test_finished_shards.end_by, env=store.env)
    stop(signal.SIGKILL, *flags, after=1)
    left = store.names(".finished")
    assert len([name for name in left if name.endswith(".tfrecord.finished")]) == 1
    errors = stop(signal.SIGTERM, *flags, after=1)
    kept = "finished shards kept for the next run: 2 (--no_resume starts over)"
    assert errors == f"stopped: {kept}\n"
    assert len(store.names(".finished.textrecords-kept/")) == 4
    printed = store.run("pipelines.preprocess", *flags)
    assert "gs://bucket/.finished.textrecords-new belongs to another run: remove it" in printed
    assert "reused 2 of 6 shards from an interrupted run\n" in printed
    assert store.names(".finished") == left
    whole = f"gs://{BUCKET}/whole"
    store.run("pipelines.preprocess", "--input", INPUT, "--output", whole, "--num_shards=2")
    names = [name.removeprefix("whole/") for name in store.names("whole/")]
    assert [name.removeprefix("finished/") for name in store.names("finished/")] == names
    for name in (n for n in names if "-of-" in n or n == "manifest.json"):
        assert store.read(f"finished/{name}") == store.read(f"whole/{name}")


def test_an_interrupted_training_resumes(store, made):
    model_dir = f"gs://{BUCKET}/stopped"
    flags = ["--records", RECORDS, "--model_dir", model_dir, *SMALL]
    stopped = subprocess.run(
        [sys.executable, "-c", STOP_AFTER_AN_EPOCH, *flags], env=store.env, capture_output=True
    )
    assert stopped.returncode == 7, stopped.stderr
    assert store.names("stopped/") == []
    said = store.run("model.train", *flags)
    assert "resuming after step 0 of epoch 2" in said
    assert store.read("stopped/metrics.json") == store.read("m/m/metrics.json")
    assert store.names(".stopped") == []


STOP_AFTER_AN_EPOCH = """
import os, sys
from model import train
from model.training import checkpoints
end = checkpoints.Checkpoints.on_epoch_end
def stop(self, epoch, logs=None):
    end(self, epoch, logs)
    os._exit(7)
checkpoints.Checkpoints.on_epoch_end = stop
train.main(sys.argv[1:])
"""


def test_a_changed_object_is_refused(store, made):
    store.run("pipelines.preprocess", "--input", INPUT, "--output", f"gs://{BUCKET}/changed")
    name = "changed/train-00000-of-00001.tfrecord"
    store.write(name, store.read(name)[:-1])
    flags = ["--records", f"gs://{BUCKET}/changed", "--model_dir", MODEL]
    refused = store.run("model.train", *flags, code=2)
    assert f"gs://{BUCKET}/{name} has changed since SHA256SUMS was written" in refused


def test_a_dataflow_job_reads_and_writes_there(store, made, tmp_path, monkeypatch):
    for name, value in store.env.items():
        monkeypatch.setenv(name, value)  # for the workers, too
    output = f"gs://{BUCKET}/flow"
    places = [f"--temp_location={tmp_path}", f"--staging_location={tmp_path}"]
    with dataflow.service() as service:
        flags = [*service.flags, "--project=p", "--region=us-central1", *places]
        store.run("pipelines.preprocess", "--input", INPUT, "--output", output, *flags)
    shards = [name for name in store.names("flow/") if name.endswith(".tfrecord")]
    assert len(shards) == 3
    for name in (*shards, "flow/manifest.json"):
        assert store.read(name) == store.read(name.replace("flow/", "r/"))


@pytest.mark.parametrize("command", ["preprocess", "score"])
def test_what_is_asked_before_a_job_starts_does_not_grow_with_the_files(tmp_path, command):
    """Neither with 1,000 of each class nor with 10,000, which are listed by the workers."""
    flags = ["--project=p", "--region=us-central1", f"--temp_location={tmp_path}"]
    if command == "score":
        model_dir = test_score.trained(tmp_path / "trained", ("neg", "pos"))
        flags += ["--model_dir", str(model_dir)]
    asked = []
    for number in (1_000, 10_000):
        folders = itertools.product(("train", "test"), ("neg", "pos"))
        names = [f"in/{split}/{name}/{n}.txt" for split, name in folders for n in range(number)]
        requests = []
        with (
            gcs.serve(tmp_path, BUCKET, requests, names) as env,
            dataflow.service(executes=False) as service,
        ):
            paths = ["--input", INPUT, "--output", str(tmp_path / "out")]
            staging = f"--staging_location={tmp_path}"
            process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    f"pipelines.{command}",
                    *paths,
                    *service.flags,
                    staging,
                    *flags,
                ],
                env=os.environ | env,
            )
            test_dataflow.wait_for_job(service, process)
            assert service.asked
            process.kill()
            process.wait()
        asked.append(requests)
    assert sorted(asked[0]) == sorted(asked[1])
    assert len(asked[0]) <= 20


@pytest.mark.parametrize(
    ("input_dir", "output", "message"),
    [
        (f"gs://{BUCKET}/none", RECORDS, "no input folder"),
        (INPUT, "gs://another", "is a bucket: name a folder in it"),
        (INPUT, INPUT, "are the same folder"),
    ],
)
def test_what_cannot_be_done_is_refused_in_one_line(store, input_dir, output, message):
    flags = ["--input", input_dir, "--output", output]
    refused = store.run("pipelines.preprocess", *flags, code=2)
    assert message in refused
    assert refused.count("\n") == 1


@pytest.mark.parametrize("kind", ["csv.gz", "jsonl", "parquet"])
def test_tables_are_read_there_and_their_texts_kept(store, made, tmp_path, kind):
    rows = [("good film", "pos"), ("bad film", "neg"), ("so, so", "pos"), ("worse", "neg")]
    table = pa.table({"text": [text for text, _ in rows], "label": [label for _, label in rows]})
    write_table = {
        "csv.gz": lambda path: pyarrow.csv.write_csv(table, pa.output_stream(path)),
        "jsonl": lambda path: table.to_pandas().to_json(path, orient="records", lines=True),
        "parquet": lambda path: pyarrow.parquet.write_table(table, path, row_group_size=3),
    }[kind]
    local, remote = str(tmp_path / f"t.{kind}"), f"gs://{BUCKET}/tables/t.{kind}"
    write_table(local)
    store.write(f"tables/t.{kind}", pathlib.Path(local).read_bytes())
    records = f"gs://{BUCKET}/of-{kind}"
    store.run("pipelines.preprocess", "--input", remote, "--output", records)
    store.run("pipelines.preprocess", "--input", local, "--output", str(tmp_path / "r"))
    expected = test_reproducible.digests(tmp_path / "r")
    names = store.names(f"of-{kind}/")
    assert {name for name in names if ".texts" in name} == set()
    assert {
        name: hashlib.sha256(store.read(f"of-{kind}/{name}")).hexdigest() for name in expected
    } == expected
    said = store.run("pipelines.preprocess", "--input", remote, "--output", records)
    assert said == f"{records} is up to date with {remote}\n"
    store.run("pipelines.verify", "--input", remote, "--records", records)
    scores = f"gs://{BUCKET}/scores-of-{kind}"
    store.run("pipelines.score", "--input", remote, "--output", scores, "--model_dir", MODEL)
    lines = store.read(f"scores-of-{kind}/scores-00000-of-00001.jsonl").splitlines()
    keys = [json.loads(line)["key"] for line in lines]
    assert keys == [f"t.{kind}#{n}" for n in (1, 2, 3, 4)]


def test_word_lists_may_be_there(store, tmp_path):
    store.write("words", b"film\n")
    flags = ["--input", INPUT, "--stop_words", f"gs://{BUCKET}/words"]
    store.run("pipelines.preprocess", *flags, "--output", str(tmp_path / "r"))
    vocabulary = (tmp_path / "r" / spec.VOCABULARY).read_text()
    assert "good\n" in vocabulary
    assert "film\n" not in vocabulary
