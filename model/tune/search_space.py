"""The search space: some flags of `model.train`, and the values to try for each."""

import dataclasses
import itertools
import math
import random
from collections.abc import Iterator, Sequence
from typing import Any

from model.training import flags, settings
from textrecords import command_line
from textrecords.dataset import Dataset
from textrecords.errors import BadInput
from textrecords.model_folder import Network, Training

SWITCH = {"yes": "--{}", "no": "--no-{}"}
MAX_CORNERS = 1000  # combinations that are checked before the first trial
AFTERWARDS = {"calibrate", "choose_threshold"}  # settings that don't affect a trial
LOG_FROM = 10  # a range whose ends have at least this ratio is searched on a log scale


@dataclasses.dataclass(frozen=True)
class Tried:
    """The values to try for a flag: a list, or the two ends of a range."""

    values: tuple[Any, ...]
    is_range: bool

    @property
    def by_logarithm(self) -> bool:
        """Whether a range is searched on a log scale, as rates are."""
        return self.is_range and 0 < self.values[0] * LOG_FROM <= self.values[1]


def parse(texts: Sequence[str]) -> dict[str, Tried]:
    """Parses the values to try for each flag.

    Args:
      texts: `name=1,2,3`, a list, or `name=1..3`, a range; for a switch, `name=yes,no`.

    Returns:
      The values to try, by the name of the flag.

    Raises:
      BadInput: if a name isn't a flag of network or training, or a value is invalid for it.
    """
    over = dict(map(_parse, texts))
    if len(over) < len(texts):
        raise BadInput("--over: a flag is given twice")
    return over


def _parse(text: str) -> tuple[str, Tried]:
    name, _, given = text.partition("=")
    is_range = ".." in given
    try:
        values = tuple(_value(name, each) for each in given.split(".." if is_range else ","))
    except BadInput as error:
        raise BadInput(f"--over {text}: {error}") from None
    numbers = all(type(value) in (int, float) for value in values)
    if is_range and not (numbers and len(values) == 2 and values[0] < values[1]):
        raise BadInput(f"--over {text}: give a range as two numbers, the smaller one first")
    if len(set(values)) < len(values):
        raise BadInput(f"--over {text}: a value is given twice")
    return name, Tried(values, is_range)


def _value(name: str, text: str) -> Any:
    """Parses the value of a flag as `model.train` does."""

    def read(argv: list[str]) -> Any:
        return getattr(flags.parse_args(command_line.ArgumentParser(prog="model.tune"), argv), name)

    if name not in {field.name for of in (Network, Training) for field in dataclasses.fields(of)}:
        raise BadInput(f"model.train has no setting {name}")
    if type(read([])) is not bool:
        return read([f"--{name}={text}"])
    if text not in SWITCH:
        raise BadInput(f"{name} is a switch: give {name}=yes,no")
    return read([SWITCH[text].format(name)])


@dataclasses.dataclass(frozen=True)
class Space:
    """All settings of a search.

    Attributes:
      dataset: the records of all trials.
      network, training: the fixed settings; those in `over` are replaced.
      over: the values to try, by the name of the flag.
    """

    dataset: Dataset
    network: Network
    training: Training
    over: dict[str, Tried]

    def settings(self, values: dict[str, Any]) -> tuple[Network, Training]:
        """Returns network and training for the values of the searched flags."""
        network, training = (
            dataclasses.replace(
                of, **{name: values[name] for name in self.over if hasattr(of, name)}
            )
            for of in (self.network, self.training)
        )
        return network, training

    def size(self) -> float:
        """Returns the number of combinations: infinity if there is a range."""
        if any(tried.is_range for tried in self.over.values()):
            return math.inf
        return math.prod(len(tried.values) for tried in self.over.values())

    def check(self) -> None:
        """Raises `BadInput` if values can't be combined with each other or with the records.

        Of more than `MAX_CORNERS` combinations only that many are checked: each value, and random
        ones.
        """
        if chosen := AFTERWARDS & self.over.keys():
            raise BadInput(
                f"--over {min(chosen)}: it's chosen after a training, so no trial differs"
            )
        for values in self._corners():
            try:
                settings.check_compatible(*self.settings(values))
                settings.configure(self.dataset, *self.settings(values))
            except BadInput as error:
                tried = " ".join(f"{name}={value}" for name, value in values.items())
                raise BadInput(f"--over, at {tried}: {error}") from None

    def _corners(self) -> Iterator[dict[str, Any]]:
        """Yields combinations of the values of lists and the ends of ranges, in a fixed order."""
        tried = [each.values for each in self.over.values()]
        if math.prod(map(len, tried)) <= MAX_CORNERS:
            combinations = itertools.product(*tried)
        else:
            longest, rng = max(map(len, tried)), random.Random(0)
            rows = ([values[n % len(values)] for values in tried] for n in range(longest))
            randomly = ([*map(rng.choice, tried)] for _ in itertools.count())
            combinations = itertools.islice(itertools.chain(rows, randomly), MAX_CORNERS)
        for values in combinations:
            yield dict(zip(self.over, values, strict=True))

    def identity(self) -> dict[str, Any]:
        """Returns what has to be unchanged for a search to resume."""
        return {
            "records": self.dataset.manifest.sha256,
            "over": {name: list(tried.values) for name, tried in self.over.items()},
            "ranges": [name for name, tried in self.over.items() if tried.is_range],
            "settings": {**vars(self.network), **vars(self.training)},
        }
