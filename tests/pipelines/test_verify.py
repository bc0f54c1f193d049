import dataclasses
import json
import os
import shutil
import sys

import keras
import needs
import numpy as np
import pytest
import tensorflow as tf
from tiny_tree import write

from model import convert, evaluate, train
from pipelines.preprocess import __main__ as preprocess
from pipelines.verify import __main__ as verify
from pipelines.verify import comparison
from textrecords import checksums, model_folder, spec
from textrecords.dataset import open_dataset
from textrecords.errors import BadInput, Failure
from textrecords.manifest import Shard
from textrecords.saved_model import load_model

pytestmark = pytest.mark.integration

TREE = {
    "train/neg/0.txt": "Bad FILM.<br />A film, a b",
    "train/neg/1.txt": "bad bad acting",
    "train/pos/0.txt": "good (film) B; film É é",
    "train/pos/1.txt": "so good it's good",
    "test/neg/0.txt": "a <br />new bad film!",
    "test/pos/0.txt": "...",
}
# All that Unicode, Python or C takes for white space or a separator, and what has no width.
SPACES = [
    *(chr(code) for code in range(0x110000) if chr(code).isspace()),
    *"\u180e\u200b\u200c\u200d\u2060\ufeff\u00ad",
]
HARD_TEXTS = {
    "spaces": "".join(f"left{space}right " for space in SPACES),
    "control": "".join(f"c{chr(code)}d " for code in (*range(1, 0x20), *range(0x7F, 0xA0))),
    "capitals": "ÄÖÜ É ΑΒΓ ДЖ İ ẞ \u01c5 \U00010400",
    "marks": "e\u0301 E\u0301 \u0301alone a\u0323\u0302",
    "breaks": "a<BR/>b<br/>c<BR />d<br>e<br />f<br  />g<Br />h<br<br />/>i< br />j",
    "nul": b"a\x00b a\x00b a\x00 a\x00\x00 a \x00 \x00\x00 \x00a",
    "nul alone": b"\x00",
    "nul after": b"film \x00",
    "lines": "one\ntwo\r\nthree\rfour\x0bfive\x0csix\n\n",
    "one word": "x" * 1_000_000,
    "emoji": "\U0001f469\u200d\U0001f469\u200d\U0001f467 \U0001f44d\U0001f3fd \u2764\ufe0f",
    "right to left": "\u05e9\u05dc\u05d5\u05dd \u202eabc\u202c \u0645\u0631\u062d\u0628\u0627",
    "surrogates": b"lone \xed\xa0\x80 \xed\xb0\x80word",
    "stray": b"caf\xe9 \xff\xfe \xc0\x80 \xf4\x90\x80\x80 \xe2\x82",
    "bom": b"\xef\xbb\xbffilm film",
    "bom and break": b"\xef\xbb\xbf<br />film",
    "boms": b"\xef\xbb\xbf\xef\xbb\xbffilm \xef\xbb\xbffilm",
    "bom alone": b"\xef\xbb\xbf",
    "noncharacters": "\ufffe \uffff \ufdd0 \U0010ffff",
    "empty": "",
    "blank": " \n",
    "punctuation": "!\"#$%&()*+,-./:;<=>?@[\\]^_`{|}~'",
    "wide punctuation": "\uff01 \u2014 \u201cquoted\u201d \u00bf \u3002",
    "special": "[UNK] [OOV] [PAD] unk",
    "plain": "film film film",
}
SMALL = ["--max_len=20", "--embedding_dim=2", "--lstm_units=2", "--dense_units=2", "--epochs=1"]


def make(folder, tree, *flags):
    write(folder / "in", tree)
    preprocess.main(["--input", str(folder / "in"), "--output", str(folder / "records"), *flags])
    return folder


def check(folder, *flags):
    verify.main(["--input", str(folder / "in"), "--records", str(folder / "records"), *flags])


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return make(tmp_path_factory.mktemp("tiny"), TREE)


@pytest.fixture
def copy(tiny, tmp_path):
    return shutil.copytree(tiny, tmp_path / "copy")


@pytest.fixture(scope="module")
def hard(tmp_path_factory):
    """Hard texts in every class and split, and a model of them."""
    folders = [f"{split}/{name}" for split in ("train", "test") for name in ("neg", "pos")]
    tree = {f"{f}/{name}.txt": text for f in folders for name, text in HARD_TEXTS.items()}
    folder = make(tmp_path_factory.mktemp("hard"), tree | TREE)
    model = ["--records", str(folder / "records"), "--model_dir", str(folder / "model")]
    train.main([*model, "--max_tokens=40", *SMALL])
    return folder


def examples_of(folder, split):
    """Returns the examples of a split, by shard."""
    paths = sorted((folder / "records").glob(f"{split}-*"))
    return {
        path: [
            tf.train.Example.FromString(record)
            for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator()
        ]
        for path in paths
    }


def feature(example, name):
    values = example.features.feature[name]
    return getattr(values, values.WhichOneof("kind")).value


def rewrite(folder, manifest):
    """Replaces the manifest, as if preprocessing had written it."""
    (folder / "records" / spec.MANIFEST).write_text(manifest.to_json())
    checksums.write(str(folder / "records"))


def tamper(folder, key, change):
    """Rewrites the shard with `key`, and the manifest, as if preprocessing had written them.

    Args:
      change: takes the review's example, and returns the examples that replace it.
    """
    split = key.split(b"/")[0].decode()
    manifest = open_dataset(str(folder / "records")).manifest
    written = []
    for path, examples in examples_of(folder, split).items():
        changed = [
            new
            for old in examples
            for new in (change(old) if list(feature(old, "key")) == [key] else [old])
        ]
        with tf.io.TFRecordWriter(str(path)) as writer:
            for example in changed:
                writer.write(example.SerializeToString())
        digest = checksums.sha256(str(path))
        written.append(Shard(path.name, len(changed), path.stat().st_size, digest))
    splits = dict(manifest.splits)
    count = sum(shard.examples for shard in written)
    splits[split] = dataclasses.replace(splits[split], examples=count, shards=tuple(written))
    rewrite(folder, dataclasses.replace(manifest, splits=splits))


def test_hard_texts_have_the_same_ids_at_all_stages(hard, capsys):
    needs.package("tokenizers")
    flags = ["--max_tokens=30", "--max_len=7", "--model_dir", str(hard / "model")]
    check(hard, *flags)
    lines = [line.split("  ") for line in capsys.readouterr().out.splitlines()]
    rows = [[cell.strip() for cell in line if cell.strip()] for line in lines]
    reviews = f"{4 * len(HARD_TEXTS) + len(TREE)}"
    compared = {(row[0], row[1]): (row[2], row[-1]) for row in rows if len(row) == 5}
    del compared["compared", "with"]
    assert list(compared) == [
        ("labels of the records", "the input"),
        ("ids of the records", "Keras 20000"),
        ("ids of the records", "Keras 30"),
        ("ids of the records", "Keras 40"),
        ("labels of tf.data 20000x7", "the input"),
        ("ids of tf.data 20000x7", "Keras 20000x7"),
        ("labels of tf.data 30x7", "the input"),
        ("ids of tf.data 30x7", "Keras 30x7"),
        ("labels of tf.data 40x20", "the input"),
        ("ids of tf.data 40x20", "Keras 40x20"),
        ("ids of the SavedModel", "Keras 40x20"),
        ("scores of the SavedModel", "network"),
        ("labels of the SavedModel", "network"),
        ("ids of tokenizer.json", "Keras 40x20"),
    ]
    assert set(compared.values()) == {(reviews, "0")}


def test_hard_texts_have_the_ids_of_keras_itself(hard):
    """The same without `verify`: texts in one list of Python strings, as a user would write it."""
    records = {
        key: list(feature(example, "tokens"))
        for split in ("train", "test")
        for examples in examples_of(hard, split).values()
        for example in examples
        for key in feature(example, "key")
    }
    texts = {
        key: (hard / "in" / os.fsdecode(key)).read_bytes().decode("utf-8", "replace")
        for key in records
    }
    assert len(texts) == 4 * len(HARD_TEXTS) + len(TREE)
    texts = {key: text.removeprefix("\ufeff").replace("<br />", " ") for key, text in texts.items()}
    layer = keras.layers.TextVectorization(20_000, ragged=True)
    layer.adapt([text for key, text in texts.items() if key.startswith(b"train/")])
    ids = dict(zip(texts, layer(list(texts.values())).to_list(), strict=True))
    assert {key: row or [spec.OOV_ID] for key, row in ids.items()} == records
    assert len(records[b"train/neg/spaces.txt"]) == 2 * 6 + len(SPACES) - 6
    assert len(records[b"train/neg/nul.txt"]) == 8
    assert len(set(records[b"train/neg/nul.txt"])) == 7
    assert records[b"train/neg/empty.txt"] == [spec.OOV_ID]


@pytest.mark.parametrize(
    "flags", [["--max_tokens=6"], ["--max_len=2"], ["--compression=gzip", "--num_shards=3"]]
)
def test_records_that_were_cut_are_compared_as_far_as_they_go(tmp_path, capsys, flags):
    check(make(tmp_path, TREE, *flags))
    assert "ids of the records" in capsys.readouterr().out


def test_word_lists_are_taken_into_account(tmp_path, capsys):
    (tmp_path / "stop").write_text("a\nfilm\n")
    (tmp_path / "replace").write_text("b\tgood acting\nso\t\n")
    lists = ["--stop_words", str(tmp_path / "stop"), "--replacements", str(tmp_path / "replace")]
    more = {"train/neg/2.txt": "x<br<br />/>y", "train/pos/2.txt": "so"}
    folder = make(tmp_path, TREE | more, *lists)
    check(folder, *lists)
    assert "ids of the records" in capsys.readouterr().out
    for given, flag in [(lists[:2], "--replacements"), (lists[2:], "--stop_words")]:
        with pytest.raises(BadInput, match=f"records was made with {flag}: give it as it was giv"):
            check(folder, *given)
    (tmp_path / "stop").write_text("the\n")
    with pytest.raises(
        BadInput, match=r"--stop_words: .* was made with different ones: give the flag a"
    ):
        check(folder, *lists)


CHINESE = {
    f"{split}/{name}/{n}.txt": text
    for split in ("train", "test")
    for n in "012"
    for name, text in [("neg", "不好看。\n很差"), ("pos", "真 好看。")]
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "flags",
    [
        ["--split=character"],
        ["--strip_html"],
        ["--normalize_unicode"],
        ["--split=character", "--strip_html", "--normalize_unicode"],
        ["--strip_html", "--normalize_unicode", "--stop_words=english"],
    ],
    ids=" ".join,
)
def test_hard_texts_have_the_same_ids_whatever_cleans_and_splits_them(tmp_path, capsys, flags):
    texts = {key: text for key, text in HARD_TEXTS.items() if key != "one word"}
    tree = {f"train/neg/{name}.txt": text for name, text in texts.items()}
    folder = make(tmp_path, tree | TREE | CHINESE, *flags)
    model = ["--records", str(folder / "records"), "--model_dir", str(folder / "model")]
    train.main([*model, "--max_tokens=40", *SMALL])
    said = capsys.readouterr().out
    lists = [flag for flag in flags if flag.startswith("--stop_words")]
    check(folder, "--model_dir", str(folder / "model"), *lists)
    printed = capsys.readouterr().out
    assert "ids of the SavedModel" in printed
    assert "scores of the SavedModel" in printed
    # Only splitting into characters can be expressed in tokenizer.json.
    assert (folder / "model" / model_folder.TOKENIZER).is_file() == (flags == ["--split=character"])
    assert ("no tokenizer.json: it can't express --" in said) == (flags != ["--split=character"])
    assert ("tokenizer.json to compare" in printed) == (flags != ["--split=character"])


def test_characters_have_the_ids_of_keras_itself(tmp_path):
    folder = make(tmp_path, CHINESE | TREE, "--split=character")
    train_texts = {key: text for key, text in (CHINESE | TREE).items() if key.startswith("train/")}
    cleaned = [t.replace("<br />", " ").replace("\n", " ") for t in train_texts.values()]
    layer = keras.layers.TextVectorization(20_000, split="character", ragged=True)
    layer.adapt(cleaned)
    expected = dict(zip(train_texts, layer(cleaned).to_list(), strict=True))
    records = {
        os.fsdecode(key): list(feature(example, "tokens"))
        for examples in examples_of(folder, "train").values()
        for example in examples
        for key in feature(example, "key")
    }
    assert records == expected
    dataset = open_dataset(str(folder / "records"))
    assert dataset.decode(expected["train/neg/2.txt"]) == "不好看。 很差"


def test_other_encodings_splits_and_drops_are_followed(tmp_path, capsys):
    tree = {f"{key[:-4]}/{n}.x": text for key, text in TREE.items() for n in range(9)}
    tree |= {f"train/neg/é{n}.x": f"caf\xe9 {n} na\xefve".encode("latin-1") for n in range(30)}
    flags = ["--encoding=latin-1", "--pattern=*.x", "--validation=0.3", "--drop_duplicates"]
    folder = make(tmp_path, tree, *flags)
    model = ["--records", str(folder / "records"), "--model_dir", str(folder / "model")]
    train.main([*model, "--max_tokens=40", *SMALL])
    capsys.readouterr()
    check(folder, "--model_dir", str(folder / "model"))
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["scores", "of", "the", "SavedModel", "network", "36", "36", "0"] in lines
    write(folder / "in", {"train/neg/more.x": "film"})
    with pytest.raises(Failure, match=r"in no record: train/neg/more\.x \(1 in total\)"):
        check(folder)


def test_a_folder_of_classes_is_followed(tmp_path, capsys):
    tree = {f"{c}/{n}.txt": f"{c} film {n}" for c in ("neg", "pos") for n in range(20)}
    folder = make(tmp_path, tree, "--test=0.3", "--validation=0.2")
    check(folder)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["labels", "of", "the", "records", "the", "input", "40", "40", "0"] in lines
    manifest = open_dataset(str(folder / "records")).manifest
    flags = dataclasses.replace(manifest.flags, test=0.2)
    rewrite(folder, dataclasses.replace(manifest, flags=flags))
    with pytest.raises(Failure, match=r"in another shard or place than the hash"):
        check(folder)


def test_a_record_in_the_wrong_split_is_named(tmp_path):
    tree = {f"train/{c}/{n}.txt": f"film {n}" for c in ("neg", "pos") for n in range(20)}
    folder = make(tmp_path, tree, "--validation=0.4")
    manifest = open_dataset(str(folder / "records")).manifest
    flags = dataclasses.replace(manifest.flags, validation=0.0)
    rewrite(folder, dataclasses.replace(manifest, flags=flags))
    with pytest.raises(Failure, match=r"in another shard or place than the hash"):
        check(folder)


def test_a_file_that_changed_without_a_difference_in_ids_is_noticed(copy):
    write(copy / "in", {"train/neg/1.txt": "BAD bad acting"})
    with pytest.raises(Failure, match="have changed since, but only in bytes"):
        check(copy)


def test_duplicates_that_should_have_been_dropped_are_named(tmp_path):
    folder = make(tmp_path, {**TREE, "train/neg/2.txt": TREE["train/neg/1.txt"]})
    manifest = open_dataset(str(folder / "records")).manifest
    flags = dataclasses.replace(manifest.flags, drop_duplicates=True)
    rewrite(folder, dataclasses.replace(manifest, flags=flags))
    message = r"^in the records, but not in the input, or dropped from it: train/neg/2\.txt \(1"
    with pytest.raises(Failure, match=message):
        check(folder)


def test_a_model_of_other_classes_is_refused(hard, tmp_path):
    model_dir = str(shutil.copytree(hard / "model", tmp_path / "model"))
    settings = dataclasses.replace(model_folder.read(model_dir), classes=("pos", "neg"))
    with open(os.path.join(model_dir, model_folder.CONFIG), "w", encoding="utf-8") as file:
        json.dump(dataclasses.asdict(settings), file)
    checksums.write(model_dir)
    with pytest.raises(BadInput, match="the model has the classes pos, neg, but"):
        check(hard, "--model_dir", model_dir)


def test_word_lists_that_were_not_used_are_refused(tiny):
    with pytest.raises(BadInput, match=r"records was made without --stop_words: drop it"):
        check(tiny, "--stop_words=english")


def test_a_changed_id_is_named(copy):
    def change(example):
        feature(example, "tokens")[2] += 1
        return [example]

    tamper(copy, b"test/neg/0.txt", change)
    message = r"^1 ids of the records differ from Keras 20000, in 1 of 6 reviews: test/neg/0\.txt$"
    with pytest.raises(Failure, match=message):
        check(copy)


@pytest.mark.parametrize("ids", [[2], [2, 3, 4, 2, 3, 4, 2]])
def test_ids_that_are_too_few_or_too_many_are_named(copy, ids):
    def change(example):
        feature(example, "tokens")[:] = ids
        return [example]

    tamper(copy, b"train/pos/0.txt", change)
    with pytest.raises(Failure, match=r"ids of the records .* 1 of 6 .*pos/0\.txt$"):
        check(copy)


def test_a_swapped_label_is_named(copy):
    def change(example):
        feature(example, "label")[0] = 1
        return [example]

    tamper(copy, b"train/neg/1.txt", change)
    message = r"^1 labels of the records differ from the input, .* reviews: train/neg/1\.txt$"
    with pytest.raises(Failure, match=message):
        check(copy)


def test_a_duplicate_record_is_named(copy):
    tamper(copy, b"train/pos/1.txt", lambda example: [example, example])
    message = r"^in two records: train/pos/1\.txt \(1 in total\); run `make preprocess` again"
    with pytest.raises(Failure, match=message):
        check(copy)


def test_records_without_a_review_are_named(copy):
    os.remove(copy / "in/train/neg/1.txt")
    message = r"^in the records, but not in the input, .*: train/neg/1\.txt \(1 in total\)"
    with pytest.raises(Failure, match=message):
        check(copy)


def test_reviews_without_a_record_are_counted_and_the_first_named(copy):
    write(copy / "in", {f"train/pos/new{n}.txt": "film" for n in range(4)})
    names = r"train/pos/new0\.txt, train/pos/new1\.txt, train/pos/new2\.txt, \.\.\."
    with pytest.raises(Failure, match=rf"^in the input, .*: {names} \(4 in total\)"):
        check(copy)


def test_a_changed_review_is_named(copy):
    write(copy / "in", {"test/neg/0.txt": "good film"})
    with pytest.raises(Failure, match=r"ids of the records .* 1 of 6 .*neg/0\.txt$"):
        check(copy)


def test_a_model_of_another_dataset_is_detected_by_its_ids(tiny, hard):
    with pytest.raises(Failure, match=r"ids of the SavedModel .* reviews: t\w+/\w+/\d\.txt"):
        check(tiny, "--model_dir", str(hard / "model"))


def test_scores_that_are_not_those_of_the_network_are_detected(hard, tmp_path):
    folder = str(shutil.copytree(hard / "model", tmp_path / "model"))
    network = evaluate.load_model(folder, model_folder.read(folder))
    network.layers[-1].bias.assign_add([1e-4])
    network.save_weights(os.path.join(folder, model_folder.WEIGHTS))
    checksums.write(folder)
    with pytest.raises(Failure, match="scores of the SavedModel differ from network"):
        check(hard, "--model_dir", folder)


def test_without_tokenizers_the_rest_is_compared(hard, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    check(hard, "--model_dir", str(hard / "model"))
    printed = capsys.readouterr().out
    assert "tokenizer.json isn't compared: this needs tokenizers: `pip install" in printed
    assert "ids of tokenizer.json" not in printed
    with pytest.raises(BadInput, match=r"--onnx needs .*tokenizers: `pip install 'textrecords\[co"):
        check(hard, "--model_dir", str(hard / "model"), "--onnx=model.onnx")


def test_a_tokenizer_that_gives_other_ids_is_detected(hard, tmp_path):
    needs.package("tokenizers")
    folder = shutil.copytree(hard / "model", tmp_path / "model")
    path = folder / model_folder.TOKENIZER
    path.write_text(path.read_text().replace('"film": ', '"films": '))
    checksums.write(str(folder))
    with pytest.raises(Failure, match=r"ids of tokenizer\.json differ from Keras 40x20"):
        check(hard, "--model_dir", str(folder))
    path.write_text("{}")
    checksums.write(str(folder))
    with pytest.raises(BadInput, match=r"tokenizer\.json can't be read"):
        check(hard, "--model_dir", str(folder))


@pytest.fixture(scope="module")
def converted(hard):
    """Returns the path of the model of hard texts in ONNX."""
    for name in ("tf2onnx", "onnxruntime", "tokenizers"):
        needs.package(name)
    convert.main(["--model_dir", str(hard / "model"), "--to=onnx"])
    return hard / "onnx" / "model.onnx"


def test_a_network_in_onnx_has_the_scores_of_the_saved_model(hard, converted, capsys):
    check(hard, "--model_dir", str(hard / "model"), "--onnx", str(converted))
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "ONNX  " in line]
    reviews = str(4 * len(HARD_TEXTS) + len(TREE))
    assert line.split() == ["scores", "of", "ONNX", "the", "SavedModel", reviews, reviews, "0"]


def test_an_onnx_network_of_another_model_is_detected(hard, converted, tmp_path):
    network = load_model(hard / "model").network
    network.layers[-1].bias.assign_add([1e-3])
    shutil.copy(converted.parent / model_folder.TOKENIZER, tmp_path)
    path = str(tmp_path / "model.onnx")
    convert.to_onnx(network, path, 20)
    with pytest.raises(Failure, match="scores of ONNX differ from the SavedModel"):
        check(hard, "--model_dir", str(hard / "model"), "--onnx", path)
    (tmp_path / "model.onnx").write_bytes(b"none")
    with pytest.raises(BadInput, match=r"model\.onnx can't be read .*: convert it again"):
        check(hard, "--model_dir", str(hard / "model"), "--onnx", path)
    with pytest.raises(BadInput, match="--onnx needs --model_dir"):
        check(hard, "--onnx", path)


def test_a_value_that_is_not_a_number_differs():
    tally = comparison.Tally("scores", "network", tolerance=1e-6)
    rows = [np.array([0.5]), np.array([0.5])]
    tally.add([b"a", b"b"], rows, [np.array([0.5 + 1e-7]), np.array([np.nan])])
    assert (tally.reviews, tally.values, tally.differing, tally.keys) == (2, 2, 1, [b"b"])
