"""Reduces what Beam does for every pipeline and stage, however little there is to process."""

import contextlib
import functools
import gc
import types
from collections.abc import Callable, Iterator
from typing import Any

from apache_beam.runners.portability.fn_api_runner import worker_handlers
from apache_beam.runners.worker import opcounters, statesampler
from apache_beam.transforms import core, userstate

from textrecords import app, imports

SAMPLING_MS = 10  # between samples of what a stage does
# New objects before Python looks for cycles among them; elements of a pipeline have none.
GARBAGE_THRESHOLD = 50_000

_OperationCounters = opcounters.OperationCounters

Arguments = tuple[list[str], list[Any]]  # names, and default values


@contextlib.contextmanager
def reduced() -> Iterator[None]:
    """Makes pipelines start sooner, and the stages of the local engine start and end sooner."""
    sampler = functools.partial(statesampler.StateSampler, sampling_period_ms=SAMPLING_MS)
    arguments = remember(core.get_function_args_defaults)
    with (
        # The end of a stage waits for a thread that takes samples, by default every 200 ms.
        imports.replaced(statesampler, "StateSampler", sampler),
        # A stage here runs once, so that a cache of its side inputs, whose sizes Beam measures,
        # gains nothing.
        imports.replaced(worker_handlers, "STATE_CACHE_SIZE_MB", 0),
        imports.replaced(opcounters, "OperationCounters", _counters_without_sizes),
        imports.replaced(core, "get_function_args_defaults", arguments),
        imports.replaced(userstate, "get_dofn_specs", functools.cache(userstate.get_dofn_specs)),
        # Beam would import it to find that a command isn't a notebook.
        imports.without(*["IPython"] * app.is_command()),
        _less_garbage_collection(),
    ):
        yield


def _counters_without_sizes(*args: Any, **kwargs: Any) -> opcounters.OperationCounters:
    """Returns counters of a stage's elements that count, but don't estimate their size.

    For an estimate, Beam encodes the first elements of each stage. Here these are most of them,
    since an element is a list of thousands.
    """
    counters = _OperationCounters(*args, **kwargs)
    counters.coder_impl = _NO_SIZES
    return counters


class _NoSizes:
    def get_estimated_size_and_observables(self, value: Any) -> tuple[int, list[Any]]:
        return 0, []


_NO_SIZES = _NoSizes()


@contextlib.contextmanager
def _less_garbage_collection() -> Iterator[None]:
    before = gc.get_threshold()
    if before[0]:  # otherwise it's turned off
        gc.set_threshold(max(before[0], GARBAGE_THRESHOLD), *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


def remember(inspect: Callable[[Callable], Arguments]) -> Callable[[Callable], Arguments]:
    """Returns a function that inspects each method once, whichever objects it's bound to.

    Beam inspects all methods of each `DoFn` half a dozen times: 20,000 inspections of 300 methods
    for this project's pipeline, half of the time to build it.
    """
    known: dict[Callable, Arguments] = {}

    def arguments(function: Callable) -> Arguments:
        if not isinstance(function, types.MethodType):
            return inspect(function)
        method = function.__func__
        if method not in known:
            known[method] = inspect(function)
        names, defaults = known[method]
        return [*names], [*defaults]

    return arguments
