"""TFRecords, vocabularies and models made from folders of text files.

import textrecords as tr

dataset = tr.open_dataset("out/aclImdb/records")  # what `make preprocess` wrote
model = tr.load_model("out/aclImdb/model")  # what `make train` wrote
model.predict(["i loved it!"])
"""

from textrecords.dataset import Dataset, open_dataset
from textrecords.errors import BadInput, Failure
from textrecords.saved_model import Model, Prediction, load_model

__all__ = [
    "BadInput",
    "Dataset",
    "Failure",
    "Model",
    "Prediction",
    "load_model",
    "open_dataset",
]
