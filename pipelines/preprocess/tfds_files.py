"""The files with which TensorFlow Datasets reads a dataset: `tfds.builder_from_directory(folder)`.

They have the format of TensorFlow Datasets 4.9, which isn't imported. It can't read compressed
shards, or distinguish classes that differ only in whitespace: such datasets don't get these files.
"""

import os
from typing import Any

from textrecords import json_files, spec, storage, terminal
from textrecords.manifest import Manifest

NAME = "textrecords"  # of all datasets: their paths distinguish them
VERSION = "1.0.0"
FEATURES = "tensorflow_datasets.core.features"
SHARDS = "{SPLIT}-{SHARD_X_OF_Y}.{FILEFORMAT}"


def write(folder: str, manifest: Manifest) -> None:
    """Writes the files next to the shards of a dataset."""
    labels = [terminal.one_line(name).strip() for name in manifest.classes]
    if manifest.flags.compression != "none" or len({*labels, ""}) <= len(labels):
        return
    lines = "".join(f"{label}\n" for label in labels)
    storage.write_text(os.path.join(folder, spec.TFDS_LABELS), lines)
    contents = {spec.TFDS_FEATURES: _features(manifest), spec.TFDS_INFO: _info(manifest)}
    for name, content in contents.items():
        json_files.write(os.path.join(folder, name), content)


def _features(manifest: Manifest) -> dict[str, Any]:
    num_classes = str(
        len(manifest.classes)
    )  # a string, since that's how protos write int64 in JSON
    label = _feature("class_label_feature.ClassLabel", classLabel={"numClasses": num_classes})
    features = {
        spec.KEY: _tensor("string"),
        spec.LABEL: label,
        spec.TOKENS: _tensor("int64", dimensions=["-1"]),
    }
    return _feature("features_dict.FeaturesDict", featuresDict={"features": features})


def _tensor(dtype: str, **shape: list[str]) -> dict[str, Any]:
    return _feature(
        "tensor_feature.Tensor", tensor={"dtype": dtype, "encoding": "none", "shape": shape}
    )


def _feature(name: str, **content: Any) -> dict[str, Any]:
    return {"pythonClassName": f"{FEATURES}.{name}", **content}


def _info(manifest: Manifest) -> dict[str, Any]:
    return {
        "name": NAME,
        "version": VERSION,
        "fileFormat": "tfrecord",
        "splits": [
            {
                "name": name,
                "filepathTemplate": SHARDS,
                "numBytes": str(sum(shard.bytes for shard in split.shards)),
                "shardLengths": [str(shard.examples) for shard in split.shards],
            }
            for name, split in manifest.splits.items()
            if split.examples
        ],
    }
