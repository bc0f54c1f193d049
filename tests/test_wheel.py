"""The wheel contains all that a user needs, and works from any folder."""

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import zipfile

import pytest
import tiny_dataset
import tools
from tools import run

from model import train

pytestmark = pytest.mark.slow

ROOT = pathlib.Path(__file__).parent.parent
TOPS = ("textrecords", "model", "pipelines")
# Modules in a user's own folder with the names of this project's.
OWN = 'raise RuntimeError("this is not the module that textrecords looks for")\n'
NOTEBOOK = """
import json, sys
import textrecords as tr

folder = sys.argv[1]
dataset, model = tr.open_dataset(f"{folder}/records"), tr.load_model(f"{folder}/model")
tokens = dataset.encode(["good film"], max_len=4)
print(json.dumps({
    "file": tr.__file__,
    "classes": dataset.classes,
    "tokens": tokens.tolist(),
    "rows": len(dataset.to_pandas("train")),
    "batches": int(dataset.batches("train", max_len=4).cardinality()),
    "score": model.predict(["good film"])[0].score,
    "network": float(model.network.predict(tokens, verbose=0)[0, 0]),
    "others": sorted({"model", "pipelines", "apache_beam"} & {*sys.modules}),
}))
"""


BUILD = """
import setuptools_reproducible as build

build.build_sdist("dist")
build.build_wheel("dist")
"""


def copy_sources(folder):
    """Copies what packages are built from, so that nothing of an old build gets in."""
    for top in TOPS:
        shutil.copytree(ROOT / top, folder / top, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    source = tmp_path_factory.mktemp("source")
    copy_sources(source)
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", source)
    (wheel,) = (source / "dist").iterdir()
    return wheel


def test_the_wheel_contains_all_packages_and_their_data(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    expected = {
        str(path.relative_to(ROOT))
        for top in TOPS
        for path in (ROOT / top).rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert {"model/presets/tuned.txt", "model/report/page.html.jinja"} < expected
    assert {name for name in names if ".dist-info/" not in name} == expected


def test_the_same_sources_give_the_same_bytes_of_sdist_and_wheel(tmp_path):
    built = []
    for name, seconds in (("first", 1_000_000_000), ("second", 1_500_000_000)):
        (tmp_path / name).mkdir()
        copy_sources(tmp_path / name)
        for path in (tmp_path / name).rglob("*"):
            os.utime(path, (seconds, seconds))
        run(sys.executable, "-c", BUILD, cwd=tmp_path / name)
        packages = sorted((tmp_path / name / "dist").iterdir())
        built.append({package.name: package.read_bytes() for package in packages})
    assert [pathlib.Path(name).suffix for name in built[0]] == [".whl", ".gz"]
    assert built[0] == built[1]


def test_it_works_from_a_folder_with_modules_of_the_same_names(wheel, tmp_path):
    reviews = [("good film", 1), ("bad film", 0)] * 4
    tiny_dataset.write(tmp_path / "records", {"train": reviews})
    paths = [f"--records={tmp_path}/records", f"--model_dir={tmp_path}/model"]
    sizes = ["--max_len=4", "--embedding_dim=2", "--lstm_units=2", "--epochs=1"]
    # Pooled, so that the network has layers that Keras lacks.
    train.main([*paths, *sizes, "--pooling=max_mean", "--ngram_bits=4", "--chunk_len=2"])
    site, own = tmp_path / "site", tmp_path / "own"
    own.mkdir()
    for name in ("model.py", "pipelines.py", "spec.py", "layers.py"):
        (own / name).write_text(OWN)
    (own / "notebook.py").write_text(NOTEBOOK)
    run(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", site, wheel)
    printed = run(
        sys.executable, "notebook.py", tmp_path, cwd=own, env={**os.environ, "PYTHONPATH": site}
    )
    found = json.loads(printed)
    assert found.pop("score") == pytest.approx(found.pop("network"), rel=1e-5)
    assert found == {
        "file": f"{site}/textrecords/__init__.py",
        "classes": ["neg", "pos"],
        "tokens": [[3, 2, 0, 0]],
        "rows": 8,
        "batches": 1,
        "others": [],
    }


OF_BEAM = "needs Apache Beam and tf.Transform: `pip install 'textrecords[preprocess]'`"
# What a user's program does with records, without the rest of the project.
PROGRAM = """
import sys
import textrecords as tr

dataset = tr.open_dataset("records")
for tokens, labels in dataset.batches("train", max_len=4, batch_size=2):
    print(tokens.shape, tokens.dtype.name, labels.dtype.name)
"""
# What MLflow has then.
LOGGED = """
run = mlflow.last_active_run()
files = mlflow.artifacts.list_artifacts(run_id=run.info.run_id)
params = {name: run.data.params[name] for name in ("lstm_units", "optimizer")}
logged = {"params": params, "metrics": run.data.metrics, "files": [each.path for each in files]}
print(json.dumps(logged))
"""


@pytest.fixture(scope="module")
def base(wheel, tmp_path_factory):
    """Returns the programs of an environment with the base alone, in the locked versions."""
    flags = ["--compile-bytecode", "--constraint", ROOT / "requirements.lock"]
    return installed(tmp_path_factory.mktemp("base"), *flags, wheel)


def installed(folder, *packages):
    """Installs packages in a new environment, and returns its folder of programs."""
    run(tools.UV, "venv", "--quiet", "--python", sys.executable, folder)
    run(tools.UV, "pip", "install", "--quiet", "--python", folder / "bin/python", *packages)
    return folder / "bin"


@pytest.fixture
def outside(monkeypatch, tmp_path):
    """Returns a folder with records, from which this checkout isn't seen."""
    monkeypatch.delenv("PYTHONPATH")
    monkeypatch.chdir(tmp_path)
    reviews = [("good film", 1), ("bad film", 0)] * 4
    tiny_dataset.write(tmp_path / "records", {"train": reviews, "test": reviews})
    return tmp_path


def test_the_base_trains_evaluates_and_predicts_without_beam(base, outside):
    missing = "apache_beam", "tensorflow_transform", "tfx_bsl", "pyarrow", "pandas"
    code = f"import importlib.util as u; print([m for m in {missing} if u.find_spec(m)])"
    assert run(base / "python", "-c", code) == "[]\n"
    paths = ["--records=records", "--model_dir=model"]
    sizes = ["--max_len=4", "--embedding_dim=2", "--lstm_units=2", "--epochs=1"]
    assert "wrote model" in run(base / "textrecords", "train", *paths, *sizes)
    assert "test accuracy" in run(base / "textrecords", "evaluate", *paths)
    [line] = run(base / "textrecords", "predict", "--model_dir=model", "good film").splitlines()
    assert re.fullmatch(r"0\.\d{4}  (neg|pos)  good film", line)
    assert "good film" in run(base / "textrecords", "inspect", "--records=records")
    assert run(base / "python", "-c", PROGRAM) == "(2, 4) int32 int64\n" * 4


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (
            ["preprocess", "--input=in", "--output=new"],
            f"preprocess {OF_BEAM}",
        ),
        (
            ["score", "--input=in", "--output=new", "--model_dir=model"],
            f"score {OF_BEAM}",
        ),
        (
            ["verify", "--input=in", "--records=records"],
            f"verify {OF_BEAM}",
        ),
        (
            ["report", "--records=records", "--model_dir=model"],
            "the report needs Jinja2 and Matplotlib: `pip install 'textrecords[report]'`",
        ),
        (
            ["evaluate", "--records=gs://bucket/records", "--model_dir=model"],
            "gs://bucket/records needs google-cloud-storage: `pip install 'textrecords[gcp]'`",
        ),
    ],
)
def test_the_base_names_the_extra_that_is_missing(base, outside, args, message):
    done = subprocess.run([base / "textrecords", *args], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"error: {message}\n")
    assert os.listdir(outside) == ["records"]


def test_to_pandas_names_the_extra_that_is_missing(base, outside):
    code = "import textrecords as tr; tr.open_dataset('records').to_pandas('train')"
    done = subprocess.run([base / "python", "-c", code], capture_output=True, text=True)
    assert done.stderr.splitlines()[-1] == (
        "textrecords.errors.BadInput: to_pandas needs pandas: `pip install 'textrecords[pandas]'`"
    )


def test_the_installed_command_stops_as_the_others_do(base, outside):
    command = [base / "textrecords", "train", "--records=records", "--model_dir=model"]
    with subprocess.Popen([*command, "--epochs=10000"], stdout=subprocess.PIPE) as process:
        try:
            assert any(b"Epoch" in line for line in process.stdout)
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130
    assert not (outside / "model").exists()


def test_mlflow_installs_with_it_and_logs_a_model_as_documented(wheel, outside):
    flags = ["--max_len=4", "--embedding_dim=2", "--lstm_units=2", "--epochs=2"]
    train.main(["--records=records", "--model_dir=out/aclImdb/model", *flags])
    metrics = json.loads((outside / "out/aclImdb/model/metrics.json").read_text())
    _, _, text = (ROOT / "docs/experiments.md").read_text().partition("## MLflow")
    code = "".join(re.findall(r"```python\n(.*?)```", text, re.DOTALL))
    (outside / "log.py").write_text(code + LOGGED)
    packages = f"--exclude-newer={tools.AS_OF}", wheel, "mlflow>=3"
    programs = installed(outside / "environment", *packages)
    env = {**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{outside}/mlflow.db"}
    printed = run(programs / "python", "log.py", env=env)
    logged = json.loads(printed.splitlines()[-1])
    assert logged["params"] == {"lstm_units": "2", "optimizer": "adam"}
    assert logged["metrics"] == {
        "loss": metrics["test"]["loss"],
        "accuracy": metrics["test"]["accuracy"],
        "train_loss": metrics["history"]["loss"][-1],
    }
    assert {"config.json", "serving"} <= {*logged["files"]}
