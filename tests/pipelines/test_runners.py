"""Beam's flags and runners: each runs, or is refused in one line."""

import gc
import os
import subprocess
import sys
import tempfile

import apache_beam as beam
import pytest
from apache_beam import coders
from apache_beam.runners.portability.fn_api_runner import worker_handlers
from apache_beam.runners.worker import opcounters, statesampler
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.transforms import core, userstate
from apache_beam.transforms.window import GlobalWindows
from apache_beam.utils.counters import CounterFactory
from tiny_tree import write

from pipelines import overhead, runners
from pipelines.preprocess import __main__ as preprocess
from pipelines.preprocess import pipeline  # noqa: F401, which loads TensorFlow before Beam's options
from textrecords import spec
from textrecords.errors import BadInput, Failure

pytestmark = pytest.mark.slow

TREE = {f"train/{name}/{n}.txt": f"{name} film {n}" for name in ("a", "b") for n in range(3)}
# The flags in Beam's help for all runners and for the local engine, one at a time.
LOCAL = [
    *("--no_direct_runner_use_stacked_bundle", "--direct_runner_bundle_repeat=0"),
    *("--direct_num_workers=2", "--direct_num_workers=0", "--direct_running_mode=in_memory"),
    *("--direct_embed_docker_python", "--direct_test_splits={}", "--disable_beartype"),
    *("--type_check_strictness=DEFAULT_TO_ANY", "--type_check_additional=all"),
    *("--no_pipeline_type_check", "--profile_location=x"),
    *("--exclude_infer_dataclass_field_type", "--allow_non_deterministic_key_coders"),
    *("--allow_unsafe_triggers", "--force_cloudpickle_deterministic_coders", "--streaming"),
    *(
        "--resource_hint=min_ram=1MB",
        "--auto_unique_labels",
        "--number_of_worker_harness_threads=1",
    ),
    *("--profile_sample_rate=0.5", "--experiments=x"),
]


def run(folder, *flags):
    write(folder / "in", TREE)
    preprocess.main(["--input", str(folder / "in"), "--output", str(folder / "out"), *flags])


@pytest.mark.parametrize("flag", LOCAL)
def test_each_flag_of_the_local_engine_runs(tmp_path, flag):
    run(tmp_path, flag)
    assert (tmp_path / "out" / spec.MANIFEST).exists()


BUILDING = """
import os, signal
from textrecords import app, imports
with imports.quiet():
    from pipelines import runners

def build(pipeline, temp_dir):
    os.kill(os.getpid(), signal.SIGINT)
    print("built")

def main(argv):
    runners.run(build, runners.parse_options("DirectRunner", [], "test"))

app.run(main)
"""


def test_a_signal_waits_until_a_pipeline_is_built():
    """Modules that are loaded meanwhile can lose the exception."""
    done = subprocess.run([sys.executable, "-c", BUILDING], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "built\n", "stopped\n")


def test_a_thread_that_goes_on_after_a_failure_does_not_hide_it(tmp_path, monkeypatch):
    """It may write a temporary file when their folder has been emptied."""
    rmdir = os.rmdir

    def build(_, temp_dir):
        def write_and_remove(*args, **kwargs):
            with open(f"{temp_dir}/late", "w"):
                pass
            rmdir(*args, **kwargs)

        monkeypatch.setattr(os, "rmdir", write_and_remove)
        raise Failure("the error")

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    options = runners.parse_options("DirectRunner", [], "pipelines.preprocess")
    with pytest.raises(Failure, match=r"^the error$"):
        runners.run(build, options)


def test_beam_inspects_each_method_once_for_all_its_objects():
    class Several(beam.DoFn):
        def __init__(self, default):
            self.process = lambda element, more=default: [element]

        def setup(self, a=1, *, b=2):
            pass

    asked = []

    def inspect(function):
        asked.append(function)
        return core.get_function_args_defaults(function)

    arguments = overhead.remember(inspect)
    one, other = Several(3), Several(4)
    names, defaults = arguments(one.setup)
    names.append("changed by a caller")
    defaults.clear()
    assert arguments(other.setup) == (["a"], [1])
    assert arguments(one.process) == (["element", "more"], [3])
    assert arguments(other.process) == (["element", "more"], [4])
    assert asked == [one.setup, one.process, other.process]


def test_who_never_looks_for_garbage_does_not_in_a_pipeline():
    before = gc.get_threshold()
    gc.set_threshold(0)
    try:
        with overhead.reduced():
            assert gc.get_threshold()[0] == 0
    finally:
        gc.set_threshold(*before)


def test_the_size_of_elements_is_not_estimated_but_their_number_is_counted():
    element = GlobalWindows.windowed_value(lambda: None)  # which can't be pickled

    def counters():
        coder = coders.WindowedValueCoder(coders.PickleCoder())
        return opcounters.OperationCounters(CounterFactory(), "stage", coder, 0)

    with pytest.raises(AttributeError, match="pickle"):
        counters().update_from(element)
    with overhead.reduced():
        counted = counters()
        counted.update_from(element)
        counted.update_collect()
    assert counted.element_counter.value() == 1
    assert type(counted) is opcounters.OperationCounters


def settings(_):
    period = statesampler.get_current_tracker().sampling_period_ms
    return period, gc.get_threshold()[0], worker_handlers.STATE_CACHE_SIZE_MB


def test_what_reduces_the_overhead_of_a_pipeline_ends_with_it(tmp_path):
    def build(start, temp_dir):
        found = start | beam.Create([None]) | beam.Map(settings)
        expected = overhead.SAMPLING_MS, overhead.GARBAGE_THRESHOLD, 0
        assert_that(found, equal_to([expected]))

    garbage = gc.get_threshold()
    options = runners.parse_options("DirectRunner", [], "pipelines.preprocess")
    before = core.get_function_args_defaults, userstate.get_dofn_specs
    runners.run(build, options)
    assert statesampler.StateSampler("", None).sampling_period_ms == 200  # Beam's own
    assert (core.get_function_args_defaults, userstate.get_dofn_specs) == before
    assert gc.get_threshold() == garbage
    assert worker_handlers.STATE_CACHE_SIZE_MB == 100  # Beam's own


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--direct_num_workers=-1"], "--direct_num_workers -1: give 1, or 0 for all cores"),
        (["--direct_running_mode=multi_threading"], "use multi_processing"),
        (["--no_wait_until_finish"], "has to be checked at the end"),
        (["--direct_runner_bundle_repeat=1"], "tf.Transform can only write once"),
        (["--runtime_type_check"], "support stages with tagged outputs"),
        (["--performance_runtime_type_check"], "support stages with tagged outputs"),
        (["--profile_cpu"], "Beam's local engine fails with it"),
        (["--profile_memory"], "Beam's local engine fails with it"),
        (["--runner=PortableRunner"], "PortableRunner is unavailable, .* --job_endpoint"),
        (["--runner=PrismRunner", "--prism_location=/nowhere"], "PrismRunner is unavailable"),
        (
            ["--runner=SparkRunner", "--spark_job_server_jar=/nowhere.jar"],
            "SparkRunner is unavailable",
        ),
        (
            ["--runner=FlinkRunner", "--flink_job_server_jar=/nowhere.jar", "--flink_master=x:1"],
            "FlinkRunner is unavailable",
        ),
    ],
)
def test_an_unavailable_runner_is_refused(tmp_path, flags, message):
    with pytest.raises(BadInput, match=message) as error:
        run(tmp_path, *flags)
    assert "\n" not in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]
