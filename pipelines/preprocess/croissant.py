"""`croissant.json`: a description of a dataset in the format that dataset catalogs read.

The format is MLCommons' Croissant 1.0: JSON-LD with schema.org's terms and its own.
"""

import os
from typing import Any

from pipelines.preprocess import tfds_files
from textrecords import json_files, spec, terminal
from textrecords.manifest import Manifest

CONFORMS_TO = "http://mlcommons.org/croissant/1.0"
TERMS = (  # Croissant's own
    *("citeAs", "column", "equivalentProperty", "extract", "field", "fileObject", "fileProperty"),
    *("fileSet", "format", "includes", "isLiveDataset", "jsonPath", "key", "md5", "parentField"),
    *("path", "recordSet", "references", "regex", "repeated", "replace", "samplingRate"),
    *("separator", "source", "subField", "transform"),
)
CONTEXT = {  # the standard's, since readers warn about others
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "conformsTo": "dct:conformsTo",
    **{term: f"cr:{term}" for term in TERMS},
    "data": {"@id": "cr:data", "@type": "@json"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
}
CLASSES, VOCABULARY = "classes", "vocabulary"  # sets of records
FORMATS = {"none": "application/x-tfrecord", "gzip": "application/x-tfrecord+gzip"}


def write(folder: str, manifest: Manifest, license: str | None = None) -> None:
    """Writes the description next to the shards; `license` is the URL of the texts' license."""
    json_files.write(os.path.join(folder, spec.CROISSANT), describe(manifest, license))


def describe(manifest: Manifest, license: str | None = None) -> dict[str, Any]:
    """Returns the description of a dataset."""
    found = {name: split.examples for name, split in manifest.splits.items() if split.examples}
    examples = ", ".join(f"{number:,} {name}" for name, number in found.items())
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": CONFORMS_TO,
        "name": tfds_files.NAME,
        "description": (
            f"Texts of {len(manifest.classes)} classes as the ids of their tokens, in TFRecords of "
            f"tf.train.Example: {examples}."
        ),
        "version": tfds_files.VERSION,
        **({"license": license} if license else {}),
        "distribution": [_vocabulary_file(manifest), *_shards(manifest)],
        "recordSet": [_classes(manifest), _vocabulary()],
    }


def _shards(manifest: Manifest) -> list[dict[str, Any]]:
    encoding = FORMATS[manifest.flags.compression]
    return [
        {**_file(shard.file, encoding, shard.sha256), "contentSize": f"{shard.bytes} B"}
        for split in manifest.splits.values()
        for shard in split.shards
    ]


def _vocabulary_file(manifest: Manifest) -> dict[str, Any]:
    return _file(manifest.vocabulary.file, "text/plain", manifest.vocabulary.sha256)


def _file(name: str, encoding: str, sha256: str) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": name,
        "name": name,
        "contentUrl": name,
        "encodingFormat": encoding,
        "sha256": sha256,
    }


def _classes(manifest: Manifest) -> dict[str, Any]:
    """Returns the record set of classes, whose records are inline."""
    label, name = f"{CLASSES}/label", f"{CLASSES}/name"
    return {
        "@type": "cr:RecordSet",
        "@id": CLASSES,
        "name": CLASSES,
        "description": "The classes: each has the label of its records.",
        "key": {"@id": label},
        "field": [_field(label, "sc:Integer"), _field(name, "sc:Text")],
        "data": [
            {label: position, name: terminal.one_line(of)}
            for position, of in enumerate(manifest.classes)
        ],
    }


def _vocabulary() -> dict[str, Any]:
    """Returns the record set of tokens, whose records are the lines of the vocabulary."""
    lines = {"fileObject": {"@id": spec.VOCABULARY}, "extract": {"fileProperty": "lines"}}
    return {
        "@type": "cr:RecordSet",
        "@id": VOCABULARY,
        "name": VOCABULARY,
        "description": f"The tokens, the most frequent first, which has id {spec.NUM_RESERVED}.",
        "field": [{**_field(f"{VOCABULARY}/token", "sc:Text"), "source": lines}],
    }


def _field(name: str, data_type: str) -> dict[str, Any]:
    return {"@type": "cr:Field", "@id": name, "name": name, "dataType": data_type}
