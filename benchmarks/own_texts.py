"""Trains the tuned preset on texts that aren't reviews, next to what most people would take.

    python -m benchmarks.own_texts

The texts are docstrings of installed packages, so nothing is downloaded; which package, or which
kind of thing, does one belong to? scikit-learn's TF-IDF and logistic regression, with their
defaults, learn from the same split. Sets that were measured aren't repeated.
"""

import ast
import collections
import dataclasses
import functools
import hashlib
import importlib.metadata
import json
import pathlib
import sysconfig
import tempfile
from collections.abc import Callable, Iterator

from benchmarks import preprocess, run
from pipelines import sample
from textrecords import app, command_line, model_folder, spec

RESULTS = pathlib.Path(__file__).with_suffix(".json")
SCIENTIFIC = ["matplotlib", "numpy", "pandas", "scipy", "sklearn"]
OTHERS = ["IPython", "PIL", "aiohttp", "alembic", "apache_beam", "fontTools", "hypothesis", "keras"]
MORE = ["libcst", "pydantic", "pygments", "rich", "sqlalchemy", "tensorboard", "textual"]
TEST_SHARE = 4  # one in so many texts


@dataclasses.dataclass(frozen=True)
class Docstring:
    """A docstring, the package that it is in, and what it is of: class, method or function."""

    text: str
    package: str
    kind: str


@dataclasses.dataclass(frozen=True)
class Texts:
    """A data set: for each split, classes and their texts."""

    train: list[tuple[str, str]]
    test: list[tuple[str, str]]

    @classmethod
    def split(cls, found: list[tuple[str, str]], train: int | None = None) -> "Texts":
        """Splits (class, text) pairs: every fourth one is test; of the others, some are train."""
        test = found[::TEST_SHARE]
        rest = [each for number, each in enumerate(found) if number % TEST_SHARE]
        return cls(rest[:train], test)


@functools.cache
def docstrings(package: str) -> list[Docstring]:
    """Returns the docstrings of an installed package, which isn't imported, without its tests."""
    folder = pathlib.Path(sysconfig.get_path("purelib"), package)
    files = sorted(path.relative_to(folder) for path in folder.rglob("*.py"))
    return [
        Docstring(text, package, kind)
        for path in files
        if "test" not in str(path)
        for text, kind in _in_body(ast.parse((folder / path).read_bytes()).body, "function")
    ]


def _in_body(body: list[ast.stmt], function: str) -> Iterator[tuple[str, str]]:
    """Yields the docstrings of classes and functions, and what they are of."""
    for node in body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            is_class = isinstance(node, ast.ClassDef)
            if text := ast.get_docstring(node):
                yield text, "class" if is_class else function
            if is_class:
                yield from _in_body(node.body, "method")


def distinct(packages: list[str]) -> list[Docstring]:
    """Returns the docstrings of packages, each text once, in an order that mixes them."""
    found = {each.text: each for package in packages for each in docstrings(package)}
    return sorted(found.values(), key=lambda each: hash_of(each.text))


def _few_words() -> Texts:
    """First lines, by package: 20 classes of short texts."""
    found = distinct([*SCIENTIFIC, *OTHERS, *MORE])
    packages = {each.text.partition("\n")[0]: each.package for each in found}
    return Texts.split(_limited([(of, line) for line, of in packages.items()], 1_500))


def _many_words() -> Texts:
    """Docstrings of 100 words or more, of five scientific packages."""
    found = [each for each in distinct(SCIENTIFIC) if len(each.text.split()) >= 100]
    return Texts.split(_limited([(each.package, each.text) for each in found], 2_000))


def _unbalanced() -> Texts:
    """What a docstring is of: three classes, from 1 in 10 texts to 6."""
    return Texts.split([(each.kind, each.text) for each in distinct(SCIENTIFIC)], 12_000)


def _few_texts() -> Texts:
    """60 docstrings to learn from, of three packages."""
    found = _limited([(d.package, d.text) for d in distinct(["keras", "pandas", "scipy"])], 500)
    return Texts.split(found, 60)


def _made_up() -> Texts:
    """Made-up reviews, as of `make sample`."""
    found = {}
    for number in range(6_000):
        path, text = sample.review(0, number)
        found[text] = (pathlib.Path(path).parent.name, text)
    return Texts.split(sorted(found.values(), key=lambda each: hash_of(each[1])))


def hash_of(text: str) -> str:
    """Returns what texts are sorted by, which mixes them."""
    return hashlib.sha256(text.encode()).hexdigest()


def _limited(found: list[tuple[str, str]], number: int) -> list[tuple[str, str]]:
    """Returns at most a number of texts of each class."""
    counts = collections.Counter()
    kept = []
    for of, text in found:
        counts[of] += 1
        if counts[of] <= number:
            kept.append((of, text))
    return kept


SETS: dict[str, Callable[[], Texts]] = {
    "first lines of docstrings, by package": _few_words,
    "docstrings of 100 words or more, by package": _many_words,
    "docstrings of classes, methods and functions": _unbalanced,
    "60 docstrings, by package": _few_texts,
    "made-up reviews": _made_up,
}


def main(argv: list[str]) -> None:
    parser = command_line.ArgumentParser(prog="benchmarks.own_texts", description=__doc__)
    parser.add_argument("--output", type=pathlib.Path, default=RESULTS, metavar="FILE")
    args = parser.parse_args(argv)
    versions = {name: importlib.metadata.version(name) for name in ("textrecords", "scikit-learn")}
    results = {"machine": run.machine(), "packages": versions, "sets": {}}
    if args.output.exists():
        results = json.loads(args.output.read_text())
    for name, make in SETS.items():
        if name not in results["sets"]:
            print(name, flush=True)
            results["sets"][name] = measure(make())
            args.output.write_text(json.dumps(results, indent=2) + "\n")
    print(table(results))


def measure(texts: Texts) -> dict[str, float]:
    """Returns the sizes of a data set, and the accuracies on its test split."""
    words = sorted(len(text.split()) for _, text in texts.train)
    counts = collections.Counter(of for of, _ in texts.train)
    return {
        "classes": len(counts),
        "largest_class": max(counts.values()) / len(texts.train),
        "train": len(texts.train),
        "test": len(texts.test),
        "median_words": words[len(words) // 2],
        "tuned": tuned(texts),
        "tfidf": tfidf(texts),
    }


def tuned(texts: Texts) -> float:
    """Returns the test accuracy of the tuned preset, preprocessed and trained as by make."""
    with tempfile.TemporaryDirectory() as folder:
        for split, found in ((spec.TRAIN, texts.train), (spec.TEST, texts.test)):
            for number, (of, text) in enumerate(found):
                path = pathlib.Path(folder, "in", split, of, f"{number}.txt")
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
        records, model = f"{folder}/records", f"{folder}/model"
        preprocess.run_module(
            "pipelines.preprocess", "--input", f"{folder}/in", "--output", records
        )
        train = ["model.train", "--preset", "tuned", "--records", records, "--model_dir", model]
        preprocess.run_module(*train)
        metrics = json.loads(pathlib.Path(model, model_folder.METRICS).read_text())
    return metrics["test"]["accuracy"]


def tfidf(texts: Texts) -> float:
    """Returns the test accuracy of scikit-learn's TF-IDF and logistic regression."""
    from sklearn import feature_extraction, linear_model, pipeline

    model = pipeline.make_pipeline(
        feature_extraction.text.TfidfVectorizer(), linear_model.LogisticRegression(max_iter=1_000)
    )
    labels, features = zip(*texts.train, strict=True)
    model.fit(features, labels)
    labels, features = zip(*texts.test, strict=True)
    return model.score(features, labels)


def table(results: dict) -> str:
    """Returns the results as Markdown."""
    lines = [
        "| texts | classes | largest | train | test | median words | tuned | TF-IDF | ahead |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for name, of in results["sets"].items():
        ahead = 100 * (of["tuned"] - of["tfidf"])
        lines.append(
            f"| {name} | {of['classes']} | {of['largest_class']:.0%} | {of['train']:,} "
            f"| {of['test']:,} | {of['median_words']} | {of['tuned']:.2%} | {of['tfidf']:.2%} "
            f"| {ahead:+.1f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    app.run(main)
