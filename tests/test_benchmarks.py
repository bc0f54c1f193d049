import json
import os
import pickle

import pytest
from tiny_tree import write

from benchmarks import (
    changes,
    cost,
    feed,
    growth,
    keras_adapt,
    own_texts,
    plain_tft,
    preprocess,
    run,
    score,
    step,
    worker,
)
from model import train
from model.training import flags
from pipelines.preprocess import __main__ as main_of_preprocess
from textrecords import command_line, text_source
from textrecords.errors import BadInput, Failure

pytestmark = pytest.mark.slow

# One line per review, and no two reviews are the same.
TREE = {
    "train/neg/0.txt": "Bad FILM.<br />A film, a b",
    "train/neg/1.txt": 'b (bad) "film" isn\'t - it?',
    "train/pos/0.txt": "good (film) B; film É é",
    "train/pos/1.txt": "a good, good one",
    "train/unsup/0.txt": "not to be read",
    "test/neg/0.txt": "a <br />new bad film!",
    "test/pos/0.txt": "...",
}


@pytest.fixture(scope="module")
def datasets(tmp_path_factory):
    folder = tmp_path_factory.mktemp("benchmarks")
    write(folder / "in", TREE)
    preprocess_tree(folder / "in", folder / "ours")
    plain_tft.run(str(folder / "in"), str(folder / "plain"), ["neg", "pos"])
    (folder / "keras").mkdir()
    keras_adapt.run(str(folder / "in"), str(folder / "keras"), ["neg", "pos"])
    return folder


def preprocess_tree(source, target):
    main_of_preprocess.main(["--input", str(source), "--output", str(target)])


def test_plain_tf_transform_gives_the_same_vocabulary_and_ids(datasets):
    ours, plain = str(datasets / "ours"), str(datasets / "plain")
    # film 5; good, b, a 3 each; bad 2; the others once, by falling token: é É one it isnt.
    assert preprocess.check_same(ours, plain) == {"reviews": 6, "vocabulary": 12}
    assert preprocess.read_ids(plain, "test") == {
        (0, bytes([5, 0, 0, 0, 1, 0, 0, 0, 6, 0, 0, 0, 2, 0, 0, 0])): 1,
        (1, bytes([1, 0, 0, 0])): 1,
    }


def test_keras_adapt_gives_the_same_vocabulary_and_ids(datasets):
    ours, keras = str(datasets / "ours"), str(datasets / "keras")
    assert preprocess.check_same(ours, keras) == {"reviews": 6, "vocabulary": 12}


def test_datasets_that_differ_are_not_compared(datasets, tmp_path):
    write(tmp_path / "in", {**TREE, "test/pos/0.txt": "a film"})
    preprocess_tree(tmp_path / "in", tmp_path / "out")
    with pytest.raises(Failure, match="the contenders' ids of test differ"):
        preprocess.check_same(str(tmp_path / "out"), str(datasets / "plain"))


def test_a_process_that_fails_ends_the_benchmark():
    assert preprocess.run_module("pipelines.preprocess", "--help") > 1
    with pytest.raises(Failure, match=r"preprocess failed: error: no input folder nowhere"):
        preprocess.run_module("pipelines.preprocess", "--input=nowhere", "--output=x")


def test_the_tutorials_batches_have_the_same_ids(datasets):
    ours = feed.ours(str(datasets / "ours"))
    tutorial = feed.tutorial(str(datasets / "in" / "train"), ("neg", "pos"))
    assert feed.check_same(ours, tutorial, ours.cache()) == 4
    assert len(feed.ours(str(datasets / "ours"), epochs=3)) == 3
    [(tokens, _)] = tutorial.as_numpy_iterator()
    assert tokens.shape == (4, 100)
    assert sorted(tokens[:, :6].tolist()) == [
        *([3, 2, 4, 2, 8, 7], [4, 6, 2, 11, 10, 0]),
        *([5, 3, 3, 9, 0, 0], [6, 2, 5, 2, 5, 4]),
    ]
    with pytest.raises(Failure, match="batches have different ids"):
        feed.check_same(ours, tutorial.take(0))


def test_padding_is_the_share_of_ids_that_are_zero(datasets):
    # 6, 5, 6 and 4 tokens, of 100 each
    assert feed.padding(feed.ours(str(datasets / "ours"))) == pytest.approx(1 - 21 / 400)


def test_the_tutorials_network_is_that_of_the_default_flags():
    assert (step.NETWORK.max_tokens, step.NETWORK.max_len) == (feed.MAX_TOKENS, feed.MAX_LEN)
    assert step.TRAINING.batch_size == feed.BATCH_SIZE
    ours, tutorial = step.ours(step.NETWORK, step.TRAINING), step.tutorial()
    assert [type(layer) for layer in ours.layers] == [type(layer) for layer in tutorial.layers]
    assert [w.shape for w in ours.weights] == [w.shape for w in tutorial.weights]


def test_a_subset_has_the_first_reviews_of_each_class(tmp_path):
    write(tmp_path / "in", TREE)
    source = text_source.Source(str(tmp_path / "in"))
    assert step.copy_subset(source, str(tmp_path / "out"), 1) == ("neg", "pos")
    files = sorted(path for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert files == [tmp_path / "out" / "train" / c / "0.txt" for c in ("neg", "pos")]


def test_contenders_take_turns():
    calls = []

    def contender(name):
        return lambda: calls.append(name) or {"reviews": 7}

    runs = run.measure({name: contender(name) for name in ("a", "b")}, repeats=3)
    assert calls == ["a", "b"] * 3
    assert [measured["reviews"] for measured in runs["b"]] == [7, 7, 7]


def test_the_summary_has_medians_and_their_ratio_to_the_first():
    runs = {
        "a": [{"seconds": s, "reviews": 100} for s in (9.0, 2.0, 1.0)],
        "b": [{"seconds": s, "reviews": 100} for s in (5.0, 1.0, 6.0)],
    }
    summary = run.summarize(runs)
    assert summary["a"]["median"]["seconds"] == 2
    assert summary["a"]["reviews_per_second"] == 50
    assert (summary["a"]["ratio"], summary["b"]["ratio"]) == (1, 2.5)
    assert summary["b"]["runs"] == runs["b"]


def test_results_are_written_with_machine_and_command(tmp_path, monkeypatch):
    class Part:
        @staticmethod
        def contenders(counts, work_dir):
            os.mkdir(os.path.join(work_dir, "texts"))
            return {"a": lambda: {"reviews": counts[0], "peak_mib": 1.5}}, {"reviews": 6}

    monkeypatch.setattr(run.importlib, "import_module", {"benchmarks.scale": Part}.get)
    output = tmp_path / "results.json"
    output.write_text('{"feed": "as it was"}')
    run.main(["--only", "scale", "--counts", "6,9", "--repeats", "2", "--output", str(output)])
    written = json.loads(output.read_text())
    assert written.keys() == {"feed", "scale"}
    assert written["feed"] == "as it was"
    results = written["scale"]
    assert results["command"] == (
        f"python -m benchmarks.run --only scale --counts 6,9 --repeats 2 --output {output}"
    )
    assert results["machine"]["cores"] >= 1
    assert results["packages"].keys() == set(run.PACKAGES)
    [(name, measured)] = results["contenders"].items()
    assert (name, measured["median"]["peak_mib"], len(measured["runs"])) == ("a", 1.5, 2)


def test_parts_neither_share_folders_nor_lose_results_to_each_other(tmp_path, monkeypatch):
    class Part:
        @staticmethod
        def contenders(counts, work_dir):
            os.mkdir(os.path.join(work_dir, "texts"))
            return {"a": lambda: {"reviews": 1}}, {}

    class Failing:
        @staticmethod
        def contenders(counts, work_dir):
            raise Failure("no time")

    parts = {"benchmarks.scale": Part, "benchmarks.preprocess": Part, "benchmarks.score": Failing}
    monkeypatch.setattr(run.importlib, "import_module", parts.get)
    monkeypatch.setattr(run.sample, "write", lambda folder, **more: None)
    output = tmp_path / "results.json"
    with pytest.raises(Failure, match="no time"):
        run.main(["--only", "scale,preprocess,score", "--output", str(output)])
    assert json.loads(output.read_text()).keys() == {"scale", "preprocess"}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--only=speed"], "--only speed: the parts are scale, preprocess, score, startup"),
        (["--input=nowhere"], "no input folder nowhere"),
    ],
)
def test_bad_input_is_refused(tmp_path, given, message):
    with pytest.raises(BadInput, match=message):
        run.main([*given, "--output", str(tmp_path / "results.json")])
    assert not list(tmp_path.iterdir())


def test_scores_that_differ_are_not_compared():
    assert score.check_same([0.25, 0.5], [0.250001, 0.5]) == 2
    with pytest.raises(Failure, match="scores differ"):
        score.check_same([0.25, 0.5], [0.2501, 0.5])
    with pytest.raises(Failure, match="scored other texts"):
        score.check_same([0.25, 0.5], [0.25])


def test_keras_gives_the_scores_of_this_project(datasets, tmp_path):
    folders = ["--records", str(datasets / "ours"), "--model_dir", str(tmp_path / "model")]
    # As for the IMDb reviews: a network that masks tells no token, which is padding to Keras, from
    # this project's OOV.
    size = ["--max_len=100", "--no-mask_padding"]
    train.main([*folders, *size, "--epochs=1", "--lstm_units=2"])
    texts = ["--input", str(datasets / "in"), *folders[2:]]
    ours, _ = score.run(["pipelines.score", *texts], str(tmp_path))
    theirs, _ = score.run(["benchmarks.keras_predict", *texts, *folders[:2]], str(tmp_path))
    assert score.check_same(ours, theirs) == 7


def test_the_growth_of_words_is_fitted_to_the_reviews(monkeypatch):
    monkeypatch.setattr(cost, "FITTED", (1, 4))
    # Two words in the first review, four in four: words grow as the square root.
    words, shard_bytes = cost.count_words(["A<br />b!", "a", "c b", "d, a", "never read as e"])
    assert (words(4), words(16), words(1)) == pytest.approx((4, 8, 2))
    assert shard_bytes == len(pickle.dumps({b"a": 3, b"b": 2, b"c": 1, b"d": 1}))


def test_an_estimate_grows_with_the_reviews():
    estimate = cost.estimate(1_000_000_000, 0.36e-3, 400, lambda n: 100 * n**0.5, 1e6)
    assert estimate["shards"] == "10,000"
    assert estimate["MB per shard"] == "40.0"
    assert estimate["core hours"] == "100.0"
    assert estimate["workers of 4 cores for 1 h"] == "25"
    assert estimate["GB of word counts shuffled"] == "31.6"  # 10 GB, times the square root of 10
    assert estimate["distinct words"] == "3,162,278"


def test_a_folder_too_small_for_the_fit_is_refused(tmp_path):
    write(tmp_path, TREE)
    with pytest.raises(BadInput, match="has 4 reviews of train: the fit needs 10,000"):
        cost.main(["--input", str(tmp_path)])


def test_changes_are_tried_once_per_seed_and_their_means_are_shown(
    datasets, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(changes, "CHANGES", {"as it was": "", "two ways": "--bidirectional"})
    tried = []

    def outcome(dataset, config):
        seed, both = config.training.seed, config.network.bidirectional
        tried.append((both, seed))
        return {
            "val_accuracy": 0.7 + both / 10 + seed / 50,
            "val_loss": 0.5,
            "best_epoch": 2 + seed,
        }

    monkeypatch.setattr(changes, "_try", outcome)
    given = ["--records", str(datasets / "ours"), "--output", str(tmp_path / "changes.json")]
    changes.main([*given, "--seeds=1"])
    changes.main([*given, "--seeds=3"])
    assert tried == [(both, seed) for seed in range(3) for both in (False, True)]
    *_, first, second = capsys.readouterr().out.splitlines()
    assert first == "| as it was | 0.7200 | 0.7000 to 0.7400 | 0.5000 | 2, 3, 4 |"
    assert second == "| two ways | 0.8200 | 0.8000 to 0.8400 | 0.5000 | 2, 3, 4 |"


def test_changes_of_other_records_are_not_mixed(datasets, tmp_path):
    (tmp_path / "changes.json").write_text('{"manifest_sha256": "0", "trials": {}}')
    given = ["--records", str(datasets / "ours"), "--output", str(tmp_path / "changes.json")]
    with pytest.raises(BadInput, match="has results on other records"):
        changes.main(given)


@pytest.mark.parametrize("given", changes.CHANGES.values())
def test_every_change_has_flags_that_can_be_combined(given):
    parser = command_line.ArgumentParser(prog="test")
    network, _ = flags.read_settings(flags.parse_args(parser, given.split()))
    assert network.max_tokens in (1000, 20000)


def test_a_worker_of_many_does_its_share_of_each_stage(tmp_path):
    write(tmp_path / "in", {f"train/pos/{n}.txt": f"a film {n}" for n in range(7)})
    share = worker.Share(reviews=9_000_000, workers=3_000, records=str(tmp_path / "records"))
    os.mkdir(share.records)
    assert share.own == 3_000
    assert worker.list_files(share) == worker.read(share) == 3_000
    hashed = [review for reviews in share.hashed(3_000) for review in reviews]
    assert len({review[0] for review in hashed}) == 3_000, "each text is another"
    assert worker.audit_buckets(share) == 3_000


def test_growth_counts_the_ids_and_records_that_change(tmp_path):
    write(
        tmp_path, {"train/x/0.txt": "a a b<br />B", "train/y/1.txt": "c", "train/unsup/2.txt": "d"}
    )
    reviews = sorted(growth.read(str(tmp_path)))
    assert reviews == [[b"a", b"a", b"b", b"b"], [b"c"]]
    assert growth.rank(reviews) == {b"b": 2, b"a": 3, b"c": 4}
    after = growth.rank([*reviews, [b"a"]])
    assert growth.changes(reviews, after) == (2, 1)
    assert growth.changes(reviews, growth.rank(reviews)) == (0, 0)


def test_docstrings_are_found_without_importing_their_package(tmp_path, monkeypatch):
    package = tmp_path / "demo"
    (package / "tests").mkdir(parents=True)
    (package / "tests/test_a.py").write_text('def a():\n    """Of a test."""\n')
    (package / "a.py").write_text(
        "raise ImportError\n"
        'def f():\n    """Of a function."""\n'
        'class C:\n    """Of a class."""\n\n    def m(self):\n        """Of a method."""\n'
        "    def n(self):\n        pass\n"
    )
    monkeypatch.setattr(own_texts.sysconfig, "get_path", lambda _: str(tmp_path))
    assert own_texts.docstrings("demo") == [
        own_texts.Docstring("Of a function.", "demo", "function"),
        own_texts.Docstring("Of a class.", "demo", "class"),
        own_texts.Docstring("Of a method.", "demo", "method"),
    ]


def test_every_fourth_text_is_test_and_no_class_has_more_than_its_limit():
    found = [("ab"[n % 2], str(n)) for n in range(8)]
    texts = own_texts.Texts.split(found, 5)
    assert texts.test == [("a", "0"), ("a", "4")]
    assert texts.train == [("b", "1"), ("a", "2"), ("b", "3"), ("b", "5"), ("a", "6")]
    assert own_texts._limited(found, 1) == [("a", "0"), ("b", "1")]


def test_texts_are_described_beside_the_accuracies(monkeypatch):
    monkeypatch.setattr(own_texts, "tuned", lambda texts: 0.75)
    texts = own_texts.Texts([("a", "one two"), ("a", "one"), ("b", "x y z")], [("b", "x y z")])
    found = own_texts.measure(texts)
    assert found == {
        "classes": 2,
        "largest_class": 2 / 3,
        "train": 3,
        "test": 1,
        "median_words": 2,
        "tuned": 0.75,
        "tfidf": own_texts.tfidf(texts),
    }
    row = own_texts.table({"sets": {"demo": found | {"tfidf": 0.5}}}).splitlines()[-1]
    assert row == "| demo | 2 | 67% | 3 | 1 | 2 | 75.00% | 50.00% | +25.0 |"
