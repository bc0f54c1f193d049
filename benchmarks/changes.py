"""Measures what each change from the tutorial's network to the tuned one gives on validation.

    python -m benchmarks.changes --records DIR

Finished trials aren't repeated: an interrupted run resumes.
"""

import dataclasses
import json
import pathlib
import statistics
import tempfile

from benchmarks import run
from model.training import flags, settings
from textrecords import app, command_line, imports
from textrecords.dataset import Dataset, open_dataset
from textrecords.errors import BadInput
from textrecords.model_folder import ModelConfig

RESULTS = pathlib.Path(__file__).with_suffix(".json")

# As in the tuned preset, except for n-gram weights, dropout, the number of tokens, and epochs: six
# at a lower rate.
CHUNKS = """--max_len 1000 --chunk_len 50 --pooling max_mean --embedding_dim 16 --lstm_units 32
  --dense_units 0 --bucket_by_length --batch_size 64 --learning_rate 0.004 --decay cosine
  --epochs 6"""
DROPOUT = "--embedding_dropout 0.2 --dense_dropout 0.3"

# Flags by what they change. The first ones accumulate; the others change the tuned preset once.
CHANGES = {
    "the tutorial's network": "",
    "whole reviews, 50 tokens at a time; all outputs count": CHUNKS,
    "and 20,000 tokens": f"{CHUNKS} --max_tokens 20000",
    "and dropout": f"{CHUNKS} --max_tokens 20000 {DROPOUT}",
    "and n-gram weights: tuned": "--preset tuned",
    "tuned, but a quarter as many n-gram weights": "--preset tuned --ngram_bits 20",
    "tuned, but no word is embedded": "--preset tuned --embedding_tokens 2",
    "tuned, but every word is embedded": "--preset tuned --embedding_tokens 0",
    "tuned, but the learning rate stays": "--preset tuned --decay none",
    "tuned, but six epochs at a lower learning rate": (
        "--preset tuned --epochs 6 --learning_rate 0.004"
    ),
}


def main(argv: list[str]) -> None:
    parser = command_line.ArgumentParser(
        prog="benchmarks.changes",
        description="Tries the changes that lead to the tuned preset, each with several seeds.",
    )
    add = parser.add_argument
    add("--records", required=True, metavar="DIR", help="output of preprocess --validation 0.2")
    add("--seeds", type=command_line.number(minimum=1), default=3, help="trainings per change")
    add("--output", type=pathlib.Path, default=RESULTS, metavar="FILE", help="the file to write")
    args = parser.parse_args(argv)
    dataset = open_dataset(args.records)
    sha256 = dataset.manifest.sha256
    try:
        results = json.loads(args.output.read_text(encoding="utf-8"))
    except FileNotFoundError:
        results = {"manifest_sha256": sha256, "machine": run.machine(), "trials": {}}
    if results["manifest_sha256"] != sha256:
        raise BadInput(f"{args.output} has results on other records: name another --output")
    for seed in range(args.seeds):
        for name, changed in CHANGES.items():
            trials = results["trials"].setdefault(name, {})
            if str(seed) not in trials:
                print(f"seed {seed}: {name}", flush=True)
                config = _config(dataset, f"{changed} --seed {seed}".split())
                trials[str(seed)] = _try(dataset, config)
                args.output.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    print(table(results))


def _config(dataset: Dataset, given: list[str]) -> ModelConfig:
    parser = command_line.ArgumentParser(prog="benchmarks.changes")
    return settings.configure(dataset, *flags.read_settings(flags.parse_args(parser, given)))


def _try(dataset: Dataset, config: ModelConfig) -> dict:
    with imports.quiet():
        from model.tune import trial

    trial.check(dataset)
    with tempfile.TemporaryDirectory() as folder:
        outcome = trial.run(dataset, config, f"{folder}/trial")
    return dataclasses.asdict(outcome)


def table(results: dict) -> str:
    """Returns the results as Markdown: means over the seeds, with minimum and maximum."""
    lines = [
        "| network | accuracy | minimum to maximum | loss | best epochs |",
        "|---|--:|--:|--:|--:|",
    ]
    for name, trials in results["trials"].items():
        outcomes = list(trials.values())
        columns = ("val_accuracy", "val_loss", "best_epoch")
        accuracy, loss, epoch = ([outcome[key] for outcome in outcomes] for key in columns)
        lines.append(
            f"| {name} | {statistics.mean(accuracy):.4f} "
            f"| {min(accuracy):.4f} to {max(accuracy):.4f} | {statistics.mean(loss):.4f} "
            f"| {', '.join(map(str, epoch))} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    app.run(main)
