"""The flags of this command that shape no data."""

import dataclasses
from typing import Literal

from textrecords.command_line import flag
from textrecords.field_types import Path

# Which share of the files may be bad, by `--on_bad_file`.
MAX_BAD = {"skip": 0.01, "fail": 0.0}
# Which share of the files may be in another encoding than `--encoding`, by `--on_bad_text`.
MAX_BAD_TEXTS = {"replace": 0.01, "replace_all": 1.0, "fail": 0.0}
# So many may be where that is more: a stray byte is no reason to refuse a small folder. If they are
# more than half of its files, though, it isn't in the encoding.
FEW = 10


@dataclasses.dataclass(frozen=True)
class Options:
    """Where the input and the dataset lie, and when and how the dataset is made."""

    input: Path = flag(
        "a folder that holds train/ and test/, or classes for --test to split", metavar="DIR"
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
    on_bad_file: Literal[tuple(MAX_BAD)] = flag(
        "what can't be read, or is larger than 10 MB: leave out up to 1%%, or none", "skip"
    )
    on_bad_text: Literal[tuple(MAX_BAD_TEXTS)] = flag(
        "bytes that aren't in the encoding: replace them in up to 1%% of the files (or in "
        f"{FEW}, but no more than half), in all, or in none",
        "replace",
    )
    runner: str = flag("of Beam; DirectRunner is the local engine", "DirectRunner")

    @property
    def max_bad(self) -> float:
        """Which share of the files may be bad."""
        return MAX_BAD[self.on_bad_file]

    def max_bad_texts(self, num_reviews: int) -> float:
        """Returns how many of so many files may be in another encoding."""
        most = MAX_BAD_TEXTS[self.on_bad_text] * num_reviews
        return max(most, min(FEW, num_reviews / 2)) if self.on_bad_text == "replace" else most
