"""Imports of TensorFlow and Beam, without their messages."""

import atexit
import contextlib
import functools
import gc
import importlib.util
import logging
import os
import shutil
import sys
import tempfile
import typing
from collections.abc import Iterable, Iterator
from types import ModuleType
from typing import Any

from textrecords import signals
from textrecords.errors import BadInput

# The modules that each extra of setup.py installs, with the names of their packages.
EXTRAS = {
    "convert": {"onnxruntime": "ONNX Runtime", "tf2onnx": "tf2onnx", "tokenizers": "tokenizers"},
    "gcp": {"google.cloud.storage": "google-cloud-storage"},
    "pandas": {"pandas": "pandas"},
    "preprocess": {"apache_beam": "Apache Beam", "tensorflow_transform": "tf.Transform"},
    "report": {"jinja2": "Jinja2", "matplotlib": "Matplotlib"},
    "tune": {"optuna": "Optuna"},
    "tuned": {"sklearn": "scikit-learn"},
}

# Packages that TensorFlow, Keras and Beam import if they are installed, though no command uses them
# that way; they take a third of the import time.
UNUSED = ("IPython", "matplotlib", "pandas", "pymongo", "scipy", "sklearn")
UNUSED_LOCALLY = ("apitools", "google.auth", "google.cloud")  # Beam needs them for gs://

_verbose = False
_unused: tuple[str, ...] = ()


def check_installed(what: str, extra: str) -> None:
    """Raises `BadInput` if a package of one of the `EXTRAS`, needed by `what`, isn't installed."""
    missing = [module for module in EXTRAS[extra] if not _is_installed(module)]
    if missing:
        raise BadInput(f"{what} {needs(extra, *missing)}")


def needs(extra: str, *modules: str) -> str:
    """Returns a message that modules of one of the `EXTRAS` are needed, and how to install them."""
    names = " and ".join(EXTRAS[extra][module] for module in modules)
    return f"needs {names}: `pip install 'textrecords[{extra}]'`"


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # its parent package is missing
        return False


def set_keras_up() -> None:
    """Makes Keras use its defaults once it's imported, whatever a user's `keras.json` holds.

    For commands: another backend or float type would give another network, or none.
    """
    for name in [name for name in os.environ if name.startswith("KERAS_")]:
        del os.environ[name]
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ["KERAS_HOME"] = os.path.join(os.devnull, "keras")  # where no file can exist


def leave_unused(argv: Iterable[str]) -> None:
    """Makes libraries import, in `quiet` or lazily, no packages that a command doesn't use.

    For commands only: in a user's own process, libraries import what is installed.

    Args:
      argv: the arguments of the command, which contain all paths.
    """
    global _unused
    os.environ["PYDANTIC_DISABLE_PLUGINS"] = "__all__"  # otherwise it looks at all packages
    is_local = not any("://" in each for each in argv)
    _unused = UNUSED + (UNUSED_LOCALLY if is_local else ())


def show_logs() -> None:
    """Shows the logs of TensorFlow, Beam and other libraries, for `--verbose`."""
    global _verbose
    _verbose = True
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "0"
    logging.basicConfig(level=logging.INFO)


@contextlib.contextmanager
def quiet_logs() -> Iterator[None]:
    """Hides the logs of libraries unless `--verbose`; errors are raised as exceptions anyway."""
    before = logging.root.manager.disable
    if not _verbose:
        logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


@contextlib.contextmanager
def quiet(*unused: str) -> Iterator[None]:
    """Imports TensorFlow or Beam without their messages, and a good deal faster.

    Stop signals are delayed until the end.

    Args:
      unused: packages that this command doesn't use, in addition to those of `leave_unused`.
    """
    _give_matplotlib_a_folder()
    # Only the first time: later, `gc.freeze` would also keep garbage for good.
    is_first = "tensorflow" not in sys.modules
    with signals.delayed(), _silence(), _fast(unused) if is_first else contextlib.nullcontext():
        yield


@contextlib.contextmanager
def _fast(unused: Iterable[str]) -> Iterator[None]:
    """Imports libraries without the packages that aren't used, and without garbage collection.

    They create a million permanent objects. Scanning these for garbage during the import, while a
    pipeline runs and at exit would take seconds.
    """
    gc.disable()
    try:
        with without(*_unused, *unused if _unused else ()), _types_converted_once():
            yield
    finally:
        gc.freeze()
        gc.enable()


@contextlib.contextmanager
def without(*packages: str) -> Iterator[None]:
    """Makes packages seem to be missing."""
    before = {name: sys.modules.pop(name) for name in packages if name in sys.modules}
    sys.modules.update(dict.fromkeys(packages))
    try:
        yield
    finally:
        for name in packages:
            sys.modules.pop(name, None)
        sys.modules.update(before)  # of google.cloud only the name, a namespace that packages share


@contextlib.contextmanager
def replaced(module: ModuleType, name: str, value: Any) -> Iterator[None]:
    """Gives a name of a library's module another value until the end of the block."""
    before = getattr(module, name)
    setattr(module, name, value)
    try:
        yield
    finally:
        setattr(module, name, before)


def _types_converted_once() -> contextlib.AbstractContextManager[None]:
    """Converts each type that TensorFlow's operations name once.

    They name a dozen types 18,000 times, and Python 3.11 compiles each: a tenth of a second.
    """
    if sys.version_info >= (3, 12):  # it keeps the names
        return contextlib.nullcontext()
    convert = typing._type_convert
    of_name = functools.cache(convert)

    def convert_once(given: Any, *args: Any, **kwargs: Any) -> Any:
        # Only theirs: other modules may give different types the same name.
        is_theirs = isinstance(given, str) and given.startswith("_atypes.")
        return (of_name if is_theirs else convert)(given, *args, **kwargs)

    return replaced(typing, "_type_convert", convert_once)


@functools.cache
def tensorflow() -> ModuleType:
    """Returns TensorFlow, imported with `quiet` the first time."""
    with quiet():
        import tensorflow
    return tensorflow


def _give_matplotlib_a_folder() -> None:
    """Sets a config folder for Matplotlib, which Keras imports, if it can't write to its own.

    Otherwise it creates one, and complains at exit if that was removed with other temporary files.
    """
    config = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    folder = os.environ.get("MPLCONFIGDIR") or os.path.join(config, "matplotlib")
    with contextlib.suppress(OSError):
        os.makedirs(folder, exist_ok=True)
    if not os.access(folder, os.W_OK):
        os.environ["MPLCONFIGDIR"] = tempfile.mkdtemp(prefix="matplotlib-")
        atexit.register(shutil.rmtree, os.environ["MPLCONFIGDIR"], ignore_errors=True)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Hides what TensorFlow's libraries print while they load, unless a lower log level is set.

    They write to the file descriptor before any log level applies, so it has to be redirected.
    """
    # Not 2: CUDA logs the lack of a GPU as an error. Real errors are raised as exceptions anyway.
    if os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3") != "3":
        yield
        return
    sys.stderr.flush()
    before = signals.drop_stderr()
    try:
        yield
    finally:
        sys.stderr.flush()
        signals.restore_stderr(before)
