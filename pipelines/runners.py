"""Runs pipelines on Beam's engines, and reports their failures."""

import contextlib
import functools
import tempfile
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import (
    DirectOptions,
    GoogleCloudOptions,
    PipelineOptions,
    StandardOptions,
)
from apache_beam.runners.runner import create_runner

from pipelines import dataflow, helpers, overhead, portable
from textrecords import command_line, imports, signals, storage
from textrecords.errors import BadInput, Failure

# Beam's DirectRunner tries to download an engine first, so which one it is depends on the network.
LOCAL_RUNNERS = ("directrunner", "switchingdirectrunner", "fnapirunner")
# Flags that Beam's local engines can't take, with this value or any, and why.
UNUSABLE = {
    "direct_running_mode": ("multi_threading", "Beam fails with it; use multi_processing"),
    "direct_runner_bundle_repeat": (True, "tf.Transform can only write once"),
    "runtime_type_check": (True, "Beam's check doesn't support stages with tagged outputs"),
    "performance_runtime_type_check": (
        True,
        "Beam's check doesn't support stages with tagged outputs",
    ),
    "profile_cpu": (True, "Beam's local engine fails with it; use for example py-spy"),
    "profile_memory": (True, "Beam's local engine fails with it; use for example memray"),
}
IN_PROCESS_RUNNERS = ("fnapirunner", "bundlebaseddirectrunner")


class _Options(PipelineOptions):
    """Beam's options, which keep their views: Beam asks for them a thousand times per pipeline."""

    @functools.cache  # noqa: B019, there are two objects in a command
    def view_as(self, cls: type[PipelineOptions]) -> PipelineOptions:
        return super().view_as(cls)


def parse_options(runner: str, flags: list[str], command: str) -> PipelineOptions:
    """Returns Beam's options for `command`; raises `BadInput` for a flag that can't be used."""

    def refuse(message: str) -> None:
        raise BadInput(f"{message} (see {command_line.help_command(command)})")

    parsers: list[Any] = []
    PipelineOptions([]).get_all_options(add_extra_args_fn=parsers.append)
    parsers[0].error = refuse
    _, unknown = parsers[0].parse_known_args(flags)
    if unknown:
        refuse(f"neither this command nor Beam has {' '.join(unknown)}")
    name = "FnApiRunner" if runner.lower() in LOCAL_RUNNERS else runner
    try:
        create_runner(name)
    except (AttributeError, ImportError, ValueError) as error:
        refuse(f"--runner {runner}: {error}")
    options = _Options(flags, runner=name)
    given = options.get_all_options()
    if given["no_wait_until_finish"]:
        refuse("--no_wait_until_finish: the output has to be checked at the end of the job")
    if given["direct_num_workers"] < 0:
        refuse(f"--direct_num_workers {given['direct_num_workers']}: give 1, or 0 for all cores")
    for flag, (value, why) in UNUSABLE.items():
        if _runs_here(options) and given[flag] and value in (True, given[flag]):
            refuse(f"--{flag}: {why}")
    if dataflow.is_chosen(options):
        if missing := dataflow.missing_flag(options):
            refuse(f"--runner {runner} needs --{missing}")
        dataflow.ship_code(options)
    portable.set_up(options)
    return options


def run(
    build: Callable[[beam.Pipeline, str], None], options: PipelineOptions, *, uses_gpu: bool = False
) -> None:
    """Builds a pipeline, runs it, and waits for its end.

    Args:
      build: adds the stages to the given pipeline; it also gets a folder for temporary files, which
        all workers see and which is removed at the end.
      options: what `parse_options` returns.
      uses_gpu: whether stages are faster on a GPU.

    Raises:
      BadInput: if an engine is unavailable or refuses the pipeline, or as a stage does.
      Failure: if the job fails, or as a stage does.
    """
    try:
        with (
            imports.quiet_logs(),
            overhead.reduced(),
            _helpers(options, uses_gpu),
            _temporary_folder(options) as temp_dir,
        ):
            pipeline = _pipeline(options)
            with signals.delayed():  # modules that are loaded meanwhile can ignore them
                build(pipeline, temp_dir)
            if dataflow.is_chosen(options):
                dataflow.run(pipeline, options)
            elif _runs_here(options):
                pipeline.run().wait_until_finish()
            else:
                portable.run(pipeline)
    except (BadInput, Failure) as error:  # without the name of the stage that Beam adds
        raise type(error)(str(error).partition(" [while running")[0]) from None
    except RuntimeError as error:  # as text, from a worker in another process
        raise portable.error_of_ours(str(error)) or error from None


def _helpers(options: PipelineOptions, uses_gpu: bool) -> contextlib.AbstractContextManager[None]:
    """Returns the context of helpers, if this process executes the stages alone."""
    local = options.view_as(DirectOptions)
    alone = local.direct_num_workers == 1 and local.direct_running_mode == "in_memory"
    if _runs_here(options) and alone:
        return helpers.started(uses_gpu)
    return contextlib.nullcontext()


def _runs_here(options: PipelineOptions) -> bool:
    """Returns whether this process executes the stages."""
    runner = options.view_as(StandardOptions).runner
    return runner.rpartition(".")[2].lower() in IN_PROCESS_RUNNERS


def _pipeline(options: PipelineOptions) -> beam.Pipeline:
    try:
        return beam.Pipeline(options=options)
    except ValueError as error:  # from Beam's checks of flags, some of which use the network
        raise BadInput(" ".join(str(error).split())) from None


@contextlib.contextmanager
def _temporary_folder(options: PipelineOptions) -> Iterator[str]:
    shared = options.view_as(GoogleCloudOptions).temp_location
    if shared is None or not storage.is_remote(shared):
        # After a failure, a thread may still be writing to it.
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            yield folder
        return
    folder = f"{shared.rstrip('/')}/textrecords-{uuid.uuid4().hex}"
    try:
        yield folder
    finally:
        storage.remove_tree(folder)
