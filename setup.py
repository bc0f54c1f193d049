"""Installs textrecords. Beam sends the same package to its workers by `--setup_file`."""

from setuptools import find_packages, setup

setup(
    name="textrecords",
    version="0.1.0",
    description=(
        "A folder of text files in; TFRecords, a vocabulary, a trained LSTM classifier and a "
        "SavedModel that takes raw text out"
    ),
    license="Apache-2.0",
    packages=find_packages(include=["textrecords", "pipelines*", "model*"]),
    entry_points={"console_scripts": ["textrecords-worker = pipelines.worker:main"]},
    package_data={
        "model.presets": ["*.txt"],
        "model.report": ["page.css", "page.html.jinja"],
        "textrecords": ["FORMAT.md"],
    },
    python_requires=">=3.11,<3.14",
    install_requires=[
        "annotated-types>=0.6",
        "apache-beam==2.77.*",
        "google-cloud-storage>=3",
        "keras==3.15.*",
        "more-itertools>=10.1",
        "pandas>=2",
        "pyarrow>=20",
        "pydantic>=2",
        "rich>=14",
        "tensorboard>=2.20",
        "tensorflow==2.21.*",
        "tensorflow-metadata==1.21.*",
        "tensorflow-transform==1.21.*",
        "tfx-bsl==1.21.*",
    ],
    extras_require={
        "gcp": ["apache-beam[gcp]==2.77.*"],
        "gpu": ["tensorflow[and-cuda]==2.21.*"],
        # Extra, so that Beam's workers, which install this package, go without.
        "convert": ["onnxruntime>=1.20", "tf2onnx>=1.17", "tokenizers>=0.20"],
        "report": ["jinja2>=3.1", "matplotlib>=3.10"],
        "tune": ["optuna==5.0.*"],
        "tuned": ["scikit-learn>=1.9"],  # to fit the n-grams of that preset
        "dev": [
            "build",
            "hypothesis>=6",
            "ipykernel>=7",
            "nbclient>=0.10",
            "nbformat>=5.10",
            "playwright",
            "pytest>=8",
            "pytest-xdist>=3",
            "ruff",
            "uv",
        ],
    },
)
