"""What a dataset is made by, and the files that describe it: manifest, schema and audit."""

import collections
import dataclasses
import hashlib
import json
import operator
import os

import numpy as np
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from pipelines import audit, commands, contract, files, reviews, shards, transform

QUANTILES = {"min": 0.0, "50%": 0.5, "90%": 0.9, "99%": 0.99, "max": 1.0}
BAD_NAMED = 3  # of the files that can't be read
COVERED = (1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000)  # words


@dataclasses.dataclass(frozen=True)
class Plan:
    """What to make a dataset of, and how.

    Attributes:
      tree: the input folder.
      options: the flags that decide the ids of a text.
      assign: the flags that decide where a review goes.
      flags: all flags that shape the data, as they were given.
      code_sha256: of the modules that shape the data.
      most_bad: which share of the files may be bad.
    """

    tree: reviews.Tree
    options: transform.TextOptions
    assign: audit.Assign
    flags: contract.Flags
    code_sha256: str
    most_bad: float

    @property
    def num_shards(self) -> dict[str, int]:
        """Returns the number of shards of each split."""
        return self.assign.num_shards

    def write_shard(self, output_dir: str) -> shards.WriteShard:
        """Returns what writes the shards into `output_dir`."""
        return shards.WriteShard(
            source=self.tree.source,
            output_dir=output_dir,
            num_shards=self.num_shards,
            num_classes=len(self.tree.classes),
            compression=self.flags.compression,
            options=self.options,
            min_tokens=self.flags.min_tokens,
        )


def write(
    splits: dict[str, shards.Written],
    plan: Plan,
    output_dir: str,
    transform_fn_dir: str,
    digested: audit.Digested,
    audited: audit.Audited,
) -> None:
    """Checks what was read and counted; writes the audit, the schema and, last, the manifest."""
    check_bad(digested.bad, plan.tree, plan.most_bad)
    vocabulary = contract.read_vocabulary(os.path.join(transform_fn_dir, contract.ASSET))
    if plan.options.max_len is None:  # else the records don't hold all tokens that were counted
        check_order(vocabulary, splits[contract.TRAIN].id_counts)
    size = len(vocabulary) + contract.NUM_RESERVED
    _write(output_dir, contract.AUDIT, _audit_lines(splits, [*digested.bad, *audited.findings]))
    _write(output_dir, contract.SCHEMA, schema(size, len(plan.tree.classes)))
    manifest = contract.Manifest(
        format_version=contract.FORMAT_VERSION,
        input=digested.fingerprint,
        bad_files=len(digested.bad),
        code_sha256=plan.code_sha256,
        flags=plan.flags,
        classes=plan.tree.classes,
        vocabulary=_describe_vocabulary(vocabulary),
        splits={name: _split(name, splits[name], plan, audited) for name in plan.num_shards},
        audit=contract.Audit(
            file=contract.AUDIT,
            sha256=files.sha256(os.path.join(output_dir, contract.AUDIT)),
            leaked_texts=_count(audited, "leak"),
            contrary_texts=_count(audited, "contrary labels"),
        ),
        schema_sha256=files.sha256(os.path.join(output_dir, contract.SCHEMA)),
        left_out=plan.tree.left_out,
    )
    _write(output_dir, contract.MANIFEST, manifest.to_json())


def _write(output_dir: str, name: str, text: str) -> None:
    files.write_text(os.path.join(output_dir, name), text)


def check_bad(bad: list[audit.Finding], tree: reviews.Tree, most: float) -> None:
    """Raises `Failure` if a greater share than `most` of all files is bad."""
    if len(bad) > most * tree.num_reviews:
        named = sorted(f"{finding['keys'][0]} ({finding['why']})" for finding in bad)
        named = named[:BAD_NAMED] + ["..."] * (len(named) > BAD_NAMED)
        raise commands.Failure(
            f"{len(bad):,} of {tree.num_reviews:,} files of {tree.source.input_dir} can't be read: "
            f"{', '.join(named)}; mend or remove them, and run again"
        )


def check_order(vocabulary: list[bytes], id_counts: np.ndarray) -> None:
    """Raises `Failure` unless tokens come by falling count in train, ties by falling token.

    tf.Transform writes the file in this order only as long as the runner keeps it. Ids out of
    order would make a smaller `max_tokens` keep the wrong words.
    """
    counts = id_counts[contract.NUM_RESERVED :].tolist()
    ranked = list(zip(counts, vocabulary, strict=True))
    if ranked != sorted(set(ranked), reverse=True):
        raise commands.Failure("the runner wrote the vocabulary out of order: use another runner")


def _audit_lines(splits: dict[str, shards.Written], findings: list[audit.Finding]) -> str:
    """Returns all findings, a JSON object a line, in an order of their own."""
    for name, written in splits.items():
        of_split = {
            "not in the encoding": written.undecodable,
            "no tokens": written.without_tokens,
            "short": written.short,
        }
        for what, keys in of_split.items():
            findings += [audit.finding(what, [key], split=name) for key in keys]
    # Escaped, since a key may hold bytes that aren't UTF-8.
    return "".join(sorted(json.dumps(finding) + "\n" for finding in findings))


def _count(audited: audit.Audited, what: str) -> int:
    return sum(finding["finding"] == what for finding in audited.findings)


def schema(vocabulary_size: int, num_classes: int) -> str:
    """Returns the schema of a record as TensorFlow Metadata writes it, for tools that read it."""
    one = schema_pb2.FixedShape()
    required = schema_pb2.FeaturePresence(min_fraction=1.0, min_count=1)
    ids = schema_pb2.IntDomain(min=contract.OOV_ID, max=vocabulary_size - 1, is_categorical=True)
    labels = schema_pb2.IntDomain(min=0, max=num_classes - 1, is_categorical=True)
    features = [
        schema_pb2.Feature(
            name=contract.TOKENS,
            type=schema_pb2.INT,
            int_domain=ids,
            presence=required,
            value_count=schema_pb2.ValueCount(min=1),
        ),
        schema_pb2.Feature(
            name=contract.LABEL,
            type=schema_pb2.INT,
            int_domain=labels,
            presence=required,
            shape=one,
        ),
        schema_pb2.Feature(name=contract.KEY, type=schema_pb2.BYTES, presence=required, shape=one),
    ]
    return text_format.MessageToString(schema_pb2.Schema(feature=features))


def _describe_vocabulary(vocabulary: list[bytes]) -> contract.Vocabulary:
    digest = hashlib.sha256(b"".join(token + b"\n" for token in vocabulary)).hexdigest()
    size = len(vocabulary) + contract.NUM_RESERVED
    return contract.Vocabulary(contract.VOCABULARY, size, digest)


def _split(
    name: str, written: shards.Written, plan: Plan, audited: audit.Audited
) -> contract.Split:
    return contract.Split(
        found=audited.found[name],
        distinct_texts=audited.distinct[name],
        dropped_leaked=audited.dropped_leaked[name],
        dropped_duplicates=audited.dropped_duplicates[name],
        examples=int(written.label_counts.sum()),
        class_examples=dict(zip(plan.tree.classes, written.label_counts.tolist(), strict=True)),
        tokens=int(written.id_counts.sum()),
        oov_tokens=int(written.id_counts[contract.OOV_ID]),
        coverage=coverage(written.id_counts),
        token_lengths=quantiles(written.length_counts),
        token_length_histogram=histogram(written.length_counts),
        undecodable=len(written.undecodable),
        without_tokens=len(written.without_tokens),
        short=len(written.short),
        shards=tuple(sorted(written.shards, key=operator.attrgetter("file"))),
    )


def coverage(id_counts: np.ndarray) -> dict[str, float]:
    """Returns which share of all tokens the most frequent words make up, for several numbers.

    Args:
      id_counts: how often each id occurs, <int64>[vocabulary size].
    """
    covered = np.cumsum(id_counts[contract.NUM_RESERVED :])
    total = max(1, int(id_counts.sum()))
    sizes = [size for size in COVERED if size < len(covered)] + [len(covered)]
    return {str(size): round(int(covered[size - 1]) / total, 6) for size in sizes}


def quantiles(counts: collections.Counter[int]) -> dict[str, int]:
    """Returns `QUANTILES` of the counted values: the least one that covers such a share of all."""
    values = sorted(counts) or [0]
    covered = np.cumsum([counts[value] for value in values])
    return {
        name: values[int(np.searchsorted(covered, share * covered[-1]))]
        for name, share in QUANTILES.items()
    }


def histogram(counts: collections.Counter[int]) -> dict[str, int]:
    """Returns how many of the counted values, from 1 on, lie in bins that double in width."""
    bins = collections.Counter()
    for value, count in counts.items():
        bins[value.bit_length()] += count
    return {
        f"{2 ** (bits - 1)}-{2**bits - 1}": bins[bits]
        for bits in range(1, max(bins, default=0) + 1)
    }
