"""What preprocessing shows while it works, and the tables of what folders and datasets hold."""

import os
from contextlib import AbstractContextManager

from pipelines import commands, contract, files, reviews, terminal


def show_listing(
    description: str = "listing files", total: int | None = None
) -> AbstractContextManager[None]:
    """Shows how many files have been listed; or read, where each is read as soon as it's listed."""
    before = reviews.SEEN["listed"]
    return terminal.progress(lambda: (description, reviews.SEEN["listed"] - before, total))


def show_progress(
    output_dir: str, *, num_reviews: int, num_shards: int
) -> AbstractContextManager[None]:
    """Shows how many files were read and then how many shards have appeared in `output_dir`.

    The shards are the same for every runner; files are counted by those that run in this process.
    """
    before = reviews.SEEN["read"]

    def look() -> terminal.Done:
        begun = sum(".tfrecord" in name for name in files.names(output_dir))
        if begun:
            return "writing shards", begun - 1, num_shards
        read = reviews.SEEN["read"] - before
        return "counting words" if read == num_reviews else "reading files", read, num_reviews

    return terminal.progress(look, seconds=2.0 if files.is_remote(output_dir) else 0.1)


def show_files(folder: str) -> None:
    """Prints how many files each class folder of each split holds."""
    rows = []
    for split in contract.SPLITS:
        _, names, _ = next(os.walk(os.path.join(folder, split)), ("", (), ()))
        for name in sorted(names):
            walk = os.walk(os.path.join(folder, split, name))
            rows.append((split, name, sum(len(inside) for *_, inside in walk)))
    terminal.show(("split", "class", "files"), rows, words=2)


def show(manifest: contract.Manifest, output_dir: str, seconds: float) -> None:
    """Prints what a dataset holds."""
    for name, split in manifest.splits.items():
        for what, count in _findings(split).items():
            if count:
                commands.say(f"{name}, {what}: {count:,}")
    if manifest.bad_files:
        commands.say(f"left out {manifest.bad_files:,}: files that can't be read")
    audit = manifest.audit
    commands.say(
        f"texts in two splits: {audit.leaked_texts:,}; in two classes: {audit.contrary_texts:,}"
    )
    commands.say(f"the reviews in question are named in {audit.file}")
    train = manifest.splits[contract.TRAIN]
    covered = (f"{share:.1%} by {int(number):,}" for number, share in train.coverage.items())
    commands.say(f"tokens of train covered by its most frequent words: {', '.join(covered)}")
    lengths = (
        f"{count:,} of {bin}" for bin, count in train.token_length_histogram.items() if count
    )
    commands.say(f"reviews of train by their tokens: {', '.join(lengths)}")
    terminal.show(
        ("split", "reviews", "examples", "tokens", "OOV", "median", "shards"),
        (_row(name, split) for name, split in manifest.splits.items()),
    )
    commands.say(
        f"wrote {output_dir} in {seconds:.1f} s; "
        f"vocabulary: {manifest.vocabulary.size:,} tokens, counting padding and OOV"
    )


def _row(name: str, split: contract.Split) -> tuple[str | int, ...]:
    return (
        name,
        split.found,
        split.examples,
        split.tokens,
        f"{split.oov_tokens / split.tokens:.2%}",
        split.token_lengths["50%"],
        len(split.shards),
    )


def _findings(split: contract.Split) -> dict[str, int]:
    return {
        "repeats of another review": split.found - split.distinct_texts,
        "dropped since a later split has their text": split.dropped_leaked,
        "dropped since they repeat another": split.dropped_duplicates,
        "not in the encoding, decoded with replacement": split.undecodable,
        "without words, kept as one OOV token": split.without_tokens,
        "shorter than --min_tokens": split.short,
    }
