"""Scores texts with a trained model, from its SavedModel alone."""

import contextlib
import itertools
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from model import config
from pipelines import commands, terminal

if TYPE_CHECKING:
    import tensorflow as tf

BATCH_SIZE = 256  # texts read and scored at once


def predictions(
    model_dir: str, texts: Iterable[bytes], batch_size: int = BATCH_SIZE
) -> Iterator[dict[str, Any]]:
    """Yields `text`, `label`, `classes` and `score` (of the second class) of each text, in order.

    With three or more classes it's `scores`, one a class. Bytes that aren't UTF-8 are replaced.
    Nothing is yielded until `batch_size` texts are there, or all.

    Raises:
      BadInput: if the folder holds no whole model.
    """
    serve = load_signatures(model_dir)["serving_default"]
    texts = iter(texts)
    while batch := list(itertools.islice(texts, batch_size)):
        for text, row in zip(batch, rows(serve, batch), strict=True):
            yield {"text": text.decode("utf-8", "replace"), **row}


def rows(
    serve: Callable[..., dict[str, "tf.Tensor"]], texts: Sequence[bytes]
) -> Iterator[dict[str, Any]]:
    """Yields what the signature `serve` gives for each text, by the name of the output."""
    import tensorflow as tf

    outputs = serve(text=tf.constant(texts))
    columns = {name: values.numpy().tolist() for name, values in outputs.items()}
    for values in zip(*columns.values(), strict=True):
        row = dict(zip(columns, values, strict=True))
        row["label"] = row["label"].decode()
        row["classes"] = [name.decode() for name in row["classes"]]
        yield row


def load_signatures(model_dir: str) -> Mapping[str, Callable[..., dict[str, "tf.Tensor"]]]:
    """Loads the SavedModel of `export.export`; raises `BadInput`."""
    with commands.quiet_imports():
        import tensorflow as tf
    path = os.path.join(model_dir, config.SERVING)
    try:
        return tf.saved_model.load(path).signatures
    except (OSError, tf.errors.OpError):
        raise commands.BadInput(f"no whole model in {path}: run `make train` again") from None


def show(
    model_dir: str,
    texts: Iterable[bytes],
    *,
    as_json: bool = False,
    verify: bool = True,
    batch_size: int = BATCH_SIZE,
) -> dict[str, int]:
    """Prints a line for each text: a JSON object, or score, label, text.

    With three or more classes the score is that of the label.

    Returns:
      How many texts got each label.
    """
    classes = config.read(model_dir, verify=verify).classes
    counts = dict.fromkeys(classes, 0)
    width = max(len(commands.one_line(name)) for name in classes)
    for row in predictions(model_dir, texts, batch_size):
        counts[row["label"]] += 1
        if as_json:
            commands.say(_to_json(row))
            continue
        score = row["score"] if "score" in row else max(row["scores"])
        label = commands.one_line(row["label"])
        commands.say(f"{score:.4f}  {label:<{width}}  {row['text']}")
    return counts


def _typed() -> Iterator[bytes]:
    """Yields each line as it's typed, but for empty ones, until Ctrl-D."""
    prompt = ""
    if sys.stdout.isatty():  # else it would stand among the scores
        prompt = "> "
        with contextlib.suppress(ImportError):
            import readline  # noqa: F401, by which `input` has arrows edit the line
    sys.stdin.reconfigure(errors="surrogateescape")
    try:
        while True:
            if text := input(prompt):
                yield os.fsencode(text)
    except EOFError:
        pass
    finally:
        if prompt:
            commands.say("")  # ends the prompt's line


def _to_json(row: dict[str, Any]) -> str:
    """Returns a row as JSON, with what isn't printable escaped as JSON has it."""
    text = json.dumps(row, ensure_ascii=False)
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text)


def main(argv: list[str]) -> None:
    parser = commands.ArgumentParser(
        prog="model.predict", description="Scores texts: the probability of the second class."
    )
    parser.add_argument("texts", nargs="*", metavar="TEXT", help="default: standard input's lines")
    parser.add_argument("--model_dir", required=True, metavar="DIR", help="what train wrote")
    parser.add_argument("--json", action="store_true", help="print a JSON object for each text")
    parser.add_argument("--no_verify", action="store_true", help=commands.NO_VERIFY)
    args = parser.parse_args(argv)
    texts, batch_size = [os.fsencode(text) for text in args.texts], BATCH_SIZE
    if not texts:
        texts = (line.rstrip(b"\r\n") for line in sys.stdin.buffer)
        if sys.stdin.isatty():  # who types wants to see each score at once
            sys.stderr.write("type a text and press Enter; end with Ctrl-D\n")
            texts, batch_size = _typed(), 1
    counts = show(
        args.model_dir,
        texts,
        as_json=args.json,
        verify=not args.no_verify,
        batch_size=batch_size,
    )
    if sys.stdout.isatty() and sum(counts.values()) > 1:  # a pipe gets a line a text, no more
        terminal.show(("label", "texts"), counts.items())


if __name__ == "__main__":
    commands.run(main)
