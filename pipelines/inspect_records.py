"""Prints a few records of a dataset as text."""

import dataclasses
import itertools
import os

import numpy as np

from textrecords import app, command_line, imports, spec, terminal
from textrecords.command_line import flag
from textrecords.dataset import Dataset, open_dataset
from textrecords.errors import BadInput
from textrecords.field_types import Path, Size


@dataclasses.dataclass(frozen=True)
class Options:
    """The flags."""

    records: Path = flag(command_line.RECORDS, metavar="DIR")
    split: str = flag("split of the records to print", spec.TRAIN)
    count: Size = flag("number of records", 3)
    no_verify: bool = flag(command_line.NO_VERIFY, False)


def main(argv: list[str]) -> None:
    parser = command_line.ArgumentParser(prog="pipelines.inspect_records", description=__doc__)
    command_line.add_flags(parser, Options)
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
    terminal.say(f"label   {dataset.class_name(label)}")
    terminal.say(f"tokens  {len(ids):,}, {np.sum(ids == spec.OOV_ID):,} of them OOV")
    terminal.say(dataset.decode(ids))


if __name__ == "__main__":
    app.run(main)
