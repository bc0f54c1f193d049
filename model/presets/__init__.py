"""Flags of `model.train` in files: one flag per line, and comments after `#`."""

import pathlib
import shlex

from textrecords.errors import BadInput

TUTORIAL = "tutorial"
FOLDER = pathlib.Path(__file__).parent


def names() -> list[str]:
    """Returns the names of the built-in presets."""
    return sorted(path.stem for path in FOLDER.glob("*.txt"))


def read(preset: str) -> list[str]:
    """Returns the flags of a preset, given by name or as a file; raises `BadInput`."""
    path = FOLDER / f"{preset}.txt" if preset in names() else pathlib.Path(preset)
    try:
        return shlex.split(path.read_text(encoding="utf-8"), comments=True)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise BadInput(
            f"--preset {preset} can't be read ({why}): name a file, or {' or '.join(names())}"
        ) from None
