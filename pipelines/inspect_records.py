"""Prints a few records of a dataset as text."""

import itertools
import os

import numpy as np

from textrecords import app, command_line, imports, spec, terminal
from textrecords.dataset import Dataset, open_dataset
from textrecords.errors import BadInput


def main(argv: list[str]) -> None:
    parser = command_line.ArgumentParser(prog="pipelines.inspect_records", description=__doc__)
    parser.add_argument(
        "--records",
        type=command_line.path,
        required=True,
        metavar="DIR",
        help="what preprocess wrote",
    )
    parser.add_argument("--split", default=spec.TRAIN, help="whose records to print")
    parser.add_argument("--count", type=command_line.number(least=1), default=3, help="how many")
    parser.add_argument("--no_verify", action="store_true", help=command_line.NO_VERIFY)
    args = parser.parse_args(argv)
    dataset = open_dataset(args.records, verify=not args.no_verify)
    num_examples = dataset.num_examples(args.split)
    with imports.quiet():
        import tensorflow as tf

        from textrecords import record_io
    shown = 0
    try:
        examples = record_io.read_examples(dataset, args.split)
        for example in itertools.islice(examples, args.count):
            if shown:
                terminal.say("")
            _show(dataset, *example)
            shown += 1
    except tf.errors.OpError as error:
        raise BadInput(
            f"{args.records} is damaged: {error.message}; run `make preprocess` again"
        ) from None
    num_shards = len(dataset.shard_paths(args.split))
    terminal.show(
        ("split", "shown", "examples", "shards"), [(args.split, shown, num_examples, num_shards)]
    )


def _show(dataset: Dataset, key: bytes, label: int, ids: np.ndarray) -> None:
    terminal.say(f"key     {os.fsdecode(key)}")
    terminal.say(f"label   {dataset.classes[label]}")
    terminal.say(f"tokens  {len(ids):,}, of which {np.sum(ids == spec.OOV_ID):,} OOV")
    terminal.say(dataset.decode(ids))


if __name__ == "__main__":
    app.run(main)
