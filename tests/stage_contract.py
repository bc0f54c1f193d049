"""The contract of every stage.

A stage is built from flags, and is pickled for workers. There it may be called with elements again,
in another order, or in another process, so its output must always be the same. Bad input fails it
with a one-line error.
"""

import dataclasses
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.internal import pickler

from textrecords.errors import BadInput, Failure


@dataclasses.dataclass
class Case:
    """A stage, and what it is tried with.

    Attributes:
      stage: takes the arguments; what it yields or returns is its output.
      arguments: an element, and what else Beam hands over.
      reordered: the same arguments with what has no order in another one, or None if all has one.
      folder: where the stage writes, if it does: that is part of its output.
      spoil: makes the input bad, and has the stage refuse it; None if no input can be bad.
      message: of that refusal.
    """

    stage: Callable[..., Any]
    arguments: tuple[Any, ...]
    reordered: tuple[Any, ...] | None = None
    folder: pathlib.Path | None = None
    spoil: Callable[[], Any] | None = None
    message: str = ""


def check(case: Case) -> None:
    """Fails unless a stage keeps the contract."""
    first = output(case, case.stage, case.arguments)
    assert first, "a stage that gives nothing is not tried"
    assert output(case, case.stage, case.arguments) == first, "another result the second time"
    unpickled = pickler.loads(pickler.dumps(case.stage))
    assert output(case, unpickled, case.arguments) == first, "another result in a worker"
    if case.reordered is not None:
        assert plain(case.reordered) != plain(case.arguments)
        assert output(case, case.stage, case.reordered) == first, "the order makes a difference"
    if case.spoil is not None:
        case.spoil()
        with pytest.raises((BadInput, Failure), match=case.message) as error:
            output(case, unpickled, case.arguments)
        assert "\n" not in str(error.value)


def output(case: Case, stage: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    """Returns the outputs and files of a stage in a comparable form."""
    result = stage(*arguments)
    given = [*map(plain, result)] if isinstance(result, Iterator) else plain(result)
    written = {}
    if case.folder is not None:
        files = (path for path in sorted(case.folder.rglob("*")) if path.is_file())
        written = {path.name: path.read_bytes() for path in files}
    return (given, written) if given not in (None, []) or written else None


def plain(value: Any) -> Any:
    """Takes what is compared by its identity apart."""
    if isinstance(value, beam.pvalue.TaggedOutput):
        return value.tag, plain(value.value)
    if isinstance(value, np.ndarray):
        return value.tolist()
    if dataclasses.is_dataclass(value):
        return {
            field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)
        }
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return value
