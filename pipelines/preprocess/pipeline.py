"""The Beam pipeline: list the folders, audit the texts, count the words of train, write the shards.

The files are read for each of the three, since that is cheaper than keeping all texts in between.
"""

import functools
from collections.abc import Iterable

import apache_beam as beam
import pyarrow as pa
import tensorflow_transform.beam as tft_beam
from apache_beam.options.pipeline_options import PipelineOptions
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx_bsl.public import tfxio

from pipelines import runners, sharding, totals
from pipelines.preprocess import (
    audit,
    input_tree,
    metadata,
    review_batches,
    split_assignment,
    transform,
    write_shards,
)
from pipelines.preprocess.plan import Plan
from pipelines.preprocess.review_batches import Review
from pipelines.spread import Spread
from textrecords import concurrency, spec, text_source

# Each column of `review_batches.SCHEMA` is a tensor of one value a review.
_ADAPTER = tfxio.TensorAdapterConfig(
    review_batches.SCHEMA,
    {
        name: schema_pb2.TensorRepresentation(
            dense_tensor=schema_pb2.TensorRepresentation.DenseTensor(column_name=name)
        )
        for name in review_batches.SCHEMA.names
    },
)


def run(plan: Plan, options: PipelineOptions) -> None:
    """Writes the dataset into the plan's folder; the manifest comes last."""

    def build(pipeline: beam.Pipeline, temp_dir: str) -> None:
        with tft_beam.Context(temp_dir=temp_dir):
            _build(pipeline, plan)

    runners.run(build, options)


def _build(pipeline: beam.Pipeline, plan: Plan) -> None:
    grouped, digested, audited = _group_by_shard(pipeline, plan)
    # (ShardId, lists of Review) -> RecordBatch -> the transform graph
    train = (
        grouped
        | "KeepTrain" >> beam.Filter(_is_train)
        | "ReadToCount" >> beam.FlatMap(_read_shard, plan.tree.source)
    )
    preprocessing_fn = functools.partial(transform.preprocessing_fn, options=plan.options)
    transform_fn = (train, _ADAPTER) | "CountWords" >> tft_beam.AnalyzeDataset(preprocessing_fn)
    _ = transform_fn | "WriteTransformFn" >> tft_beam.WriteTransformFn(plan.output_dir)
    transform_fn_dir = beam.pvalue.AsSingleton(transform_fn[0])
    # (ShardId, lists of Review) -> (split, Written) -> {split: Written}
    _ = (
        grouped
        | "WriteShards" >> beam.Map(plan.write_shard(), transform_fn_dir)
        | "AddUp" >> beam.CombinePerKey(totals.add_up)
        | "Splits" >> beam.combiners.ToDict()
        | "WriteManifest" >> beam.Map(metadata.write, plan, transform_fn_dir, digested, audited)
    )


def _group_by_shard(
    pipeline: beam.Pipeline, plan: Plan
) -> tuple[beam.PCollection, beam.pvalue.AsSingleton, beam.pvalue.AsSingleton]:
    """Returns (ShardId, lists of Review), an `audit.Digested` and an `audit.Audited`."""
    tree = plan.tree
    num_buckets = audit.num_buckets(tree.num_reviews)
    # (class folder, label) -> lists of (key, label) -> (bucket, list of Review)
    digested = (
        pipeline
        | "Folders" >> beam.Create(list(tree.class_folders()), reshuffle=False)
        | "SpreadFolders" >> Spread()
        | "ListFolder" >> beam.FlatMap(input_tree.list_folder, tree.source)
        | "SpreadFiles" >> Spread()
        | "Digest"
        >> beam.FlatMap(audit.digest, tree.source, num_buckets).with_outputs(
            audit.DIGESTED, main="reviews"
        )
    )
    buckets = digested.reviews | "GroupByText" >> beam.GroupByKey()
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
        plan.assign.place, beam.pvalue.AsSingleton(moved)
    ).with_outputs(audit.AUDITED, main="reviews")
    checked = totals.total("Digested", digested[audit.DIGESTED]) | "Check" >> beam.Map(
        metadata.check, plan
    )
    return (
        assigned.reviews | "GroupByShard" >> sharding.GroupByShard(plan.num_shards),
        beam.pvalue.AsSingleton(checked),
        beam.pvalue.AsSingleton(totals.total("Audited", assigned[audit.AUDITED])),
    )


def _is_train(shard: tuple[sharding.ShardId, Iterable[list[Review]]]) -> bool:
    return shard[0][0] == spec.TRAIN


def _read_shard(
    shard: tuple[sharding.ShardId, Iterable[list[Review]]],
    source: text_source.Source,
) -> Iterable[pa.RecordBatch]:
    read = functools.partial(review_batches.read_batch, source)
    batches = review_batches.split_into_batches(write_shards.in_order(shard[1]))
    return (batch for batch, _ in concurrency.prefetch(batches, read))
