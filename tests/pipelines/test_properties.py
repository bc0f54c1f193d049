"""Any folder, table and flags give what Keras, pandas and NumPy make of the same texts."""

import contextlib
import csv
import dataclasses
import json

import hypothesis
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
import tiny_tree
from any_texts import CLEANINGS, TEXTS, Cleaning, adapted, has_markup, ids, tokens, words
from hypothesis import strategies as st
from test_preprocess import read, run
from test_reproducible import digests

from pipelines import places
from pipelines.preprocess import audit, review_batches, split_assignment, transform
from textrecords import spec, text_source
from textrecords.dataset import read_vocabulary

TRAIN, VALIDATION, TEST, UNLABELLED = spec.ALL_SPLITS
BY_LEAK = [UNLABELLED, TRAIN, VALIDATION, TEST]  # a leaked text stays in the last one
SHARES = [(0, 0), (0.3, 0), (0, 0.3), (0.4, 0.5), (0.000001, 0.2)]  # of test and validation
CLASSES = ["neg", "pos", "Été"]
FORMS = ["{}", "{}", "{}!", "\ufeff{}", " {}\r\n", "({})"]  # of the same words


def table_of(rows):
    """Returns reviews, given as (key, split, class, label, text), by their keys."""
    frame = pd.DataFrame(rows, columns=["key", "split", "class", "label", "text"], dtype=object)
    # Texts without words are the same only if they are equal.
    frame["words"] = [" ".join(words(text)) or f"\0{text}" for text in frame["text"]]
    return frame.set_index("key", drop=False)


def whole_runs(number):
    """Tries so many examples, and reports one that fails as it is: to shrink it takes minutes."""
    phases = [hypothesis.Phase.explicit, hypothesis.Phase.generate]
    return hypothesis.settings(max_examples=number, phases=phases)


@dataclasses.dataclass(frozen=True)
class Data:
    """A generated input.

    Attributes:
      reviews: the split, class (None without one) and text of each.
      classes: in the order of their labels.
      flags: of `preprocess`, by their names.
      cleaning: those of them that clean texts.
    """

    reviews: list[tuple[str, str | None, str]]
    classes: list[str]
    flags: dict
    cleaning: Cleaning

    def argv(self, folder):
        """Returns the flags as typed; writes the lists of words that they name to a folder."""
        flags, argv = dict(self.flags), []
        lists = {
            "stop_words": "".join(f"{word}\n" for word in self.cleaning.stop_words),
            "replacements": "".join(f"{a}\t{b}\n" for a, b in self.cleaning.replacements),
        }
        for name, content in lists.items():
            if content:
                (folder / name).write_text(content)
                flags[name] = folder / name
        for name, value in flags.items():
            if value is True:
                argv.append(f"--{name}")
            elif isinstance(value, list):
                argv += [f"--{name}", *value]
            elif name == "unlabelled" and value is False:
                argv.append("--no-unlabelled")
            elif value is not None and value is not False:
                argv.append(f"--{name}={value}")
        return argv

    @property
    def table(self):
        """The reviews as pandas has them, by their keys: paths below the input."""
        # With a share for test, and no other split, classes are at the top.
        is_flat = self.flags["test"] and {split for split, *_ in self.reviews} <= {
            TRAIN,
            UNLABELLED,
        }
        labels = {name: label for label, name in enumerate(self.classes)}
        rows = []
        for number, (split, name, text) in enumerate(self.reviews):
            folders = [split] * (not is_flat or split != TRAIN) + [name] * (name is not None)
            folders += ["more"] * (number % 2)
            key = "/".join([*folders, f"{number}{self.flags['pattern'][1:]}"])
            rows.append((key, split, name, labels.get(name, spec.UNKNOWN_LABEL), text))
        return table_of(rows)

    def write(self, folder):
        """Writes the reviews as files."""
        texts = self.table["text"].items()
        encoding = self.flags["encoding"]
        tiny_tree.write(folder, {key: text.encode(encoding) for key, text in texts})

    @property
    def chosen(self):
        """The table without reviews of other classes, and if so requested, without unlabelled."""
        frame = self.table
        with_unlabelled = self.flags["unlabelled"] is not False
        labelled = frame["class"].isin(self.classes)
        return frame[labelled | ((frame["split"] == UNLABELLED) & with_unlabelled)]


@st.composite
def data(draw):
    """Draws an input with at least what `preprocess` asks for, and all flags that shape data."""
    names = draw(st.permutations(CLASSES[: draw(st.integers(2, 3))]))
    test, validation = draw(st.sampled_from(SHARES))
    drop_leaked = draw(st.booleans())
    # Which of its splits a text is in can't be seen if it is dropped from there.
    others = [] if drop_leaked and (test or validation) else [TEST] * (not test)
    others += [] if not others or validation else draw(st.sampled_from([[], [VALIDATION]]))
    with_unlabelled = draw(st.booleans())
    encoding = draw(st.sampled_from(["utf-8", "utf-8", "utf-16", "latin-1"]))
    pool = draw(st.lists(TEXTS, min_size=1, max_size=6))
    if encoding == "latin-1":
        pool = [text.encode("latin-1", "ignore").decode("latin-1") for text in pool]
    forms = FORMS if encoding != "latin-1" else [form for form in FORMS if form.isascii()]
    place = st.tuples(st.sampled_from([TRAIN, *others]), st.sampled_from(names))
    if with_unlabelled:
        place |= st.just((UNLABELLED, None))
    text = st.builds(str.format, st.sampled_from(forms), st.sampled_from(pool))
    reviews = draw(st.lists(st.tuples(place, text), max_size=16))
    needed = [((TRAIN, name), f"{name} text {n}") for name in names for n in range(3)]
    needed += [((split, names[0]), f"only in {split}") for split in others]
    needed += [((UNLABELLED, None), "of no class")] * with_unlabelled
    classes = draw(st.sampled_from([None, names, names[:2]]))
    if classes and others:
        needed += [((split, classes[0]), f"also in {split}") for split in others]
    cleaning = draw(CLEANINGS)
    flags = {
        "classes": classes and [*classes],
        "pattern": draw(st.sampled_from(["*.txt", "*.md"])),
        "encoding": encoding,
        "test": test,
        "validation": validation,
        "unlabelled": draw(st.sampled_from([None, True, False])) if with_unlabelled else None,
        "vocabulary_from": draw(st.sampled_from(["train", "all"])),
        "drop_leaked": drop_leaked,
        "drop_duplicates": draw(st.booleans()),
        "min_tokens": draw(st.integers(0, 6)),
        "max_tokens": draw(st.sampled_from([3, 4, 6, 10, 20_000])),
        "max_len": draw(st.none() | st.integers(1, 5)),
        "split": cleaning.split,
        "strip_html": cleaning.strip_html,
        "normalize_unicode": cleaning.normalize_unicode,
        "num_shards": draw(st.none() | st.integers(1, 3)),
        "compression": draw(st.sampled_from(["none", "gzip"])),
        "on_bad_text": "replace_all",
    }
    every = [
        (*at, text.encode(encoding, "ignore").decode(encoding)) for at, text in needed + reviews
    ]
    return Data(every, [*(classes or sorted(names))], flags, cleaning)


def made(given, folder):
    """Preprocesses an input; returns the manifest and `{split: {key: (label, ids)}}`."""
    given.write(folder / "in")
    manifest = run(folder / "in", folder / "out", *given.argv(folder))
    compression = spec.COMPRESSIONS[given.flags["compression"]]
    return manifest, {name: read(folder / "out", name, compression) for name in manifest.splits}


def assigned(given, records):
    """Returns the chosen reviews with the splits that shares put them into, by their words."""
    frame = given.chosen
    found = {
        frame["words"][key]: name
        for name, rows in records.items()
        for key in rows
        if frame["split"][key] == TRAIN
    }
    at = frame["words"].map(found).where(frame["split"] == TRAIN, frame["split"])
    return frame.assign(split=at.fillna(TRAIN))


def kept(flags, frame):
    """Returns the reviews that `--drop_leaked` and `--drop_duplicates` leave."""
    if flags["drop_leaked"]:
        rank = frame["split"].map(BY_LEAK.index)
        frame = frame[rank == rank.groupby(frame["words"]).transform("max")]
    if flags["drop_duplicates"]:
        frame = frame.sort_index().drop_duplicates(["split", "words"])
    return frame


@hypothesis.settings(max_examples=40)
@hypothesis.given(texts=st.lists(TEXTS, min_size=1, max_size=9), cleaning=CLEANINGS)
def test_any_text_gets_the_tokens_of_keras_after_what_flags_ask_of_python(texts, cleaning):
    tokenizer = transform.Tokenizer(transform.TextOptions(**dataclasses.asdict(cleaning)))
    assert tokenizer(tf.constant(texts)).to_list() == tokens(texts, cleaning)


@pytest.mark.slow
@whole_runs(12)
@hypothesis.given(given=data())
def test_any_folder_gets_the_ids_of_keras(tmp_path_factory, given):
    folder = tmp_path_factory.mktemp("folder")
    _, records = made(given, folder)
    frame = kept(given.flags, assigned(given, records))
    counted = [TRAIN, UNLABELLED] if given.flags["vocabulary_from"] == "all" else [TRAIN]
    texts = frame["text"][frame["split"].isin(counted)]
    layer = adapted(texts, given.cleaning, given.flags["max_tokens"])
    vocabulary = read_vocabulary(str(folder / "out" / spec.VOCABULARY))
    assert [word.decode() for word in vocabulary] == layer.get_vocabulary(False)
    rows = [row[: given.flags["max_len"]] for row in ids(layer, frame["text"], given.cleaning)]
    expected = {
        key: (split, label, row or [spec.OOV_ID])
        for key, split, label, row in zip(
            frame["key"], frame["split"], frame["label"], rows, strict=True
        )
    }
    found = {key: (split, *row) for split, rows in records.items() for key, row in rows.items()}
    assert found == expected


def findings(frame):
    """Returns what the audit says about texts of several reviews, as pandas' groups have it."""
    found = []
    for _, same in frame.sort_index().groupby("words"):
        for split, of_split in same.groupby("split"):
            if len(of_split) > 1:
                again = int((of_split["text"].value_counts() > 1).sum())
                found.append(_finding("duplicate", of_split, again, split=split))
        splits = sorted(set(same["split"]), key=BY_LEAK.index)
        if len(splits) > 1 and splits != [UNLABELLED, TRAIN]:
            found.append(_finding("leak", same, _in_several(same, "split"), splits=splits))
        labelled = same[same["label"] != spec.UNKNOWN_LABEL]
        if labelled["label"].nunique() > 1:
            both = _in_several(labelled, "label")
            found.append(_finding("conflicting labels", same, both))
    return sorted(found, key=repr)


def _finding(what, same, same_texts, **more):
    return {"finding": what, **more, "same_texts": same_texts, "keys": [*same["key"]]}


def _in_several(frame, what):
    return int((frame.groupby("text")[what].nunique() > 1).sum())


def read_findings(lines):
    """Returns the findings of the audit on texts of several reviews."""
    return sorted((each for each in map(json.loads, lines) if "same_texts" in each), key=repr)


@hypothesis.given(
    rows=st.lists(
        st.tuples(
            st.sampled_from(
                [(s, label) for s in spec.SPLITS for label in (0, 1)] + [(UNLABELLED, -1)]
            ),
            st.sampled_from(FORMS),
            st.sampled_from(["good", "GOOD", "a<br />b", "a b", "...", "?", "", "\x85", "é", "É"])
            | TEXTS,
        ),
        max_size=20,
    ),
    drop_leaked=st.booleans(),
    drop_duplicates=st.booleans(),
)
def test_the_audit_finds_and_drops_what_groups_of_pandas_show(rows, drop_leaked, drop_duplicates):
    frame = table_of(
        (f"{split}/{n}", split, None, label, form.format(text))
        for n, ((split, label), form, text) in enumerate(rows)
    )
    reviews = [_review(*row) for row in frame[["key", "split", "label", "text"]].itertuples(False)]
    assign = audit.Assign(split_assignment.Shares(), drop_leaked, drop_duplicates)
    lines, *shards, audited = assign.place((0, [reviews]), {}, dict.fromkeys(spec.ALL_SPLITS, 2))
    assert read_findings(line for _, line in lines.value) == findings(frame)
    flags = {"drop_leaked": drop_leaked, "drop_duplicates": drop_duplicates}
    left = kept(flags, frame)
    found = [(split, row[1].decode()) for (split, _), rows in shards for row in rows]
    assert sorted(found) == sorted(zip(left["split"], left["key"], strict=True))
    assert audited.value.found == frame["split"].value_counts().to_dict()


def _review(key, split, label, text):
    listed = text_source.Unread(key.encode(), split=spec.ALL_SPLITS.index(split))
    return review_batches.Review.of(listed, label, text.encode())


def statistics(given, frame, rows, vocabulary_size):
    """Returns the manifest's numbers on the records of a split, as NumPy and pandas have them."""
    flags, texts = given.flags, frame["text"]
    lengths = np.array([len(row) for row in rows])
    tokens = np.concatenate(rows)
    without = without_tokens(texts, given.cleaning)
    oov = int((tokens == spec.OOV_ID).sum())
    quantiles = np.quantile(lengths, [0, 0.5, 0.9, 0.99, 1], method="inverted_cdf").tolist()
    edges = 2 ** np.arange(int(lengths.max()).bit_length() + 1)
    bins = [f"{low}-{low * 2 - 1}" for low in edges[:-1].tolist()]
    in_bins, _ = np.histogram(lengths, [*edges[:-1], edges[-1] - 0.5])
    least = min(flags["min_tokens"], flags["max_len"] or flags["min_tokens"])
    return {
        "examples": len(frame),
        "tokens": len(tokens),
        "oov_tokens": oov,
        "coverage": {str(vocabulary_size - 2): round((len(tokens) - oov) / len(tokens), 6)},
        "token_lengths": dict(zip(["min", "50%", "90%", "99%", "max"], quantiles, strict=True)),
        "token_length_histogram": dict(zip(bins, in_bins.tolist(), strict=True)),
        "byte_order_marks": int(texts.str.startswith("\ufeff").sum()),
        "nul_bytes": int(texts.str.contains("\0", regex=False).sum()),
        "html": int(texts.map(has_markup).sum()),
        "without_tokens": int(without.sum()),
        "short": int(((lengths < least) | (without & (flags["min_tokens"] > 0))).sum()),
    }


def without_tokens(texts, cleaning):
    """Returns which texts Keras finds no token in, <bool>[n]."""
    return np.array([not row for row in tokens(texts, cleaning)])


@pytest.mark.slow
@whole_runs(10)
@hypothesis.given(given=data())
def test_any_folder_is_counted_and_audited_as_pandas_does(tmp_path_factory, given):
    folder = tmp_path_factory.mktemp("folder")
    manifest, records = made(given, folder)
    assert manifest.classes == (*given.classes,)
    frame = assigned(given, records)
    left = kept(given.flags, frame)
    assert {*records} == {*frame["split"]}
    for name, found in manifest.splits.items():
        of_split = frame[frame["split"] == name]
        stay = left[left["split"] == name]
        assert (found.found, found.distinct_texts, found.distinct_by_words) == (
            *(len(of_split), of_split["text"].nunique(), of_split["words"].nunique()),
        )
        leaked = (
            len(of_split)
            if stay.empty
            else len(of_split) - of_split["words"].isin(stay["words"]).sum()
        )
        assert found.dropped_leaked == leaked
        assert found.dropped_duplicates == len(of_split) - leaked - len(stay)
        labels = stay["class"].value_counts()
        names = () if name == UNLABELLED else manifest.classes
        assert found.class_examples == {each: labels.get(each, 0) for each in names}
        rows = [records[name][key][1] for key in stay["key"]]
        expected = statistics(given, stay, rows, manifest.vocabulary.size)
        assert {what: getattr(found, what) for what in expected} == expected
    of_train = left["text"][left["split"] == TRAIN]
    is_whole = given.flags["max_tokens"] == 20_000 and given.flags["max_len"] is None
    if is_whole:
        counts = pd.Series(tokens(of_train, given.cleaning)).explode().value_counts()
        assert manifest.seen_once == (counts == 1).sum()
    shards = (folder / "out" / shard.file for shard in manifest.audit.shards)
    lines = (line for shard in shards for line in shard.read_text().splitlines())
    expected = findings(frame)
    assert read_findings(lines) == expected
    assert (manifest.audit.leaked_texts, manifest.audit.leaked_by_words) == _sum_and_size(
        expected, "leak"
    )
    assert (manifest.audit.conflicting_texts, manifest.audit.conflicting_by_words) == _sum_and_size(
        expected, "conflicting labels"
    )


def _sum_and_size(found, what):
    same_texts = [each["same_texts"] for each in found if each["finding"] == what]
    return sum(same_texts), len(same_texts)


def shards_and_vocabulary(folder):
    """Returns the bytes of the records and of the vocabulary, by file."""
    files = [*folder.glob("*.tfrecord*"), folder / spec.VOCABULARY]
    return {file.name: file.read_bytes() for file in files}


def write_table(path, frame):
    """Writes a table as pandas does."""
    if path.suffix == ".parquet":
        frame.to_parquet(path, index=False)
    elif path.suffix == ".jsonl":
        frame.to_json(path, orient="records", lines=True, force_ascii=False)
    else:
        separator = "\t" if path.suffix == ".tsv" else ","
        frame.to_csv(path, index=False, sep=separator, quoting=csv.QUOTE_ALL)


@pytest.mark.slow
@whole_runs(5)
@hypothesis.given(
    given=data(),
    name=st.sampled_from(["a.csv", "a.tsv", "a.jsonl", "a.parquet"]),
    with_keys=st.booleans(),
    order=st.integers(0, 9),
)
def test_a_table_of_pandas_in_any_order_gives_the_records_of_the_folder(
    tmp_path_factory, given, name, with_keys, order
):
    folder = tmp_path_factory.mktemp("folder")
    flags = given.flags | {"encoding": "utf-8", "pattern": "*.txt"}
    given = dataclasses.replace(given, flags=flags)
    _, expected = made(given, folder)
    frame = given.table.rename(columns={"split": "part"})[["text", "class", "part", "key"]]
    write_table(folder / name, frame.sample(frac=1, random_state=order))
    argv = ["--split_column=part"]
    # Of duplicates, the first by its key stays.
    by_key = with_keys or flags["drop_duplicates"]
    if by_key:
        argv.append("--key_column=key")
    del flags["pattern"]
    manifest = run(folder / name, folder / "of_table", *given.argv(folder), *argv)
    assert manifest.classes == (*given.classes,)
    if by_key:
        assert shards_and_vocabulary(folder / "of_table") == shards_and_vocabulary(folder / "out")
    else:
        compression = spec.COMPRESSIONS[flags["compression"]]
        for split in manifest.splits:
            found = read(folder / "of_table", split, compression)
            assert sorted(found.values()) == sorted(expected[split].values())
        vocabularies = (folder / of / spec.VOCABULARY for of in ("out", "of_table"))
        assert len({path.read_bytes() for path in vocabularies}) == 1


@contextlib.contextmanager
def other_circumstances(number, order):
    """Lists files in another order, and makes small elements of few reviews."""
    walk = text_source.Source.walk

    def shuffled(*args):
        found = [*walk(*args)]
        order.shuffle(found)
        return iter(found)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_source.Source, "walk", shuffled)
        patch.setattr(places, "LISTED_TOGETHER", number)
        patch.setattr(review_batches, "BATCH_SIZE", number)
        patch.setattr(audit, "REVIEWS_PER_BUCKET", number)
        yield


@pytest.mark.slow
@whole_runs(4)
@hypothesis.given(
    given=data(),
    number=st.integers(1, 9),
    order=st.randoms(use_true_random=False),
    beam_flags=st.sampled_from(
        [
            [],
            ["--direct_num_workers=1"],
            ["--direct_num_workers=2"],
            ["--runner=BundleBasedDirectRunner"],
        ]
    ),
)
def test_any_order_sizes_and_runner_give_the_same_bytes(
    tmp_path_factory, given, number, order, beam_flags
):
    folder = tmp_path_factory.mktemp("folder")
    made(given, folder)
    with other_circumstances(number, order):
        run(folder / "in", folder / "again", *given.argv(folder), *beam_flags)
    assert digests(folder / "again") == digests(folder / "out")


@pytest.mark.slow
@whole_runs(4)
@hypothesis.given(given=data(), num_shards=st.integers(1, 7))
def test_any_number_of_shards_gives_the_same_records(tmp_path_factory, given, num_shards):
    folder = tmp_path_factory.mktemp("folder")
    manifest, records = made(given, folder)
    flags = given.flags | {"num_shards": num_shards, "compression": "none"}
    other = dataclasses.replace(given, flags=flags).argv(folder)
    again = run(folder / "in", folder / "again", *other)
    assert {name: read(folder / "again", name) for name in again.splits} == records
    assert again.vocabulary == manifest.vocabulary
    assert again.audit == manifest.audit
    for name, split in again.splits.items():
        assert len(split.shards) == num_shards
        assert (
            dataclasses.replace(split, shards=manifest.splits[name].shards) == manifest.splits[name]
        )
