"""Measures how much of a dataset could be kept when reviews are added.

A token's id is its rank by frequency. So a record can be kept only if the ranks of all of its
tokens are unchanged.
"""

import collections
import random

import rich
from rich import box, table

from pipelines.preprocess import find_input, review_batches
from textrecords import app, command_line, spec
from textrecords.manifest import DataFlags

KEPT = DataFlags.max_tokens - spec.NUM_RESERVED


def main(argv: list[str]) -> None:
    parser = command_line.ArgumentParser(prog="benchmarks.growth", description=__doc__)
    parser.add_argument("--input", type=command_line.path, required=True, help="the reviews")
    parser.add_argument("--share", type=float, default=0.01, help="of train, to add")
    parser.add_argument("--trials", type=command_line.number(minimum=1), default=5)
    args = parser.parse_args(argv)
    reviews = read(args.input)
    after = rank(reviews)
    shown = table.Table("added", box=box.MARKDOWN)
    for name in ("ids that change", "of", "records that change", "of"):
        shown.add_column(name, justify="right")
    for seed in range(args.trials):
        before = random.Random(seed).sample(reviews, round(len(reviews) * (1 - args.share)))
        ids, records = changes(before, after)
        row = len(reviews) - len(before), ids, len(after), records, len(before)
        shown.add_row(*(f"{number:,}" for number in row))
    rich.print(shown)


def changes(before: list[list[bytes]], after: dict[bytes, int]) -> tuple[int, int]:
    """Returns how many ids of a later vocabulary have changed, and the records with any of them."""
    ids = rank(before)
    changed = {token for token in ids.keys() | after.keys() if ids.get(token) != after.get(token)}
    return len(changed & after.keys()), sum(not changed.isdisjoint(tokens) for tokens in before)


def read(input_dir: str) -> list[list[bytes]]:
    """Returns the tokens of each review of train."""
    tree = find_input.find_input(input_dir, DataFlags(unlabelled=False))
    train = spec.ALL_SPLITS.index(spec.TRAIN)
    unread = (each for each in tree.all_reviews() if each.split == train)
    return [
        review_batches.words(tree.source.decode(content)[0]).split()
        for _, content in tree.source.read_good(unread, {})
    ]


def rank(reviews: list[list[bytes]]) -> dict[bytes, int]:
    """Returns the ids of the tokens in a vocabulary."""
    counts = collections.Counter()
    for tokens in reviews:
        counts.update(tokens)
    ranked = sorted(((count, token) for token, count in counts.items()), reverse=True)
    return {token: n for n, (_, token) in enumerate(ranked[:KEPT], spec.NUM_RESERVED)}


if __name__ == "__main__":
    app.run(main)
