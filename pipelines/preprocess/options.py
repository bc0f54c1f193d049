"""The flags of this command that shape no data."""

import dataclasses
from typing import Annotated

from annotated_types import Predicate

from textrecords.command_line import flag
from textrecords.field_types import Path


@dataclasses.dataclass(frozen=True)
class Options:
    """Where the input and the dataset lie, and when and how the dataset is made."""

    input: Path = flag(
        "a folder that holds train/ and test/, or classes for --test to split; or a table, a "
        "quoted pattern of tables, or a folder of tables named by split",
        metavar="DIR|TABLE",
    )
    output: Path = flag("the folder to write, or to replace whole", metavar="DIR")
    force: bool = flag("run even if nothing has changed", False)
    if_needed: bool = flag(
        "keep a dataset of this input, whatever its flags; what reads it compares its SHA-256s",
        False,
    )
    check_contents: bool = flag(
        "read all files to see if they have changed, even if no path, size or time has", False
    )
    license: Annotated[str, Predicate(str.isprintable)] | None = flag(
        "of the texts, by its URL, for croissant.json", None, metavar="URL"
    )
    no_resume: bool = flag("write all shards anew, whatever was stopped", False)
    runner: str = flag("of Beam; DirectRunner is the local engine", "DirectRunner")
