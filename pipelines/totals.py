"""Adds up the results of workers."""

import functools
import operator
from collections.abc import Iterable
from typing import Any

import apache_beam as beam


def add_up(parts: Iterable[Any]) -> Any:
    """Returns the sum of one or more elements that support `+`."""
    return functools.reduce(operator.add, parts)


def total(name: str, parts: beam.PCollection) -> beam.PCollection:
    """Returns the sum of all elements, computed in a stage with this name."""
    return parts | name >> beam.CombineGlobally(add_up).without_defaults()
