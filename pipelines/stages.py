"""The stages that `verify` compares, each asked for the ids of a batch of reviews."""

import dataclasses
import itertools
import os
from collections.abc import Iterable

import keras
import numpy as np
import tensorflow as tf

from model import config, evaluate, input_pipeline, predict
from pipelines import audit, commands, contract, reviews, shards, transform

BATCH_SIZE = 1024  # reviews in memory at once

Size = tuple[int, int]  # max_tokens, max_len


@dataclasses.dataclass(frozen=True)
class Dataset:
    """Records, and the folder they are said to be of."""

    source: reviews.Source
    records_dir: str
    manifest: contract.Manifest

    def batches(self, split: str) -> tf.data.Dataset:
        """Returns batches of keys, labels and ids as they stand in the records.

        These are `key` <string>[batch_size], `label` <int64>[batch_size] and `tokens`
        <int64>[batch_size, (tokens)].
        """
        features = {
            contract.KEY: tf.io.FixedLenFeature([], tf.string),
            contract.LABEL: tf.io.FixedLenFeature([], tf.int64),
            contract.TOKENS: tf.io.RaggedFeature(tf.int64),
        }
        records = input_pipeline.read_records(self.records_dir, self.manifest, split)
        batches = records.unbatch().batch(BATCH_SIZE)
        return batches.map(lambda batch: tf.io.parse_example(batch, features))

    def fed(self, split: str, size: Size) -> tf.data.Dataset:
        """Returns batches of what a network is fed, in the order of `batches`."""
        max_tokens, max_len = size
        rows = input_pipeline.read_split(
            self.records_dir, self.manifest, split, max_tokens=max_tokens, max_len=max_len
        )
        return input_pipeline.batches(rows, BATCH_SIZE)

    def num_batches(self, split: str) -> int:
        """Returns how many `batches` a split has."""
        return -(-self.manifest.splits[split].examples // BATCH_SIZE)

    def keys(self) -> dict[str, list[bytes]]:
        """Returns the keys of all records, in their order, by the name of the shard."""
        key = {contract.KEY: tf.io.FixedLenFeature([], tf.string)}
        compression = contract.COMPRESSIONS[self.manifest.flags.compression]
        keys = {}
        for split in self.manifest.splits:
            for path in contract.shard_paths(self.records_dir, self.manifest, split):
                records = tf.data.TFRecordDataset(path, compression).batch(BATCH_SIZE)
                batches = [tf.io.parse_example(r, key)[contract.KEY].numpy() for r in records]
                keys[os.path.basename(path)] = list(itertools.chain.from_iterable(batches))
        return keys

    def expected_keys(self, tree: reviews.Tree) -> dict[str, list[bytes]]:
        """Returns the keys as they should be: by the texts of the input and the flags."""
        flags = self.manifest.flags
        num_shards = shards.num_shards(tree.examples, flags.validation, flags.num_shards)
        assign = audit.Assign(
            num_shards, flags.validation, flags.drop_leaked, flags.drop_duplicates
        )
        bucket = []
        for key, content in self.source.read_good(tree.all_keys(), {}):
            text, _ = self.source.decode(content)
            bucket.append((reviews.text_hash(text), key, self.class_label(key), len(text)))
        *assigned, _ = assign((0, [bucket]))
        keys = {
            contract.shard_name(split, index, number, flags.compression): []
            for split, number in num_shards.items()
            for index in range(number)
        }
        for (split, index), kept in assigned:
            name = contract.shard_name(split, index, num_shards[split], flags.compression)
            keys[name] = [key for _, key, *_ in shards.in_order([kept])]
        return keys

    def read(self, keys: Iterable[bytes]) -> tuple[list[bytes], list[bytes]]:
        """Returns the files of some reviews as they are, and their texts, valid UTF-8."""
        files = list(self.source.read(keys))
        return files, [self.source.decode(file)[0] for file in files]

    def class_label(self, key: bytes) -> int:
        """Returns the label of the class folder that the review lies in."""
        return self.manifest.classes.index(os.fsdecode(key).split("/")[1])


class Reference:
    """`keras.layers.TextVectorization` of several sizes, used as in the Keras tutorial.

    Args:
      tokenizer: what splits a text if the dataset was made with word lists, which Keras doesn't
        know, else None.
      max_len: how many tokens of a review the records keep; None is all.
    """

    def __init__(self, tokenizer: transform.Tokenizer | None, max_len: int | None):
        self._tokenizer = tokenizer
        self._max_len = max_len
        self._layers = {}

    def adapt(self, max_tokens: int, batches: Iterable[list[bytes]]) -> None:
        """Adds a layer of this size, adapted on batches of texts."""
        self._layers[max_tokens] = keras.layers.TextVectorization(
            max_tokens,
            standardize=None if self._tokenizer else "lower_and_strip_punctuation",
            split=self._tokenizer or "whitespace",
            ragged=True,
        )
        self._layers[max_tokens].adapt(map(self._clean, batches))

    def ids(self, texts: list[bytes]) -> dict[int, list[np.ndarray]]:
        """Returns the ids of each text, <int64>[tokens], for each size.

        A review without tokens is one OOV, as everywhere but in Keras.
        """
        cleaned = self._clean(texts)
        oov = np.array([contract.OOV_ID])
        return {
            max_tokens: [row[: self._max_len] if len(row) else oov for row in rows(layer(cleaned))]
            for max_tokens, layer in self._layers.items()
        }

    def _clean(self, texts: list[bytes]) -> tf.Tensor:
        if self._tokenizer:  # which does the same
            return tf.constant(texts)
        return tf.strings.regex_replace(tf.constant(texts), "<br />", " ")


class Model:
    """What `model.train` made: the SavedModel, and the network rebuilt from its weights."""

    def __init__(self, model_dir: str, settings: config.Config):
        self.threshold = settings.threshold
        self.size: Size = settings.network.max_tokens, settings.network.max_len
        self._network = evaluate.load_model(model_dir, settings)
        self._signatures = predict.load_signatures(model_dir)
        if "tokenize" not in self._signatures:
            raise commands.BadInput(
                f"the model in {model_dir} doesn't give its ids: run `make train` again"
            )

    def network_scores(self, tokens: tf.Tensor) -> np.ndarray:
        """Returns <float32>[batch_size, 1 or num_classes] for rows of ids that tf.data feeds."""
        return self._network.predict_on_batch(tokens)

    def serve(self, files: list[bytes]) -> tuple[np.ndarray, np.ndarray, list[str]]:
        """Returns ids <int32>[batch_size, max_len], scores as above, and names of classes."""
        texts = tf.constant(files)
        scored = self._signatures["serving_default"](text=texts)
        scores = scored["score"][:, tf.newaxis] if "score" in scored else scored["scores"]
        ids = self._signatures["tokenize"](text=texts)[contract.TOKENS]
        return ids.numpy(), scores.numpy(), [label.decode() for label in scored["label"].numpy()]


def rows(ids: tf.RaggedTensor) -> list[np.ndarray]:
    """Takes <int64>[batch_size, (tokens)] apart."""
    return np.split(ids.values.numpy(), ids.row_splits.numpy()[1:-1])
