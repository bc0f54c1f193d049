"""Proves that all stages give a review the same ids, token by token.

The reference is Keras' `TextVectorization`, newly adapted on the texts of train. It is compared
with the records, the rows that tf.data feeds, the SavedModel, which gets the raw bytes, and
`tokenizer.json`, if Hugging Face's `tokenizers` is installed.

TensorFlow is imported lazily, so that `--help` is immediate.
"""

import argparse
import dataclasses
import itertools
import tempfile
from typing import TYPE_CHECKING

from model import evaluate
from pipelines import summary
from pipelines.preprocess import word_lists
from pipelines.preprocess.find_input import find_input
from pipelines.verify import comparison
from textrecords import app, command_line, imports, spec, terminal
from textrecords.command_line import flag
from textrecords.dataset import Dataset, open_dataset
from textrecords.errors import BadInput, Failure
from textrecords.field_types import Path, Size, VocabularySize
from textrecords.saved_model import Model, load_model

if TYPE_CHECKING:
    from pipelines.preprocess import transform
    from pipelines.verify import keras_reference, recorded_reviews


@dataclasses.dataclass(frozen=True)
class Options:
    """The flags."""

    input: Path = flag("input of preprocess", metavar="DIR|TABLE")
    records: Path = flag(command_line.RECORDS, metavar="DIR")
    model_dir: Path | None = flag(
        f"{command_line.MODEL_DIR}, to also compare the SavedModel", None, metavar="DIR"
    )
    onnx: Path | None = flag(
        "network of `make convert`, to also compare its scores", None, metavar="FILE"
    )
    stop_words: Path | None = flag("as given to preprocess", None, metavar="FILE")
    replacements: Path | None = flag("as given to preprocess", None, metavar="FILE")
    max_tokens: VocabularySize = flag(
        "another vocabulary size to try, in addition to that of the records", 1000
    )
    max_len: Size = flag("tokens that tf.data feeds", 100)


def read_options(args: argparse.Namespace, dataset: Dataset) -> "transform.TextOptions":
    """Returns the flags that the records were made with, with their word lists.

    Raises:
      BadInput: if the given word lists are different.
    """
    for name in ("stop_words", "replacements"):
        given, made = getattr(args, name), getattr(dataset.manifest.flags, name)
        if made is None and given is not None:
            raise BadInput(f"{args.records} was made without --{name}: drop it")
        if made is not None and given is None:
            raise BadInput(
                f"{args.records} was made with --{name}: give it as it was given to preprocess"
            )
        if word_lists.fingerprint(given) != made:
            raise BadInput(
                f"--{name}: {args.records} was made with different ones: "
                "give the flag as it was given to preprocess"
            )
    return word_lists.text_options(
        dataclasses.replace(
            dataset.manifest.flags, stop_words=args.stop_words, replacements=args.replacements
        )
    )


def _sizes(args: argparse.Namespace, dataset: Dataset, model: Model | None) -> list[spec.InputSize]:
    """Returns the sizes to try: the largest vocabulary, a smaller one, and the model's."""
    limit = dataset.manifest.flags.max_tokens
    sizes = [
        spec.InputSize(limit, args.max_len),
        spec.InputSize(min(args.max_tokens, limit), args.max_len),
    ]
    return list(dict.fromkeys([*sizes, model.config.network.input_size] if model else sizes))


def _adapt(
    reviews: "recorded_reviews.RecordedReviews",
    reference: "keras_reference.Reference",
    sizes: list[spec.InputSize],
) -> None:
    """Adapts the reference with each vocabulary size on the texts whose words were counted."""
    counted = [
        split
        for split in reviews.dataset.manifest.flags.counted_splits
        if split in reviews.dataset.splits
    ]
    total = sum(map(reviews.num_batches, counted))
    for max_tokens in dict.fromkeys(size.max_tokens for size in sizes):
        batches = itertools.chain.from_iterable(map(reviews.batches, counted))
        with terminal.tracked(batches, f"adapting Keras {max_tokens}", total) as shown:
            keys = (batch[spec.KEY].numpy() for batch in shown)
            reference.adapt(max_tokens, (reviews.read(each)[1] for each in keys))


def _open_model(model_dir: str | None, dataset: Dataset) -> Model | None:
    """Returns the model, if given; raises `BadInput` if it doesn't match the records."""
    if not model_dir:
        return None
    model = load_model(model_dir)
    evaluate.check_same_classes(model.config, dataset)
    evaluate.check_long_enough(model.config, dataset)
    return model


def main(argv: list[str]) -> None:
    args = _parser().parse_args(argv)
    if args.onnx and not args.model_dir:
        raise BadInput("--onnx needs --model_dir: its scores are compared with the SavedModel's")
    imports.check_installed("verify", "preprocess")
    with tempfile.TemporaryDirectory(prefix="textrecords-") as texts:
        _verify(args, texts)


def _verify(args: argparse.Namespace, texts: str) -> None:
    """Compares all stages; the texts of tables are stored in a temporary folder."""
    dataset = open_dataset(args.records)
    flags = dataset.manifest.flags
    with summary.show_listing():
        chosen = dataclasses.replace(flags, classes=dataset.classes)
        tree = find_input(args.input, chosen).stored_in(texts)
        num_files = tree.listed.num_reviews
    model = _open_model(args.model_dir, dataset)
    with imports.quiet():
        from pipelines.verify import converted, keras_reference, recorded_reviews, trained_model
    trained = trained_model.TrainedModel(model) if model else None
    files = converted.load(model.folder, args.onnx) if model else None
    options = read_options(args, dataset)
    reviews = recorded_reviews.RecordedReviews(tree, dataset)
    with summary.show_listing("reading files", num_files):
        comparison.check_keys(reviews.expected_keys(), reviews.keys())
    sizes = _sizes(args, dataset, model)
    reference = keras_reference.Reference(options)
    _adapt(reviews, reference, sizes)
    tallies = comparison.Proof(reviews, reference, sizes, trained, files).compare()
    comparison.show(tallies)
    comparison.check(tallies)
    with summary.show_listing("reading files", num_files):
        fingerprint = tree.fingerprint()
    if fingerprint != dataset.manifest.input:
        raise Failure(
            f"the files of {args.input} have changed since, but only in bytes that don't affect ids"
        )


def _parser() -> command_line.ArgumentParser:
    parser = command_line.ArgumentParser(
        prog="pipelines.verify",
        description="Proves that Keras, the records, tf.data and the SavedModel agree on all ids.",
    )
    command_line.add_flags(parser, Options)
    return parser


if __name__ == "__main__":
    app.run(main)
