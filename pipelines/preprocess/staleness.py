"""Checks whether a dataset is up to date with its input."""

import contextlib
import dataclasses
import json
import os
from collections.abc import Callable, Iterator

from pipelines import places, run_info, summary
from pipelines.places import Listed
from pipelines.preprocess import input_tree, word_lists
from pipelines.preprocess.find_input import Input, find_input
from pipelines.preprocess.kept_listing import KeptListing
from pipelines.preprocess.options import Options
from pipelines.tables import table_files
from pipelines.unfit_files import Limits
from textrecords import signals, spec, storage, terminal, text_source
from textrecords.dataset import open_dataset
from textrecords.errors import BadInput
from textrecords.manifest import DataFlags, Manifest
from textrecords.text_source import Unread

LISTED_HERE = 1_000_000  # files: half a minute in Cloud Storage, where a job takes minutes to start
ListAll = Callable[[Input], Listed]


def is_up_to_date(
    options: Options, given: DataFlags, limits: Limits, list_elsewhere: ListAll | None = None
) -> bool:
    """Returns whether the existing dataset can be kept.

    Args:
      options: the flags that don't shape the data.
      given: the flags that do, as typed.
      limits: how many files may be bad.
      list_elsewhere: lists an input that is too large for this process on workers, if there are
        any.

    Raises:
      BadInput: if `--if_needed` can't read the manifest, or the dataset is out of date and has
        other flags. Checksums aren't compared then, since readers of the dataset do.
    """
    flags = word_lists.with_fingerprints(given)
    if not storage.is_file(os.path.join(options.output, spec.MANIFEST)):
        return False
    try:
        made = open_dataset(options.output, verify=not options.if_needed).manifest
    except BadInput:
        if options.if_needed:
            raise
        return False
    if made.flags != flags and not options.if_needed:
        return False
    if made.data_version == spec.DATA_VERSION and _is_made_of(
        made, options, limits, list_elsewhere
    ):
        return True
    if made.flags != flags:
        if not table_files.is_table(options.input):
            input_tree.check_is_folder(options.input)
        raise BadInput(
            f"{options.output} is out of date, and was made with "
            f"{_differing(made.flags, flags)}: run `make preprocess` with the flags you want"
        )
    return False


def check_replaceable(options: Options, given: DataFlags) -> None:
    """Reports which flags differ from those of the dataset to be replaced, if any.

    Args:
      options: the flags that don't shape the data.
      given: the flags that do, as typed.

    Raises:
      BadInput: if it was made from another folder.
    """
    run_info.check_same_input(options.input, options.output, "dataset")
    with contextlib.suppress(BadInput):  # it's missing or damaged
        made = open_dataset(options.output, verify=False).manifest.flags
        if differing := _differing(made, word_lists.with_fingerprints(given)):
            terminal.say(
                f"{options.output} was made with {differing}: rebuilding it with other flags"
            )


def _is_made_of(
    made: Manifest, options: Options, limits: Limits, list_elsewhere: ListAll | None
) -> bool:
    """Returns whether a dataset was made from the current files of the folder.

    They are read only if their listing has changed since the dataset was made, or with
    `--check_contents`; files that couldn't be read then are always tried again.
    """
    number = made.input.files + made.bad_files
    num_files = number + sum(made.skipped.values())
    elsewhere = list_elsewhere if num_files > LISTED_HERE else None
    try:
        tree = find_input(options.input, made.flags)
        if tree.is_tables:
            return _are_tables_the_same(tree, made, options, limits, here=not list_elsewhere)
        with summary.show_listing():
            # Stops once there are more files than before.
            found = (
                elsewhere(tree)
                if elsewhere
                else tree.check_listed(places.list_here(tree.places, tree.source, number + 1))
            )
    except BadInput:
        signals.unmute()
        return False
    # Skipped files don't affect the records, so with --if_needed the dataset can be kept.
    same_skipped = options.if_needed or found.skipped == made.skipped
    # Much faster than the fingerprint.
    same_number = found.num_reviews == number
    if not (same_skipped and same_number and _few_unfit(made, limits)):
        return False
    listed = KeptListing.of(tree.source, found.files, made)
    known = listed.is_kept_in(options.output)
    if elsewhere and not known and not options.check_contents:
        return False  # too much to read here
    if known and not options.check_contents:
        return not made.bad_files or _are_bad_still(options.output, made, tree.source)
    with summary.show_listing("reading files", found.num_reviews):
        unchanged = tree.fingerprint() == made.input
    if unchanged and not known:
        _keep(listed, options.output)
    return unchanged


def _are_tables_the_same(
    tables: Input, made: Manifest, options: Options, limits: Limits, *, here: bool
) -> bool:
    """Does `_is_made_of` for tables.

    They are read only if a size or time has changed, and then only `here`, not on workers.
    """
    if not _few_unfit(made, limits):
        return False
    listed = KeptListing.of(tables.source, tables.files(), made)
    known = listed.is_kept_in(options.output)
    if known and not options.check_contents:
        return True
    if not here and not options.check_contents:
        return False  # it may be too much to read here
    with summary.show_listing("reading rows", made.input.files + made.bad_files):
        unchanged = tables.is_made_of(made)
    if unchanged and not known:
        _keep(listed, options.output)
    return unchanged


def _few_unfit(made: Manifest, limits: Limits) -> bool:
    """Returns whether the unfit files of a dataset's input are within the limits."""
    number = made.input.files + made.bad_files
    few_bad = made.bad_files <= limits.max_bad(number)
    return few_bad and sum(made.misread_files.values()) <= limits.max_bad_texts(number)


def _keep(listed: KeptListing, dataset_dir: str) -> None:
    with contextlib.suppress(
        OSError
    ):  # if the folder can't be written, the next run reads all again
        listed.keep_in(dataset_dir)


def _are_bad_still(dataset_dir: str, made: Manifest, source: text_source.Source) -> bool:
    """Returns whether the files that couldn't be read for a dataset still can't be read."""
    try:
        keys = list(_bad_files(dataset_dir, made))
    except (OSError, ValueError, LookupError, TypeError):  # damaged
        return False
    return not any(source.read_good(map(Unread, keys), {}))


def _bad_files(dataset_dir: str, made: Manifest) -> Iterator[bytes]:
    """Yields the keys of the files that couldn't be read for a dataset."""
    for shard in made.audit.shards:
        with storage.reading(os.path.join(dataset_dir, shard.file)) as lines:
            for finding in map(json.loads, lines):
                if finding["finding"] == spec.BAD_FILE:
                    yield os.fsencode(finding["keys"][0])


def _differing(made: DataFlags, flags: DataFlags) -> str:
    """Returns the flags that differ, as typed, except for files of words."""
    named = []
    for name, value in dataclasses.asdict(made).items():
        if value == getattr(flags, name):
            continue
        if name in ("stop_words", "replacements") and value not in (None, word_lists.BUILT_IN):
            value = "FILE"
        value = " ".join(value) if isinstance(value, tuple) else value
        if value is False and getattr(DataFlags, name) is None:
            named.append(f"--no-{name}")
        elif value is None or value is False:
            named.append(f"no --{name}")
        else:
            named.append(f"--{name}" if value is True else f"--{name} {value}")
    return ", ".join(named)
