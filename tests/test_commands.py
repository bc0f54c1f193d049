"""Every command, as a user runs it."""

import ast
import json
import os
import pathlib
import shutil
import subprocess
import sys

import pytest

from textrecords import spec

ROOT = pathlib.Path(__file__).parent.parent
SOURCES = [
    path for top in ("textrecords", "model", "pipelines") for path in (ROOT / top).rglob("*.py")
]
COMMANDS = [
    *("pipelines.download", "pipelines.inspect_records", "pipelines.preprocess"),
    *(
        "pipelines.sample",
        "pipelines.score",
        "pipelines.verify",
        "model.convert",
        "model.evaluate",
        "model.predict",
        "model.report",
        "model.tensorboard",
        "model.train",
    ),
]
# The environment, without variables of `make test` itself.
OF_MAKE = ("INPUT", "OUTPUT", "RECORDS", "MODEL_DIR", "MAKEFLAGS", "MAKELEVEL", "MFLAGS")
OUTSIDE_MAKE = {name: value for name, value in os.environ.items() if name not in OF_MAKE}


def run(*args, stdin=""):
    return subprocess.run(
        [sys.executable, "-m", *map(str, args)],
        input=stdin,
        capture_output=True,
        text=True,
        cwd=ROOT,
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_help_imports_neither_tensorflow_nor_beam(command):
    code = (
        f"import runpy, sys; sys.argv = ['x', '--help']\n"
        f"try: runpy.run_module({command!r}, run_name='__main__')\n"
        f"finally: print(sorted({{'tensorflow', 'keras', 'apache_beam'}} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"usage: {command}")
    assert done.stdout.endswith("\n[]\n")


def test_a_misspelled_flag_names_a_command_that_runs_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a folder").mkdir()
    python = tmp_path / "a folder" / "python"
    python.symlink_to(sys.executable)
    command = [str(python), "-m", "model.train", "--epoch=3"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    said = done.stderr.partition(" (see ")[2]
    assert (done.returncode, said) == (2, "'a folder/python' -m model.train --help)\n")
    shown = subprocess.run(said.removesuffix(")\n"), shell=True, env=environment)
    assert shown.returncode == 0


def test_nothing_is_loaded_that_could_run_code_of_its_own():
    """Except for the SavedModels, which the README warns about."""
    modules = {"pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve", "code"}
    flags = {("allow_pickle", True), ("safe_mode", False)}
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = {getattr(node, "module", None), *(name.name for name in node.names)}
                assert not names & modules, path
            elif isinstance(node, ast.Call):
                assert getattr(node.func, "id", "") not in ("eval", "exec", "__import__"), path
                given = {(k.arg, getattr(k.value, "value", None)) for k in node.keywords}
                assert not given & flags, path


def test_all_that_is_printed_is_escaped():
    for path in SOURCES:
        names = [getattr(node, "id", "") for node in ast.walk(ast.parse(path.read_text()))]
        assert path.name in ("app.py", "terminal.py") or "print" not in names, path


def test_tables_and_bars_are_made_in_one_place():
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import | ast.ImportFrom):
                modules = [getattr(node, "module", None) or name.name for name in node.names]
                named = any(module.split(".")[0] == "rich" for module in modules)
                assert path.name == "terminal.py" or not named, path


def test_names_are_printed_without_terminal_control_characters(tmp_path):
    folder = tmp_path / "[bold]caf\udce9\x1b[31m\x9b\u202e\n"
    (folder / "x").mkdir(parents=True)
    done = run("pipelines.download", "--output", folder)
    assert done.stdout == (
        f"{tmp_path}/[bold]caf\\udce9\\x1b[31m\\x9b\\u202e\\n already exists: delete it to "
        "unpack again\n"
    )


@pytest.mark.parametrize(
    ("variables", "records", "preprocesses"),
    [
        (["INPUT=data/sample/"], "out/sample/records", True),
        (["INPUT=/a b/my texts/"], "out/my texts/records", True),
        (["RECORDS=mine"], "mine", False),
        (["RECORDS=mine", "INPUT=texts"], "mine", True),
    ],
)
def test_make_train_preprocesses_unless_only_records_are_named(variables, records, preprocesses):
    """Records that were named alone may be of any folder: they must not be replaced."""
    options = {"capture_output": True, "text": True, "cwd": ROOT, "env": OUTSIDE_MAKE}
    recipe = "show: ; @printf '%s\\n' \"$$RECORDS\"\n.PHONY: show"
    make = ["make", "--no-print-directory", *variables, f"--eval={recipe}"]
    shown = subprocess.run([*make, "show"], **options)
    assert shown.stdout == f"{records}\n"
    plan = subprocess.run([*make, "-n", "train"], **options).stdout
    assert ("pipelines.preprocess --if_needed" in plan) is preprocesses
    assert "model.train" in plan


def set_up(here, script):
    """Makes a folder where make runs, with a script in place of Python."""
    (here / ".venv" / "bin").mkdir(parents=True)
    for name in ("Makefile", "requirements.lock", "setup.py"):
        shutil.copy(ROOT / name, here)
    python = here / ".venv" / "bin" / "python"
    python.write_text(script)
    python.chmod(0o755)
    (here / ".venv" / "installed").touch()


@pytest.fixture
def commands(tmp_path):
    """Returns a function that runs make in a folder with an odd path, and returns the arguments of
    commands.
    """
    here = tmp_path / "a b" / "it's $HOME #1"
    set_up(here, f"#!{sys.executable}\nimport json, sys\nprint(json.dumps(sys.argv[2:]))\n")

    def make(*arguments):
        command = ["make", "--no-print-directory", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, cwd=here, env=OUTSIDE_MAKE)
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]

    return make


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("data/q", "q"),
        ("../q", "q"),
        ("my texts/", "my texts"),
        ("/x/caf\u00e9 \u4e2d", "caf\u00e9 \u4e2d"),
        ('it\'s "so"', 'it\'s "so"'),
        ("a$b$$c", "a$b$$c"),
        ("a#b", "a#b"),
        ("-x", "-x"),
        ("~/q", "q"),
        ("what!", "what!"),
    ],
)
def test_make_hands_any_path_on_as_it_is_typed(commands, given, name):
    records, model = f"out/{name}/records", f"out/{name}/model"
    preprocess, train = commands("train", f"INPUT={given}")
    assert preprocess[1:4] == ["--if_needed", f"--input={given}", f"--output={records}"]
    assert train[1:] == [f"--records={records}", f"--model_dir={model}"]
    paths = [f"{name}={given}" for name in ("OUTPUT", "MODEL_DIR")]
    [score] = commands("score", f"INPUT={given}", *paths)
    typed = [f"--{flag}={given}" for flag in ("input", "output", "model_dir")]
    assert score[1:4] == typed


@pytest.mark.parametrize(
    ("given", "output"),
    [
        ("../my questions/test", "out/test/scores"),
        ("x/**/*.txt", "out/scores"),
        ("x/[0-9]", "out/scores"),
    ],
)
def test_scores_go_where_the_input_says(commands, given, output):
    [score] = commands("score", f"INPUT={given}")
    assert score[1:3] == [f"--input={given}", f"--output={output}"]


@pytest.mark.parametrize(
    ("answer", "code", "stdout", "stderr"),
    [
        ("echo No known vulnerabilities", 0, "No known vulnerabilities\n", ""),
        ("echo Found 1 known vulnerability; false", 2, "Found 1 known vulnerability\n", ""),
        (
            *("echo Traceback; echo x.ConnectionError: refused; false", 2, ""),
            "error: the service gives no answer: x.ConnectionError: refused\n",
        ),
        ("echo 1 ERROR: not found", 2, "", "error: the service gives no answer: 1 ERROR"),
    ],
)
def test_an_audit_reports_findings_or_that_it_could_not_run(answer, code, stdout, stderr):
    make = ["make", "--no-print-directory", "--old-file=.venv/installed", "audit"]
    done = subprocess.run([*make, f"AUDIT={answer}"], capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stdout) == (code, stdout)
    assert done.stderr.split("make: ***")[0].startswith(stderr)


def test_make_convert_takes_a_format_and_a_folder(commands):
    (plain,) = commands("convert", "INPUT=q")
    assert plain == ["model.convert", "--model_dir=out/q/model", "--to", "onnx"]
    (named,) = commands("convert", "TO=tflite", "MODEL_DIR=m", "OUTPUT=o")
    assert named == ["model.convert", "--model_dir=m", "--to", "tflite", "--output=o"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["-n", "train", "EPOCHS=3"], "no target reads EPOCHS: variables are PYTHON INPUT"),
        (["setup", "PYTHON=no-such-python"], "error: no-such-python can't be run: name an"),
    ],
)
def test_a_variable_that_makes_no_sense_is_refused(tmp_path, given, message):
    shutil.copy(ROOT / "Makefile", tmp_path)
    for name in ("requirements.lock", "setup.py"):
        (tmp_path / name).touch()
    make = ["make", "--no-print-directory", *given]
    done = subprocess.run(make, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert not (tmp_path / ".venv").exists()


def served_alone(model, folder):
    """Serves two texts with only the SavedModel and TensorFlow."""
    shutil.move(model / "serving" / "1", folder / "served")
    for name in ("in", "records", "model"):
        shutil.rmtree(folder / name)
    code = (
        "import tensorflow as tf\n"
        "serve = tf.saved_model.load('served').signatures['serving_default']\n"
        "print(serve(text=tf.constant(['great film', 'bad film']))['score'].numpy().tolist())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=folder)
    return json.loads(done.stdout)


@pytest.mark.slow
def test_the_whole_path_from_text_to_scores(tmp_path):
    records, model = tmp_path / "records", tmp_path / "model"
    verify = ["pipelines.verify", "--input", tmp_path / "in", "--records", records]
    steps = [
        run("pipelines.sample", "--output", tmp_path / "in", "--count=300"),
        run("pipelines.preprocess", "--input", tmp_path / "in", "--output", records),
        run("model.train", "--records", records, "--model_dir", model, "--epochs=1"),
        run("model.evaluate", "--records", records, "--model_dir", model),
        run(*verify, "--model_dir", model),
        run("model.predict", "--model_dir", model, "--json", stdin="great film\nbad film\n"),
    ]
    for step in steps:
        assert step.returncode == 0, step.stderr
        assert step.stderr == ""
    metrics = json.loads((model / "metrics.json").read_text())
    assert sum(map(sum, metrics["test"]["confusion_matrix"])) == 100
    scored = [json.loads(line) for line in steps[-1].stdout.splitlines()]
    assert [row["text"] for row in scored] == ["great film", "bad film"]
    assert all(0 < row["score"] < 1 and row["label"] in ("neg", "pos") for row in scored)
    (tmp_path / "in/train/neg/new.txt").write_text("new")
    refused = run(*verify)
    assert refused.returncode == 1
    assert refused.stderr == (
        "error: in the input, but in no record: train/neg/new.txt (1 in total); run `make "
        "preprocess` again, or name the folder that the records were made from\n"
    )
    assert served_alone(model, tmp_path) == pytest.approx(
        [row["score"] for row in scored], abs=1e-6
    )


@pytest.mark.integration
def test_training_imports_neither_beam_nor_tf_transform():
    code = "import sys; from model.training import export, fit; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert "tensorflow" in done.stdout.split()
    assert not {"apache_beam", "tensorflow_transform"} & set(done.stdout.split())


@pytest.mark.parametrize("command", ["model.train", "model.evaluate", "model.report"])
@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        (None, "no records folder"),
        ("", "has no manifest.json"),
        (
            '{"format_version": 0}',
            f"format version 0, but this program reads {spec.FORMAT_VERSION}",
        ),
    ],
)
def test_records_that_are_not_there_are_one_line(tmp_path, command, manifest, message):
    records = tmp_path / "records"
    if manifest is not None:
        records.mkdir()
    if manifest:
        (records / "manifest.json").write_text(manifest)
    done = run(command, "--records", records, "--model_dir", tmp_path / "model")
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    "command",
    [
        ["pipelines.preprocess", "--input=x", "--output=s3://x/y"],
        ["pipelines.preprocess", "--input=gs:///x", "--output=x"],
        ["pipelines.preprocess", "--input=x", "--output=gs://"],
        ["pipelines.score", "--input=s3://x", "--output=x", "--model_dir=x"],
        ["model.train", "--records=x", "--model_dir=hdfs://x"],
        ["pipelines.verify", "--input=x", "--records=s3://x"],
    ],
)
def test_paths_of_other_object_stores_are_refused(command):
    refused = run(*command)
    assert refused.returncode == 2
    assert "the only supported object store is Cloud Storage: name a folder" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
