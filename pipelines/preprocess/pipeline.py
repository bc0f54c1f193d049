"""The Beam pipeline: list the folders, audit the texts, count the words of train, write the shards.

The last three steps each read the files, since that is cheaper than keeping all texts in between.
"""

import contextlib
import dataclasses
import functools
from collections.abc import Iterable

import apache_beam as beam
import pyarrow as pa
import tensorflow as tf
import tensorflow_transform.beam as tft_beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.pvalue import AsSingleton
from tfx_bsl.public import tfxio

from pipelines import grouping, helpers, runners, sharding, totals
from pipelines.findings import FINDINGS, WriteFindings
from pipelines.list_files import ListFiles
from pipelines.places import Listed
from pipelines.preprocess import (
    audit,
    count_words,
    finished_shards,
    metadata,
    split_assignment,
    transform,
)
from pipelines.preprocess.find_input import Input
from pipelines.preprocess.plan import Plan
from pipelines.preprocess.review_batches import Review
from pipelines.preprocess.unique_keys import CheckUnique
from textrecords import json_files, storage

# The inputs of the transform graph, none of which is read from Arrow.
_INPUTS = tfxio.TensorAdapterConfig(
    pa.schema([]), {}, {name: tf.TensorSpec([None], of) for name, of in transform.INPUTS.items()}
)


@tf.autograph.experimental.do_not_convert  # tf.Transform's functions have nothing to convert
def run(plan: Plan, options: PipelineOptions) -> None:
    """Writes the dataset to the plan's folder, the manifest last."""

    def build(pipeline: beam.Pipeline, temp_dir: str) -> None:
        with tft_beam.Context(temp_dir=temp_dir):
            _build(pipeline, plan)

    runners.run(build, options)


def list_on_workers(tree: Input, options: PipelineOptions, path: str) -> Listed:
    """Lists an input on the workers of an engine; raises as `Tree.check_listed`.

    Args:
      tree: the input.
      options: of the engine.
      path: of a temporary file that all workers can write.
    """

    def build(pipeline: beam.Pipeline, _: str) -> None:
        _, counted = pipeline | "ListFiles" >> ListFiles(tree.source, tree.places)
        listed = counted | "CheckListed" >> beam.Map(tree.check_listed)
        _ = listed | "KeepListed" >> beam.Map(_keep_listed, path)

    try:
        runners.run(build, options)
        return json_files.read(Listed, path)
    finally:
        with contextlib.suppress(OSError):
            storage.remove(path)


def _keep_listed(listed: Listed, path: str) -> None:
    # As dicts, since before Python 3.12 dataclasses can't copy counters.
    counts = {name: dict(getattr(listed, name)) for name in ("reviews", "skipped")}
    json_files.write(path, dataclasses.replace(listed, **counts))


def _build(pipeline: beam.Pipeline, plan: Plan) -> None:
    # places of the input -> lists of Unread, and one `Listed`
    unread, counted = pipeline | "ListFiles" >> ListFiles(plan.tree.source, plan.tree.places)
    listed = counted | "CheckListed" >> beam.Map(plan.tree.check_listed)
    num_shards = listed | "NumShards" >> beam.Map(plan.num_shards)
    classes = AsSingleton(listed | "ClassNames" >> beam.Map(plan.tree.classes_of))
    if column := plan.tree.key_column:
        _ = unread | "CheckUnique" >> CheckUnique(AsSingleton(listed), column)
    reviews, found, findings = _audit(unread, listed, num_shards, classes, plan)
    every_shard = num_shards | "EveryShard" >> beam.FlatMap(sharding.every_shard)
    # (ShardId, list of Review) -> (ShardId, lists of Review)
    grouped = reviews | "GroupByShard" >> grouping.GroupByShard(every_shard)
    # (ShardId, lists of Review) -> (bucket, {word: count}) -> the transform graph
    words = (
        grouped
        | "KeepCounted" >> beam.Filter(_is_of, plan.flags.counted_splits)
        | "CountWords" >> count_words.CountWords(plan.tree.source, plan.options)
    )
    preprocessing_fn = functools.partial(
        transform.preprocessing_fn, options=plan.options, words=words
    )
    # tf.Transform has nothing left to analyze.
    batches = pipeline | "NoBatches" >> beam.Create([], reshuffle=False)
    transform_fn = (batches, _INPUTS) | "MakeGraph" >> tft_beam.AnalyzeDataset(preprocessing_fn)
    _ = transform_fn | "WriteTransformFn" >> tft_beam.WriteTransformFn(plan.output_dir)
    transform_fn_dir = AsSingleton(transform_fn[0])
    # (ShardId, lists of Review) -> (split, Written) -> {split: Written}
    finish = helpers.FlatMap(plan.finish_shard().finish)
    written = grouped | "WriteShards" >> beam.ParDo(
        finish, transform_fn_dir, AsSingleton(num_shards), classes
    ).with_outputs(FINDINGS, main="written")
    audit_shards = (
        (*findings, written[FINDINGS])
        | "Findings" >> beam.Flatten()
        | "WriteFindings" >> WriteFindings(plan.output_dir, AsSingleton(listed))
    )
    _ = (
        written.written
        | "CountRecords" >> beam.Map(finished_shards.count)
        | "AddUp" >> beam.CombinePerKey(totals.add_up)
        | "Splits" >> beam.combiners.ToDict()
        | "WriteManifest"
        >> beam.Map(metadata.write, plan, transform_fn_dir, found, AsSingleton(audit_shards))
    )


def _audit(
    unread: beam.PCollection,
    listed: beam.PCollection,
    num_shards: beam.PCollection,
    classes: AsSingleton,
    plan: Plan,
) -> tuple[beam.PCollection, AsSingleton, tuple[beam.PCollection, ...]]:
    """Returns (ShardId, list of Review), a `metadata.Found`, and lists of `findings.Line`."""
    # lists of Unread -> (bucket, list of Review)
    digested = unread | "Digest" >> beam.ParDo(
        helpers.FlatMap(audit.digest), plan.tree.source, AsSingleton(listed), classes
    ).with_outputs(FINDINGS, audit.DIGESTED, main="reviews")
    buckets = (
        digested.reviews
        | "Gather" >> beam.ParDo(grouping.GatherInBundle(audit.MAX_HELD))
        | "GroupByText" >> beam.GroupByKey()
    )
    # (bucket, lists of Review) -> ((label, split), list of Text) -> {hash: split}
    moved = (
        buckets
        | "ClassTexts" >> beam.FlatMap(plan.assign.class_texts)
        | "FirstTexts" >> beam.CombinePerKey(split_assignment.first)
        | "Classes" >> beam.combiners.ToDict()
        | "MoveTexts" >> beam.Map(plan.assign.shares.moves)
    )
    # (bucket, lists of Review) -> (ShardId, list of Review)
    assigned = buckets | "Assign" >> beam.FlatMap(
        plan.assign.place, AsSingleton(moved), AsSingleton(num_shards)
    ).with_outputs(FINDINGS, audit.AUDITED, main="reviews")
    counted = digested[audit.DIGESTED] | "CountFiles" >> beam.Map(audit.count)
    checked = totals.total("Digested", counted) | "Check" >> beam.Map(
        metadata.check, plan, AsSingleton(listed)
    )
    found = totals.total("Audited", assigned[audit.AUDITED]) | "Found" >> beam.Map(
        metadata.Found, AsSingleton(listed), AsSingleton(checked)
    )
    return assigned.reviews, AsSingleton(found), (digested[FINDINGS], assigned[FINDINGS])


def _is_of(shard: tuple[sharding.ShardId, Iterable[list[Review]]], splits: tuple[str, ...]) -> bool:
    return shard[0][0] in splits
