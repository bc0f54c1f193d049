"""Scores a folder as in Keras' documentation, for `benchmarks.score` to time.

The network is that of a model of this project, after a `TextVectorization` with its vocabulary.
"""

import argparse
import json
import os

import keras
import tensorflow as tf

from benchmarks import feed
from model import evaluate
from textrecords import model_folder, spec
from textrecords.dataset import read_vocabulary

BATCH_SIZE = 256


def run(input_dir: str, records_dir: str, model_dir: str, output: str) -> None:
    settings = model_folder.read(model_dir)
    tokens = read_vocabulary(os.path.join(records_dir, spec.VOCABULARY))
    vectorize = keras.layers.TextVectorization(
        settings.network.max_tokens,
        standardize=feed.standardize,
        output_sequence_length=settings.network.max_len,
        vocabulary=[t.decode() for t in tokens][: settings.network.max_tokens - 2],
    )
    texts = keras.utils.text_dataset_from_directory(
        input_dir, labels=None, batch_size=BATCH_SIZE, shuffle=False, verbose=False
    )
    network = evaluate.load_model(model_dir, settings)
    vectorized = texts.map(vectorize, num_parallel_calls=tf.data.AUTOTUNE)
    scores = network.predict(vectorized.prefetch(tf.data.AUTOTUNE), verbose=0)[:, 0]
    with open(output, "w", encoding="utf-8") as file:  # without keys, which Keras doesn't return
        file.writelines(json.dumps({"score": score}) + "\n" for score in scores.tolist())


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("input", "records", "model_dir", "output"):
        parser.add_argument(f"--{name}", required=True)
    args = parser.parse_args()
    run(args.input, args.records, args.model_dir, os.path.join(args.output, "scores.jsonl"))


if __name__ == "__main__":
    main()
