"""The flags of this command that don't shape the data."""

import dataclasses
from typing import Annotated

from annotated_types import Predicate

from textrecords.command_line import flag
from textrecords.field_types import Path


@dataclasses.dataclass(frozen=True)
class Options:
    """Where the input and the dataset are, and when and how the dataset is made."""

    input: Path = flag(
        "a folder with train/ and test/, or with class folders for --test to split; or a table, a "
        "quoted pattern of tables, or a folder of tables named by split",
        metavar="DIR|TABLE",
    )
    output: Path = flag("the folder to write or to replace as a whole", metavar="DIR")
    force: bool = flag("run even if nothing has changed", False)
    if_needed: bool = flag(
        "keep a dataset of this input whatever its flags, without comparing its SHA-256",
        False,
    )
    check_contents: bool = flag(
        "read all files to detect changes, even if no path, size or time has changed", False
    )
    license: Annotated[str, Predicate(str.isprintable)] | None = flag(
        "URL of the texts' license, for croissant.json", None, metavar="URL"
    )
    no_resume: bool = flag("rewrite all shards instead of resuming an interrupted run", False)
    runner: str = flag("Beam's runner; DirectRunner is the local engine", "DirectRunner")
