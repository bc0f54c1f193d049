"""Installs textrecords. Beam sends the same package to its workers by `--setup_file`.

What training and predicting need comes with it; each extra is for something more, so that it fits
beside other packages. `make setup` installs them all.
"""

from setuptools import find_packages, setup

setup(
    name="textrecords",
    version="0.2.0",
    description=(
        "A folder of text files in; TFRecords, a vocabulary, a trained LSTM classifier and a "
        "SavedModel that takes raw text out"
    ),
    license="Apache-2.0",
    packages=find_packages(include=["textrecords", "pipelines*", "model*"]),
    entry_points={
        "console_scripts": [
            "textrecords = pipelines.command:main",
            "textrecords-worker = pipelines.worker:main",
        ]
    },
    package_data={
        "model.presets": ["*.txt"],
        "model.report": ["page.css", "page.html.jinja"],
        "textrecords": ["FORMAT.md"],
    },
    python_requires=">=3.11,<3.14",
    install_requires=[
        "annotated-types>=0.6",
        "keras==3.15.*",
        "more-itertools>=10.1",
        "pydantic>=2",
        "rich>=14",
        "tensorboard>=2.20",
        "tensorflow==2.21.*",
    ],
    extras_require={
        # What runs on Beam: preprocess, score and verify. TFX 1.21 wants a pyarrow below 19.
        "preprocess": [
            "apache-beam==2.77.*",
            "pyarrow>=18",
            "tensorflow-metadata==1.21.*",
            "tensorflow-transform==1.21.*",
            "tfx-bsl==1.21.*",
        ],
        "gcp": ["google-cloud-storage>=3"],  # paths of gs://
        "gpu": ["tensorflow[and-cuda]==2.21.*"],
        "convert": ["onnxruntime>=1.20", "tf2onnx>=1.17", "tokenizers>=0.20"],
        "pandas": ["pandas>=2"],  # `Dataset.to_pandas`
        "report": ["jinja2>=3.1", "matplotlib>=3.10"],
        "tune": ["optuna==5.0.*"],
        "tuned": ["scikit-learn>=1.9"],  # to fit the n-grams of that preset
        "dev": [
            "build",
            "hypothesis>=6",
            "ipykernel>=7",
            "mutmut==3.8.1",
            "nbclient>=0.10",
            "nbformat>=5.10",
            "playwright",
            "pytest>=8",
            "pytest-xdist>=3",
            "ruff",
            "setuptools-reproducible==0.1",
            "uv",
        ],
    },
)
