"""What `pipelines.preprocess` shows while it works, and the table at its end."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

from rich import box, console, progress, table
from rich.markup import escape

from pipelines import commands, contract, files, reviews

SECONDS_BETWEEN_LOOKS = 0.2


@contextlib.contextmanager
def show_listing() -> Iterator[None]:
    """Shows how many files have been listed."""
    listing = _shown("listing files", lambda: {"completed": reviews.SEEN["listed"]}, transient=True)
    with listing:
        yield


@contextlib.contextmanager
def show_progress(output_dir: str, *, num_reviews: int, num_shards: int) -> Iterator[None]:
    """Shows how many files were read and then how many shards have appeared in `output_dir`.

    The shards are the same for every runner; files are counted by those that run in this process.
    """
    read_before = reviews.SEEN["read"]

    def look() -> dict[str, Any]:
        begun = sum(".tfrecord" in name for name in files.names(output_dir))
        if begun:
            return {"description": "writing shards", "completed": begun - 1, "total": num_shards}
        read = reviews.SEEN["read"] - read_before
        what = "counting words" if read == num_reviews else "reading files"
        return {"description": what, "completed": read, "total": num_reviews}

    with _shown("reading files", look) as (bar, task):
        yield
        bar.update(task, description="wrote shards", completed=num_shards, total=num_shards)


@contextlib.contextmanager
def _shown(
    description: str, look: Callable[[], dict[str, Any]], *, transient: bool = False
) -> Iterator[tuple[progress.Progress, progress.TaskID]]:
    """Shows a bar that is updated, time and again, with what `look` returns."""
    columns = (
        progress.SpinnerColumn(),
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeElapsedColumn(),
    )
    done = threading.Event()
    with progress.Progress(*columns, transient=transient) as bar:
        task = bar.add_task(description, total=None)

        def watch() -> None:
            while not done.wait(SECONDS_BETWEEN_LOOKS):
                bar.update(task, **look())

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        try:
            yield bar, task
        finally:
            done.set()
            thread.join()


def show(manifest: contract.Manifest, output_dir: str, seconds: float) -> None:
    """Prints what a dataset holds."""
    shown = table.Table(box=box.SIMPLE)
    shown.add_column("split", no_wrap=True)
    shown.add_column("of which")  # wraps, however many classes there are
    for name in ("reviews", "tokens", "OOV", "median", "shards"):
        shown.add_column(name, justify="right", no_wrap=True)
    for name, split in manifest.splits.items():
        classes = (f"{count:,} {commands.one_line(c)}" for c, count in split.class_examples.items())
        shown.add_row(
            name,
            escape(", ".join(classes)),
            f"{split.examples:,}",
            f"{split.tokens:,}",
            f"{split.oov_tokens / split.tokens:.2%}",
            f"{split.token_lengths['50%']:,}",
            f"{len(split.shards):,}",
        )
    console.Console().print(shown)
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
    commands.say(f"vocabulary: {manifest.vocabulary.size:,} tokens, counting padding and OOV")
    covered = (f"{share:.1%} by {int(number):,}" for number, share in train.coverage.items())
    commands.say(f"tokens of train covered by its most frequent words: {', '.join(covered)}")
    lengths = (
        f"{count:,} of {bin}" for bin, count in train.token_length_histogram.items() if count
    )
    commands.say(f"reviews of train by their tokens: {', '.join(lengths)}")
    commands.say(f"wrote {output_dir} in {seconds:.1f} s")


def _findings(split: contract.Split) -> dict[str, int]:
    return {
        "repeats of another review": split.found - split.distinct_texts,
        "dropped since a later split has their text": split.dropped_leaked,
        "dropped since they repeat another": split.dropped_duplicates,
        "not in the encoding, decoded with replacement": split.undecodable,
        "without words, kept as one OOV token": split.without_tokens,
        "shorter than --min_tokens": split.short,
    }
