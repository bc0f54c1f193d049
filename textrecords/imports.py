"""Imports of TensorFlow and Beam, without their messages."""

import atexit
import contextlib
import functools
import gc
import importlib.util
import logging
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterable, Iterator
from types import ModuleType

from textrecords import signals
from textrecords.errors import BadInput

# What an extra of setup.py brings: modules, and the names of their packages.
EXTRAS = {
    "convert": {"onnxruntime": "ONNX Runtime", "tf2onnx": "tf2onnx", "tokenizers": "tokenizers"},
    "gcp": {"google.cloud.storage": "google-cloud-storage"},
    "pandas": {"pandas": "pandas"},
    "preprocess": {"apache_beam": "Apache Beam", "tensorflow_transform": "tf.Transform"},
    "report": {"jinja2": "Jinja2", "matplotlib": "Matplotlib"},
    "tune": {"optuna": "Optuna"},
    "tuned": {"sklearn": "scikit-learn"},
}

# What TensorFlow, Keras and Beam load if it is installed, though no command uses it through them;
# this takes a third of their time to load.
UNUSED = ("IPython", "matplotlib", "pandas", "pymongo", "scipy", "sklearn")
UNUSED_LOCALLY = ("google.cloud",)  # and without it Beam knows no gs://

_verbose = False
_unused: tuple[str, ...] = ()


def check_installed(what: str, extra: str) -> None:
    """Raises `BadInput` if a package of one of the `EXTRAS` isn't there, which `what` needs."""
    missing = [module for module in EXTRAS[extra] if not _is_installed(module)]
    if missing:
        raise BadInput(f"{what} {needs(extra, *missing)}")


def needs(extra: str, *modules: str) -> str:
    """Says that modules of one of the `EXTRAS` are needed, and what brings them."""
    names = " and ".join(EXTRAS[extra][module] for module in modules)
    return f"needs {names}: `pip install 'textrecords[{extra}]'`"


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # of a package that it would be in
        return False


def set_keras_up() -> None:
    """Has Keras, once it's imported, be as it comes, whatever a user's `keras.json` may say.

    For processes of commands: another backend or float type would be another network, if any.
    """
    for name in [name for name in os.environ if name.startswith("KERAS_")]:
        del os.environ[name]
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ["KERAS_HOME"] = os.path.join(os.devnull, "keras")  # where no file can be


def leave_unused(argv: Iterable[str]) -> None:
    """Has `quiet` load TensorFlow and Beam without the packages that a command doesn't use.

    For processes of commands: in a user's own, libraries find what is installed.

    Args:
      argv: the arguments of the command, which name all paths.
    """
    global _unused
    is_local = not any("://" in each for each in argv)
    _unused = UNUSED + (UNUSED_LOCALLY if is_local else ())


def show_logs() -> None:
    """Has TensorFlow, Beam and other libraries say what they log: `--verbose`."""
    global _verbose
    _verbose = True
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "0"
    logging.basicConfig(level=logging.INFO)


@contextlib.contextmanager
def quiet_logs() -> Iterator[None]:
    """Hides what libraries log, but for `--verbose`: what fails is raised as an exception, too."""
    before = logging.root.manager.disable
    if not _verbose:
        logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Imports TensorFlow or Beam without their messages, and a good deal faster.

    A signal waits for the end: their libraries can crash if Python is stopped while it loads them.
    """
    _give_matplotlib_a_folder()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals.STOP_SIGNALS)
    # Later, what is garbage then would stay, too.
    is_first = "tensorflow" not in sys.modules
    try:
        with _silence(), _fast() if is_first else contextlib.nullcontext():
            yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _fast() -> Iterator[None]:
    """Loads libraries without the packages that aren't used, and without collecting garbage.

    They make a million objects that stay. Looking through these for garbage, while they load, time
    and again while a pipeline runs, and once more at exit, would take seconds.
    """
    before = {name: sys.modules.pop(name) for name in _unused if name in sys.modules}
    sys.modules.update(dict.fromkeys(_unused))  # so they seem to be missing
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
        for name in _unused:
            del sys.modules[name]
        sys.modules.update(before)  # of google.cloud the bare name, which other packages may share


@functools.cache
def tensorflow() -> ModuleType:
    """Returns TensorFlow, imported by `quiet` the first time."""
    with quiet():
        import tensorflow
    return tensorflow


def _give_matplotlib_a_folder() -> None:
    """Names a folder for Matplotlib, which Keras imports, if it can't write its own.

    It would make one itself, and complain at exit if that has gone with other temporary files.
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
    """Hides what TensorFlow's libraries print while they load, unless a lower level asks for it.

    They write to the file descriptor before any log level is in force, so only it can be closed.
    """
    # Not 2: to CUDA it's an error if there is no GPU. What fails is raised as an exception, too.
    if os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3") != "3":
        yield
        return
    sys.stderr.flush()
    stderr = os.dup(2)
    with open(os.devnull, "wb") as devnull:
        os.dup2(devnull.fileno(), 2)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(stderr, 2)
        os.close(stderr)
