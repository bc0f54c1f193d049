"""Writes the files that describe a dataset: manifest, schema and audit."""

import hashlib
import operator
import os
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from pipelines import sharding, totals
from pipelines.places import Listed
from pipelines.preprocess import audit, statistics, text_notes
from pipelines.preprocess.kept_listing import KeptListing
from pipelines.preprocess.plan import Plan
from pipelines.preprocess.write_shards import Written
from textrecords import checksums, json_files, spec, storage
from textrecords.dataset import read_vocabulary
from textrecords.errors import BadInput, Failure
from textrecords.manifest import Audit, Manifest, Shard, Split, Vocabulary


class Found(NamedTuple):
    """The results of the stages before the shards are written."""

    audited: audit.Audited
    listed: Listed
    digested: audit.Digested


def write(
    splits: dict[str, Written],
    plan: Plan,
    transform_fn_dir: str,
    found: Found,
    audit_shards: list[Shard],
) -> None:
    """Checks the counts; writes the schema and, last, the manifest."""
    audited, listed, digested = found
    check_keys(splits, found)
    vocabulary = read_vocabulary(os.path.join(transform_fn_dir, spec.ASSET))
    if plan.options.max_len is None:  # otherwise the records don't hold all counted tokens
        counted = (splits[name].id_counts for name in plan.flags.counted_splits if name in splits)
        check_order(vocabulary, sum(counted))
    size = len(vocabulary) + spec.NUM_RESERVED
    train = splits[spec.TRAIN]
    classes = plan.tree.classes_of(listed)
    schema_file = os.path.join(plan.output_dir, spec.SCHEMA)
    storage.write_text(schema_file, schema(size, len(classes), spec.UNLABELLED in splits))
    _write_raw_schema(plan.output_dir)
    manifest = Manifest(
        format_version=spec.FORMAT_VERSION,
        data_version=spec.DATA_VERSION,
        input=digested.fingerprint,
        bad_files=digested.unfit.num_bad,
        misread_files=dict(sorted(digested.unfit.misread.items())),
        flags=plan.flags,
        classes=classes,
        vocabulary=_describe_vocabulary(vocabulary),
        seen_once=statistics.seen_once(train.id_counts, train.notes[text_notes.NO_TOKENS]),
        splits={
            name: _split(name, splits[name], classes, audited)
            for name in spec.ALL_SPLITS
            if name in splits
        },
        audit=Audit(
            shards=tuple(sorted(audit_shards, key=operator.attrgetter("file"))),
            leaked_texts=audited.same_texts["leak"],
            leaked_by_words=audited.findings["leak"],
            conflicting_texts=audited.same_texts["conflicting labels"],
            conflicting_by_words=audited.findings["conflicting labels"],
        ),
        schema_sha256=checksums.sha256(schema_file),
        skipped=dict(sorted(listed.skipped.items())),
    )
    KeptListing.of(plan.tree.source, listed.files, manifest).keep_in(plan.output_dir)
    json_files.write(os.path.join(plan.output_dir, spec.MANIFEST), manifest)


def check_not_empty(manifest: Manifest) -> None:
    """Raises `BadInput` for a split, or a class of train, with no reviews left."""
    for name, split in manifest.splits.items():
        if name == spec.UNLABELLED:
            continue
        empty = [c for c, examples in split.class_examples.items() if not examples]
        if not split.examples or (name == spec.TRAIN and empty):
            what = f"the class {empty[0]}" if split.examples else "reviews"
            raise BadInput(
                f"nothing is left of {what} in {name} because of "
                f"{' and '.join(_takes_from(name, manifest))}: change that, or add reviews with "
                "other words"
            )
    train = manifest.splits[spec.TRAIN]
    # The vocabulary's file has a made-up word then.
    if train.examples == train.without_tokens:
        raise BadInput("no review of train has a word left after cleaning: add text to it")


def _takes_from(name: str, manifest: Manifest) -> list[str]:
    """Returns the reasons why a split may have lost reviews."""
    split, flags = manifest.splits[name], manifest.flags
    causes = {
        "--test": flags.test and name in (spec.TRAIN, spec.TEST),
        "--validation": flags.validation and name in (spec.TRAIN, spec.VALIDATION),
        "--drop_leaked": split.dropped_leaked,
        "--drop_duplicates": split.dropped_duplicates,
        f"files that can't be read ({manifest.bad_files:,})": manifest.bad_files,
    }
    return [cause for cause, holds in causes.items() if holds]


def check(digested: audit.Digested, plan: Plan, listed: Listed) -> audit.Digested:
    """Returns `digested`; raises `Failure` if too many files are bad or in another encoding."""
    digested.unfit.check(plan.tree.source, listed.num_reviews, plan.limits)
    return digested


def check_keys(splits: dict[str, Written], found: Found) -> None:
    """Raises `Failure` unless each file was written once, or skipped for a reason."""
    audited, listed, digested = found
    written = totals.add_up(split.keys for split in splits.values())
    good = listed.keys.number - digested.unfit.num_bad
    if (
        written + audited.dropped + digested.unfit.keys != listed.keys
        or digested.fingerprint.files != good
        or audited.found.total() != good
    ):
        raise sharding.lost(listed.keys, "reviews was written or skipped")


def check_order(vocabulary: list[bytes], id_counts: np.ndarray) -> None:
    """Raises `Failure` unless tokens are sorted by descending count, then descending token.

    Ids out of order would make a smaller `max_tokens` keep the wrong words.
    """
    counts = id_counts[spec.NUM_RESERVED :].tolist()
    ranked = list(zip(counts, vocabulary, strict=True))
    if ranked != sorted(set(ranked), reverse=True):
        raise Failure("the runner wrote the vocabulary out of order: use another runner")


def schema(vocabulary_size: int, num_classes: int, with_unlabelled: bool) -> str:
    """Returns the schema of a record in the text format of TensorFlow Metadata."""
    one = schema_pb2.FixedShape()
    required = schema_pb2.FeaturePresence(min_fraction=1.0, min_count=1)
    ids = schema_pb2.IntDomain(min=spec.OOV_ID, max=vocabulary_size - 1, is_categorical=True)
    first = spec.UNKNOWN_LABEL if with_unlabelled else 0
    labels = schema_pb2.IntDomain(min=first, max=num_classes - 1, is_categorical=True)
    features = [
        schema_pb2.Feature(
            name=spec.TOKENS,
            type=schema_pb2.INT,
            int_domain=ids,
            presence=required,
            value_count=schema_pb2.ValueCount(min=1),
        ),
        schema_pb2.Feature(
            name=spec.LABEL,
            type=schema_pb2.INT,
            int_domain=labels,
            presence=required,
            shape=one,
        ),
        schema_pb2.Feature(name=spec.KEY, type=schema_pb2.BYTES, presence=required, shape=one),
    ]
    return text_format.MessageToString(schema_pb2.Schema(feature=features))


def _write_raw_schema(output_dir: str) -> None:
    """Writes the schema of the transform graph's input, for `tft.TFTransformOutput`."""
    types = {spec.TEXT: schema_pb2.BYTES, spec.LABEL: schema_pb2.INT, spec.KEY: schema_pb2.BYTES}
    required = schema_pb2.FeaturePresence(min_fraction=1.0)
    features = [
        schema_pb2.Feature(name=name, type=type, presence=required, shape=schema_pb2.FixedShape())
        for name, type in types.items()
    ]
    folder = os.path.join(output_dir, spec.RAW_METADATA)
    storage.make_folder(folder)
    text = text_format.MessageToString(schema_pb2.Schema(feature=features))
    storage.write_text(os.path.join(folder, spec.SCHEMA), text)


def _describe_vocabulary(vocabulary: list[bytes]) -> Vocabulary:
    digest = hashlib.sha256(b"".join(token + b"\n" for token in vocabulary)).hexdigest()
    size = len(vocabulary) + spec.NUM_RESERVED
    return Vocabulary(spec.VOCABULARY, size, digest)


def _split(name: str, written: Written, classes: Sequence[str], audited: audit.Audited) -> Split:
    notes = written.notes
    return Split(
        found=audited.found[name],
        distinct_texts=audited.distinct_texts[name],
        distinct_by_words=audited.distinct_by_words[name],
        dropped_leaked=audited.dropped_leaked[name],
        dropped_duplicates=audited.dropped_duplicates[name],
        examples=sum(shard.examples for shard in written.shards),
        class_examples=dict(zip(classes, written.label_counts.tolist(), strict=True))
        if name != spec.UNLABELLED
        else {},
        tokens=int(written.id_counts.sum()),
        oov_tokens=int(written.id_counts[spec.OOV_ID]),
        coverage=statistics.coverage(written.id_counts),
        token_lengths=statistics.quantiles(written.length_counts),
        token_length_histogram=statistics.histogram(written.length_counts),
        undecodable=notes[text_notes.MISREAD],
        byte_order_marks=notes[text_notes.BYTE_ORDER_MARK],
        nul_bytes=notes[text_notes.NUL],
        html=notes[text_notes.MARKUP],
        without_tokens=notes[text_notes.NO_TOKENS],
        short=notes[text_notes.SHORT],
        shards=tuple(sorted(written.shards, key=operator.attrgetter("file"))),
    )
