"""Whether a dataset is up to date with its input."""

import dataclasses
import os

from pipelines import summary
from pipelines.preprocess import input_tree, word_lists
from pipelines.preprocess.options import Options
from textrecords import spec, storage
from textrecords.dataset import open_dataset
from textrecords.errors import BadInput
from textrecords.manifest import DataFlags, Manifest


def is_up_to_date(options: Options, given: DataFlags) -> bool:
    """Tells whether the dataset that is there can stay.

    Args:
      options: the flags that shape no data.
      given: those that do, as they were typed.

    Raises:
      BadInput: if `--if_needed` finds it damaged, or can't make it again with its own flags.
    """
    flags = word_lists.with_fingerprints(given)
    if not storage.is_file(os.path.join(options.output, spec.MANIFEST)):
        return False
    try:
        made = open_dataset(options.output).manifest
    except BadInput:
        if options.if_needed:
            raise
        return False
    if made.flags != flags and not options.if_needed:
        return False
    if made.data_version == spec.DATA_VERSION and _is_made_of(made, options):
        return True
    if made.flags != flags:
        raise BadInput(
            f"{options.output} is out of date, and was made with "
            f"{_differing(made.flags, flags)}: run `make preprocess` with the flags you want"
        )
    return False


def _is_made_of(made: Manifest, options: Options) -> bool:
    """Tells whether a dataset was made of the files that the folder holds now."""
    try:
        with summary.show_listing():
            tree = input_tree.find_reviews(made.flags.source(options.input), made.flags.classes)
    except BadInput:
        return False
    # What is left out shapes no record, so it is no need to make them again.
    same_left_out = options.if_needed or tree.left_out == made.left_out
    few_bad = made.bad_files <= options.max_bad * tree.num_reviews
    few_misread = sum(made.misread_files.values()) <= options.max_bad_texts(tree.num_reviews)
    # Much faster to tell than the fingerprint.
    same_number = tree.num_reviews == made.input.files + made.bad_files
    if not (same_left_out and few_bad and few_misread and same_number):
        return False
    with summary.show_listing("reading files", tree.num_reviews):
        return tree.fingerprint() == made.input


def _differing(made: DataFlags, flags: DataFlags) -> str:
    """Names the flags that differ, as they were typed but for lists of words."""
    named = []
    for name, value in dataclasses.asdict(made).items():
        if value == getattr(flags, name):
            continue
        if name in ("stop_words", "replacements") and value not in (None, word_lists.BUILT_IN):
            value = "FILE"
        value = " ".join(value) if isinstance(value, tuple) else value
        if value is None or value is False:
            named.append(f"no --{name}")
        else:
            named.append(f"--{name}" if value is True else f"--{name} {value}")
    return ", ".join(named)
