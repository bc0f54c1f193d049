"""Scores texts with the SavedModel of a trained model."""

import contextlib
import dataclasses
import json
import os
import select
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from textrecords import app, command_line, terminal
from textrecords.command_line import flag
from textrecords.field_types import Path
from textrecords.saved_model import BATCH_BYTES, BATCH_SIZE, Word, load_model

MAX_SHOWN = 10  # tokens with the strongest effects
READ_BYTES = 1 << 16  # at once: the capacity of a pipe


@dataclasses.dataclass(frozen=True)
class Options:
    """The flags."""

    model_dir: Path = flag(command_line.MODEL_DIR, metavar="DIR")
    json: bool = flag("print a JSON object for each text", False)
    explain: bool = flag("show the effect of each token on the score", False)
    no_verify: bool = flag(command_line.NO_VERIFY, False)


def show(
    model_dir: str,
    batches: Iterable[Sequence[bytes]],
    *,
    as_json: bool = False,
    explain: bool = False,
    verify: bool = True,
) -> dict[str, int]:
    """Prints a line for each text: a JSON object, or score, label, text.

    With three or more classes the score is that of the label. The lines of a batch are flushed
    before the next batch is read.

    Returns:
      The number of texts with each label.
    """
    model = load_model(model_dir, verify=verify)
    counts = dict.fromkeys(model.classes, 0)
    width = max(len(terminal.one_line(name)) for name in model.classes)
    for batch in batches:
        for row in model.rows(batch):
            counts[row["label"]] += 1
            words = model.explain(row["text"]) if explain else []
            if as_json:
                tokens = {"tokens": [dataclasses.asdict(word) for word in words]}
                terminal.say(_to_json({**row, **(tokens if explain else {})}))
            else:
                terminal.say(_to_line(row, width))
                _show_words(words)
        sys.stdout.flush()
    return counts


def _show_words(words: Sequence[Word]) -> None:
    """Prints the tokens in colors by their effects, and lists the strongest ones."""
    if words and terminal.in_colors():
        terminal.say_tinted([(word.token, word.effect) for word in words])
    strongest = sorted(words, key=lambda word: -abs(word.effect))[:MAX_SHOWN]
    if effects := [f"{word.token} {word.effect:+.2f}" for word in strongest if word.effect]:
        terminal.say(f"        {', '.join(effects)}")


def _typed() -> Iterator[list[bytes]]:
    """Yields each nonempty line as it's typed, until Ctrl-D."""
    prompt = ""
    if sys.stdout.isatty():  # else it would be written among the scores
        prompt = "> "
        with contextlib.suppress(ImportError):
            import readline  # noqa: F401, which adds line editing to `input`
    sys.stdin.reconfigure(errors="surrogateescape")
    try:
        while True:
            if text := input(prompt):
                yield [os.fsencode(text)]
    except EOFError:
        pass
    finally:
        if prompt:
            terminal.say("")  # ends the prompt's line


def _arrived(file: int) -> Iterator[list[bytes]]:
    """Yields the lines of a pipe or file as they arrive: all that are available, up to a batch.

    Args:
      file: its descriptor.
    """
    lines, begun, held = [], bytearray(), 0  # complete lines, the rest, and the bytes of both
    while True:
        wait = 0 if lines else None
        is_ready = bool(select.select([file], [], [], wait)[0])
        content = os.read(file, READ_BYTES) if is_ready else b""
        begun += content
        held += len(content)
        if b"\n" in content:
            *whole, rest = bytes(begun).split(b"\n")
            lines += whole
            begun = bytearray(rest)
        ended = is_ready and not content
        if ended and begun:
            lines.append(bytes(begun))
        if lines and (not content or len(lines) >= BATCH_SIZE or held >= BATCH_BYTES):
            yield [line.rstrip(b"\r") for line in lines]
            lines, held = [], len(begun)
        if ended:
            return


def _to_line(row: dict[str, Any], width: int) -> str:
    """Returns score, label and text, with the label padded to `width`."""
    score = row["score"] if "score" in row else max(row["scores"])
    return f"{score:.4f}  {terminal.one_line(row['label']):<{width}}  {row['text']}"


def _to_json(row: dict[str, Any]) -> str:
    """Returns a row as JSON, with unprintable characters escaped as in JSON."""
    text = json.dumps(row, ensure_ascii=False)
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text)


def main(argv: list[str]) -> None:
    parser = command_line.ArgumentParser(
        prog="model.predict", description="Scores texts: the probability of the second class."
    )
    parser.add_argument("texts", nargs="*", metavar="TEXT", help="default: lines of standard input")
    command_line.add_flags(parser, Options)
    args = parser.parse_args(argv)
    if args.texts:
        batches = [[os.fsencode(text) for text in args.texts]]
    elif sys.stdin.isatty():
        sys.stderr.write("type a text and press Enter; end with Ctrl-D\n")
        batches = _typed()
    else:
        batches = _arrived(sys.stdin.fileno())
    verify = not args.no_verify
    counts = show(args.model_dir, batches, as_json=args.json, explain=args.explain, verify=verify)
    if sys.stdout.isatty() and sum(counts.values()) > 1:  # a pipe gets only one line per text
        terminal.show(("label", "texts"), counts.items())


if __name__ == "__main__":
    app.run(main)
