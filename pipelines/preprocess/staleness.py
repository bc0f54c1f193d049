"""Whether a dataset is up to date with its input."""

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
from textrecords import spec, storage, terminal, text_source
from textrecords.dataset import open_dataset
from textrecords.errors import BadInput
from textrecords.manifest import DataFlags, Manifest
from textrecords.text_source import Unread

LISTED_HERE = 1_000_000  # files: half a minute in Cloud Storage, where a job takes minutes to start
ListAll = Callable[[Input], Listed]


def is_up_to_date(
    options: Options, given: DataFlags, limits: Limits, list_elsewhere: ListAll | None = None
) -> bool:
    """Tells whether the dataset that is there can stay.

    Args:
      options: the flags that shape no data.
      given: those that do, as they were typed.
      limits: how many files may be bad.
      list_elsewhere: has workers list an input that is too large for this process, if there are
        any.

    Raises:
      BadInput: if `--if_needed` finds no manifest that it can read, or can't make it again with
        its own flags. It looks at no sums, since what reads the dataset does.
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
    """Says which flags differ from those of the dataset that is to be replaced, if any do.

    Args:
      options: the flags that shape no data.
      given: those that do, as they were typed.

    Raises:
      BadInput: if it was made of another folder.
    """
    run_info.check_same_input(options.input, options.output, "dataset")
    with contextlib.suppress(BadInput):  # there is none, or a damaged one
        made = open_dataset(options.output, verify=False).manifest.flags
        if differing := _differing(made, word_lists.with_fingerprints(given)):
            terminal.say(f"{options.output} was made with {differing}: making it with other flags")


def _is_made_of(
    made: Manifest, options: Options, limits: Limits, list_elsewhere: ListAll | None
) -> bool:
    """Tells whether a dataset was made of the files that the folder holds now.

    They are read only if their listing isn't the one from when the dataset was made, or if
    `--check_contents` asks; those that couldn't be read then are tried again in any case.
    """
    number = made.input.files + made.bad_files
    num_files = number + sum(made.skipped.values())
    elsewhere = list_elsewhere if num_files > LISTED_HERE else None
    try:
        tree = find_input(options.input, made.flags)
        if tree.is_tables:
            return _are_tables_the_same(tree, made, options, limits, here=not list_elsewhere)
        with summary.show_listing():
            # Once there are more than there were, there is no need to know how many.
            found = (
                elsewhere(tree)
                if elsewhere
                else tree.check_listed(places.list_here(tree.places, tree.source, number + 1))
            )
    except BadInput:
        return False
    # What is left out shapes no record, so it is no need to make them again.
    same_skipped = options.if_needed or found.skipped == made.skipped
    # Much faster to tell than the fingerprint.
    same_number = found.num_reviews == number
    if not (same_skipped and same_number and _few_unfit(made, limits)):
        return False
    listed = KeptListing.of(tree.source, found.files, made)
    known = listed.is_kept_in(options.output)
    if elsewhere and not known and not options.check_contents:
        return False  # it's too much to be read here
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
    """As `_is_made_of`.

    Tables are read only if one has another size or time, and then only `here`, not on workers.
    """
    if not _few_unfit(made, limits):
        return False
    listed = KeptListing.of(tables.source, tables.files(), made)
    known = listed.is_kept_in(options.output)
    if known and not options.check_contents:
        return True
    if not here and not options.check_contents:
        return False  # it may be too much to be read here
    with summary.show_listing("reading rows", made.input.files + made.bad_files):
        unchanged = tables.is_made_of(made)
    if unchanged and not known:
        _keep(listed, options.output)
    return unchanged


def _few_unfit(made: Manifest, limits: Limits) -> bool:
    """Tells whether no more than may be of what a dataset was made of was unfit."""
    number = made.input.files + made.bad_files
    few_bad = made.bad_files <= limits.max_bad(number)
    return few_bad and sum(made.misread_files.values()) <= limits.max_bad_texts(number)


def _keep(listed: KeptListing, dataset_dir: str) -> None:
    with contextlib.suppress(OSError):  # a folder that can't be written: all is read again
        listed.keep_in(dataset_dir)


def _are_bad_still(dataset_dir: str, made: Manifest, source: text_source.Source) -> bool:
    """Tells whether the files that couldn't be read for a dataset can't be read now, either."""
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
    """Names the flags that differ, as they were typed but for lists of words."""
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
