"""Scores texts with a trained model, from its SavedModel alone."""

import contextlib
import json
import os
import sys
from collections.abc import Iterable, Iterator
from typing import Any

from textrecords import app, command_line, terminal
from textrecords.saved_model import BATCH_SIZE, load_model


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
    model = load_model(model_dir, verify=verify)
    counts = dict.fromkeys(model.classes, 0)
    width = max(len(terminal.one_line(name)) for name in model.classes)
    for row in model.rows(texts, batch_size):
        counts[row["label"]] += 1
        if as_json:
            terminal.say(_to_json(row))
            continue
        score = row["score"] if "score" in row else max(row["scores"])
        label = terminal.one_line(row["label"])
        terminal.say(f"{score:.4f}  {label:<{width}}  {row['text']}")
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
            terminal.say("")  # ends the prompt's line


def _to_json(row: dict[str, Any]) -> str:
    """Returns a row as JSON, with what isn't printable escaped as JSON has it."""
    text = json.dumps(row, ensure_ascii=False)
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text)


def main(argv: list[str]) -> None:
    parser = command_line.ArgumentParser(
        prog="model.predict", description="Scores texts: the probability of the second class."
    )
    parser.add_argument("texts", nargs="*", metavar="TEXT", help="default: standard input's lines")
    parser.add_argument(
        "--model_dir", type=command_line.path, required=True, metavar="DIR", help="what train wrote"
    )
    parser.add_argument("--json", action="store_true", help="print a JSON object for each text")
    parser.add_argument("--no_verify", action="store_true", help=command_line.NO_VERIFY)
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
    app.run(main)
