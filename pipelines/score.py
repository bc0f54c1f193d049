"""Scores any number of text files with a trained model.

TensorFlow and Beam are imported once there is something to do, so that a refusal is immediate.
"""

import argparse
import collections
import contextlib
import glob
import os
import time

from model import config
from pipelines import commands, contract, files, folders, reviews, terminal

FORMATS = {"jsonl": "JSON lines", "parquet": "Parquet"}
FILES = rf"scores-\d{{5}}-of-\d{{5}}\.({'|'.join(FORMATS)})|scores\.json|{folders.SUMS}"


def main(argv: list[str]) -> None:
    started = time.time()
    args, beam_flags = _parser().parse_known_args(argv)
    folders.check_store(args.input)
    model_dir = files.absolute(args.model_dir)
    settings = config.read(model_dir, verify=not args.no_verify)
    folders.check_path(folders.real(args.output))
    source, is_glob = _source(args)
    with commands.quiet_imports():
        from pipelines import inference, runners, shards
    options = runners.parse_options(args.runner, beam_flags, "pipelines.score")
    texts = inference.list_files(source, is_glob=is_glob)
    with terminal.tracked(texts, "listing files") as shown:
        num_texts = sum(1 for _ in shown)
    if not num_texts:
        raise commands.BadInput(f"{args.input} has no {source.pattern}: name a folder or a pattern")
    with folders.whole_folder(args.output, holds=FILES, marker=folders.SUMS) as output_dir:
        plan = inference.Plan(
            source=source,
            is_glob=is_glob,
            serving=os.path.join(model_dir, config.SERVING),
            classes=settings.classes,
            model_sha256=_model_sha256(model_dir),
            output_dir=output_dir,
            num_shards=args.num_shards or shards.default_num_shards(num_texts),
            suffix=args.format,
        )
        with _show_scoring(inference.SEEN, num_texts):
            runners.run(lambda pipeline, _: inference.build(pipeline, plan), options)
        if _model_sha256(model_dir) != plan.model_sha256:
            raise commands.Failure(f"{args.model_dir} was replaced while it scored: run again")
        path = os.path.join(output_dir, inference.SUMMARY)
        scored = contract.parse_json(inference.Summary, files.read_text(path))
        if scored.texts != num_texts:
            raise commands.Failure(f"{args.input} changed while it was being read: run again")
        folders.write_sums(output_dir, {shard.file: shard.sha256 for shard in scored.shards})
    seconds = time.time() - started
    terminal.show(("label", "texts"), scored.labels.items())
    commands.say(f"wrote {num_texts:,} scores to {args.output} in {seconds:.1f} s")


def _show_scoring(
    seen: collections.Counter[str], num_texts: int
) -> contextlib.AbstractContextManager[None]:
    """Shows how many texts have been scored, and of how many, if it's done in this process."""

    def look() -> terminal.Done:
        return "scoring texts", seen["scored"], num_texts if seen["scored"] else None

    return terminal.progress(look)


def _model_sha256(model_dir: str) -> str:
    return files.sha256(os.path.join(model_dir, folders.SUMS))


def _source(args: argparse.Namespace) -> tuple[reviews.Source, bool]:
    """Returns the folder of the files, with which of them to take, and whether that's a glob."""
    encoding = reviews.encoding(args.encoding)
    path = files.absolute(args.input)
    if files.is_folder(path):
        return reviews.Source(path, encoding=encoding), False
    if files.is_file(path):  # whatever characters its name has
        folder, name = os.path.split(path)
        return reviews.Source(folder, glob.escape(name), encoding), True
    parts = path.split("/")
    fixed = next((n for n, part in enumerate(parts) if glob.has_magic(part)), len(parts) - 1)
    folder, pattern = "/".join(parts[:fixed]) or "/", "/".join(parts[fixed:])
    return reviews.Source(folder, pattern, encoding), True


def _parser() -> commands.ArgumentParser:
    parser = commands.ArgumentParser(
        prog="pipelines.score",
        description=(
            "Scores text files with a trained model. Flags that aren't listed here go to Apache "
            "Beam."
        ),
    )
    add = parser.add_argument
    add(
        "--input",
        required=True,
        metavar="DIR|GLOB",
        help="a folder, of which all *.txt are taken, or a quoted pattern such as 'x/**/*.text'",
    )
    add("--output", required=True, metavar="DIR", help="the folder to write, or to replace whole")
    add("--model_dir", required=True, metavar="DIR", help="what train wrote")
    add("--format", choices=FORMATS, default="jsonl", help="of the files to write")
    add("--encoding", default="utf-8", help="of the files to read")
    add(
        "--num_shards",
        type=commands.number(least=1, most=99_999),
        help="files to write (one for every 10,000 texts by default)",
    )
    add("--runner", default="DirectRunner", help="of Beam; DirectRunner is the local engine")
    add("--no_verify", action="store_true", help=commands.NO_VERIFY)
    return parser


if __name__ == "__main__":
    commands.run(main)
