"""The Beam pipeline: list the folders, count the words of train, write the shards.

The files are read twice, for the counting and for the writing, since that is cheaper than keeping
all texts between the two.
"""

import collections
import dataclasses
import functools
import hashlib
import itertools
import logging
import operator
import os
import tempfile
from collections.abc import Iterable
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import tensorflow_transform.beam as tft_beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.runner import create_runner
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx_bsl.public import tfxio

from pipelines import contract, reviews, shards, transform, wordlists

# Which engine Beam's own DirectRunner is depends on the network: it tries to download one first.
LOCAL_RUNNERS = ("directrunner", "switchingdirectrunner", "fnapirunner")

QUANTILES = {"min": 0.0, "50%": 0.5, "90%": 0.9, "99%": 0.99, "max": 1.0}

# Each column of `reviews.SCHEMA` is a tensor of one value a review.
_ADAPTER = tfxio.TensorAdapterConfig(
    reviews.SCHEMA,
    {
        name: schema_pb2.TensorRepresentation(
            dense_tensor=schema_pb2.TensorRepresentation.DenseTensor(column_name=name)
        )
        for name in reviews.SCHEMA.names
    },
)


@dataclasses.dataclass(frozen=True)
class Plan:
    """What to make a dataset of, and how.

    Attributes:
      tree: the input folder.
      options: the flags that decide the ids of a text.
      num_shards: of each split.
      compression: a key of `contract.COMPRESSIONS`.
    """

    tree: reviews.Tree
    options: transform.TextOptions
    num_shards: dict[str, int]
    compression: str


def parse_options(runner: str, flags: list[str]) -> PipelineOptions:
    """Returns Beam's options; raises `BadInput` for a flag that Beam doesn't know."""
    parsers: list[Any] = []
    PipelineOptions([]).get_all_options(add_extra_args_fn=parsers.append)
    parsers[0].error = _refuse_flag
    _, unknown = parsers[0].parse_known_args(flags)
    if unknown:
        _refuse_flag(f"neither this command nor Beam knows {' '.join(unknown)}")
    name = "FnApiRunner" if runner.lower() in LOCAL_RUNNERS else runner
    try:
        create_runner(name)
    except (AttributeError, ImportError, ValueError) as error:
        _refuse_flag(f"--runner {runner}: {error}")
    return PipelineOptions(flags, runner=name)


def _refuse_flag(message: str) -> None:
    raise contract.BadInput(f"{message} (see python -m pipelines.preprocess --help)")


def run(plan: Plan, output_dir: str, options: PipelineOptions) -> None:
    """Writes the dataset into `output_dir`, an empty folder; the manifest comes last."""
    logging.getLogger("apache_beam").setLevel(logging.ERROR)
    with (
        tempfile.TemporaryDirectory(prefix="textrecords-") as temp_dir,
        tft_beam.Context(temp_dir=temp_dir),
        beam.Pipeline(options=options) as pipeline,
    ):
        _build(pipeline, plan, output_dir)


def _build(pipeline: beam.Pipeline, plan: Plan, output_dir: str) -> None:
    tree = plan.tree
    folders = [(split, c, i) for split in tree.examples for i, c in enumerate(tree.classes)]
    # (split, class name, label) -> (ShardId, lists of ReviewFile)
    grouped = (
        pipeline
        | "Folders" >> beam.Create(folders)
        | "SpreadFolders" >> beam.Reshuffle()
        | "GroupByShard" >> shards.GroupByShard(tree.input_dir, plan.num_shards)
    )
    # (ShardId, lists of ReviewFile) -> RecordBatch -> the transform graph
    train = (
        grouped
        | "KeepTrain" >> beam.Filter(_is_train)
        | "ReadToCount" >> beam.FlatMap(read_shard, input_dir=tree.input_dir)
    )
    preprocessing_fn = functools.partial(transform.preprocessing_fn, options=plan.options)
    transform_fn = (train, _ADAPTER) | "CountWords" >> tft_beam.AnalyzeDataset(preprocessing_fn)
    _ = transform_fn | "WriteTransformFn" >> tft_beam.WriteTransformFn(output_dir)
    transform_fn_dir = beam.pvalue.AsSingleton(transform_fn[0])
    write = shards.WriteShard(
        input_dir=tree.input_dir,
        output_dir=output_dir,
        num_shards=plan.num_shards,
        num_classes=len(tree.classes),
        compression=plan.compression,
        options=plan.options,
    )
    # (ShardId, lists of ReviewFile) -> (split, Written) -> {split: Written}
    _ = (
        grouped
        | "WriteShards" >> beam.Map(write, transform_fn_dir)
        | "AddUp" >> beam.CombinePerKey(_add_up)
        | "Splits" >> beam.combiners.ToDict()
        | "WriteManifest" >> beam.Map(write_manifest, plan, output_dir, transform_fn_dir)
    )


def _is_train(shard: tuple[shards.ShardId, Iterable[list[shards.ReviewFile]]]) -> bool:
    return shard[0][0] == contract.TRAIN


def read_shard(
    shard: tuple[shards.ShardId, Iterable[list[shards.ReviewFile]]], input_dir: str
) -> Iterable[pa.RecordBatch]:
    """Yields the reviews of a shard as record batches."""
    files = itertools.chain.from_iterable(shard[1])
    return reviews.read_batches(input_dir, (file[1:] for file in files))


def _add_up(written: Iterable[shards.Written]) -> shards.Written:
    return functools.reduce(operator.add, written)


def write_manifest(
    splits: dict[str, shards.Written], plan: Plan, output_dir: str, transform_fn_dir: str
) -> None:
    """Checks the order of the vocabulary and writes `contract.MANIFEST`."""
    vocabulary = contract.read_vocabulary(os.path.join(transform_fn_dir, contract.ASSET))
    if plan.options.max_len is None:  # else the records don't hold all tokens that were counted
        check_order(vocabulary, splits[contract.TRAIN].id_counts)
    manifest = contract.Manifest(
        format_version=contract.FORMAT_VERSION,
        classes=plan.tree.classes,
        flags=_flags(plan),
        vocabulary=_describe_vocabulary(vocabulary),
        splits={
            name: _describe_split(splits[name], plan.tree.classes) for name in plan.tree.examples
        },
        left_out=plan.tree.left_out,
    )
    with open(os.path.join(output_dir, contract.MANIFEST), "w", encoding="utf-8") as file:
        file.write(manifest.to_json())


def check_order(vocabulary: list[bytes], id_counts: np.ndarray) -> None:
    """Raises `Failure` unless tokens come by falling count in train, ties by falling token.

    tf.Transform writes the file in this order only as long as the runner keeps it. Ids out of
    order would make a smaller `max_tokens` keep the wrong words.
    """
    counts = id_counts[contract.NUM_RESERVED :].tolist()
    ranked = list(zip(counts, vocabulary, strict=True))
    if ranked != sorted(set(ranked), reverse=True):
        raise contract.Failure("the runner wrote the vocabulary out of order: use another runner")


def _flags(plan: Plan) -> dict[str, Any]:
    options = plan.options
    return {
        "max_tokens": options.max_tokens,
        "max_len": options.max_len,
        "num_shards": plan.num_shards,
        "compression": plan.compression,
        "stop_words": wordlists.fingerprint(options.stop_words),
        "replacements": wordlists.fingerprint(options.replacements),
    }


def _describe_vocabulary(vocabulary: list[bytes]) -> contract.Vocabulary:
    digest = hashlib.sha256(b"".join(token + b"\n" for token in vocabulary)).hexdigest()
    size = len(vocabulary) + contract.NUM_RESERVED
    return contract.Vocabulary(contract.VOCABULARY, size, digest)


def _describe_split(written: shards.Written, classes: tuple[str, ...]) -> contract.Split:
    return contract.Split(
        examples=int(written.label_counts.sum()),
        class_examples=dict(zip(classes, written.label_counts.tolist(), strict=True)),
        tokens=int(written.id_counts.sum()),
        oov_tokens=int(written.id_counts[contract.OOV_ID]),
        token_lengths=quantiles(written.length_counts),
        not_utf8=written.not_utf8,
        without_tokens=written.without_tokens,
        shards=tuple(sorted(written.shards, key=operator.attrgetter("file"))),
    )


def quantiles(counts: collections.Counter[int]) -> dict[str, int]:
    """Returns `QUANTILES` of the counted values: the least one that covers such a share of all."""
    values = sorted(counts)
    covered = np.cumsum([counts[value] for value in values])
    return {
        name: values[int(np.searchsorted(covered, share * covered[-1]))]
        for name, share in QUANTILES.items()
    }
