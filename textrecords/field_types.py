"""Field types of flags, manifests and configs, with their limits."""

import argparse
from typing import Annotated

from annotated_types import Interval

MAX_INT = 2**31 - 1  # of a flag: TensorFlow counts many things in 32 bits

Count = Annotated[int, Interval(ge=0, le=MAX_INT)]
Size = Annotated[int, Interval(ge=1, le=MAX_INT)]
VocabularySize = Annotated[int, Interval(ge=3, le=MAX_INT)]  # padding, OOV, and a token
NumShards = Annotated[int, Interval(ge=1, le=99_999)]  # five digits in a file's name
Share = Annotated[float, Interval(ge=0, lt=1)]
Path = Annotated[str, "path"]  # of a flag: a leading `~` is the home folder
Switch = Annotated[bool, argparse.BooleanOptionalAction]  # --name or --no-name
