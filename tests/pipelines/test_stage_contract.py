"""Puts every stage of the Beam pipelines through the contract in `stage_contract`."""

import collections
import dataclasses
import functools
import itertools
import random

import apache_beam as beam
import numpy as np
import pytest
import stage_contract
import tensorflow_transform.beam as tft_beam
import tiny_dataset
from apache_beam.metrics.metric import MetricsFilter
from apache_beam.pipeline import PipelineVisitor
from apache_beam.testing.util import assert_that, equal_to
from stage_contract import Case
from tiny_tree import write

from model import train
from pipelines import findings, grouping, sharding, totals
from pipelines import list_files as list_files_stage
from pipelines.findings import FINDINGS, finding
from pipelines.places import Place
from pipelines.preprocess import __main__ as preprocess
from pipelines.preprocess import (
    audit,
    count_words,
    finished_shards,
    input_tree,
    metadata,
    pipeline,
    split_assignment,
    transform,
    vocabulary,
)
from pipelines.preprocess.audit import Digested
from pipelines.preprocess.options import Options
from pipelines.preprocess.plan import Plan
from pipelines.preprocess.write_shards import Written
from pipelines.score import pipeline as scoring
from pipelines.score import text_files
from pipelines.score.scorer import Scorer
from pipelines.unfit_files import Limits, UnfitFiles
from textrecords import atomic, checksums, command_line, drift, spec
from textrecords.manifest import DataFlags, Fingerprint, Shard

pytestmark = pytest.mark.integration

TREE = {
    f"{split}/{name}/{n}.txt": " ".join([name, "film", "it's"][: n % 4]) * (1 + n % 2)
    for split, name, n in itertools.product(("train", "test"), ("bad", "good"), range(8))
}

FLAGS = ["--validation=0.3", "--num_shards=2"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A dataset, and the folder that it was made from."""
    folder = tmp_path_factory.mktemp("made")
    write(folder / "in", TREE)
    paths = ["--input", str(folder / "in"), "--output", str(folder / "records")]
    preprocess.main([*paths, *FLAGS])
    return folder


@pytest.fixture(scope="module")
def serving(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    tiny_dataset.write(folder / "records", {"train": [("a b", 0), ("b c", 1)]})
    small = ["--max_len=4", "--embedding_dim=2", "--lstm_units=2", "--dense_units=2", "--epochs=1"]
    paths = ["--records", str(folder / "records"), "--model_dir", str(folder / "model")]
    train.main([*paths, *small])
    return str(folder / "model" / "serving" / "1")


class Preprocess:
    """The stages of preprocess on a copy of the input, built from flags as the command does."""

    def __init__(self, folder, made):
        write(folder / "in", TREE)
        (folder / "out").mkdir()
        self.folder = folder
        parser = command_line.ArgumentParser(prog="test")
        command_line.add_flags(parser, Options)
        command_line.add_flags(parser, DataFlags)
        given = ["--input", str(folder / "in"), "--output", str(folder / "out")]
        args = parser.parse_args([*given, *FLAGS])
        flags = command_line.read_flags(args, DataFlags)
        tree = input_tree.find_reviews(flags.source(str(folder / "in")))
        self.plan = Plan.make(Limits(), flags, tree, str(folder / "out"))
        self.source = tree.source
        self.transform_fn_dir = str(made and made / "records" / spec.TRANSFORM_FN)
        self.unread = sorted(tree.all_reviews())
        self.listed = tree.check_listed(list_places(tree.places, tree.source))
        self.classes = tree.classes_of(self.listed)
        self.num_shards = self.plan.num_shards(self.listed)
        digested = list(audit.digest(self.unread, self.source, self.listed, self.classes))
        [self.bucket], self.digested = reviews(digested), tagged(digested, audit.DIGESTED)
        self.texts = dict(self.plan.assign.class_texts((0, [self.bucket[1]])))
        self.moved = self.plan.assign.shares.moves(self.texts)
        placed = list(self.plan.assign.place((0, [self.bucket[1]]), self.moved, self.num_shards))
        self.shards, self.audited = reviews(placed), tagged(placed, audit.AUDITED)
        self.findings = tagged(placed, FINDINGS)
        self.found = metadata.Found(self.audited, self.listed, self.digested)
        self.shard = next((shard, [kept]) for shard, kept in self.shards if shard[0] == spec.TRAIN)

    def remove_files(self):
        for path in (self.folder / "in").rglob("*.txt"):
            path.unlink()

    def change_files(self):
        for path in (self.folder / "in").rglob("*.txt"):
            path.write_text("changed")

    def shuffled(self, shard):
        shard_id, [reviews] = shard
        mixed = random.Random(0).sample(reviews, len(reviews))
        return shard_id, [mixed[:1], mixed[1:]]

    def written(self):
        """Returns what was written of each split."""
        parts = {}
        every_shard = {shard: [] for shard in sharding.every_shard(self.num_shards)}
        for shard, kept in (every_shard | dict(self.shards)).items():
            output = list(
                self.plan.finish_shard().finish(
                    (shard, [kept]), self.transform_fn_dir, self.num_shards, self.classes
                )
            )
            [(split, part)] = reviews(output)
            parts[split] = parts[split] + part if split in parts else part
            self.findings += tagged(output, FINDINGS)
        return parts


def reviews(outputs):
    """Returns untagged elements."""
    return [each for each in outputs if not isinstance(each, beam.pvalue.TaggedOutput)]


def tagged(outputs, tag):
    """Returns the only output with a tag."""
    [value] = [
        each.value
        for each in outputs
        if isinstance(each, beam.pvalue.TaggedOutput) and each.tag == tag
    ]
    return value


def list_files(stages):
    stage = functools.partial(list_files_stage.list_place, source=stages.source, limit=None)

    def spoil():
        stages.remove_files()
        (stages.folder / "in/train/good").rmdir()

    def in_order(place):
        outputs = list(stage(place))
        parts = [each.value for each in outputs if isinstance(each, beam.pvalue.TaggedOutput)]
        return iter([sorted(itertools.chain.from_iterable(reviews(outputs))), totals.add_up(parts)])

    place = Place("train/good", "good")
    return Case(in_order, (place,), spoil=spoil, message="can't list .*/train/good")


def add_up_listed(stages):
    both = [Place(f"train/{name}", name) for name in ("good", "bad")]
    parts = [list_places([place], stages.source) for place in both]
    return add_up(parts, list_places(both, stages.source))


def list_places(places, source):
    """Returns the sum of what the stage gives for several places."""
    outputs = (list_files_stage.list_place(place, source, None) for place in places)
    every = itertools.chain.from_iterable(outputs)
    return totals.add_up(each.value for each in every if isinstance(each, beam.pvalue.TaggedOutput))


def check_listed(stages):
    def spoil():
        del stages.listed.reviews["train/good"]

    return Case(
        stages.plan.tree.check_listed, (stages.listed,), spoil=spoil, message="has no .* files"
    )


def digest(stages):
    more = (stages.source, stages.listed, stages.classes)

    def in_order(unread, *more):
        for output in audit.digest(unread, *more):
            is_tagged = isinstance(output, beam.pvalue.TaggedOutput)
            yield output if is_tagged else (output[0], sorted(output[1]))

    return Case(in_order, (stages.unread, *more), (stages.unread[::-1], *more))


def gather(stages):
    def gathered(elements):
        stage = grouping.GatherInBundle(100)
        stage.start_bundle()
        assert not [each for element in elements for each in stage.process(element)]
        held = [each.value for each in stage.finish_bundle()]
        return sorted((key, sorted(items)) for key, items in held)

    elements = [(0, ["a"]), (1, ["b"]), (0, ["c"])]
    return Case(gathered, (elements,), (elements[::-1],))


def mixed(bucket):
    number, reviews = bucket
    mixed = random.Random(0).sample(reviews, len(reviews))
    return number, [mixed[:3], mixed[3:]]


def class_texts(stages):
    number, reviews = stages.bucket

    def stage(bucket):
        return dict(sorted(stages.plan.assign.class_texts(bucket)))

    return Case(stage, ((number, [reviews]),), (mixed(stages.bucket),))


def assign(stages):
    number, bucket = stages.bucket

    def in_order(bucket, moved, num_shards):
        outputs = list(stages.plan.assign.place(bucket, moved, num_shards))
        found = sorted(map(repr, tagged(outputs, FINDINGS)))
        return [sorted(map(repr, reviews(outputs))), found, tagged(outputs, audit.AUDITED)]

    more = (stages.moved, stages.num_shards)
    in_order_of_keys = sorted(bucket, key=lambda review: review[1])
    arguments = ((number, [in_order_of_keys]), *more)
    return Case(in_order, arguments, ((number, [bucket[:3], bucket[3:]]), *more))


def move_texts(stages):
    few = [split_assignment.Text(False, text) for text in (b"a", b"b")]
    texts = [*stages.texts.items(), ((2, spec.TRAIN), few)]
    shares = stages.plan.assign.shares
    return Case(lambda items: shares.moves(dict(items)), (texts,), (texts[::-1],))


def keep_counted(stages):
    stage = functools.partial(pipeline._is_of, splits=("train",))
    return Case(lambda shard: [stage(shard)], (stages.shard,))


def count_shard(stages):
    split, options = count_words.split_shard, transform.TextOptions()
    stage = count_words.Count(stages.source, options)

    def in_order(shard):
        return iter(sorted(itertools.chain.from_iterable(map(stage.count, split(shard)))))

    return Case(
        in_order,
        (stages.shard,),
        (stages.shuffled(stages.shard),),
        spoil=stages.change_files,
        message="changed while it was being read",
    )


def write_shard(stages):
    more = (stages.transform_fn_dir, stages.num_shards, stages.classes)
    return Case(
        stages.plan.finish_shard().finish,
        (stages.shard, *more),
        (stages.shuffled(stages.shard), *more),
        folder=stages.folder / "out",
        spoil=stages.remove_files,
        message="can't read .*No such file",
    )


def count_files(stages):
    digested = Digested(Fingerprint(2, 3, "0"), UnfitFiles.of({}, {}))
    return Case(audit.count, (digested,))


def count_records(stages):
    shard, keys = Shard("a", 1, 2, "0"), sharding.Keys()
    written = Written((shard,), np.ones(2), {1: 1}, np.ones(3), {}, keys)
    return Case(finished_shards.count, ((spec.TRAIN, written),))


def add_up(parts, whole):
    """Returns the case of what several workers found, which adds up to what one finds alone."""

    def stage(parts):
        return {name: in_order(value) for name, value in vars(totals.add_up(parts)).items()}

    def in_order(value):
        if isinstance(value, collections.Counter):
            return +value  # a sum has no zeros
        return sorted(value, key=repr) if isinstance(value, list | tuple) else value

    assert len(parts) > 1
    assert stage_contract.plain(stage(parts)) == stage_contract.plain(stage([whole]))
    return Case(stage, (parts,), (parts[::-1],))


def add_up_digested(stages):
    (stages.folder / "in/train/bad/1.txt").unlink()
    (stages.folder / "in/test/good/6.txt").unlink()
    (stages.folder / "in/train/good/2.txt").write_bytes(b"caf\xe9")
    (stages.folder / "in/test/bad/3.txt").write_bytes(b"na\xefve")

    def digested(unread):
        outputs = audit.digest(unread, stages.source, stages.listed, stages.classes)
        return tagged(outputs, audit.DIGESTED)

    whole = digested(stages.unread)
    assert (whole.unfit.num_bad, whole.unfit.misread.total()) == (2, 2)
    return add_up([digested(stages.unread[:9]), digested(stages.unread[9:])], whole)


def add_up_audited(stages):
    number, bucket = stages.bucket
    by_words = sorted(bucket)
    [half] = [n for n in (8, 9) if by_words[n - 1][0] != by_words[n][0]][:1]

    def audited(part):
        placed = stages.plan.assign.place((number, [part]), stages.moved, stages.num_shards)
        return tagged(placed, audit.AUDITED)

    assert stages.audited.findings
    return add_up([audited(by_words[:half]), audited(by_words[half:])], stages.audited)


def add_up_written(stages):
    def written(kept):
        shard = ((spec.TRAIN, 0), [kept])
        finish = stages.plan.finish_shard().finish
        more = (stages.transform_fn_dir, stages.num_shards, stages.classes)
        [(_, part)] = reviews(finish(shard, *more))
        return dataclasses.replace(part, shards=())

    [kept] = stages.shard[1]
    return add_up([written(kept[:3]), written(kept[3:])], written(kept))


def check(stages):
    def spoil():
        bad = UnfitFiles.of({b"%d.txt" % n: "gone" for n in range(20)}, {})
        object.__setattr__(stages.digested, "unfit", bad)

    arguments = (stages.digested, stages.plan, stages.listed)
    return Case(metadata.check, arguments, spoil=spoil, message="files of .* can't be read: 0.txt")


def write_manifest(stages):
    parts = stages.written()
    for path in (stages.folder / "out").glob("*.tfrecord"):
        path.unlink()

    def stage(parts):
        metadata.write(parts, stages.plan, stages.transform_fn_dir, stages.found, [])
        return []

    def spoil():
        counts = parts[spec.TRAIN].id_counts
        counts[:] = counts[::-1].copy()

    message = "the vocabulary out of order"
    return Case(stage, (parts,), None, stages.folder / "out", spoil, message)


def split_lines(stages):
    found = [finding("short", [b"a"], split="train"), finding("bad file", [b"\xff"], why="gone")]
    lines = findings.tag_findings(found).value

    def in_order(elements, listed):
        split = findings.split_lines(elements, listed)
        return iter([(index, sorted(in_shard)) for index, in_shard in split])

    return Case(in_order, (lines, stages.listed), (lines[::-1], stages.listed))


def write_lines(stages):
    lines = [(b"0", "a"), (b"1", "b"), (b"0", "c")]
    more = (stages.listed, str(stages.folder / "out"))
    arguments, reordered = ((0, [lines]), *more), ((0, [lines[2:], lines[:2]]), *more)
    return Case(findings.write, arguments, reordered, stages.folder / "out")


PREPROCESS = {
    "CheckListed": check_listed,
    "NumShards": lambda stages: Case(stages.plan.num_shards, (stages.listed,)),
    "ClassNames": lambda stages: Case(stages.plan.tree.classes_of, (stages.listed,)),
    "EveryShard": lambda stages: Case(sharding.every_shard, (stages.num_shards,)),
    "Digest": digest,
    "Gather": gather,
    "ClassTexts": class_texts,
    "FirstTexts": lambda _: Case(
        split_assignment.first,
        ([[(False, b"b")], [(False, b"c"), (True, b"a")]],),
        ([[(False, b"c"), (True, b"a")], [(False, b"b")]],),
    ),
    "MoveTexts": move_texts,
    "Assign": assign,
    "KeepCounted": keep_counted,
    "WriteShards": write_shard,
    "CountFiles": count_files,
    "CountRecords": count_records,
    "Check": check,
    "AddUp": add_up_written,
    "Digested": add_up_digested,
    "Audited": add_up_audited,
    "Found": lambda stages: Case(metadata.Found, stages.found),
    "WriteManifest": write_manifest,
}
LIST_FILES = {
    "List0": list_files,
    "CountFiles0": lambda stages: Case(list_files_stage.count, (stages.listed,)),
    "Listed": add_up_listed,
}
WRITE_FINDINGS = {"SplitLines": split_lines, "WriteLines": write_lines}
COUNT_WORDS = {
    "SplitShards": lambda stages: Case(count_words.split_shard, (stages.shard,)),
    "Count": count_shard,
    "AddCounts": lambda _: Case(
        added, ([{b"a": 1, b"b": 2}, {b"a": 4}],), ([{b"a": 4}, {b"b": 2, b"a": 1}],)
    ),
}
VOCABULARY = {
    "MostFrequentOfBucket": lambda _: Case(
        vocabulary._most_frequent_of_bucket, ((0, {b"a": 1, b"b": 3, b"c": 3}), 2)
    ),
    "MostFrequent": lambda _: Case(
        most_frequent, ([[(3, b"c")], [(1, b"a")]],), ([[(1, b"a")], [(3, b"c")]],)
    ),
    "Write": lambda folder: Case(
        vocabulary._write, ([(3, b"c"), (1, b"a")], str(folder / "tokens")), folder=folder
    ),
}


def added(batches):
    """Returns the counts of several batches, added up."""
    return dict(sorted(combined(count_words.AddCounts(), batches).items()))


def most_frequent(lists):
    return combined(vocabulary.MostFrequent(1), lists)


def combined(stage, inputs):
    """Combines as Beam does: each input by itself, and then all of them."""
    totals = [stage.compact(stage.add_input(stage.create_accumulator(), each)) for each in inputs]
    return stage.extract_output(stage.merge_accumulators(totals))


class Score:
    """The stages of score."""

    def __init__(self, folder, serving):
        write(folder / "in", {"b.txt": "a b", "a.txt": "b c", "deep/c.txt": ""})
        (folder / "out" / checksums.ABOUT).mkdir(parents=True)
        self.folder, self.serving = folder, serving
        texts = text_files.parse_input(str(folder / "in"), "utf-8")
        self.plan = scoring.Plan(
            texts, Scorer(serving), ("neg", "pos"), "", str(folder / "out"), 1, "jsonl", Limits()
        )
        self.source = texts.source
        self.keys = [b"a.txt", b"b.txt", b"deep/c.txt"]
        self.listed = list_places(texts.places, texts.source)
        self.num_shards = {scoring.SCORES: 1}
        self.unread = [(key, "", 0, b"", "") for key in self.keys]
        self.rows = [
            ((key, ""), {"label": "neg", "score": n / 4}) for n, key in enumerate(self.keys)
        ]


def score_check_listed(stages):
    def spoil():
        stages.listed.reviews.clear()

    return Case(stages.plan.check_listed, (stages.listed,), spoil=spoil, message="has no .* files")


def score_texts(stages):
    (stages.folder / "in/b.txt").unlink()
    (stages.folder / "in/a.txt").write_bytes(b"caf\xe9")
    return Case(stages.plan.score, ((0, stages.unread),))


def add_up_unfit(stages):
    parts = [UnfitFiles.of({b"a": "gone"}, {}), UnfitFiles.of({b"b": "gone"}, {b"c": "latin-1"})]
    return add_up(parts, UnfitFiles.of({b"a": "gone", b"b": "gone"}, {b"c": "latin-1"}))


def score_check(stages):
    unfit = UnfitFiles.of({}, {})

    def spoil():
        vars(unfit).update(vars(UnfitFiles.of({b"x.txt": "gone"}, {})))

    return Case(
        stages.plan.check,
        (unfit, stages.listed),
        spoil=spoil,
        message="files of .* can't be read: x.txt",
    )


def score_write(stages):
    shard = (scoring.SCORES, 0)
    arguments = ((shard, [stages.rows]), stages.num_shards)
    reordered = ((shard, [stages.rows[2:], stages.rows[:2]]), stages.num_shards)
    return Case(stages.plan.write, arguments, reordered, stages.folder / "out")


def profile_of(number):
    """The profile of this many texts with one known word and one OOV."""
    words, lengths, scores = ({name: number} for name in ("known", "2-3", "0.9-1.0"))
    return drift.Profile(number, words | {"oov": number}, lengths, scores)


def summarize(stages):
    shard = (scoring.SCORES, 0)
    written = [stages.plan.write((shard, [stages.rows[1:]]), stages.num_shards)]
    unfit = UnfitFiles.of({stages.keys[0]: "gone"}, {})

    def stage(parts, found, profiles):
        stages.plan.write_summary(parts, found, profiles)
        return []

    def spoil():
        written[:] *= 2

    arguments = (written, scoring.Found(unfit, stages.listed, []), [profile_of(2)])
    return Case(
        stage, arguments, None, stages.folder / "out", spoil, "not each of 3 texts was scored once"
    )


SCORE = {
    "CheckListed": score_check_listed,
    "NumShards": lambda stages: Case(stages.plan.shards, (stages.listed,)),
    "EveryShard": lambda stages: Case(sharding.every_shard, (stages.num_shards,)),
    "ByShard": lambda stages: Case(scoring.by_shard, (stages.unread, stages.num_shards)),
    "Batch": lambda stages: Case(
        stages.plan.batches, ((0, [stages.unread]),), ((0, [stages.unread[::-1]]),)
    ),
    "Score": score_texts,
    "CountScored": lambda stages: Case(scoring._count, (((scoring.SCORES, 0), stages.rows),)),
    "Unfit": add_up_unfit,
    "Check": score_check,
    "Profile": lambda stages: add_up([profile_of(2), profile_of(3)], profile_of(5)),
    "Found": lambda stages: Case(scoring.Found, (UnfitFiles.of({}, {}), stages.listed, [])),
    "Write": score_write,
    "Summarize": summarize,
}
# Beam's own, and tf.Transform's.
OF_BEAM = {
    *("ListFiles", "GroupByText", "GroupByShard", "Findings", "WriteFindings", "Splits", "Classes"),
    *("CountWords", "NoBatches", "MakeGraph", "WriteTransformFn", "GroupKeys", "Spread", "Shards"),
}


@pytest.mark.parametrize("name", LIST_FILES)
def test_a_stage_of_listing_keeps_the_contract(tmp_path, made, name):
    stage_contract.check(LIST_FILES[name](Preprocess(tmp_path, made)))


@pytest.mark.parametrize("name", WRITE_FINDINGS)
def test_a_stage_of_findings_keeps_the_contract(tmp_path, made, name):
    stage_contract.check(WRITE_FINDINGS[name](Preprocess(tmp_path, made)))


@pytest.mark.parametrize("name", PREPROCESS)
def test_a_stage_of_preprocess_keeps_the_contract(tmp_path, made, name):
    stage_contract.check(PREPROCESS[name](Preprocess(tmp_path, made)))


@pytest.mark.parametrize("name", COUNT_WORDS)
def test_a_stage_of_counting_words_keeps_the_contract(tmp_path, made, name):
    stage_contract.check(COUNT_WORDS[name](Preprocess(tmp_path, made)))


@pytest.mark.parametrize("name", VOCABULARY)
def test_a_stage_of_the_vocabulary_keeps_the_contract(tmp_path, name):
    stage_contract.check(VOCABULARY[name](tmp_path))


@pytest.mark.parametrize("name", SCORE)
def test_a_stage_of_score_keeps_the_contract(tmp_path, serving, name):
    stage_contract.check(SCORE[name](Score(tmp_path, serving)))


def labels(built):
    """Returns the labels of all transforms of a pipeline, with those that they are in."""
    found = set()

    class Visitor(PipelineVisitor):
        def visit_transform(self, node):
            found.add(node.full_label)

        def enter_composite_transform(self, node):
            found.add(node.full_label)

    built.visit(Visitor())
    return found


def parts(labels, composite):
    """Returns the names of the transforms right inside a composite one."""
    inside = (label.partition(f"{composite}/")[2] for label in labels)
    return {name.partition("/")[0] for name in inside} - {""}


def test_every_stage_is_tested(tmp_path, made, serving):
    built = beam.Pipeline(runner="FnApiRunner")
    with tft_beam.Context(temp_dir=str(tmp_path / "temp")):
        pipeline._build(built, Preprocess(tmp_path / "a", made).plan)
    full = labels(built)
    top = {label.partition("/")[0] for label in full} - {""}
    assert top - OF_BEAM == set(PREPROCESS)
    inside = [label.partition("/_WriteVocabulary/")[2] for label in full]
    assert {label.partition("/")[0] for label in inside} - {""} == set(VOCABULARY)
    assert parts(full, "CountWords") == set(COUNT_WORDS)
    of_beam = {"Places", "SpreadPlaces0", "Files", "Parts", "SpreadFiles"}
    assert parts(full, "ListFiles") - of_beam == set(LIST_FILES)
    assert parts(full, "WriteFindings") - {"GroupLines", "AuditShards"} == set(WRITE_FINDINGS)
    scores = beam.Pipeline(runner="FnApiRunner")
    scoring.build(scores, Score(tmp_path / "b", serving).plan)
    top = {label.partition("/")[0] for label in labels(scores)} - {""}
    assert top - OF_BEAM == set(SCORE)


def test_nothing_is_distributed_at_random(tmp_path, made, serving):
    """When Spark reruns a task, other elements would replace the lost ones."""
    built = beam.Pipeline(runner="FnApiRunner")
    with tft_beam.Context(temp_dir=str(tmp_path / "temp")):
        pipeline._build(built, Preprocess(tmp_path / "a", made).plan)
    scores = beam.Pipeline(runner="FnApiRunner")
    scoring.build(scores, Score(tmp_path / "b", serving).plan)
    names = {label.rpartition("/")[2] for label in labels(built) | labels(scores)}
    assert "GroupByShard" in names
    assert {name for name in names if "RandomKeys" in name or name == "ReshufflePerKey"} == set()


def test_the_stages_by_themselves_give_what_the_pipeline_gives(tmp_path, made):
    stages = Preprocess(tmp_path, made)
    splits = stages.written()
    shards = [
        findings.write((index, [lines]), stages.listed, stages.plan.output_dir)
        for index, lines in findings.split_lines(stages.findings, stages.listed)
    ]
    metadata.write(splits, stages.plan, stages.transform_fn_dir, stages.found, shards)
    for path in (tmp_path / "out").glob(f".*.{atomic.FINISHED}"):
        path.unlink()
    out = tmp_path / "out"
    files = [path for path in out.rglob("*") if path.is_file()]
    written = {str(path.relative_to(out)): path.read_bytes() for path in files}
    assert {
        "manifest.json",
        "audit-00000-of-00001.jsonl",
        "train-00001-of-00002.tfrecord",
    } < written.keys()
    del written[spec.LISTING]  # it names the folder
    for name, content in written.items():
        assert content == (made / "records" / name).read_bytes(), name


def test_metrics_reach_every_engine(tmp_path):
    built = beam.Pipeline(runner="FnApiRunner")
    with tft_beam.Context(temp_dir=str(tmp_path / "temp")):
        pipeline._build(built, Preprocess(tmp_path, None).plan)
    done = built.run()
    done.wait_until_finish()
    counted = done.metrics().query(MetricsFilter().with_namespace("textrecords"))
    counters = {each.key.metric.name: each.committed for each in counted["counters"]}
    size = sum(len(text) for text in TREE.values())
    assert counters == {
        **{"files_listed": 32, "files_read": 32, "bad_files": 0, "bytes_read": size},
        "records_written": 32,
    }
    [of_shards] = counted["distributions"]
    assert of_shards.committed.count == 6


def test_a_shard_comes_out_of_the_grouping_even_if_it_is_empty():
    def in_order(shard, lists):
        return shard, sorted(itertools.chain.from_iterable(lists))

    with beam.Pipeline(runner="FnApiRunner") as built:
        given = built | beam.Create([(("train", 1), ["b"]), (("train", 1), ["a"])])
        shards = sharding.every_shard({"train": 2, "test": 1})
        every_shard = built | "Every" >> beam.Create(list(shards))
        grouped = given | grouping.GroupByShard(every_shard) | beam.MapTuple(in_order)
        expected = [(("train", 0), []), (("train", 1), ["a", "b"]), (("test", 0), [])]
        assert_that(grouped, equal_to(expected))


def test_a_stage_that_breaks_the_contract_is_found(tmp_path):
    numbers = itertools.count()
    with pytest.raises(AssertionError, match="another result the second time"):
        stage_contract.check(Case(lambda _: [next(numbers)], (0,)))
    with pytest.raises(AssertionError, match="the order makes a difference"):
        stage_contract.check(Case(lambda items: [items[0]], ([1, 2],), ([2, 1],)))
