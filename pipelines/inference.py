"""The Beam pipeline that scores texts: list the files, read them, run the network, write shards.

The network runs in Beam's RunInference, which loads it once a worker.
"""

import collections
import dataclasses
import itertools
import json
import operator
import os
import pathlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet
import tensorflow as tf
from apache_beam.ml.inference import base

from pipelines import contract, reviews, shards

BATCH_SIZE = 256  # texts that the network scores at once

Row = dict[str, Any]  # `label`, and `score` or `scores`, as the SavedModel gives them
Place = tuple[int, tuple[bytes, ...]]  # a shard, and the keys of a batch of its texts


class SavedModel(base.ModelHandler[list[bytes], list[Row], tf.Module]):
    """Scores batches of texts with what `model.export` wrote.

    Beam's own handler for TensorFlow loads models by Keras, and Keras 3 loads no SavedModel. Whole
    batches come in, since to hand on single texts would cost more.
    """

    def __init__(self, path: str):
        super().__init__(max_batch_size=1)
        self._path = path

    def load_model(self) -> tf.Module:
        return tf.saved_model.load(self._path)

    def run_inference(
        self, batch: Sequence[list[bytes]], model: tf.Module, inference_args: Any = None
    ) -> list[list[Row]]:
        """Returns a `Row` for each text of each batch."""
        return [_score(model, texts) for texts in batch]

    def get_num_bytes(self, batch: Sequence[list[bytes]]) -> int:
        return sum(len(text) for texts in batch for text in texts)


def _score(model: tf.Module, texts: list[bytes]) -> list[Row]:
    outputs = dict(model.signatures["serving_default"](text=tf.constant(texts)))
    del outputs["classes"]
    columns = {name: values.numpy().tolist() for name, values in outputs.items()}
    columns["label"] = [label.decode() for label in columns["label"]]
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


@dataclasses.dataclass(frozen=True)
class Plan:
    """What to score, and where the scores go.

    Attributes:
      source: the folder of the files; its pattern is of their paths, as pathlib has it.
      serving: the SavedModel.
      output_dir: the folder to write in.
      num_shards: files to write.
      suffix: `jsonl` or `parquet`.
    """

    source: reviews.Source
    serving: str
    output_dir: str
    num_shards: int
    suffix: str

    def list_keys(self, _: None) -> Iterator[tuple[int, list[bytes]]]:
        """Yields lists of keys, by the shard that they go into, as records do."""
        for chunk in reviews.chunks(list_files(self.source), size=reviews.LISTED_TOGETHER):
            by_shard = collections.defaultdict(list)
            for key in chunk:
                _, index = shards.shard_of("scores", key, {"scores": self.num_shards})
                by_shard[index].append(key)
            yield from by_shard.items()

    def batches(self, shard: tuple[int, Iterable[list[bytes]]]) -> Iterator[Place]:
        index, lists = shard
        keys = sorted(itertools.chain.from_iterable(lists))
        return ((index, tuple(batch)) for batch in reviews.chunks(keys, size=BATCH_SIZE))

    def read(self, place: Place) -> tuple[Place, list[bytes]]:
        """Adds the texts; raises `Failure`."""
        return place, [self.source.decode(self.source.read(key))[0] for key in place[1]]

    def write(self, shard: tuple[int, Iterable[tuple[bytes, Row]]]) -> None:
        """Writes one shard, by key."""
        index, scored = shard
        rows = [
            {contract.KEY: key.decode("utf-8", "backslashreplace"), **row}
            for key, row in sorted(scored, key=operator.itemgetter(0))
        ]
        name = f"scores-{index:05d}-of-{self.num_shards:05d}.{self.suffix}"
        path = os.path.join(self.output_dir, name)
        if self.suffix == "parquet":
            pa.parquet.write_table(pa.Table.from_pylist(rows), path)
            return
        with open(path, "w", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)


def list_files(source: reviews.Source) -> Iterator[bytes]:
    """Yields the keys of all files, in no order, but for hidden ones."""
    root = pathlib.Path(source.input_dir)
    for path in root.glob(source.pattern):
        key = path.relative_to(root)
        if path.is_file() and not any(part.startswith(".") for part in key.parts):
            yield os.fsencode(key)


def build(pipeline: beam.Pipeline, plan: Plan) -> None:
    """Adds all stages."""
    # (shard, lists of keys) -> (Place, texts) -> (Place, Rows) -> (shard, all (key, Row) of it)
    _ = (
        pipeline
        | "Start" >> beam.Create([None])
        | "List" >> beam.FlatMap(plan.list_keys)
        | "GroupByShard" >> beam.GroupByKey()
        | "Batch" >> beam.FlatMap(plan.batches)
        | "Spread" >> beam.Reshuffle()
        | "Read" >> beam.Map(plan.read)
        | "Score" >> base.RunInference(base.KeyedModelHandler(SavedModel(plan.serving)))
        | "ByKey" >> beam.FlatMap(_by_key)
        | "GroupScores" >> beam.GroupByKey()
        | "Write" >> beam.Map(plan.write)
    )


def _by_key(scored: tuple[Place, list[Row]]) -> Iterator[tuple[int, tuple[bytes, Row]]]:
    (index, keys), rows = scored
    return ((index, pair) for pair in zip(keys, rows, strict=True))
