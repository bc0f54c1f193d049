"""The README and the pages of docs/: links, commands, flags, messages, snippets, printed output.

A command on a page is run here, or by another test or `.ci/run` that `ELSEWHERE` names, or else
`NOT_RUN` says why not; whatever is run, each command has targets and flags that there are.
"""

import ast
import collections
import functools
import importlib
import itertools
import json
import os
import pathlib
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from typing import NamedTuple

import pytest
from test_commands import OUTSIDE_MAKE, set_up

from docs import flags
from pipelines import command

ROOT = pathlib.Path(__file__).parent.parent
README = ROOT / "README.md"
PAGES = [
    README,
    *(ROOT / name for name in ("CONTRIBUTING.md", "CHANGELOG.md", "textrecords/FORMAT.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"``\s?(.+?)\s?``|`([^`\n]+)`")
LINK = re.compile(r"(?<!`)\]\(([^()\s]+)\)")
SOURCE = re.compile(
    r"(?<![\w/])(?:benchmarks|docs|engines|model|pipelines|tests|textrecords)/[\w/]+\.(?:py|md|txt)"
)
OUR_WORDS = ("make", "textrecords", ".venv/bin/python", "python")  # of commands in a sentence
FOREIGN = ("docker", "gcloud", "git", "pip", "sha256sum")  # their flags aren't ours

# Run by `test_a_command_prints_what_a_page_shows` and its neighbors.
RUN_HERE = {
    "make train",
    'make predict TEXT="what a great movie"',
    'make predict TEXT="a great movie, though a little too long" ARGS=--explain',
    "make evaluate",
    "make report",
    "make score INPUT=data/sample/test MODEL_DIR=out/sample/model",
    "make verify",
    "make inspect N=3",
    "textrecords --help",
}

# Commands, as regular expressions; the file that runs them, or what they run with these flags; and
# a piece of it that does.
ELSEWHERE = [
    ("make (test|test-slow|lint)", ".ci/run", "make test\nmake test-slow\nmake lint\n"),
    ("make preprocess", ".ci/run", "make preprocess\n"),
    ("make data ARCHIVE=.*", ".ci/run", 'make data ARCHIVE="$ARCHIVE"'),
    ("make train PRESET=tuned.*", ".ci/run", "make train PRESET=tuned"),
    ("make data", "tests/pipelines/test_download.py", "download.fetch("),
    (r"make train INPUT=my_\S+", ".ci/run", "make train INPUT=out/own/my_folder"),
    ("make train INPUT=reviews.csv", ".ci/run", "make train INPUT=out/own/reviews.csv"),
    ("make train RECORDS=out.*", "tests/test_commands.py", '["RECORDS=mine"], "mine", False'),
    ("make train INPUT=.* ARGS=.*", "tests/model/test_train.py", "--max_tokens"),
    ('make train ARGS="--max_tokens.*', "tests/model/test_train.py", "--max_tokens"),
    ('make train ARGS="--lstm_layers.*', "tests/model/test_lstm.py", "lstm_layers=3"),
    ('make train ARGS="--dropout.*', "tests/model/test_lstm.py", '"recurrent_dropout"'),
    ('make train ARGS="--bidirectional.*', "tests/model/test_lstm.py", "bidirectional=True"),
    ('make train ARGS="--gpus.*', "tests/model/test_replicas.py", '"--gpus=3"'),
    ('make train ARGS="--version.*', "tests/model/test_serving.py", "--version"),
    ("make train PRESET=(mine|out).*", "tests/model/test_presets.py", "mine.write_text("),
    ("make train RECORDS=gs.*", "tests/pipelines/test_gcs.py", "train.main("),
    ("make tune .*", "tests/model/test_tune.py", "--over"),
    ("make preprocess INPUT=my_folder ARGS=.*", ".ci/run", "my_folder ARGS="),
    ("make preprocess INPUT=reviews.*", ".ci/run", "make preprocess INPUT=out/own/reviews.csv"),
    ("make preprocess INPUT='.*", "tests/pipelines/test_table_runs.py", "--label_column="),
    ("make preprocess INPUT=my_tables", "tests/pipelines/test_table_runs.py", "train.csv"),
    (
        *('make preprocess ARGS="--drop_.*', "tests/pipelines/test_audit.py"),
        '"--drop_leaked", "--drop_duplicates"',
    ),
    ('make preprocess ARGS="--stop.*', "tests/pipelines/test_preprocess.py", "--stop_words="),
    (
        *('make preprocess ARGS="--direct.*', "tests/pipelines/test_reproducible.py"),
        '"--direct_running_mode=multi_processing", "--direct_num_workers=2"',
    ),
    (
        *("make preprocess RUNNER=Bundle.*", "tests/pipelines/test_reproducible.py"),
        '"--runner=BundleBasedDirectRunner"',
    ),
    (
        *("make preprocess RUNNER=Portable.*", "tests/pipelines/test_reproducible.py"),
        '"--job_endpoint=embed", "--environment_type=LOOPBACK"',
    ),
    (
        *("make preprocess RUNNER=(Flink|Spark|Prism).*", "tests/pipelines/test_engines.py"),
        'params=["prism", "flink", "spark"]',
    ),
    ("make preprocess RUNNER=Dataflow.*", "tests/pipelines/test_dataflow.py", "--temp_location="),
    ("make engine ENGINE=flink", "tests/pipelines/test_engines.py", '"engines", "flink"'),
    ('make score .*parquet"', "tests/pipelines/test_score.py", '"--format=parquet"'),
    (r"make score .*\*\*.*", "tests/pipelines/test_score.py", "**/*"),
    ("make score INPUT=new_texts .*model", "tests/pipelines/test_score.py", "score.main("),
    ("make score INPUT=new.csv .*", ".ci/run", "make score INPUT=out/own/reviews.csv"),
    ("make score INPUT=new.csv .*date.*", "tests/pipelines/test_table_runs.py", "--keep_columns"),
    ("make convert.*", "tests/test_converting_page.py", '("onnx", "tflite")'),
    ('make verify ARGS="--onnx.*', "tests/pipelines/test_verify.py", '"--onnx", str(converted)'),
    ("make tensorboard", "tests/model/test_tensorboard.py", "model.tensorboard"),
    (".venv/bin/tensorboard .*", "tests/model/test_tensorboard_logs.py", "hparams"),
    ("make soak .*", "tests/test_soak.py", "soak"),
    (r"\.venv/bin/python -m benchmarks.worker", "tests/test_benchmarks.py", "worker.list_files("),
    (r"pip install .*", "tests/test_wheel.py", '"--constraint", ROOT / "requirements.lock"'),
    ("textrecords train --help", "tests/test_install.py", '["train", "inspect", "preprocess"]'),
    ("curl .*", "tests/model/test_serving.py", "PredictRequest"),
]

# Commands, as regular expressions, and why they aren't run.
NOT_RUN = [
    ("(PYTHON=python3.12 )?make setup", "the tests run in what it has built"),
    ("make test-fast|make test(-slow)? ARGS=.*", "parts of make test"),
    (r"\.venv/bin/python -m tests.soak .*", "hours; tests/test_soak.py runs each fault"),
    ("make mutants .*", "an hour; tests/test_mutants.py runs its parts"),
    ("make bench .*", "minutes on real reviews; tests/test_benchmarks.py runs its parts"),
    (r"\.venv/bin/python -m benchmarks.cost .*", "minutes on real reviews"),
    (r"\.venv/bin/pip install -e .*", "it downloads CUDA"),
    ("docker .*", "it needs Docker; tests/test_install.py looks at the images"),
]


class Shown(NamedTuple):
    """A command that a page shows with what it prints."""

    page: str
    command: str
    output: str


def text_of(page):
    return page.read_text(encoding="utf-8")


def name_of(page):
    return str(page.relative_to(ROOT))


def prose(page):
    """Returns a page without its blocks of code."""
    return FENCE.sub("", text_of(page))


def spans(page):
    """Returns what stands in backticks in the sentences and tables of a page."""
    return [double or single for double, single in SPAN.findall(prose(page))]


def blocks(page, language):
    return [body for of, body in FENCE.findall(text_of(page)) if of == language]


def shell_lines(body):
    """Returns the commands of a block, each in one line and without its comment."""
    lines = body.replace("\\\n", " ").splitlines()
    found = (re.sub(r"\s+#\s.*$", "", re.sub(r"\s+", " ", line)).strip() for line in lines)
    return [line for line in found if line and not line.startswith("#")]


def shown():
    """Returns all commands that are shown with their output."""
    return [
        Shown(name_of(page), *part.split("\n", 1))
        for page in PAGES
        for body in blocks(page, "console")
        for part in re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]
    ]


def commands():
    """Returns the commands of all pages, each with the pages that have it."""
    found = collections.defaultdict(set)
    for page in PAGES:
        for body in blocks(page, "sh"):
            for line in shell_lines(body):
                found[line].add(name_of(page))
    for each in shown():
        found[each.command].add(each.page)
    return found


def mentioned():
    """Returns the commands in sentences and tables, whole ones, by their pages."""
    return [
        (name_of(page), span)
        for page in PAGES
        for span in spans(page)
        if span.split()[0] in OUR_WORDS and len(span.split()) > 1
        if "<" not in span and "..." not in span.replace('"..."', "")
    ]


def slugs(page):
    """Returns the anchors of a page's headings, as GitHub makes them."""
    found = collections.Counter()
    for heading in re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE):
        slug = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        found[slug] += 1
    return {f"{slug}-{n}" if n else slug for slug, count in found.items() for n in range(count)}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_leads_somewhere(page):
    for link in LINK.findall(prose(page)):
        path, _, anchor = link.partition("#")
        if re.match(r"https?:", link):
            continue
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in slugs(target), link


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_file_of_the_project_that_a_page_names_is_there(page):
    for span in spans(page):
        for path in SOURCE.findall(span):
            assert (ROOT / path).exists(), path


def test_the_index_leads_to_every_page():
    linked = set(LINK.findall(text_of(ROOT / "docs/README.md")))
    names = {path.name for path in (ROOT / "docs").iterdir() if path.suffix in (".md", ".ipynb")}
    assert names - linked == {"README.md"}


def test_the_readme_is_short():
    assert len(text_of(README).splitlines()) <= 200


def test_the_readme_lists_every_target():
    (targets,) = (body for body in blocks(README, "text") if body.startswith("setup "))
    listed = re.findall(r"(?:^|   )([a-z-]+)  ", targets, re.MULTILINE)
    documented = re.findall(r"^([a-z-]+):.*## ", text_of(ROOT / "Makefile"), re.MULTILINE)
    assert sorted(listed) == sorted(documented)


def test_the_table_of_flags_is_up_to_date():
    assert text_of(flags.PAGE) == flags.page(), "run `make docs`"


@pytest.mark.parametrize("line", sorted(commands()))
def test_every_command_is_run_or_says_why_not(line):
    patterns = [pattern for pattern, *_ in (*ELSEWHERE, *NOT_RUN)]
    known = line in RUN_HERE or any(re.fullmatch(pattern, line) for pattern in patterns)
    assert known, f"{line}, of {commands()[line]}: run it, or say why not"


def test_what_is_said_of_commands_is_true_and_needed():
    lines = commands()
    for line in RUN_HERE:
        assert line in lines
    for pattern, *_ in (*ELSEWHERE, *NOT_RUN):
        assert any(re.fullmatch(pattern, line) for line in lines), pattern
    for pattern, path, needle in ELSEWHERE:
        assert needle in text_of(ROOT / path), pattern


@pytest.fixture(scope="module")
def planned(tmp_path_factory):
    """Returns what runs make where Python prints its arguments, and gives these."""
    here = tmp_path_factory.mktemp("planned")
    set_up(here, "#!/bin/sh\nshift\nprintf '%s\\037' \"$@\"\necho\n")
    (here / ".venv/bin/uv").symlink_to(shutil.which("true"))

    @functools.cache
    def make(*arguments):
        done = subprocess.run(
            ["make", "--no-print-directory", *arguments],
            capture_output=True,
            text=True,
            cwd=here,
            env=OUTSIDE_MAKE,
        )
        assert done.returncode == 0, done.stderr
        return [line.split("\037")[:-1] for line in done.stdout.splitlines() if "\037" in line]

    return make


@functools.cache
def beam_parser():
    from apache_beam.options.pipeline_options import PipelineOptions

    parsers = []
    PipelineOptions([]).get_all_options(add_extra_args_fn=parsers.append)
    return parsers[0]


@functools.cache
def parser_of(module):
    """Returns the parser of what `python -m` runs."""
    found = importlib.import_module(module)
    return flags.parser_of(module if hasattr(found, "main") else f"{module}.__main__")


def check_flags(module, *given):
    """Fails unless a command takes these flags, with these values."""
    if module in ("pytest", "ruff", "docs.flags"):
        return
    if "--help" in given:
        given = [each for each in given if each != "--help"]
        parser_of(module)
        if not given:
            return
    _, others = parser_of(module).parse_known_args(given)
    if module in ("pipelines.preprocess", "pipelines.score") and others:
        _, others = beam_parser().parse_known_args(others)
    assert not others, f"{module} takes no {others}"


def check_make(planned, *arguments):
    """Fails unless make has the target, and what that runs takes the flags."""
    goals = [each for each in arguments if "=" not in each]
    targets = re.findall(r"^([a-z-]+):", text_of(ROOT / "Makefile"), re.MULTILINE)
    assert goals and set(goals) <= {*targets}, goals
    if set(goals) & {"setup", "lock", "audit", "clean"}:  # no Python that takes flags
        return
    for module, *given in planned(*arguments):
        check_flags(module, *given)


def check_pip(arguments):
    """Fails unless the extras that are named of this project are there."""
    given = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        patch.setattr("setuptools.setup", lambda **kwargs: given.update(kwargs))
        runpy.run_path(str(ROOT / "setup.py"))
    for extras in re.findall(r"(?:\.|textrecords)\[([\w,]+)\]", " ".join(arguments)):
        assert {*extras.split(",")} <= given["extras_require"].keys()


def check(planned, line):
    """Fails unless a command can be understood by what it names."""
    words = shlex.split(line)
    while re.fullmatch(r"[A-Z]+=.*", words[0]):
        words = words[1:]
    program, *arguments = words
    if program == "make":
        check_make(planned, *arguments)
    elif program == "textrecords" and arguments != ["--help"]:
        check_flags(command.COMMANDS[arguments[0]].module, *arguments[1:])
    elif program in (".venv/bin/python", "python"):
        assert arguments[0] == "-m"
        check_flags(*arguments[1:])
    elif program in ("pip", ".venv/bin/pip"):
        check_pip(arguments)
    elif program == "docker":
        check_docker(planned, *arguments)


def check_docker(planned, verb, *arguments):
    if verb == "build":
        assert "--file" not in arguments or (ROOT / arguments[1]).exists()
    elif "textrecords" in arguments:  # the image, whose entry is make
        check_make(planned, *arguments[arguments.index("textrecords") + 1 :])


@pytest.mark.parametrize("line", sorted(commands()))
def test_every_command_has_targets_and_flags_that_there_are(planned, line):
    check(planned, line)


@pytest.mark.parametrize(("page", "line"), sorted({*mentioned()}))
def test_every_command_in_a_sentence_has_targets_and_flags_that_there_are(planned, page, line):
    check(planned, line)


@functools.cache
def known_flags():
    """Returns all flags of this project and of Beam."""
    modules = [each.module for each in command.COMMANDS.values()]
    others = ("benchmarks.run", "benchmarks.growth", "engines.__main__", "tests.soak.__main__")
    others += ("tests.mutants",)
    parsers = [beam_parser(), *map(flags.parser_of, (*modules, *others))]
    options = [action.option_strings for parser in parsers for action in parser._actions]
    return {option for each in options for option in each}


@pytest.mark.parametrize("page", [page for page in PAGES if page != flags.PAGE], ids=name_of)
def test_every_flag_that_a_page_names_is_there(page):
    if page.name == "CHANGELOG.md":  # names flags of the past
        return
    for span in spans(page):
        if span.split()[0] not in FOREIGN:
            named = re.findall(r"(?<![\w-])--[a-z][\w-]*", span)
            assert {*named} <= known_flags(), span


@functools.cache
def printed_by_the_code():
    """Returns all texts of the code, with `...` for what is put in, and each space one."""
    found = []
    for top in ("textrecords", "model", "pipelines", "engines"):
        for path in (ROOT / top).rglob("*.py"):
            for node in ast.walk(ast.parse(text_of(path))):
                if isinstance(node, ast.JoinedStr):
                    parts = (getattr(part, "value", None) for part in node.values)
                    found.append("".join(p if isinstance(p, str) else "..." for p in parts))
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found.append(node.value)
    makefile = text_of(ROOT / "Makefile")
    found += re.sub(r"\$\(\w+\)|\$\$\w+", "...", makefile).replace("\\\n", "").splitlines()
    return [re.sub(r"\s+", " ", each) for each in found]


def messages():
    """Returns the messages of the page on troubleshooting: what is in backticks in a first cell."""
    rows = re.findall(r"^\| (.+?) \| .+ \|$", text_of(ROOT / "docs/troubleshooting.md"), re.M)
    found = (SPAN.fullmatch(cell) for cell in rows)
    return [double or single for double, single in (each.groups() for each in found if each)]


@pytest.mark.parametrize("message", messages())
def test_every_message_is_one_of_the_code(message):
    pieces = [piece.strip() for piece in message.split("...") if re.search(r"\w", piece)]
    pattern = re.compile(".*".join(map(re.escape, pieces)), re.DOTALL)
    assert any(pattern.search(text) for text in printed_by_the_code())


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A folder like a fresh clone whose `.venv` is this one, with a few generated reviews."""
    here = tmp_path_factory.mktemp("project")
    set_up(here, f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
    run(here, "make sample COUNT=600")
    return here


def run(here, line):
    """Runs a command as a user does; returns what it prints."""
    done = subprocess.run(
        line, shell=True, cwd=here, env=OUTSIDE_MAKE, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def trained(project):
    """What `make train` printed, and the folder that it wrote into."""
    return project, run(project, "make train")


def shape(text):
    """Returns the lines of a text without numbers, and without what hangs on them."""
    text = re.sub(r"\d[\d,]*(\.\d+)?(e[+-]\d+)?%?", "#", text)
    text = re.sub(r"^# +(neg|pos) ", "# label ", text, flags=re.MULTILINE)
    text = re.sub(r"\S+ [+-]#(, \S+ [+-]#)*", "words +#", text)
    text = re.sub(r"─+", "─", text)
    return [" ".join(line.split()) for line in text.splitlines()]


def check_shape(expected, printed):
    """Fails unless all that is shown was printed, in this order; a line `...` is any lines."""
    lines, start = shape(printed), 0
    groups = itertools.groupby(shape(expected), "...".__eq__)
    parts = [list(part) for is_skip, part in groups if not is_skip]
    for part in parts:
        ends = range(start + len(part), len(lines) + 1)
        start = next((end for end in ends if lines[end - len(part) : end] == part), None)
        assert start, f"not printed: {part}\n{printed}"
    whole = "..." not in shape(expected)
    assert not whole or lines == parts[0]


@pytest.mark.integration
def test_make_train_prints_what_the_readme_shows(trained):
    (expected,) = (each for each in shown() if each.command == "make train")
    check_shape(expected.output, trained[1])


@pytest.mark.integration
@pytest.mark.parametrize(
    "each", [each for each in shown() if each.command != "make train"], ids=lambda each: each[1]
)
def test_a_command_prints_what_a_page_shows(trained, each):
    check_shape(each.output, run(trained[0], each.command))


@pytest.mark.integration
def test_the_other_commands_for_daily_use_run(trained):
    project, _ = trained
    done = {each.command for each in shown()}
    for line in sorted(RUN_HERE - done - {"textrecords --help"}):
        run(project, line)
    assert (project / "out/sample/report.html").exists()
    assert (project / "out/test/scores/__about__/scores.json").exists()
    (documented,) = blocks(ROOT / "docs/scoring.md", "json")
    with next((project / "out/test/scores").glob("*.jsonl")).open() as scores:
        assert json.loads(scores.readline()).keys() == json.loads(documented).keys()


@pytest.mark.integration
def test_the_snippets_of_python_run(trained):
    """In one process, since each would load TensorFlow, but with names of their own."""
    pages = (README, ROOT / "docs/python.md", ROOT / "docs/serving.md")
    snippets = [body for page in pages for body in blocks(page, "python")]
    assert len(snippets) == 5
    code = "".join(f"exec({body!r}, {{}})\n" for body in snippets)
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=trained[0],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Prediction(label=") == 1


def test_the_command_of_the_package_lists_the_others():
    code = "import sys; sys.argv = ['textrecords', '--help']; from pipelines import command"
    code += "; command.main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0
    assert all(f"  {name} " in done.stdout for name in command.COMMANDS)
