"""Compares the ids, labels and scores of all stages."""

import collections
import dataclasses
import itertools
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from textrecords import spec, terminal
from textrecords.errors import Failure

if TYPE_CHECKING:
    import tensorflow as tf

    from pipelines.verify import converted, keras_reference, recorded_reviews, trained_model

SCORE_TOLERANCE = 1e-6
ONNX_TOLERANCE = 1e-5  # for different orders of addition
KEYS_NAMED = 3  # of the reviews that differ
Rows = Iterable[np.ndarray]  # the ids, label or scores of each review of a batch


@dataclasses.dataclass
class Tally:
    """The results of comparing the rows of one stage with a reference.

    Attributes:
      what: the compared values.
      reference: what they were compared with.
      tolerance: by how much two values may differ.
      reviews: number of compared reviews.
      values: number of compared ids, labels or scores.
      differing: number of these that differ.
      max_difference: the maximum difference of two values.
      keys: the reviews that differ.
    """

    what: str
    reference: str
    tolerance: float
    reviews: int = 0
    values: int = 0
    differing: int = 0
    max_difference: float = 0.0
    keys: list[bytes] = dataclasses.field(default_factory=list)

    def add(self, keys: list[bytes], expected: Rows, actual: Rows) -> None:
        """Compares the rows of a batch; surplus and missing values count as different."""
        for key, want, got in zip(keys, expected, actual, strict=True):
            shared, longest = sorted((len(want), len(got)))
            differences = np.abs(want[:shared] - got[:shared])
            # Counts what agrees, since NaN never does.
            differing = longest - np.count_nonzero(differences <= self.tolerance)
            self.reviews += 1
            self.values += longest
            self.differing += differing
            self.max_difference = float(np.maximum(self.max_difference, differences.max(initial=0)))
            if differing:
                self.keys.append(key)


def check_keys(expected: dict[str, list[bytes]], found: dict[str, list[bytes]]) -> None:
    """Raises `Failure` unless each review has exactly one record, in its place.

    Args:
      expected: the keys that each shard should have, in order.
      found: the keys that it has.
    """
    wanted = set(itertools.chain.from_iterable(expected.values()))
    counts = collections.Counter(itertools.chain.from_iterable(found.values()))
    misplaced = [
        key
        for shard in found.keys() | expected.keys()
        for key, other in zip(found.get(shard, ()), expected.get(shard, ()), strict=False)
        if key != other
    ]
    problems = {
        "in two records": [key for key, count in counts.items() if count > 1],
        "in the records, but not in the input, or dropped from it": counts.keys() - wanted,
        "in the input, but in no record": wanted - counts.keys(),
        "in another shard or place than the hash of the key gives": misplaced,
    }
    for problem, keys in problems.items():
        if keys:
            raise Failure(
                f"{problem}: {_name(sorted(keys))} ({len(keys):,} in total); "
                "run `make preprocess` again, or name the folder that the records were made from"
            )


def _name(keys: list[bytes]) -> str:
    named = [os.fsdecode(key) for key in keys[:KEYS_NAMED]]
    return ", ".join(named + ["..."] * (len(keys) > KEYS_NAMED))


class Proof:
    """Compares all stages, one batch of reviews at a time, and keeps the tallies.

    Args:
      reviews: the records, and the input that they were made from.
      reference: adapted with the vocabulary sizes of `sizes`.
      sizes: the input sizes to feed with tf.data, including that of the model.
      model: the trained model, if there is one.
      files: the model's files for other programs, if they are compared.
    """

    def __init__(
        self,
        reviews: "recorded_reviews.RecordedReviews",
        reference: "keras_reference.Reference",
        sizes: list[spec.InputSize],
        model: "trained_model.TrainedModel | None",
        files: "converted.Converted | None" = None,
    ):
        self._reviews = reviews
        self._reference = reference
        self._sizes = sizes
        self._model = model
        self._files = files
        self._tallies: dict[tuple[str, str], Tally] = {}

    def compare(self) -> list[Tally]:
        """Compares all splits."""
        for split in self._reviews.dataset.splits:
            fed = [self._reviews.fed(split, size) for size in self._sizes]
            batches = zip(self._reviews.batches(split), *fed, strict=True)
            total = self._reviews.num_batches(split)
            with terminal.tracked(batches, f"comparing {split}", total) as shown:
                for batch, *rows in shown:
                    self._compare_batch(batch, dict(zip(self._sizes, rows, strict=True)))
        return list(self._tallies.values())

    def _compare_batch(
        self,
        batch: dict[str, "tf.Tensor"],
        fed: "dict[spec.InputSize, tuple[tf.Tensor, tf.Tensor]]",
    ) -> None:
        import keras

        from model.network import lstm
        from pipelines.verify import keras_reference

        def add(what: str, reference: str, expected: Rows, actual: Rows, tolerance: float = 0):
            tally = self._tallies.setdefault((what, reference), Tally(what, reference, tolerance))
            tally.add(keys, expected, actual)

        keys = batch[spec.KEY].numpy().tolist()
        files, texts = self._reviews.read(keys)
        ids = self._reference.ids(texts)
        expected_labels = np.array([[self._reviews.class_label(key)] for key in keys])
        add("labels of the records", "the input", expected_labels, _column(batch[spec.LABEL]))
        for max_tokens, expected in ids.items():
            records = [_keep(row, max_tokens) for row in keras_reference.rows(batch[spec.TOKENS])]
            add("ids of the records", f"Keras {max_tokens}", expected, records)
        for (max_tokens, max_len), (tokens, labels) in fed.items():
            expected = keras.utils.pad_sequences(
                ids[max_tokens], max_len, padding="post", truncating="post"
            )
            size = f"{max_tokens}x{max_len}"
            add(f"labels of tf.data {size}", "the input", expected_labels, _column(labels))
            add(f"ids of tf.data {size}", f"Keras {size}", expected, tokens.numpy())
            if self._model and self._model.size == (max_tokens, max_len):
                # The model takes UTF-8, so it gets the texts of files in another encoding.
                given = files if self._reviews.tree.source.is_utf8 else texts
                served, scores, names = self._model.serve(given)
                add("ids of the SavedModel", f"Keras {size}", expected, served)
                network = self._model.network_scores(tokens)
                add("scores of the SavedModel", "network", network, scores, SCORE_TOLERANCE)
                most_likely = np.asarray(lstm.predicted_classes(network, self._model.threshold))[
                    :, np.newaxis
                ]
                named = np.array([[self._reviews.dataset.classes.index(name)] for name in names])
                add("labels of the SavedModel", "network", most_likely, named)
                if self._files:
                    found = self._files.ids(texts)
                    add("ids of tokenizer.json", f"Keras {size}", expected, found)
                    if self._files.has_network:
                        found = self._files.scores(found)
                        add("scores of ONNX", "the SavedModel", scores, found, ONNX_TOLERANCE)


def _column(labels: "tf.Tensor") -> np.ndarray:
    return labels.numpy()[:, np.newaxis]


def _keep(ids: np.ndarray, max_tokens: int) -> np.ndarray:
    """Makes ids from `max_tokens` on OOV."""
    return np.where(ids < max_tokens, ids, spec.OOV_ID)


def show(tallies: list[Tally]) -> None:
    """Prints what was compared."""
    terminal.show(
        ("compared", "with", "reviews", "values", "differ"),
        ((t.what, t.reference, t.reviews, t.values, t.differing) for t in tallies),
        words=2,
    )
    for tally in tallies:
        if tally.tolerance:
            terminal.say(f"{tally.what}: maximum difference {tally.max_difference:.1g}")


def check(tallies: list[Tally]) -> None:
    """Raises `Failure` if anything differs."""
    for tally in tallies:
        if tally.differing:
            raise Failure(
                f"{tally.differing:,} {tally.what} differ from {tally.reference}, "
                f"in {len(tally.keys):,} of {tally.reviews:,} reviews: {_name(tally.keys)}"
            )
