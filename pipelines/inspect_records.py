"""Prints a few records of a dataset as text."""

import itertools
import os
from typing import TYPE_CHECKING

from pipelines import commands, contract, terminal

if TYPE_CHECKING:
    import tensorflow as tf


def main(argv: list[str]) -> None:
    parser = commands.ArgumentParser(prog="pipelines.inspect_records", description=__doc__)
    parser.add_argument("--records", required=True, metavar="DIR", help="what preprocess wrote")
    parser.add_argument("--split", default=contract.TRAIN, help="whose records to print")
    parser.add_argument("--count", type=commands.number(least=1), default=3, help="how many")
    parser.add_argument("--no_verify", action="store_true", help=commands.NO_VERIFY)
    args = parser.parse_args(argv)
    manifest = contract.read_manifest(args.records, verify=not args.no_verify)
    paths = contract.shard_paths(args.records, manifest, args.split)
    vocabulary = contract.read_vocabulary(os.path.join(args.records, contract.VOCABULARY))
    with commands.quiet_imports():
        import tensorflow as tf
    tokens = ["[PAD]", "[OOV]", *(token.decode() for token in vocabulary)]
    compression = contract.COMPRESSIONS[manifest.flags.compression]
    records = tf.data.TFRecordDataset(paths, compression).as_numpy_iterator()
    shown = 0
    try:
        for record in itertools.islice(records, args.count):
            if shown:
                commands.say("")
            _show(tf.train.Example.FromString(record), tokens, manifest.classes)
            shown += 1
    except tf.errors.OpError as error:
        raise commands.BadInput(
            f"{args.records} is damaged: {error.message}; run `make preprocess` again"
        ) from None
    examples = manifest.splits[args.split].examples
    terminal.show(
        ("split", "shown", "examples", "shards"), [(args.split, shown, examples, len(paths))]
    )


def _show(example: "tf.train.Example", tokens: list[str], classes: tuple[str, ...]) -> None:
    feature = example.features.feature
    ids = feature[contract.TOKENS].int64_list.value
    label = classes[feature[contract.LABEL].int64_list.value[0]]
    key = os.fsdecode(feature[contract.KEY].bytes_list.value[0])
    num_oov = sum(i == contract.OOV_ID for i in ids)
    commands.say(f"key     {key}")
    commands.say(f"label   {label}")
    commands.say(f"tokens  {len(ids):,}, of which {num_oov:,} OOV")
    commands.say(" ".join(tokens[i] for i in ids))


if __name__ == "__main__":
    commands.run(main)
