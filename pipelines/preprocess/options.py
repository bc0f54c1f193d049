"""The flags of this command that shape no data."""

import dataclasses
from typing import Literal

from textrecords.command_line import flag

# Which share of the files may be bad, by `--on_bad_file`.
MAX_BAD = {"skip": 0.01, "fail": 0.0}


@dataclasses.dataclass(frozen=True)
class Options:
    """Where the input and the dataset lie, and when and how the dataset is made."""

    input: str = flag("a folder that holds train/ and test/", metavar="DIR")
    output: str = flag("the folder to write, or to replace whole", metavar="DIR")
    force: bool = flag("run even if nothing has changed", False)
    if_needed: bool = flag("keep a dataset of this input, whatever its flags", False)
    on_bad_file: Literal[tuple(MAX_BAD)] = flag(
        "what can't be read, or is larger than 10 MB: leave out up to 1%%, or none", "skip"
    )
    runner: str = flag("of Beam; DirectRunner is the local engine", "DirectRunner")

    @property
    def max_bad(self) -> float:
        """Which share of the files may be bad."""
        return MAX_BAD[self.on_bad_file]
