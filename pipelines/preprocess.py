"""Turns a folder of text files into a dataset: TFRecords, a vocabulary and a transform graph.

TensorFlow and Beam are imported once the input is known to be good, so that a refusal is immediate.
"""

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
import time
from typing import TYPE_CHECKING, Any

from pipelines import contract, reviews, summary

if TYPE_CHECKING:
    from pipelines import pipeline

PACKAGES = ("apache-beam", "tensorflow", "tensorflow-transform", "pyarrow")


def main(argv: list[str]) -> None:
    args, beam_flags = _parser().parse_known_args(argv)
    if args.if_needed and _is_dataset_of(args.output, args.input):
        print(f"{args.output} already holds a dataset of {args.input}")
        return
    started = time.time()
    print(f"preprocessing {args.input}")
    tree = reviews.survey(args.input, args.classes)
    _print_tree(tree)
    files, marker = contract.DATASET_FILES, contract.MANIFEST
    with contract.whole_folder(args.output, files=files, marker=marker) as output_dir:
        with contract.quiet_imports():
            from pipelines import pipeline
        options = pipeline.parse_options(args.runner, beam_flags)
        plan = _plan(tree, args)
        with summary.show_progress(output_dir, sum(plan.num_shards.values())):
            pipeline.run(plan, output_dir, options)
        manifest = contract.read_manifest(output_dir)
        _check_words(manifest)
        _write_run(output_dir, args.input, started)
    summary.show(manifest, args.output, time.time() - started)


def _is_dataset_of(output_dir: str, input_dir: str) -> bool:
    """Tells whether there is a whole dataset of this folder, with as many reviews as it has now."""
    try:
        manifest = contract.read_manifest(output_dir)
        with open(os.path.join(output_dir, contract.RUN), encoding="utf-8") as file:
            if json.load(file)["input"] != os.path.abspath(input_dir):
                return False
        shards = [shard for split in manifest.splits.values() for shard in split.shards]
        sizes = [os.path.getsize(os.path.join(output_dir, shard.file)) for shard in shards]
        counts = {name: split.class_examples for name, split in manifest.splits.items()}
        return (
            sizes == [shard.bytes for shard in shards]
            and reviews.survey(input_dir, list(manifest.classes)).examples == counts
        )
    except (contract.BadInput, OSError, ValueError, KeyError, TypeError):
        return False


def _check_words(manifest: contract.Manifest) -> None:
    """Refuses a train split without words: tf.Transform makes one up, for its file to have any."""
    train = manifest.splits[contract.TRAIN]
    if train.without_tokens == train.examples:
        raise contract.BadInput("no review of train has a word left once cleaned: add text to it")


def _print_tree(tree: reviews.Tree) -> None:
    for split, classes in tree.examples.items():
        counts = ", ".join(f"{count:,} {contract.one_line(c)}" for c, count in classes.items())
        print(f"{split}: {counts}")
    for why, count in tree.left_out.items():
        print(f"left out {count:,}: {contract.one_line(why)}")
    if contract.TEST not in tree.examples:
        print("no test split: there will be nothing to evaluate a model on")


def _plan(tree: reviews.Tree, args: argparse.Namespace) -> "pipeline.Plan":
    from pipelines import pipeline, shards, transform, wordlists

    options = transform.TextOptions(
        max_tokens=args.max_tokens,
        max_len=args.max_len,
        stop_words=wordlists.read_stop_words(args.stop_words),
        replacements=wordlists.read_replacements(args.replacements),
    )
    num_shards = {
        split: args.num_shards or shards.default_num_shards(sum(classes.values()))
        for split, classes in tree.examples.items()
    }
    return pipeline.Plan(tree, options, num_shards, args.compression)


def _write_run(output_dir: str, input_dir: str, started: float) -> None:
    """Notes what is true of this run alone, and so doesn't belong into the manifest."""
    run: dict[str, Any] = {
        "input": os.path.abspath(input_dir),
        "started": datetime.datetime.fromtimestamp(started, datetime.UTC).isoformat(),
        "seconds": round(time.time() - started, 1),
        "host": platform.node(),
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
    }
    with open(os.path.join(output_dir, contract.RUN), "w", encoding="utf-8") as file:
        json.dump(run, file, indent=2)
        file.write("\n")


def _parser() -> contract.ArgumentParser:
    parser = contract.ArgumentParser(
        prog="pipelines.preprocess",
        description=(
            "Turns <input>/<split>/<class>/*.txt into TFRecords, a vocabulary and a transform "
            "graph. Flags that aren't listed here go to Apache Beam."
        ),
    )
    add = parser.add_argument
    add("--input", required=True, metavar="DIR", help="a folder that holds train/ and test/")
    add("--output", required=True, metavar="DIR", help="the folder to write, or to replace whole")
    add("--if_needed", action="store_true", help="do nothing if it holds a dataset of this input")
    add("--classes", nargs="+", metavar="NAME", help="the class folders, in the order of labels")
    add(
        "--max_tokens",
        type=contract.number(least=3),
        default=20_000,
        help="size of the vocabulary, counting padding and OOV",
    )
    add(
        "--max_len",
        type=contract.number(least=1),
        help="how many tokens of a review to keep (all of them by default)",
    )
    add(
        "--num_shards",
        type=contract.number(least=1, most=99_999),
        help="of each split (one for every 10,000 reviews by default)",
    )
    add("--compression", choices=sorted(contract.COMPRESSIONS), default="none", help="of shards")
    add(
        "--stop_words",
        metavar="FILE",
        help="words to remove, one a line; `english` is a short list that comes along",
    )
    add(
        "--replacements",
        metavar="FILE",
        help="words to replace before counting, a line each: from, tab, to",
    )
    add(
        "--runner",
        default="DirectRunner",
        help="of Beam; DirectRunner is the local engine, FnApiRunner",
    )
    return parser


if __name__ == "__main__":
    contract.run(main)
