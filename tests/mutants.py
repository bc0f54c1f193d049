"""Tests the tests: changes the code in small ways, and counts what they notice: `make mutants`.

mutmut (https://mutmut.readthedocs.io) makes the mutants and runs, for each, the tests that reach
its function, in a process of its own. What it found stays in `mutants/`, so that a run that was
stopped continues; survivors are tried again. pyproject.toml names the modules and the tests.
"""

import dataclasses
import hashlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator

from textrecords import app, command_line
from textrecords.errors import Failure

ROOT = pathlib.Path(__file__).parents[1]
PAGE = ROOT / "docs" / "mutants.md"
EQUIVALENT = pathlib.Path(__file__).with_name("equivalent_mutants.json")
KILLED, SURVIVED, UNTRIED = (
    ("killed", "timeout", "segfault"),
    ("survived", "no tests"),
    "not checked",
)

INTRODUCTION = """\
# Mutants

*How good are the tests? A mutant is the code with one small change: another operator or number,
an argument less, a condition turned around. A test should fail.*

Made by `{command}`: {share}% of all mutants of the modules that decide data and promises,
drawn by a hash of their names, each tried with the tests of `make test-fast` that reach the changed
function. `.venv/bin/mutmut show NAME` shows a survivor.

"""


@dataclasses.dataclass(frozen=True)
class Mutant:
    """A change to a function: its name, what became of it, and the changed lines."""

    name: str
    outcome: str

    @property
    def module(self) -> str:
        return self.name.rpartition(".")[0]

    def is_drawn(self, share: int) -> bool:
        """Draws the same mutants each time; a larger share adds to those of a smaller one."""
        return int(hashlib.sha256(self.name.encode()).hexdigest(), 16) % 100 < share

    def change(self) -> str:
        """Returns the changed lines, as a key that other changes to the file leave as it is."""
        from mutmut.mutation import diff_apply

        lines = diff_apply.get_diff_for_mutant(self.name).splitlines()
        changed = [line for line in lines if line[:1] in "+-" and line[:3] not in ("+++", "---")]
        return "\n".join(line[0] + line[1:].strip() for line in changed)


def main(argv: list[str]) -> None:
    args = _parser().parse_args(argv)
    # It might lead tests to the code as it is.
    os.environ.pop("PYTHONPATH", None)
    os.chdir(ROOT)
    from mutmut import __main__ as mutmut

    _generate(mutmut)
    drawn = [each for each in _mutants(mutmut) if each.is_drawn(args.share)]
    left = [each.name for each in drawn if each.outcome not in KILLED and not is_equivalent(each)]
    if left:
        # In a process of its own, which hasn't imported the code that is to be changed.
        program = pathlib.Path(sys.executable).with_name("mutmut")
        if subprocess.run([program, "run", *left]).returncode:
            raise Failure("mutmut failed: see above")
    drawn = [each for each in _mutants(mutmut) if each.is_drawn(args.share)]
    command = " ".join(["make mutants", *([f'ARGS="{" ".join(argv)}"'] if argv else [])])
    PAGE.write_text(page(drawn, INTRODUCTION.format(command=command, share=args.share)))
    for each in drawn:
        if each.outcome not in KILLED and not is_equivalent(each):
            print(f"{each.outcome}: {each.name}")


def _generate(mutmut) -> None:
    (ROOT / "mutants").mkdir(exist_ok=True)
    # What mutmut doesn't notice: tests that were removed, and which ones reach a changed function.
    shutil.rmtree(ROOT / "mutants" / "tests", ignore_errors=True)
    (ROOT / "mutants" / "mutmut-stats.json").unlink(missing_ok=True)
    with mutmut.CatchOutput(spinner_title="Generating mutants"):
        mutmut.copy_src_dir()
        mutmut.create_mutants(os.cpu_count())


def _mutants(mutmut) -> Iterator[Mutant]:
    _, files = mutmut.collect_source_file_mutation_data(mutant_names=())
    for file in files.values():
        for name, exit_code in file.exit_code_by_key.items():
            yield Mutant(name, mutmut.status_by_exit_code[exit_code])


def is_equivalent(mutant: Mutant) -> bool:
    """Tells whether a change was shown to change no outcome; equivalent_mutants.json says why."""
    function = mutant.name.rpartition("__mutmut_")[0]
    known = _equivalent().get(function) if mutant.outcome in SURVIVED else None
    return bool(known) and mutant.change() in known  # to find the change takes long


def _equivalent() -> dict[str, dict[str, str]]:
    return json.loads(EQUIVALENT.read_text())


def page(mutants: list[Mutant], introduction: str) -> str:
    """Returns docs/mutants.md, with a row for each module and for all."""
    modules = sorted({each.module for each in mutants})
    rows = [_row(module, [each for each in mutants if each.module == module]) for module in modules]
    rows.append(_row("all", mutants))
    header = (
        "| module | tried | killed | equivalent | survived | score |\n|---|--:|--:|--:|--:|--:|\n"
    )
    reasons = "".join(
        f"- `{function}`: `{change.splitlines()[-1]}`: {reason}\n"
        for function, changes in _equivalent().items()
        for change, reason in changes.items()
    )
    return (
        f"{introduction}{header}{''.join(rows)}\nEquivalent, which no test can notice:\n\n{reasons}"
    )


def _row(name: str, mutants: list[Mutant]) -> str:
    tried = [each for each in mutants if each.outcome != UNTRIED]
    killed = sum(each.outcome in KILLED for each in tried)
    equivalent = sum(is_equivalent(each) for each in tried)
    score = f"{killed / (len(tried) - equivalent):.0%}" if len(tried) > equivalent else ""
    counts = f"{len(tried)} | {killed} | {equivalent} | {len(tried) - killed - equivalent}"
    return f"| {name} | {counts} | {score} |\n"


def _parser() -> command_line.ArgumentParser:
    parser = command_line.ArgumentParser(prog="tests.mutants", description=__doc__)
    percent = command_line.number(minimum=1, maximum=100)
    parser.add_argument("--share", type=percent, default=100, help="percentage of mutants to try")
    return parser


if __name__ == "__main__":
    # A shell starts what runs in the background with Ctrl-C ignored, and tests inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    app.run(main)
