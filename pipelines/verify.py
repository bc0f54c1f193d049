"""Proves that all stages give a review the same ids, token by token.

Keras' `TextVectorization`, adapted afresh on the texts of train, is what the others are held
against: the records, the rows that tf.data feeds, and the SavedModel, which gets the raw bytes.

TensorFlow is imported where it is first needed, so that `--help` is immediate.
"""

import argparse
import collections
import dataclasses
import itertools
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from model import config, evaluate
from pipelines import commands, contract, reviews, summary, terminal, wordlists

if TYPE_CHECKING:
    import tensorflow as tf

    from pipelines import stages, transform

SCORE_TOLERANCE = 1e-6
KEYS_NAMED = 3  # of the reviews that differ

Rows = Iterable[np.ndarray]  # the ids, label or scores of each review of a batch


@dataclasses.dataclass
class Tally:
    """How the rows of one stage compare with what they should be.

    Attributes:
      what: the values that were compared.
      reference: what they were compared with.
      tolerance: by how much two values may differ.
      reviews: the reviews compared.
      values: the ids, labels or scores compared.
      differing: how many of these differ.
      greatest: the greatest difference of two values.
      keys: the reviews that differ.
    """

    what: str
    reference: str
    tolerance: float
    reviews: int = 0
    values: int = 0
    differing: int = 0
    greatest: float = 0.0
    keys: list[bytes] = dataclasses.field(default_factory=list)

    def add(self, keys: list[bytes], expected: Rows, actual: Rows) -> None:
        """Compares the rows of a batch; what a row has too much or too little differs."""
        for key, want, got in zip(keys, expected, actual, strict=True):
            shared, longest = sorted((len(want), len(got)))
            differences = np.abs(want[:shared] - got[:shared])
            # Counted by what agrees: NaN doesn't.
            differing = longest - np.count_nonzero(differences <= self.tolerance)
            self.reviews += 1
            self.values += longest
            self.differing += differing
            self.greatest = float(np.maximum(self.greatest, differences.max(initial=0)))
            if differing:
                self.keys.append(key)


def check_keys(expected: dict[str, list[bytes]], found: dict[str, list[bytes]]) -> None:
    """Raises `Failure` unless each review has its record, in its place.

    Args:
      expected: the keys that each shard should hold, in order.
      found: the keys that it holds.
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
            raise commands.Failure(
                f"{problem}: {_name(sorted(keys))} ({len(keys):,} in all); "
                "run `make preprocess` again, or name the folder that the records are of"
            )


def _name(keys: list[bytes]) -> str:
    named = [os.fsdecode(key) for key in keys[:KEYS_NAMED]]
    return ", ".join(named + ["..."] * (len(keys) > KEYS_NAMED))


class Proof:
    """Compares all stages, a batch of reviews at a time, and keeps the tallies.

    Args:
      dataset: the records, and what they are of.
      reference: adapted at the vocabulary sizes of `sizes`.
      sizes: what to have tf.data feed; if there is a model, its size is among them.
      model: the trained model, if there is one.
    """

    def __init__(
        self,
        dataset: "stages.Dataset",
        reference: "stages.Reference",
        sizes: "list[stages.Size]",
        model: "stages.Model | None",
    ):
        self._dataset = dataset
        self._reference = reference
        self._sizes = sizes
        self._model = model
        self._tallies: dict[tuple[str, str], Tally] = {}

    def compare(self) -> list[Tally]:
        """Goes through all splits."""
        for split in self._dataset.manifest.splits:
            fed = [self._dataset.fed(split, size) for size in self._sizes]
            batches = zip(self._dataset.batches(split), *fed, strict=True)
            total = self._dataset.num_batches(split)
            with terminal.tracked(batches, f"comparing {split}", total) as shown:
                for batch, *rows in shown:
                    self._compare_batch(batch, dict(zip(self._sizes, rows, strict=True)))
        return list(self._tallies.values())

    def _compare_batch(
        self,
        batch: dict[str, "tf.Tensor"],
        fed: "dict[stages.Size, tuple[tf.Tensor, tf.Tensor]]",
    ) -> None:
        import keras

        from model import lstm
        from pipelines import stages

        def add(what: str, reference: str, expected: Rows, actual: Rows, tolerance: float = 0):
            tally = self._tallies.setdefault((what, reference), Tally(what, reference, tolerance))
            tally.add(keys, expected, actual)

        keys = batch[contract.KEY].numpy().tolist()
        files, texts = self._dataset.read(keys)
        ids = self._reference.ids(texts)
        folders = np.array([[self._dataset.class_label(key)] for key in keys])
        add("labels of the records", "class folders", folders, _column(batch[contract.LABEL]))
        for max_tokens, expected in ids.items():
            records = [_keep(row, max_tokens) for row in stages.rows(batch[contract.TOKENS])]
            add("ids of the records", f"Keras {max_tokens}", expected, records)
        for (max_tokens, max_len), (tokens, labels) in fed.items():
            expected = keras.utils.pad_sequences(
                ids[max_tokens], max_len, padding="post", truncating="post"
            )
            size = f"{max_tokens}x{max_len}"
            add(f"labels of tf.data {size}", "class folders", folders, _column(labels))
            add(f"ids of tf.data {size}", f"Keras {size}", expected, tokens.numpy())
            if self._model and self._model.size == (max_tokens, max_len):
                # The model takes UTF-8, so from files in another encoding it gets the texts.
                given = files if self._dataset.source.is_utf8 else texts
                served, scores, names = self._model.serve(given)
                add("ids of the SavedModel", f"Keras {size}", expected, served)
                network = self._model.network_scores(tokens)
                add("scores of the SavedModel", "network", network, scores, SCORE_TOLERANCE)
                likeliest = np.asarray(lstm.predicted_classes(network, self._model.threshold))[
                    :, np.newaxis
                ]
                named = np.array([[self._dataset.manifest.classes.index(name)] for name in names])
                add("labels of the SavedModel", "network", likeliest, named)


def _column(labels: "tf.Tensor") -> np.ndarray:
    return labels.numpy()[:, np.newaxis]


def _keep(ids: np.ndarray, max_tokens: int) -> np.ndarray:
    """Makes ids from `max_tokens` on OOV."""
    return np.where(ids < max_tokens, ids, contract.OOV_ID)


def show(tallies: list[Tally]) -> None:
    """Prints what was compared."""
    terminal.show(
        ("compared", "with", "reviews", "values", "differ"),
        ((t.what, t.reference, t.reviews, t.values, t.differing) for t in tallies),
        words=2,
    )
    for tally in tallies:
        if tally.tolerance:
            commands.say(f"{tally.what}: greatest difference {tally.greatest:.1g}")


def check(tallies: list[Tally]) -> None:
    """Raises `Failure` if anything differs."""
    for tally in tallies:
        if tally.differing:
            raise commands.Failure(
                f"{tally.differing:,} {tally.what} differ from {tally.reference}, "
                f"in {len(tally.keys):,} of {tally.reviews:,} reviews: {_name(tally.keys)}"
            )


def read_tokenizer(
    args: argparse.Namespace, manifest: contract.Manifest
) -> "transform.Tokenizer | None":
    """Returns what splits texts as the word lists want it, or None if there are none.

    Raises:
      BadInput: if these aren't the lists that the records were made with.
    """
    for flag in ("stop_words", "replacements"):
        if wordlists.fingerprint(getattr(args, flag)) != getattr(manifest.flags, flag):
            raise commands.BadInput(
                f"--{flag}: {args.records} was made with other ones: "
                "give the flag as it was given to preprocess"
            )
    if not args.stop_words and not args.replacements:
        return None
    from pipelines import transform

    options = transform.TextOptions(
        stop_words=wordlists.read_stop_words(args.stop_words),
        replacements=wordlists.read_replacements(args.replacements),
    )
    return transform.Tokenizer(options)


def _sizes(
    args: argparse.Namespace, most: int, model: "stages.Model | None"
) -> "list[stages.Size]":
    """Returns the sizes to try: the largest vocabulary, a smaller one, and the model's."""
    sizes = [(most, args.max_len), (min(args.max_tokens, most), args.max_len)]
    return list(dict.fromkeys([*sizes, model.size] if model else sizes))


def _adapt(
    dataset: "stages.Dataset", reference: "stages.Reference", sizes: "list[stages.Size]"
) -> None:
    """Adapts the reference at each vocabulary size on the texts of train."""
    total = dataset.num_batches(contract.TRAIN)
    for max_tokens in dict.fromkeys(max_tokens for max_tokens, _ in sizes):
        batches = dataset.batches(contract.TRAIN)
        with terminal.tracked(batches, f"adapting Keras {max_tokens}", total) as shown:
            keys = (batch[contract.KEY].numpy() for batch in shown)
            reference.adapt(max_tokens, (dataset.read(each)[1] for each in keys))


def main(argv: list[str]) -> None:
    args = _parser().parse_args(argv)
    manifest = contract.read_manifest(args.records)
    source = reviews.Source(args.input, manifest.flags.pattern, manifest.flags.encoding)
    with summary.show_listing():
        tree = reviews.survey(source, list(manifest.classes))
    settings = config.read(args.model_dir) if args.model_dir else None
    if settings:
        evaluate.check_same_classes(settings, manifest)
        config.check_fits(manifest, settings.network)
    with commands.quiet_imports():
        from pipelines import stages
    tokenizer = read_tokenizer(args, manifest)
    dataset = stages.Dataset(source, args.records, manifest)
    with summary.show_listing("reading files", tree.num_reviews):
        check_keys(dataset.expected_keys(tree), dataset.keys())
    model = stages.Model(args.model_dir, settings) if settings else None
    sizes = _sizes(args, manifest.flags.max_tokens, model)
    reference = stages.Reference(tokenizer, manifest.flags.max_len)
    _adapt(dataset, reference, sizes)
    tallies = Proof(dataset, reference, sizes, model).compare()
    show(tallies)
    check(tallies)
    with summary.show_listing("reading files", tree.num_reviews):
        fingerprint = tree.fingerprint()
    if fingerprint != manifest.input:
        raise commands.Failure(
            f"the files of {args.input} have changed since, in bytes that make no difference to ids"
        )


def _parser() -> commands.ArgumentParser:
    parser = commands.ArgumentParser(
        prog="pipelines.verify",
        description="Proves that Keras, the records, tf.data and the SavedModel agree on all ids.",
    )
    add = parser.add_argument
    add("--input", required=True, metavar="DIR", help="the folder that preprocess read")
    add("--records", required=True, metavar="DIR", help="what preprocess wrote")
    add("--model_dir", metavar="DIR", help="what train wrote, to compare the SavedModel too")
    add("--stop_words", metavar="FILE", help="as given to preprocess")
    add("--replacements", metavar="FILE", help="as given to preprocess")
    add(
        "--max_tokens",
        type=commands.number(least=3),
        default=1000,
        help="size of a vocabulary to try beside that of the records",
    )
    add("--max_len", type=commands.number(least=1), default=100, help="tokens that tf.data feeds")
    return parser


if __name__ == "__main__":
    commands.run(main)
