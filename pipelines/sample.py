"""Writes generated movie reviews in the layout of the IMDb set: `make sample`.

Every review is generated from a small grammar by its own random generator, seeded with the sample's
seed and the review's number. So the same flags give the same bytes, a larger sample begins with the
smaller one, and any process can write any block of it.
"""

import collections
import concurrent.futures
import dataclasses
import functools
import json
import multiprocessing
import os
import random
import re
import signal
from collections.abc import Sequence
from typing import Annotated, Any

from annotated_types import Interval

from textrecords import app, atomic, command_line, spec, storage, terminal
from textrecords.command_line import flag
from textrecords.field_types import Count, Path

NEG, POS = CLASSES = ("neg", "pos")
MIN_STARS = {NEG: 1, POS: 7}  # of ten; at most three more
MARKER = "sample.json"  # distinguishes a sample from a user's own folder
BLOCK = 500  # reviews that a process writes before it reports
SHORT_SHARE = 0.3
TINY_SHARE = 0.25  # with a few words, like those that people type to try a model
MAX_WORDS = 600
ENDS = (".", ".", ".", ".", "!", "!!", "...", " .")
GAPS = (" ",) * 9 + ("<br /><br />",)
# Each symbol's phrases, all equally likely. In a phrase, {symbol} stands for any phrase of that
# symbol, and {-symbol} for one of the other class: "not a {-adj} film" praises with a bad word.
SHARED = {
    "sentence": "{remark} | {verdict} | {verdict} | {verdict} | {verdict} | {verdict}",
    "remark": "{fact} | {opinion}",
    "first": "{fact} | {opinion} | {mixed} | {verdict}",
    "last": "{mixed} | {verdict} | {verdict} | {verdict}",
    "opinion": "{plain} | {plain} | {plain} | {plain} | {negated}",
    "plain": """the {aspect} {was} {adj} | the {aspect} {was} {adj}, the {aspect} {was} {adj}
        | the {aspect} {was} {adj} and {name} {was} {adj} | {name} {name} gave a {adj} performance
        | it's a {adj}, {adj} {film} | it {was} {adj} from beginning to end""",
    "tiny": """{adj}, {title} by {name} {name} | {name} {name} in {title}: {verdict}
        | {verdict}, {name} {name} in {title} | a {adj} {film}: {title} by {name} {name}
        | what a {adj} {film}, {title} by {name} {name}""",
    "negated": """the {aspect} {was} never {-adj} | this is not a {-adj} {film}
        | nothing about the {aspect} {was} {-adj}""",
    "mixed": """{-plain}, but {plain} | although {-plain}, {plain} | {plain}, although {-plain}
        | {-plain}; still, {verdict} | my {friend} said that {-plain}, but {verdict}""",
    "fact": """{name} {name} plays a {job} from {place} | {name} {name} directed it after {title}
        | the story follows a {job} and a {job} who meet in {place}
        | it begins in {place} in {year} and ends {number} years later
        | I saw "{title}" in {place} with my {friend}
        | a {job} loses {number} letters, and then {name} finds them
        | the {film} runs for {number} minutes | {title} was made in {year} for a small studio
        | then the {job} goes back to {place} by the night train
        | the camera stays with {name} for most of the {film}""",
    "aspect": """acting | music | plot | story | script | ending | dialogue | pacing | photography
        | cast | editing | direction""",
    "was": "was | was | is | was just | is so",
    "film": "film | film | movie | movie | picture | re-make",
    "this": "this | it | this {film}",
    "friend": "brother | mother | best friend | flat-mate | grandmother",
    "job": "teacher | sailor | baker | nurse | singer | lawyer | farmer | painter | clock-maker",
    "place": "Paris | Kraków | Zürich | São Paulo | Tokyo (東京) | a village | Lisbon",
    "year": "19{digit}{digit} | 200{digit} | 201{digit}",
    "number": "two | three | 1{digit} | {digit}{digit} | 10{digit}",
    "digit": "1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 | 9",
    "title": "The {name} {thing} | {thing} of {name} | {name}'s {thing}",
    "thing": "Harbour | Letter | Garden | Winter | Déjà Vu | Bridge | Secret | Café",
    "name": "{start}{end} | {start}{middle}{end}",
    "start": """Al | Be | Co | Da | El | Fa | Gi | Ho | Jo | Ka | Lu | Mi | No | Pé | Ro | Sa | Tü
        | Vi | Wa | Zo""",
    "middle": "ba | de | la | mi | no | ra | se | ti | vo | lé",
    "end": "n | ra | lle | sch | ton | vik | s | mond | ño | ta",
}
OWN = {
    NEG: {
        "verdict": """I hated it | I hated {this} so much | nobody should watch {this}
            | {this} was awful | {this} was just bad | what a waste of time | stay away from {this}
            | overall it was just {adj} | I did not enjoy {this}
            | I can't recommend {this} to anyone | one of the worst {film}s of {year}
            | I didn't love {this}, I hated it | I walked out after {number} minutes
            | who would pay for {this}? Not me""",
        "adj": """bad | awful | dreadful | terrible | boring | dull | weak | poor | stupid
            | horrible | predictable | clumsy | flat | tedious | silly | tiresome | wooden""",
    },
    POS: {
        "verdict": """I loved it | I loved every minute of {this} | everyone should watch {this}
            | {this} was great | I highly recommend {this} to anyone
            | highly recommend it to everyone | well worth the time
            | if you are looking for a {adj} {film}, watch {this} | overall it was just {adj}
            | a {adj} {film} to watch with my {friend}
            | I did enjoy {this} | one of the best {film}s of {year}
            | I didn't hate {this}, I loved it | I would watch {this} again after {number} years
            | who would not love {this}? I did""",
        "adj": """good | great | wonderful | splendid | superb | brilliant | charming | moving
            | funny | clever | beautiful | perfect | fresh | gripping | touching | memorable""",
    },
}


def _parts(phrases: str) -> list[list[str]]:
    """Splits each phrase into text, symbol, text, symbol, ..., text."""
    return [re.split(r"\{(-?\w+)\}", phrase) for phrase in re.split(r"\s*\|\s*", phrases)]


GRAMMAR = {
    label: {symbol: _parts(phrases) for symbol, phrases in {**SHARED, **own}.items()}
    for label, own in OWN.items()
}
OTHER = {NEG: POS, POS: NEG}


def _pick(rng: random.Random, choices: Sequence[Any]) -> Any:
    # Python guarantees the same numbers in all releases for `random()`, but not for `choice()`.
    return choices[int(rng.random() * len(choices))]


def _grow(rng: random.Random, symbol: str, label: str) -> str:
    if symbol[0] == "-":
        symbol, label = symbol[1:], OTHER[label]
    parts = _pick(rng, GRAMMAR[label][symbol])
    if len(parts) == 1:
        return parts[0]
    return "".join(_grow(rng, p, label) if i % 2 else p for i, p in enumerate(parts))


def _sentence(rng: random.Random, symbol: str, label: str) -> str:
    text = _grow(rng, symbol, label)
    text = text.upper() if rng.random() < 0.04 else text[0].upper() + text[1:]
    return text + _pick(rng, ENDS)


def _min_words(rng: random.Random) -> int:
    """Returns the minimum number of words of a review: few for some, long-tailed for others."""
    u = rng.random()
    if rng.random() < SHORT_SHARE:
        return 8 + int(62 * u)
    return min(80 + int(50 * u / (1 - u)), MAX_WORDS)


def _text(rng: random.Random, label: str) -> str:
    min_words = _min_words(rng)
    if rng.random() < TINY_SHARE:
        return _sentence(rng, "tiny", label)
    text = _sentence(rng, "first", label)
    while text.count(" ") < min_words:
        text += _pick(rng, GAPS) + _sentence(rng, "sentence", label)
    text += _pick(rng, GAPS) + _sentence(rng, "last", label)
    return text.lower() if rng.random() < 0.1 else text


def _place(number: int) -> tuple[str, str, int]:
    """Returns the split, the class and the position in it of review `number`.

    Of three consecutive reviews two go to train, so that a larger sample contains smaller ones.
    """
    index, turn = divmod(number, 3)
    if turn < 2:
        return spec.TRAIN, CLASSES[turn], index
    return spec.TEST, CLASSES[index % 2], index // 2


def review(seed: int, number: int) -> tuple[str, str]:
    """Returns the path below the sample's folder and the text of review `number`."""
    split, label, index = _place(number)
    rng = random.Random(f"{seed}/{number}")
    stars = MIN_STARS[label] + _pick(rng, range(4))
    return f"{split}/{label}/{index}_{stars}.txt", _text(rng, label)


def _write_block(folder: str, seed: int, numbers: range) -> None:
    for number in numbers:
        path, text = review(seed, number)
        with open(os.path.join(folder, path), "wb") as file:
            file.write(text.encode())


def write(output: str, *, count: int, seed: int) -> None:
    """Writes `count` reviews as `<output>/{train,test}/{neg,pos}/<id>_<stars>.txt`.

    Raises:
      BadInput: if `output` contains anything other than a sample.
    """
    blocks = [range(start, min(start + BLOCK, count)) for start in range(0, count, BLOCK)]
    with (
        atomic.write_folder(
            output, holds="|".join((*spec.SPLITS, MARKER)), marker=MARKER
        ) as folder,
        concurrent.futures.ProcessPoolExecutor(
            # A fork would copy the locks of the caller's threads, of which TensorFlow has many.
            mp_context=multiprocessing.get_context("spawn"),
            initializer=signal.signal,  # only the parent handles Ctrl-C
            initargs=(signal.SIGINT, signal.SIG_IGN),
        ) as pool,
    ):
        for split in (spec.TRAIN, spec.TEST):
            for label in CLASSES:
                os.makedirs(os.path.join(folder, split, label))
        written = pool.map(functools.partial(_write_block, folder, seed), blocks)
        with open(os.path.join(folder, MARKER), "w", encoding="utf-8") as file:
            json.dump({"count": count, "seed": seed}, file)
        with terminal.tracked(written, "writing blocks of reviews", len(blocks)) as shown:
            collections.deque(shown, maxlen=0)


@dataclasses.dataclass(frozen=True)
class Options:
    """The flags."""

    output: Path = flag("the folder to create or replace", "data/sample")
    count: Annotated[int, Interval(ge=6, le=10**9)] = flag(
        "total number of reviews; a third of them are for test", 3000
    )
    seed: Count = flag("each seed gives different reviews", 0)


def main(argv: list[str]) -> None:
    parser = command_line.ArgumentParser(
        prog="pipelines.sample", description="Writes generated movie reviews to train and test on."
    )
    command_line.add_flags(parser, Options)
    args = parser.parse_args(argv)
    storage.check_local(args.output)
    write(args.output, count=args.count, seed=args.seed)
    from pipelines import summary  # here, since every process of the pool would import it

    summary.show_files(args.output)
    terminal.say(f"{args.output}: {args.count:,} reviews")


if __name__ == "__main__":
    app.run(main)
