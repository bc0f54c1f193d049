"""Turns a folder of text files into a dataset: TFRecords, a vocabulary and a transform graph.

TensorFlow and Beam are imported once there is something to do, so that a refusal is immediate.
"""

import argparse
import dataclasses
import datetime
import hashlib
import importlib.metadata
import json
import os
import platform
import sys
import time
from typing import TYPE_CHECKING

from pipelines import commands, contract, files, folders, reviews, summary, wordlists

if TYPE_CHECKING:
    from apache_beam.options.pipeline_options import PipelineOptions

    from pipelines import manifest

PACKAGES = ("apache-beam", "tensorflow", "tensorflow-transform", "pyarrow")

# Which share of the files may be bad, by `--on_bad_file`.
MOST_BAD = {"skip": 0.01, "fail": 0.0}

# The modules that decide the bytes of a dataset: if one changes, the datasets it made are stale.
CODE = (
    "audit",
    "contract",
    "manifest",
    "pipeline",
    "reviews",
    "shards",
    "transform",
    "vocabulary",
    "wordlists",
)


def main(argv: list[str]) -> None:
    started = time.time()
    args, beam_flags = _parser().parse_known_args(argv)
    flags = _data_flags(args)
    folders.check_store(args.input)
    folders.check_path(folders.real(args.output))
    options = _beam_options(args.runner, beam_flags) if beam_flags else None  # may be misspelt
    folders.mend(args.output)
    if not args.force and _is_up_to_date(args, flags):
        commands.say(f"{args.output} is up to date with {args.input}")
        return
    with summary.show_listing():
        tree = reviews.survey(_source(args.input, flags), flags.classes)
    if args.validation and contract.VALIDATION in tree.examples:
        raise commands.BadInput(
            f"{args.input} has a folder {contract.VALIDATION}: leave out --validation"
        )
    commands.say(f"preprocessing {args.input}")
    _print_tree(tree)
    holds, marker = contract.DATASET_FILES, contract.MANIFEST
    with folders.whole_folder(args.output, holds=holds, marker=marker) as output_dir:
        options = options or _beam_options(args.runner, beam_flags)
        plan = _plan(tree, args, flags)
        from pipelines import pipeline

        with summary.show_progress(
            output_dir, num_reviews=tree.num_reviews, num_shards=sum(plan.num_shards.values())
        ):
            pipeline.run(plan, output_dir, options)
        manifest = contract.read_manifest(output_dir, verify=False)
        _check_splits_hold_reviews(manifest)
        _write_run(output_dir, args.input, started)
        folders.write_sums(output_dir, manifest.shard_sums())
    summary.show(manifest, args.output, time.time() - started)


def _beam_options(runner: str, beam_flags: list[str]) -> "PipelineOptions":
    with commands.quiet_imports():
        from pipelines import pipeline, runners  # noqa: F401, all that loads TensorFlow
    return runners.parse_options(runner, beam_flags, "pipelines.preprocess")


def _data_flags(args: argparse.Namespace) -> contract.Flags:
    """Returns the flags that shape the data."""
    if sys.getfilesystemencoding() != "utf-8":
        raise commands.BadInput("file names aren't UTF-8 here: set PYTHONUTF8=1")
    if not args.pattern.isprintable():
        raise commands.BadInput(f"--pattern {args.pattern} isn't printable")
    names = {field.name for field in dataclasses.fields(contract.Flags)}
    given = {name: value for name, value in vars(args).items() if name in names}
    return contract.Flags(
        **given
        | {
            "classes": tuple(args.classes) if args.classes else None,
            "encoding": reviews.encoding(args.encoding),
            "stop_words": wordlists.fingerprint(args.stop_words),
            "replacements": wordlists.fingerprint(args.replacements),
        }
    )


def _source(input_dir: str, flags: contract.Flags) -> reviews.Source:
    return reviews.Source(input_dir, flags.pattern, flags.encoding)


def _is_up_to_date(args: argparse.Namespace, flags: contract.Flags) -> bool:
    """Tells whether the dataset that is there can stay.

    Raises:
      BadInput: if `--if_needed` finds it damaged, or can't make it again with its own flags.
    """
    if not files.is_file(os.path.join(args.output, contract.MANIFEST)):
        return False
    try:
        made = contract.read_manifest(args.output)
    except commands.BadInput:
        if args.if_needed:
            raise
        return False
    if made.flags != flags and not args.if_needed:
        return False
    if made.code_sha256 == _code_sha256() and _is_made_of(made, args):
        return True
    if made.flags != flags:
        raise commands.BadInput(
            f"{args.output} is out of date, and was made with {_differing(made.flags, flags)}: "
            "run `make preprocess` with the flags you want"
        )
    return False


def _is_made_of(made: contract.Manifest, args: argparse.Namespace) -> bool:
    """Tells whether a dataset was made of the files that the folder holds now."""
    try:
        with summary.show_listing():
            tree = reviews.survey(_source(args.input, made.flags), made.flags.classes)
    except commands.BadInput:
        return False
    # What is left out shapes no record, so it is no need to make them again.
    same_left_out = args.if_needed or tree.left_out == made.left_out
    few_bad = made.bad_files <= MOST_BAD[args.on_bad_file] * tree.num_reviews
    # Much faster to tell than the fingerprint.
    same_number = tree.num_reviews == made.input.files + made.bad_files
    if not (same_left_out and few_bad and same_number):
        return False
    with summary.show_listing("reading files", tree.num_reviews):
        return tree.fingerprint() == made.input


def _differing(made: contract.Flags, flags: contract.Flags) -> str:
    """Names the flags that differ, as they were typed but for lists of words."""
    named = []
    for name, value in dataclasses.asdict(made).items():
        if value == getattr(flags, name):
            continue
        if name in ("stop_words", "replacements") and value not in (None, wordlists.BUILT_IN):
            value = "FILE"
        value = " ".join(value) if isinstance(value, tuple) else value
        if value is None or value is False:
            named.append(f"no --{name}")
        else:
            named.append(f"--{name}" if value is True else f"--{name} {value}")
    return ", ".join(named)


def _code_sha256() -> str:
    digest = hashlib.sha256()
    for module in CODE:
        path = os.path.join(os.path.dirname(__file__), f"{module}.py")
        digest.update(bytes.fromhex(files.sha256(path)))
    return digest.hexdigest()


def _check_splits_hold_reviews(manifest: contract.Manifest) -> None:
    train = manifest.splits[contract.TRAIN]
    # tf.Transform makes a word up if there is none, for its file to have any.
    if train.examples == train.without_tokens:
        raise commands.BadInput("no review of train has a word left once cleaned: add text to it")
    for name, split in manifest.splits.items():
        empty = [c for c, examples in split.class_examples.items() if not examples]
        if not split.examples or (name == contract.TRAIN and empty):
            what = f"the class {empty[0]}" if split.examples else "reviews"
            raise commands.BadInput(
                f"nothing is left of {what} in {name}: change --validation, --drop_leaked or "
                "--drop_duplicates, or add reviews"
            )


def _print_tree(tree: reviews.Tree) -> None:
    for split, classes in tree.examples.items():
        counts = ", ".join(f"{count:,} {c}" for c, count in classes.items())
        commands.say(f"{split}: {counts}")
    for why, count in tree.left_out.items():
        commands.say(f"left out {count:,}: {why}")
    if contract.TEST not in tree.examples:
        commands.say("no test split: there will be nothing to evaluate a model on")


def _plan(tree: reviews.Tree, args: argparse.Namespace, flags: contract.Flags) -> "manifest.Plan":
    from pipelines import audit, manifest, shards, transform

    options = transform.TextOptions(
        max_tokens=flags.max_tokens,
        max_len=flags.max_len,
        stop_words=wordlists.read_stop_words(args.stop_words),
        replacements=wordlists.read_replacements(args.replacements),
    )
    assign = audit.Assign(
        shards.num_shards(tree.examples, flags.validation, flags.num_shards),
        flags.validation,
        flags.drop_leaked,
        flags.drop_duplicates,
    )
    most_bad = MOST_BAD[args.on_bad_file]
    return manifest.Plan(tree, options, assign, flags, _code_sha256(), most_bad)


def _write_run(output_dir: str, input_dir: str, started: float) -> None:
    run = contract.Run(
        input=commands.one_line(files.absolute(input_dir)),
        started=datetime.datetime.fromtimestamp(started, datetime.UTC).isoformat(),
        seconds=round(time.time() - started, 1),
        host=platform.node(),
        python=platform.python_version(),
        packages={name: importlib.metadata.version(name) for name in PACKAGES},
    )
    text = json.dumps(dataclasses.asdict(run), indent=2)
    files.write_text(os.path.join(output_dir, contract.RUN), f"{text}\n")


def _parser() -> commands.ArgumentParser:
    parser = commands.ArgumentParser(
        prog="pipelines.preprocess",
        description=(
            "Turns <input>/<split>/<class>/*.txt into TFRecords, a vocabulary and a transform "
            "graph. Flags that aren't listed here go to Apache Beam."
        ),
    )
    add = parser.add_argument
    number = commands.number
    add("--input", required=True, metavar="DIR", help="a folder that holds train/ and test/")
    add("--output", required=True, metavar="DIR", help="the folder to write, or to replace whole")
    add("--force", action="store_true", help="run even if nothing has changed")
    add("--if_needed", action="store_true", help="keep a dataset of this input, whatever its flags")
    add("--classes", nargs="+", metavar="NAME", help="the class folders, in the order of labels")
    add("--pattern", default="*.txt", help="which file names are reviews")
    add("--encoding", default="utf-8", help="of the files")
    add(
        "--validation",
        type=number(float, least=0, below=1),
        default=0.0,
        metavar="SHARE",
        help="how much of train becomes the validation split",
    )
    add("--drop_leaked", action="store_true", help="keep a text only in test, else validation")
    add("--drop_duplicates", action="store_true", help="keep a text only once a split")
    add(
        "--on_bad_file",
        choices=MOST_BAD,
        default="skip",
        help="what can't be read, or is larger than 10 MB: leave out up to 1%%, or none",
    )
    add("--min_tokens", type=number(least=0), default=5, help="report reviews of fewer tokens")
    add(
        "--max_tokens",
        type=number(least=3),
        default=20_000,
        help="size of the vocabulary, counting padding and OOV",
    )
    add("--max_len", type=number(least=1), help="how many tokens of a review to keep (else all)")
    add(
        "--num_shards",
        type=number(least=1, most=99_999),
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
    add("--runner", default="DirectRunner", help="of Beam; DirectRunner is the local engine")
    return parser


if __name__ == "__main__":
    commands.run(main)
