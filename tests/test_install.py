"""What is installed, and by what: the packages, the images of containers, and the command."""

import itertools
import os
import pathlib
import re
import runpy
import subprocess
import sys

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from pipelines import command
from textrecords import imports

ROOT = pathlib.Path(__file__).parent.parent
TOPS = ("textrecords", "model", "pipelines")
IMAGES = ("Dockerfile", "worker.Dockerfile")


@pytest.fixture
def setup(monkeypatch):
    """Returns what setup.py asks for."""
    given = {}
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("setuptools.setup", lambda **kwargs: given.update(kwargs))
    runpy.run_path(str(ROOT / "setup.py"))
    return given


def versions(lock):
    """Returns the versions of all packages of a lock file by name."""
    lines = (ROOT / lock).read_text().splitlines()
    locked = [line.partition(" ")[0].split("==") for line in lines if line[:1].isalpha()]
    return {name: [v for n, v in locked if n == name] for name, _ in locked}


@pytest.mark.parametrize(
    ("lock", "extras"),
    [
        (
            "requirements.lock",
            {"convert", "dev", "gcp", "pandas", "preprocess", "report", "tune", "tuned"},
        ),
        ("requirements-worker.lock", {"gcp", "preprocess"}),
    ],
)
def test_a_lock_file_has_all_requirements(setup, lock, extras):
    locked = versions(lock)
    of_extras = itertools.chain.from_iterable(setup["extras_require"][extra] for extra in extras)
    for each in map(Requirement, (*setup["install_requires"], *of_extras)):
        [*found] = locked[canonicalize_name(each.name)]
        assert found and all(each.specifier.contains(version) for version in found), each


def test_setup_locks_every_extra_except_cuda(setup):
    done = subprocess.run(["make", "-n", "lock"], capture_output=True, text=True, cwd=ROOT)
    [everything] = (line for line in done.stdout.splitlines() if "-o requirements.lock" in line)
    assert set(re.findall(r"--extra (\S+)", everything)) == setup["extras_require"].keys() - {"gpu"}


def test_the_base_has_nothing_of_beam(setup):
    names = {Requirement(each).name for each in setup["install_requires"]}
    of_extras = {"apache-beam", "tensorflow-transform", "tfx-bsl", "pandas", "pyarrow"}
    assert "tensorflow" in names
    assert not names & of_extras


def test_every_extra_that_an_error_names_is_there(setup):
    assert imports.EXTRAS.keys() <= setup["extras_require"].keys()


@pytest.mark.parametrize("image", IMAGES)
def test_all_that_an_image_copies_is_there(image):
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    lines = (ROOT / image).read_text().splitlines()
    sources = [name for line in lines if line.startswith("COPY ") for name in line.split()[1:-1]]
    assert set(sources) >= {"setup.py", *TOPS}
    for name in sources:
        assert (ROOT / name).exists(), name
        assert name not in ignored


def test_both_images_have_the_same_python():
    """Since Beam pickles code by its bytes, which differ from version to version."""
    texts = ((ROOT / image).read_text() for image in IMAGES)
    assert len({re.search(r"python:?(3\.\d+)", text).group(1) for text in texts}) == 1


def test_the_image_runs_targets_of_the_makefile():
    text = (ROOT / "Dockerfile").read_text()
    assert 'ENTRYPOINT ["make"]' in text
    targets = re.findall(r"^RUN make (\S+)", text, re.MULTILINE)
    assert targets == ["setup"]
    assert re.search(r"^setup:", (ROOT / "Makefile").read_text(), re.MULTILINE)


def test_every_command_is_one_of_the_script():
    runnable = {
        str(path.relative_to(ROOT).with_suffix("")).replace(os.sep, ".")
        for top in TOPS
        for path in (ROOT / top).rglob("*.py")
        if "app.run(main)" in path.read_text()
    }
    assert runnable == {each.module for each in command.COMMANDS.values()}


@pytest.fixture
def script(tmp_path):
    """Returns what runs the script as an installed package has it."""
    path = tmp_path / "textrecords"
    path.write_text(f"#!{sys.executable}\nfrom pipelines.command import main\nmain()\n")
    path.chmod(0o755)

    def run(*args, **options):
        return subprocess.run([path, *args], capture_output=True, text=True, **options)

    return run


def test_the_script_lists_its_commands_at_once(script):
    done = script("--help")
    assert (done.returncode, done.stderr) == (0, "")
    for name, each in command.COMMANDS.items():
        assert re.search(rf"^ +{name} +{re.escape(each.help)}$", done.stdout, re.MULTILINE)
    code = (
        "import sys; sys.argv = ['textrecords', '--help']\n"
        "from pipelines import command; command.main()\n"
        "print(*sorted({'textrecords', 'numpy', 'pydantic', 'tensorflow'} & {*sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.endswith("\n\n")


@pytest.mark.parametrize("name", ["train", "inspect", "preprocess"])
def test_the_script_has_the_commands_that_python_runs(script, name):
    module = command.COMMANDS[name].module.removesuffix(".__main__")
    direct = subprocess.run(
        [sys.executable, "-m", module, "--help"], capture_output=True, text=True, cwd=ROOT
    )
    done = script(name, "--help")
    assert done.returncode == direct.returncode == 0
    assert done.stdout.startswith(f"usage: textrecords {name} ")
    assert done.stdout.replace(f"textrecords {name}", module).split() == direct.stdout.split()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["trian"], "no command trian: name one of download, sample, preprocess, "),
        ([], "no command given: name one of download, sample, preprocess, "),
        (["train", "--epoch=3"], "the following arguments are required: --records, --model_dir"),
        (["predict", "--model_dir=none", "text"], "no model in none: run `make train` first"),
    ],
)
def test_the_script_refuses_in_one_line(script, args, message):
    done = script(*args)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith(f"error: {message}")


def test_a_misspelled_flag_names_a_command_that_runs(script, tmp_path):
    (tmp_path / "a folder").mkdir()
    (tmp_path / "textrecords").rename(tmp_path / "a folder" / "textrecords")
    call = [tmp_path / "a folder" / "textrecords", "inspect", "--recrods=x"]
    done = subprocess.run(call, capture_output=True, text=True, cwd=tmp_path)
    said = done.stderr.partition(" (see ")[2].removesuffix(")\n")
    assert said == "'a folder/textrecords' inspect --help"
    assert subprocess.run(said, shell=True, cwd=tmp_path, capture_output=True).returncode == 0


def test_all_commands_can_be_imported_where_there_are_no_locks_of_files():
    modules = [each.module for each in command.COMMANDS.values()]
    code = (
        "import importlib, sys\n"
        "sys.modules['fcntl'] = None\n"
        f"for module in {modules}: importlib.import_module(module)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("module", "missing", "message"),
    [
        (
            *("pipelines.preprocess --input=x --output=y", "apache_beam"),
            "preprocess needs Apache Beam: `pip install 'textrecords[preprocess]'`",
        ),
        (
            *("pipelines.verify --input=x --records=y", "tensorflow_transform"),
            "verify needs tf.Transform: `pip install 'textrecords[preprocess]'`",
        ),
        (
            *("model.evaluate --records=gs://x/y --model_dir=z", "google.cloud"),
            "gs://x/y needs google-cloud-storage: `pip install 'textrecords[gcp]'`",
        ),
    ],
)
def test_what_an_extra_would_bring_is_named_in_one_line(module, missing, message):
    name, *args = module.split()
    code = (
        f"import runpy, sys; sys.modules[{missing!r}] = None; sys.argv = {['x', *args]}\n"
        f"runpy.run_module({name!r}, run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"error: {message}\n")
