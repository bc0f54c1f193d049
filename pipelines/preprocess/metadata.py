"""Writes the files that describe a dataset: manifest, schema and audit."""

import collections
import hashlib
import operator
import os

import numpy as np
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from pipelines.preprocess import audit, statistics, text_notes
from pipelines.preprocess.plan import Plan
from pipelines.preprocess.write_shards import Written
from pipelines.unfit_files import Finding, finding, to_lines
from textrecords import checksums, json_files, spec, storage
from textrecords.dataset import read_vocabulary
from textrecords.errors import BadInput, Failure
from textrecords.manifest import Audit, Manifest, Split, Vocabulary


def write(
    splits: dict[str, Written],
    plan: Plan,
    transform_fn_dir: str,
    digested: audit.Digested,
    audited: audit.Audited,
) -> None:
    """Checks what was counted; writes the audit, the schema and, last, the manifest."""
    vocabulary = read_vocabulary(os.path.join(transform_fn_dir, spec.ASSET))
    if plan.options.max_len is None:  # else the records don't hold all tokens that were counted
        check_order(vocabulary, splits[spec.TRAIN].id_counts)
    size = len(vocabulary) + spec.NUM_RESERVED
    audit_file = os.path.join(plan.output_dir, spec.AUDIT)
    schema_file = os.path.join(plan.output_dir, spec.SCHEMA)
    storage.write_text(audit_file, _audit_lines(splits, [*digested.unfit.bad, *audited.findings]))
    storage.write_text(schema_file, schema(size, len(plan.tree.classes)))
    manifest = Manifest(
        format_version=spec.FORMAT_VERSION,
        data_version=spec.DATA_VERSION,
        input=digested.fingerprint,
        bad_files=len(digested.unfit.bad),
        misread_files=dict(sorted(digested.unfit.misread.items())),
        flags=plan.flags,
        classes=plan.tree.classes,
        vocabulary=_describe_vocabulary(vocabulary),
        seen_once=statistics.seen_once(splits[spec.TRAIN].id_counts),
        splits={name: _split(name, splits[name], plan, audited) for name in plan.num_shards},
        audit=Audit(
            file=spec.AUDIT,
            sha256=checksums.sha256(audit_file),
            leaked_texts=_same_texts(audited, "leak"),
            leaked_by_words=_count(audited, "leak"),
            contrary_texts=_same_texts(audited, "contrary labels"),
            contrary_by_words=_count(audited, "contrary labels"),
        ),
        schema_sha256=checksums.sha256(schema_file),
        left_out=plan.tree.left_out,
    )
    json_files.write(os.path.join(plan.output_dir, spec.MANIFEST), manifest)


def check_not_empty(manifest: Manifest) -> None:
    """Raises `BadInput` for a split, or a class of train, of which nothing is left."""
    for name, split in manifest.splits.items():
        empty = [c for c, examples in split.class_examples.items() if not examples]
        if not split.examples or (name == spec.TRAIN and empty):
            what = f"the class {empty[0]}" if split.examples else "reviews"
            raise BadInput(
                f"nothing is left of {what} in {name} because of "
                f"{' and '.join(_takes_from(name, manifest))}: change that, or add reviews of "
                "other words"
            )
    train = manifest.splits[spec.TRAIN]
    # tf.Transform makes a word up if there is none, for its file to have any.
    if train.examples == train.without_tokens:
        raise BadInput("no review of train has a word left once cleaned: add text to it")


def _takes_from(name: str, manifest: Manifest) -> list[str]:
    """Returns what a split may have lost reviews by."""
    split, flags = manifest.splits[name], manifest.flags
    causes = {
        "--test": flags.test and name in (spec.TRAIN, spec.TEST),
        "--validation": flags.validation and name in (spec.TRAIN, spec.VALIDATION),
        "--drop_leaked": split.dropped_leaked,
        "--drop_duplicates": split.dropped_duplicates,
        f"files that can't be read ({manifest.bad_files:,})": manifest.bad_files,
    }
    return [cause for cause, holds in causes.items() if holds]


def check(digested: audit.Digested, plan: Plan) -> audit.Digested:
    """Returns what was read; raises `Failure` if too many files can't be, or not as they should."""
    digested.unfit.check(plan.tree.source, plan.tree.num_reviews, plan.limits)
    return digested


def check_order(vocabulary: list[bytes], id_counts: np.ndarray) -> None:
    """Raises `Failure` unless tokens come by falling count in train, ties by falling token.

    tf.Transform writes the file in this order only as long as the runner keeps it. Ids out of
    order would make a smaller `max_tokens` keep the wrong words.
    """
    counts = id_counts[spec.NUM_RESERVED :].tolist()
    ranked = list(zip(counts, vocabulary, strict=True))
    if ranked != sorted(set(ranked), reverse=True):
        raise Failure("the runner wrote the vocabulary out of order: use another runner")


def _audit_lines(splits: dict[str, Written], findings: list[Finding]) -> str:
    """Returns all findings, and the notes on single reviews, as lines of the audit."""
    for name, written in splits.items():
        findings += [
            finding(note.what, [note.key], split=name, **_seems(note)) for note in written.notes
        ]
    return to_lines(findings)


def _seems(note: text_notes.Note) -> dict[str, str]:
    return {"seems": note.seems} if note.seems else {}


def _count(audited: audit.Audited, what: str) -> int:
    return sum(finding["finding"] == what for finding in audited.findings)


def _same_texts(audited: audit.Audited, what: str) -> int:
    return sum(f["same_texts"] for f in audited.findings if f["finding"] == what)


def schema(vocabulary_size: int, num_classes: int) -> str:
    """Returns the schema of a record as TensorFlow Metadata writes it, for tools that read it."""
    one = schema_pb2.FixedShape()
    required = schema_pb2.FeaturePresence(min_fraction=1.0, min_count=1)
    ids = schema_pb2.IntDomain(min=spec.OOV_ID, max=vocabulary_size - 1, is_categorical=True)
    labels = schema_pb2.IntDomain(min=0, max=num_classes - 1, is_categorical=True)
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


def _describe_vocabulary(vocabulary: list[bytes]) -> Vocabulary:
    digest = hashlib.sha256(b"".join(token + b"\n" for token in vocabulary)).hexdigest()
    size = len(vocabulary) + spec.NUM_RESERVED
    return Vocabulary(spec.VOCABULARY, size, digest)


def _split(name: str, written: Written, plan: Plan, audited: audit.Audited) -> Split:
    notes = collections.Counter(note.what for note in written.notes)
    return Split(
        found=audited.found[name],
        distinct_texts=audited.distinct_texts[name],
        distinct_by_words=audited.distinct_by_words[name],
        dropped_leaked=audited.dropped_leaked[name],
        dropped_duplicates=audited.dropped_duplicates[name],
        examples=int(written.label_counts.sum()),
        class_examples=dict(zip(plan.tree.classes, written.label_counts.tolist(), strict=True)),
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
