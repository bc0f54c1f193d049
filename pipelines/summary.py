"""Progress of preprocessing, and tables that summarize folders and datasets."""

import os
import re
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from textrecords import atomic, spec, storage, terminal, text_source
from textrecords.manifest import DataFlags, Manifest, Shard, Split

if TYPE_CHECKING:
    from pipelines.preprocess import find_input

SHARD = re.compile(r"^(\w+)-\d+-of-(\d+)\.tfrecord")
NAMED = 10  # of the classes that a split lacks


def show_listing(
    description: str = "listing files", total: int | None = None
) -> AbstractContextManager[None]:
    """Shows how many files have been listed, or read if each is read as soon as it's listed."""
    before = text_source.SEEN["listed"]
    return terminal.progress(lambda: (description, text_source.SEEN["listed"] - before, total))


def show_progress(output_dir: str) -> AbstractContextManager[None]:
    """Shows how many files were listed, then read, and how many shards are in `output_dir`.

    Shards are counted for every runner; files only for runners in this process.
    """
    before = text_source.SEEN.copy()

    def look() -> terminal.Done:
        shards = [*filter(None, map(SHARD.search, storage.names(output_dir)))]
        if shards:
            total = sum(int(number) for number in dict(each.groups() for each in shards).values())
            return "writing shards", len(shards) - 1, total
        seen = text_source.SEEN - before
        if not seen["read"]:
            return "listing files", seen["listed"], None
        read_all = seen["read"] == seen["listed"]
        return "counting words" if read_all else "reading files", seen["read"], seen["listed"]

    return terminal.progress(look, seconds=2.0 if storage.is_remote(output_dir) else 0.1)


def show_reused(manifest: Manifest, output_dir: str) -> None:
    """Prints how many shards of a new dataset, in its temporary folder, were reused."""
    if number := len(atomic.noted(output_dir, atomic.REUSED)):
        total = sum(len(split.shards) for split in manifest.splits.values())
        terminal.say(f"reused {number:,} of {total:,} shards from an interrupted run")


def show_input(found: "find_input.Input", flags: DataFlags) -> None:
    """Prints notes on an input."""
    for line in found.notes():
        terminal.say(line)
    if spec.TEST not in found.splits and not flags.test:
        terminal.say("no test split: a model can't be evaluated")


def show_files(folder: str) -> None:
    """Prints the number of files in each class folder of each split."""
    rows = []
    for split in spec.SPLITS:
        _, names, _ = next(os.walk(os.path.join(folder, split)), ("", (), ()))
        for name in sorted(names):
            walk = os.walk(os.path.join(folder, split, name))
            rows.append((split, name, sum(len(inside) for *_, inside in walk)))
    terminal.show(("split", "class", "files"), rows, words=2)


def show(manifest: Manifest, items: str, output_dir: str, seconds: float) -> None:
    """Prints a summary of a dataset that was made from files or rows."""
    for why, count in manifest.skipped.items():
        terminal.say(f"skipped {count:,}: {why}")
    for name, split in manifest.splits.items():
        counts = ", ".join(f"{count:,} {c}" for c, count in split.class_examples.items())
        counts = counts or f"{split.examples:,} reviews"
        terminal.say(f"{name}: {counts}")
        for what, count in _findings(split).items():
            if count:
                terminal.say(f"{name}, {what}: {count:,}")
    if manifest.bad_files:
        terminal.say(f"skipped {manifest.bad_files:,}: {items} that can't be read")
    show_misread(manifest.misread_files, manifest.flags.encoding)
    audit = manifest.audit
    terminal.say(
        f"texts in two splits: {audit.leaked_texts:,} ({audit.leaked_by_words:,} by their words); "
        f"in two classes: {audit.conflicting_texts:,} ({audit.conflicting_by_words:,})"
    )
    if audit.shards:
        terminal.say(f"these reviews are named in {named(audit.shards)}")
    train = manifest.splits[spec.TRAIN]
    covered = (f"{share:.1%} by {int(number):,}" for number, share in train.coverage.items())
    terminal.say(f"tokens of train covered by its most frequent words: {', '.join(covered)}")
    lengths = (
        f"{count:,} of {bin}" for bin, count in train.token_length_histogram.items() if count
    )
    terminal.say(f"reviews of train by number of tokens: {', '.join(lengths)}")
    terminal.show(
        ("split", "reviews", "examples", "tokens", "OOV", "median", "shards"),
        (_row(name, split) for name, split in manifest.splits.items()),
    )
    _show_doubts(manifest)
    _show_absent(manifest)
    terminal.say(
        f"wrote {output_dir} in {seconds:.1f} s; "
        f"vocabulary: {manifest.vocabulary.size:,} tokens, counting padding and OOV"
    )


def named(shards: Sequence[Shard]) -> str:
    """Returns the name of a file, or of the first and last of several."""
    return " to ".join(shard.file for shard in (*shards[:1], *shards[1:][-1:]))


def show_misread(misread_files: dict[str, int], encoding: str) -> None:
    """Prints how many files seem to be in encodings other than the one they were read with."""
    for seems, files in misread_files.items():
        terminal.say(f"not in {encoding}, but perhaps in {seems}: {files:,}")


def _show_absent(manifest: Manifest) -> None:
    """Prints the classes that a split lacks."""
    lacks = []
    for name, split in manifest.splits.items():
        absent = [label for label, examples in split.class_examples.items() if not examples]
        if absent:
            more = f" and {len(absent) - NAMED:,} more" if len(absent) > NAMED else ""
            lacks.append(f"{name} has no reviews of {', '.join(absent[:NAMED])}{more}")
    if lacks:
        terminal.say(f"warning: {'; '.join(lacks)}")


def _show_doubts(manifest: Manifest) -> None:
    """Prints a hint if spaces don't seem to separate the words of train."""
    train = manifest.splits[spec.TRAIN]
    if manifest.flags.split == "character":
        return
    if train.token_lengths["50%"] == 1:
        doubt = "most reviews of train are a single token"
    elif manifest.seen_once > train.tokens / 2:
        doubt = "most tokens of train occur there only once"
    else:
        return
    terminal.say(
        f"{doubt}: for a language without spaces between words (Chinese, Japanese, Thai), try "
        "--split character"
    )


def _row(name: str, split: Split) -> tuple[str | int, ...]:
    return (
        name,
        split.found,
        split.examples,
        split.tokens,
        f"{split.oov_tokens / max(1, split.tokens):.2%}",
        split.token_lengths["50%"],
        len(split.shards),
    )


def _findings(split: Split) -> dict[str, int]:
    return {
        "duplicates of another review": split.found - split.distinct_texts,
        "duplicates of another review's words": split.found - split.distinct_by_words,
        "dropped because a later split has their words": split.dropped_leaked,
        "dropped because they are duplicates": split.dropped_duplicates,
        "not in the encoding, decoded as far as possible": split.undecodable,
        "with a byte order mark, which is removed": split.byte_order_marks,
        "with NUL bytes, as in another encoding": split.nul_bytes,
        "with HTML other than <br /> (--strip_html removes it)": split.html,
        "without words, kept as one OOV token": split.without_tokens,
        "shorter than --min_tokens": split.short,
    }
