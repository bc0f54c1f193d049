import dataclasses
import json
import os
import pty
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tiny_dataset

from model import evaluate, predict, train
from model.network import lstm
from model.training import flags as train_flags
from model.training import settings, timing
from textrecords import input_pipeline, model_folder, occlusion, saved_model
from textrecords.dataset import open_dataset
from textrecords.errors import BadInput
from textrecords.model_folder import Network, Training
from textrecords.saved_model import load_model
from textrecords.spec import InputSize

pytestmark = pytest.mark.integration

SMALL = ["--max_len=4", "--embedding_dim=4", "--lstm_units=4", "--dense_units=4"]
QUICK = [*SMALL, "--learning_rate=0.05", "--batch_size=8", "--epochs=12"]
MORE = ["--dense_units=16", "--lstm_units=8", "--epochs=20"]


def reviews(words, number):
    """Returns reviews of four tokens, one of which is unique to their class."""
    return [
        (" ".join(["film"] * (n % 4) + [words[n % len(words)]]), n % len(words))
        for n in range(number)
    ]


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "records"
    words = ("bad", "good")
    tiny_dataset.write(folder, {"train": reviews(words, 40), "test": reviews(words, 9)})
    return str(folder)


@pytest.fixture(scope="module")
def trained(records, tmp_path_factory):
    model_dir = str(tmp_path_factory.mktemp("model") / "model")
    train.main(["--records", records, "--model_dir", model_dir, *QUICK])
    return model_dir


def read_json(*path):
    with open(os.path.join(*path), encoding="utf-8") as file:
        return json.load(file)


def test_the_model_folder_has_all_files_and_no_leftovers(trained):
    assert sorted(os.listdir(trained)) == [
        "SHA256SUMS",
        "config.json",
        "logs",
        "metrics.json",
        "model.keras",
        "model.weights.h5",
        "serving",
        "tokenizer.json",
    ]
    assert os.listdir(os.path.dirname(trained)) == ["model"]
    data, settings, *others = sorted(os.listdir(os.path.join(trained, "logs")))
    assert settings.startswith("events.out.tfevents.")
    assert [data, *others] == ["data", "timing.json", "train"]


def test_the_metrics_are_of_each_epoch_and_the_test_split(trained):
    metrics = read_json(trained, "metrics.json")
    assert {name: len(values) for name, values in metrics["history"].items()} == {
        "accuracy": 12,
        "loss": 12,
    }
    assert metrics["best_epoch"] == 12
    assert metrics["history"]["accuracy"][-1] == 1
    assert metrics["test"]["accuracy"] == 1
    assert metrics["test"]["confusion_matrix"] == [[5, 0], [0, 4]]
    assert 0 < metrics["test"]["loss"] < 0.1
    assert 0 < metrics["test"]["calibration_error"] < 0.1


def test_epochs_and_input_are_timed(trained):
    timed = timing.read_timing(os.path.join(trained, "logs"))
    assert {number: epoch.steps for number, epoch in timed.epochs.items()} == dict.fromkeys(
        range(1, 13), 5
    )
    assert all(epoch.seconds > 0 for epoch in timed.epochs.values())
    assert {epoch.validation_seconds for epoch in timed.epochs.values()} == {0}
    assert timed.input_seconds > 0


@pytest.mark.parametrize("content", [None, "", "{}x", '{"epochs": {"1": {"steps": "x"}}}'])
def test_times_that_cannot_be_read_are_none(tmp_path, content):
    if content is not None:
        (tmp_path / "timing.json").write_text(content)
    assert timing.read_timing(str(tmp_path)) is None


def test_validation_stops_the_training_and_chooses_the_weights(tmp_path):
    """What is learned from train is wrong in validation, so that its first epoch is the best."""
    words = ("bad", "good")
    flipped = [(text, 1 - label) for text, label in reviews(words, 30)]
    splits = {"train": reviews(words, 40), "validation": flipped, "test": reviews(words, 9)}
    records, model_dir = str(tmp_path / "records"), str(tmp_path / "model")
    tiny_dataset.write(records, splits)
    train.main(["--records", records, "--model_dir", model_dir, *QUICK, "--patience=2"])
    metrics = read_json(model_dir, "metrics.json")
    validation_loss = metrics["history"]["val_loss"]
    assert metrics["best_epoch"] == 1
    assert len(validation_loss) == len(metrics["history"]["loss"]) == 3
    model = evaluate.load_model(model_dir, model_folder.read(model_dir))
    rows = input_pipeline.read_split(open_dataset(records), "validation", InputSize(5, 4))
    kept = model.evaluate(input_pipeline.batches(rows, 16), verbose=0)
    assert kept[0] == pytest.approx(validation_loss[0], rel=1e-5)
    assert validation_loss[0] < validation_loss[1]


def test_the_config_holds_the_flags_and_what_the_records_are(trained, records):
    config = model_folder.read(trained)
    manifest = open_dataset(records).manifest
    assert config.network.max_tokens == 5  # the whole vocabulary
    assert config.network.lstm_units == 4
    assert config.training == Training(
        optimizer="adam",
        learning_rate=0.05,
        decay="none",
        clipnorm=1.0,
        class_weights="none",
        batch_size=8,
        bucket_by_length=False,
        epochs=12,
        patience=3,
        choose_threshold=False,
        calibrate=False,
        seed=0,
    )
    assert config.classes == ("neg", "pos")
    assert config.vocabulary == manifest.vocabulary


def test_evaluate_rebuilds_the_model_and_finds_the_same(trained, records, capsys):
    loss = read_json(trained, "metrics.json")["test"]["loss"]
    capsys.readouterr()
    evaluate.main(["--records", records, "--model_dir", trained])
    assert f"test loss {loss:.4f}, test accuracy 1.0000" in capsys.readouterr().out


def test_an_evaluation_agrees_with_keras(trained, records):
    from textrecords import input_pipeline

    config = model_folder.read(trained)
    network = dataclasses.replace(config.network, max_tokens=3)
    config = dataclasses.replace(config, network=network)
    model, dataset = evaluate.load_model(trained, model_folder.read(trained)), open_dataset(records)
    rows = input_pipeline.read_split(dataset, "test", network.input_size)
    found = evaluate.evaluate(model, dataset, config)
    loss, accuracy = model.evaluate(input_pipeline.batches(rows, 4), verbose=0)
    np.testing.assert_allclose([found.loss, found.accuracy], [loss, accuracy], rtol=1e-4)
    assert found.accuracy < 1


def test_an_evaluation_cuts_rows_of_similar_length_to_the_longest(tmp_path, monkeypatch):
    texts = ["good", "bad", "good film", "bad bad bad", "film " * 20, "good " * 19, "bad"]
    rows = [(text, number % 2) for number, text in enumerate(texts)]
    tiny_dataset.write(tmp_path / "records", {"train": rows, "test": rows})
    dataset = open_dataset(str(tmp_path / "records"))
    flags = ["--max_len=20", "--pooling=max_mean", "--chunk_len=5", "--bucket_by_length"]
    args = train.parse_args(["--records=", "--model_dir=", *flags])
    config = settings.configure(dataset, *train_flags.read_settings(args))
    model = lstm.build(config.network, 2)
    lstm.compile_model(model, config.training)
    monkeypatch.setattr(evaluate, "BATCH_SIZE", 2)
    widths, profile = [], evaluate.profile
    monkeypatch.setattr(
        evaluate,
        "profile",
        lambda tokens, *of: widths.append(tokens.shape[1]) or profile(tokens, *of),
    )
    found = evaluate.evaluate(model, dataset, config)
    assert sorted(widths) == [3, 3, 20, 20]  # widths are multiples of three here
    as_they_come = dataclasses.replace(config.training, bucket_by_length=False)
    padded = evaluate.evaluate(model, dataset, dataclasses.replace(config, training=as_they_come))
    assert widths[4:] == [20] * 4
    assert (found.confusion_matrix, found.profile) == (padded.confusion_matrix, padded.profile)
    assert found.loss == pytest.approx(padded.loss, rel=1e-6)


def test_predict_prints_score_label_and_text(trained, capsys):
    predict.main(["--model_dir", trained, "a good film", "bad\x1b[2J"])
    first, second = capsys.readouterr().out.splitlines()
    assert first.split(maxsplit=2)[1:] == ["pos", "a good film"]
    assert float(first.split()[0]) > 0.9
    assert second.endswith(r"  bad\x1b[2J")


def test_predict_explains_a_score_by_its_tokens(trained, capsys):
    texts = ["a good film", "nothing known"]
    predict.main(["--model_dir", trained, "--explain", "--json", *texts])
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    tokens = [[each["token"] for each in row["tokens"]] for row in rows]
    assert tokens == [["[OOV]", "good", "film"], ["[OOV]", "[OOV]"]]
    effects = {each["token"]: each["effect"] for each in rows[0]["tokens"]}
    explained = load_model(trained).explain(texts[0])
    assert effects == {word.token: pytest.approx(word.effect, abs=1e-5) for word in explained}
    [strongest, *_] = sorted(effects, key=lambda token: -abs(effects[token]))
    predict.main(["--model_dir", trained, "--explain", *texts])
    first, words, second = capsys.readouterr().out.splitlines()
    assert first.endswith("  a good film")
    assert words.strip().startswith(f"{strongest} {effects[strongest]:+.2f}, ")
    assert second.endswith("  nothing known")


def test_predict_reads_lines_and_prints_json(trained, capsys, monkeypatch, tmp_path):
    (tmp_path / "lines").write_bytes(b"good\n" * 300 + b"b\xffad\r\n\nbad")
    with open(tmp_path / "lines") as lines:
        monkeypatch.setattr(sys, "stdin", lines)
        predict.main(["--model_dir", trained, "--json"])
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["text"] for row in rows] == ["good"] * 300 + ["b\ufffdad", "", "bad"]
    assert [(row["label"], row["score"] > 0.5) for row in rows[::302]] == [
        ("pos", True),
        ("neg", False),
    ]
    assert rows[0].keys() == {"text", "label", "classes", "score"}
    assert rows[0]["classes"] == ["neg", "pos"]


def test_lines_in_a_pipe_that_stays_open_are_scored_as_they_come(trained):
    command = [sys.executable, "-m", "model.predict", "--model_dir", trained]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        for lines in (b"good film\n", b"bad\ngood\n", b"film\nba"):
            process.stdin.write(lines)
            process.stdin.flush()
            for line in lines.splitlines()[: lines.count(b"\n")]:
                assert process.stdout.readline().endswith(b"  " + line + b"\n")
        process.stdin.write(b"d")
        process.stdin.close()
        assert process.stdout.read().endswith(b"  bad\n")
        assert process.wait() == 0


def test_lines_of_a_pipe_are_batched_by_number_and_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(predict, "BATCH_BYTES", 100_000)
    monkeypatch.setattr(predict, "READ_BYTES", 4096)
    long = [bytes([65 + n]) * 60_000 for n in range(5)]
    (tmp_path / "long").write_bytes(b"\n".join(long))
    (tmp_path / "short").write_bytes(b"x\n" * 5000)
    batches = {}
    for name in ("long", "short"):
        with open(tmp_path / name) as file:
            batches[name] = [*predict._arrived(file.fileno())]
    assert [line for batch in batches["long"] for line in batch] == long
    assert [*map(len, batches["long"])] == [1] * 5
    assert sum(map(len, batches["short"])) == 5000
    assert len(batches["short"]) == 3


def test_texts_are_scored_no_more_bytes_at_once_than_fit(trained, monkeypatch):
    sizes, score_batch = [], saved_model.score_batch

    def watched(serve, texts):
        sizes.append(len(texts))
        return score_batch(serve, texts)

    monkeypatch.setattr(saved_model, "score_batch", watched)
    texts = [b"good"] * 300 + [b"bad " * (saved_model.BATCH_BYTES // 8)] * 5
    rows = [*load_model(trained).rows(texts)]
    assert [row["text"][:3] for row in rows] == ["goo"] * 300 + ["bad"] * 5
    assert sizes == [256, 45, 2, 2]


def test_json_has_no_terminal_control_characters(trained, capsys):
    text = 'film \x1b[31m \x9b2J \u202e \U000e0001 [bold] "é"'
    predict.main(["--model_dir", trained, "--json", text])
    (line,) = capsys.readouterr().out.splitlines()
    assert line.isprintable()
    assert '[bold] \\"é\\"' in line
    assert json.loads(line)["text"] == text


def test_the_last_lines_score_the_two_sentences(records, tmp_path, capsys):
    train.main(["--records", records, "--model_dir", str(tmp_path / "model"), *SMALL, "--epochs=1"])
    texts = [line.split("  ")[2] for line in capsys.readouterr().out.splitlines()[-2:]]
    assert texts == list(train.SENTENCES)


def test_other_classes_than_those_of_films_have_texts_of_their_own_scored(tmp_path, capsys):
    records, words = str(tmp_path / "records"), ("\x1b[2Jcat", "dog", "eel")
    texts = [(f"unseen{n} {words[n % 3]}", n % 3) for n in range(9)]
    tiny_dataset.write(records, {"train": reviews(words, 60), "test": texts}, classes=words)
    train.main(["--records", records, "--model_dir", str(tmp_path / "model"), *QUICK, *MORE])
    printed = capsys.readouterr().out
    assert not any(sentence in printed for sentence in train.SENTENCES)
    _, found, table = printed.partition("reviews of test, as the network reads them:\n")
    lines = table.splitlines()[3:-1]
    assert found
    assert [line.split()[:3] for line in lines] == [
        ["[OOV]", r"\x1b[2jcat", r"\x1b[2Jcat"],
        ["[OOV]", "dog", "dog"],
        ["[OOV]", "eel", "eel"],
        ["[OOV]", r"\x1b[2jcat", r"\x1b[2Jcat"],
        ["[OOV]", "dog", "dog"],
    ]
    assert [line.split()[3] for line in lines] == [line.split()[2] for line in lines]


@pytest.mark.parametrize("split", ["validation", "train"])
def test_without_a_test_split_texts_of_another_are_shown_and_shortened(tmp_path, capsys, split):
    words = ("cat", "dog", "eel")
    splits = {"train": [(f"{'x' * 99} {text}", label) for text, label in reviews(words, 6)]}
    splits.setdefault(split, reviews(words, 3))
    tiny_dataset.write(tmp_path / "records", splits, classes=words)
    flags = ["--records", str(tmp_path / "records"), "--model_dir", str(tmp_path / "model")]
    train.main([*flags, *SMALL, "--epochs=1"])
    _, found, table = capsys.readouterr().out.partition(f"reviews of {split}, as the network")
    assert found
    assert (f"{'x' * 72}…" in table) == (split == "train")


def lengths_of(*lengths):
    """Returns a split with texts of these lengths."""
    return {"train": [(" ".join(["a"] * length), n % 2) for n, length in enumerate(lengths)]}


@pytest.mark.parametrize(
    ("splits", "flags", "max_len", "mask", "said"),
    [
        (lengths_of(31, 31), [], 31, False, "max_len 31: the longest review of train has 31"),
        (lengths_of(12, 20, 31), [], 31, True, "31 tokens; padding is masked: half of the reviews"),
        (lengths_of(200, 300), [], 100, False, "max_len 100: the longest review of train has 300"),
        (lengths_of(60, 300, 400), [], 100, False, "max_len 100: "),
        (
            lengths_of(60, 70, 400),
            [],
            100,
            True,
            "padding is masked: half of the reviews have at most 70",
        ),
        (lengths_of(*[20] * 199, 90), [], 20, False, "99% of the reviews of train have at most 20"),
        (lengths_of(2, 2), [], 10, True, "max_len 10: the longest review of train has 2 tokens"),
        (lengths_of(60, 70, 400), ["--no-mask_padding"], 100, False, "max_len 100: "),
        (lengths_of(60, 70), ["--max_len=80"], 80, True, "padding is masked: half"),
        (lengths_of(60, 70), ["--max_len=60", "--mask_padding"], 60, True, None),
        (lengths_of(2, 2), ["--preset=tuned", "--epochs=1"], 1000, False, None),
    ],
)
def test_length_and_mask_are_chosen_by_the_records_and_reported(
    tmp_path, splits, flags, max_len, mask, said
):
    tiny_dataset.write(tmp_path / "records", splits)
    dataset = open_dataset(tmp_path / "records")
    paths = ["--records=", "--model_dir="]
    asked, training = train_flags.read_settings(train.parse_args([*paths, *flags]))
    network = settings.configure(dataset, asked, training).network
    assert (network.max_len, network.mask_padding) == (max_len, mask)
    described = settings.describe_choice(asked, network, dataset.manifest)
    assert said in described if said else described == ""


def test_records_that_were_cut_shorter_set_the_length(tmp_path):
    tiny_dataset.write(tmp_path / "records", lengths_of(5, 5), max_len=5)
    network = settings.configure(open_dataset(tmp_path / "records"), Network(), Training()).network
    assert (network.max_len, network.mask_padding) == (5, False)


def test_plain_train_learns_short_texts_and_reports_its_choices(tmp_path, capsys):
    """Padded to 100 tokens, they would leave the network with what it began with."""
    records, model_dir = str(tmp_path / "records"), str(tmp_path / "model")
    rng = np.random.default_rng(0)
    texts = [
        (" ".join(f"{'abc'[n % 3]}{word}" for word in rng.integers(40, size=rng.integers(19, 32))))
        for n in range(120)
    ]
    rows = {"train": [(text, n % 3) for n, text in enumerate(texts)]}
    tiny_dataset.write(records, rows, classes=("a", "b", "c"))
    train.main(["--records", records, "--model_dir", model_dir])
    printed = capsys.readouterr().out
    assert "max_len 31: the longest review of train has 31 tokens; padding is masked" in printed
    assert "share of the most frequent class, a, 0.3333\n" in printed
    assert "nothing was learned" not in printed
    assert read_json(model_dir, "metrics.json")["history"]["accuracy"][-1] > 0.95
    assert read_json(model_dir, "config.json")["network"]["max_len"] == 31


def test_a_network_that_has_learned_nothing_is_reported(tmp_path, capsys):
    records = str(tmp_path / "records")
    tiny_dataset.write(records, {"train": [("a", 0)] * 30 + [("a", 1)] * 10, "test": [("a", 1)]})
    train.main(["--records", records, "--model_dir", str(tmp_path / "model"), *QUICK])
    printed = capsys.readouterr().out
    assert "train accuracy 0.7500; share of the most frequent class, neg, 0.7500\n" in printed
    assert "nothing was learned: always predicting that class is as accurate. Try " in printed
    assert "; share of the most frequent class 1.0000\n" in printed


def test_the_same_seed_gives_the_same_model(records, tmp_path):
    histories = []
    for name, seed in [("one", 3), ("two", 3), ("three", 4)]:
        model_dir = str(tmp_path / name)
        flags = [*SMALL, "--epochs=2", "--dropout=0.2", f"--seed={seed}"]
        train.main(["--records", records, "--model_dir", model_dir, *flags])
        histories.append(read_json(model_dir, "metrics.json")["history"])
    assert histories[0] == histories[1] != histories[2]


def test_three_classes_and_no_test_split(tmp_path, capsys):
    records, model_dir = str(tmp_path / "records"), str(tmp_path / "model")
    words = ("cat", "dog", "eel")
    tiny_dataset.write(records, {"train": reviews(words, 60)}, classes=words)
    train.main(["--records", records, "--model_dir", model_dir, *QUICK, "--dense_units=16"])
    assert "the dataset has no test split to evaluate on" in capsys.readouterr().out
    metrics = read_json(model_dir, "metrics.json")
    assert metrics["test"] is None
    assert metrics["history"]["accuracy"][-1] == 1
    rows = list(load_model(model_dir).rows([b"eel", b"film dog"]))
    assert [row["label"] for row in rows] == ["eel", "dog"]
    assert [np.argmax(row["scores"]) for row in rows] == [2, 1]


def test_at_a_terminal_each_line_is_scored_as_it_is_typed(trained):
    here, terminal = pty.openpty()
    # Unbuffered, as Python writes to a terminal.
    command = [sys.executable, "-u", "-m", "model.predict", "--model_dir", trained]
    pipes = {"stdin": terminal, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as process:
        os.close(terminal)
        assert process.stderr.readline() == "type a text and press Enter; end with Ctrl-D\n"
        for text in ("good film", "bad"):
            os.write(here, f"{text}\n".encode())
            assert process.stdout.readline().endswith(f"  {text}\n")  # before the next is typed
        os.write(here, b"\x04")
        assert process.wait(timeout=60) == 0
    os.close(here)


@pytest.mark.parametrize("flags", [[], ["--mask_padding", "--bucket_by_length"]])
def test_the_smallest_sizes_give_scores(tmp_path, capsys, flags):
    """Two reviews in five shards, one token each, one step an epoch."""
    records, model_dir = str(tmp_path / "records"), str(tmp_path / "model")
    splits = {"train": [("b a", 0), ("a", 1)], "test": [("", 1)]}
    tiny_dataset.write(records, splits, num_shards=5)
    sizes = ["--max_len=1", "--max_tokens=3", "--batch_size=64", "--lstm_units=1", "--epochs=2"]
    train.main(["--records", records, "--model_dir", model_dir, *sizes, *flags])
    metrics = read_json(model_dir, "metrics.json")
    assert len(metrics["history"]["loss"]) == 2
    assert np.sum(metrics["test"]["confusion_matrix"]) == 1
    scores = [row["score"] for row in load_model(model_dir).rows([b"", b"a", b"\xff b " * 99])]
    assert len(scores) == 3
    assert all(0 < score < 1 for score in scores)


def test_buckets_without_a_mask_are_refused():
    flags = ["--records=x", "--model_dir=y", "--bucket_by_length"]
    with pytest.raises(BadInput, match="add --mask_padding or --pooling max_mean"):
        train.main(flags)


def test_a_failed_run_leaves_the_old_model(records, tmp_path):
    broken, model_dir = tmp_path / "records", tmp_path / "model"
    tiny_dataset.write(broken, {"train": reviews(("bad", "good"), 8)})
    flags = ["--records", str(broken), "--model_dir", str(model_dir), *SMALL, "--epochs=1"]
    train.main(flags)
    before = (model_dir / "metrics.json").read_bytes()
    os.remove(broken / "train-00000-of-00002.tfrecord")
    with pytest.raises(BadInput, match="is missing"):
        train.main(flags)
    assert (model_dir / "metrics.json").read_bytes() == before
    assert sorted(os.listdir(tmp_path)) == ["model", "records"]


@pytest.mark.parametrize(
    "flag",
    ["--max_tokens=2", "--max_len=0", "--dropout=1", "--epochs=0", "--seed=-1", "--lstm_unit=3"],
)
def test_a_bad_flag_is_refused(records, tmp_path, flag):
    with pytest.raises(BadInput, match=flag.split("=")[0]):
        train.main(["--records", records, "--model_dir", str(tmp_path / "model"), flag])
    assert os.listdir(tmp_path) == []


def test_evaluate_refuses_records_that_were_cut_shorter(trained, tmp_path):
    cut = str(tmp_path / "records")
    words = ("bad", "good")
    splits = {"train": reviews(words, 40), "test": reviews(words, 9)}
    tiny_dataset.write(cut, splits, max_len=3)
    message = (
        "the records were made shorter than what the model reads: name those it was trained on"
    )
    with pytest.raises(BadInput, match=message):
        evaluate.main(["--records", cut, "--model_dir", trained])


def test_more_than_the_records_were_cut_at_is_refused(tmp_path):
    records = str(tmp_path / "records")
    tiny_dataset.write(records, {"train": [("a b c", 0)]}, max_tokens=5, max_len=3)
    for flag, message in [
        ("--max_tokens=6", "--max_tokens 6: the records were made with 5"),
        ("--max_len=4", "--max_len 4: the records were made with 3"),
    ]:
        flags = ["--max_tokens=5", "--max_len=3", flag]
        with pytest.raises(BadInput, match=message):
            train.main(["--records", records, "--model_dir", str(tmp_path / "model"), *flags])


def test_evaluate_refuses_other_classes_and_another_vocabulary(trained, tmp_path):
    rows = {"train": reviews(("bad", "good"), 8), "test": reviews(("bad", "good"), 8)}
    tiny_dataset.write(tmp_path / "classes", rows, classes=("pos", "neg"))
    tiny_dataset.write(tmp_path / "words", {**rows, "train": [("other words", 0)]})
    for name, message in [("classes", "has the classes neg, pos"), ("words", "vocabulary")]:
        with pytest.raises(BadInput, match=message):
            evaluate.main(["--records", str(tmp_path / name), "--model_dir", trained])


@pytest.mark.parametrize("command", [predict.main, evaluate.main])
def test_a_missing_model_is_one_clear_line(records, tmp_path, command):
    flags = ["--records", records] if command is evaluate.main else ["text"]
    with pytest.raises(BadInput, match=r"no model in .*: run `make train` first"):
        command(["--model_dir", str(tmp_path / "model"), *flags])


def test_an_incomplete_model_is_refused(trained, records, tmp_path):
    shutil.copy(f"{trained}/config.json", tmp_path)
    predicted = ["--model_dir", str(tmp_path), "text"]
    evaluated = ["--model_dir", str(tmp_path), "--records", records]
    with pytest.raises(BadInput, match=r"SHA256SUMS is missing: run `make train` again"):
        predict.main(predicted)
    with pytest.raises(BadInput, match="no complete model"):
        predict.main([*predicted, "--no_verify"])
    with pytest.raises(BadInput, match=r"model\.weights\.h5 can't be read"):
        evaluate.main([*evaluated, "--no_verify"])
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(BadInput, match=r"config\.json can't be read"):
        predict.main(predicted)


@pytest.mark.parametrize(("class_weights", "expected"), [("none", 0.25), ("balanced", 0.5)])
def test_balanced_classes_have_equal_weight_however_many_reviews_they_have(
    tmp_path, class_weights, expected
):
    """Texts carry no information, so the best score is the weight of the second class."""
    records, model_dir = str(tmp_path / "records"), str(tmp_path / "model")
    tiny_dataset.write(records, {"train": [("a", 0)] * 30 + [("a", 1)] * 10})
    flags = [*QUICK, "--epochs=60", f"--class_weights={class_weights}", "--batch_size=40"]
    train.main(["--records", records, "--model_dir", model_dir, *flags])
    [row] = load_model(model_dir).rows([b"a"])
    assert row["score"] == pytest.approx(expected, abs=0.02)


def test_a_threshold_is_chosen_on_validation_and_served(tmp_path, capsys):
    """Texts carry no information; most of train are of class 0, but all of validation of 1."""
    records, model_dir = str(tmp_path / "records"), str(tmp_path / "model")
    rows = [("a", 0)] * 30 + [("a", 1)] * 10
    tiny_dataset.write(records, {"train": rows, "validation": [("a", 1)] * 4, "test": [("a", 1)]})
    where = ["--records", records, "--model_dir", model_dir]
    train.main([*where, *QUICK, "--choose_threshold"])
    assert model_folder.read(model_dir).threshold == 0
    assert "threshold for the second class: 0.0000\n" in capsys.readouterr().out
    [row] = load_model(model_dir).rows([b"a"])
    assert row["label"] == "pos"
    assert row["score"] < 0.5
    assert read_json(model_dir, "metrics.json")["test"]["accuracy"] == 1
    evaluate.main(where)
    assert "test accuracy 1.0000" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("pooled", [[], ["--pooling=max_mean", "--ngram_bits=4"]])
def test_calibration_divides_the_logits_of_all_that_is_written(pooled, tmp_path, capsys):
    records = str(tmp_path / "records")
    rows = [("a", 0), ("b", 1)] * 20
    mixed = [("a", 0), ("b", 1)] * 6 + [("a", 1), ("b", 0)] * 2
    tiny_dataset.write(records, {"train": rows, "validation": mixed, "test": mixed})
    losses, logits = [], []
    for name, flags in (("plain", []), ("calibrated", ["--calibrate"])):
        where = ["--records", records, "--model_dir", str(tmp_path / name)]
        train.main([*where, *QUICK, *pooled, "--epochs=12", "--patience=100", *flags])
        said = capsys.readouterr().out
        model = load_model(tmp_path / name)
        served = np.array([row["score"] for row in model.rows([b"a", b"b"])])
        tokens = open_dataset(records).encode(["a", "b"], max_len=model.config.network.max_len)
        assert model.network.predict(tokens, verbose=0)[:, 0] == pytest.approx(served, abs=1e-5)
        losses.append(read_json(str(tmp_path / name), "metrics.json")["test"]["loss"])
        logits.append(occlusion.log_odds(served))
        evaluate.main(where)
        assert f"test loss {losses[-1]:.4f}" in capsys.readouterr().out
    temperature = model.config.temperature
    assert f"temperature of the logits: {temperature:.4f}\n" in said
    assert abs(temperature - 1) > 0.1
    assert logits[1] == pytest.approx(logits[0] / temperature, rel=1e-3, abs=1e-5)
    assert abs(logits[1][0] - logits[1][1]) > 1
    assert losses[1] < losses[0]


@pytest.mark.parametrize("flag", ["choose_threshold", "calibrate"])
def test_without_a_validation_split_there_is_nothing_to_choose_by(flag, records, tmp_path):
    where = ["--records", records, "--model_dir", str(tmp_path / "model")]
    message = f"--{flag} needs a validation split: preprocess with --validation, for example"
    with pytest.raises(BadInput, match=message):
        train.main([*where, *QUICK, f"--{flag}"])


def test_no_threshold_can_be_chosen_for_three_classes(tmp_path):
    rows = [("a", 0), ("b", 1), ("c", 2)]
    records, classes = str(tmp_path / "records"), ("x", "y", "z")
    tiny_dataset.write(records, {"train": rows, "validation": rows}, classes=classes)
    where = ["--records", records, "--model_dir", str(tmp_path / "model")]
    with pytest.raises(BadInput, match="--choose_threshold is for two classes, not 3: drop it"):
        train.main([*where, *QUICK, "--choose_threshold"])
