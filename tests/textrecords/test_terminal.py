"""The output of commands on a terminal and in a pipe."""

import hashlib
import http.server
import os
import re
import signal
import subprocess
import sys
import threading

import pytest
import test_download
import tiny_dataset
import tiny_tree
from on_terminal import COLUMNS, ENVIRONMENT, ROOT, Terminal
from test_train import QUICK, reviews

from model import train
from textrecords import checksums

pytestmark = pytest.mark.integration

SPLITS = ("train", "test")
BOLD, CYAN, GREEN = "1", "36", "32"
ERASED = "\x1b[1A\x1b[2K"
HIDDEN_CURSOR = "\x1b[?25l"
ESCAPE = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])")


def in_pipe(*command, **environment):
    return subprocess.run(
        [sys.executable, *map(str, command)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=ENVIRONMENT | environment,
    )


def slowed(module, slow):
    """Returns a program that runs a command, with bars at once and 0.3 s after a call of `slow`."""
    where, _, name = slow.rpartition(".")
    program = f"""
import time
from textrecords import app, imports, terminal
import {where} as where
import {module} as command
real = where.{name}
def slow(*args, **kwargs):
    result = real(*args, **kwargs)
    time.sleep(0.3)
    return result
where.{name} = slow
terminal.SECONDS_BEFORE = 0
app.run(command.main)
"""
    return "-c", program


def under_a_bar(*work):
    """Returns a program that does something while a bar is shown."""
    lines = "\n        ".join(work)
    program = f"""
import os, time
from textrecords import app, imports, terminal
terminal.SECONDS_BEFORE = 0
def main(argv):
    with terminal.progress(lambda: ("working", 1, 2)):
        time.sleep(0.3)
        {lines}
app.run(main)
"""
    return "-c", program


def bars(shown):
    """Returns what bars said: what is done, and how far."""
    lines = re.split(r"[\r\n]+", ESCAPE.sub("", shown))
    found = (re.fullmatch(r"\S? +(.+?) [━╸╺]+ +(\S+( \S+)?) \S+\s*", line) for line in lines)
    return {(match[1], match[2]) for match in found if match}


@pytest.fixture
def unpack(tmp_path):
    """A command that ends at once, and makes a table."""
    members = [("train/pos[red]/0.txt", b"x"), ("train/neg\x1b/0.txt", b"x"), ("README", b"x")]
    archive = test_download.write_tar(
        tmp_path / "a.tar", [test_download.file_member(*member) for member in members]
    )
    return ["-m", "pipelines.download", "--output", tmp_path / "out", "--archive", archive]


TABLE = """
  split   class      files
 ──────────────────────────
  train   neg\\x1b        1
  train   pos[red]       1

"""


def told(unpack):
    """Returns the lines around the table."""
    sha256 = f"{unpack[-1]}: SHA-256 {checksums.sha256(unpack[-1])}\n"
    return sha256, f"{unpack[3]}: 3 files\n"


def test_a_pipe_gets_a_plain_table_and_no_bar(unpack):
    slow = slowed("pipelines.download", "pipelines.archives._plain_data")
    done = in_pipe(*slow, *unpack[2:])
    before, after = told(unpack)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == before + TABLE + after


def cell(style, text):
    return "".join(f"\x1b[{style}m{part}\x1b[0m" for part in (" ", text, " "))


def test_a_terminal_gets_a_table_in_colors(unpack):
    terminal = Terminal(*unpack)
    assert terminal.read_all() == 0
    before, after = told(unpack)
    header = [cell(BOLD, name) for name in ("split", "class   ", "files")]
    table = [
        "",
        " ".join(["", *header]),
        " ──────────────────────────",
        " ".join(["", cell(CYAN, "train"), cell(CYAN, "neg\\x1b "), cell(GREEN, "    1")]),
        " ".join(["", cell(CYAN, "train"), cell(CYAN, "pos[red]"), cell(GREEN, "    1")]),
        "\n",
    ]
    assert terminal.shown == (before + "\n".join(table) + after).replace("\n", "\r\n")


def test_no_color_turns_off_colors_on_a_terminal(unpack):
    terminal = Terminal(*unpack, NO_COLOR="1")
    assert terminal.read_all() == 0
    before, after = told(unpack)
    assert {style for style, kind in ESCAPE.findall(terminal.shown) if kind == "m"} == {"0", BOLD}
    lines = ESCAPE.sub("", terminal.shown).splitlines()
    assert "".join(f"{line.rstrip()}\n" for line in lines) == before + TABLE + after


def test_a_table_is_not_wrapped_in_a_pipe_or_a_narrow_terminal():
    name = "a_very_long_name_of_a_class" * 9
    program = (
        "from textrecords import terminal\n"
        f"terminal.show(('class', 'reviews', 'share'), [({name!r}, 1234567, '0.50%')])"
    )
    assert in_pipe("-c", program).stdout.splitlines()[3] == f"  {name}   1,234,567   0.50%"
    terminal = Terminal("-c", program, NO_COLOR="1")
    assert terminal.read_all() == 0
    lines = ESCAPE.sub("", terminal.shown).splitlines()
    assert max(map(len, lines)) <= COLUMNS
    assert "".join(line[:79].strip() for line in lines[3:]) == name
    assert lines[3].split()[1:] == ["1,234,567", "0.50%"]


def test_numbers_are_not_cut_in_a_table_that_does_not_fit():
    program = (
        "from textrecords import terminal\n"
        "terminal.show(('class', *'abcdefghijklmnopqrst'), [('x', *[1234567] * 20)])"
    )
    terminal = Terminal("-c", program, NO_COLOR="1")
    assert terminal.read_all() == 0
    assert ESCAPE.sub("", terminal.shown).splitlines()[3].split() == ["x", *["1,234,567"] * 20]


def test_a_simple_terminal_gets_neither_bars_nor_colors(unpack):
    slow = slowed("pipelines.download", "pipelines.archives._plain_data")
    terminal = Terminal(*slow, *unpack[2:], TERM="dumb")
    assert terminal.read_all() == 0
    before, after = told(unpack)
    assert terminal.shown == (before + TABLE + after).replace("\n", "\r\n")


def test_lines_printed_under_a_bar_are_not_cut():
    terminal = Terminal(*under_a_bar('terminal.say("x" * 150)', "time.sleep(0.3)"))
    assert terminal.read_all() == 0
    assert "x" * 150 in terminal.shown


def test_a_bar_that_cannot_be_encoded_is_not_shown():
    terminal = Terminal(*under_a_bar('print("done")'), PYTHONIOENCODING="latin-1")
    assert terminal.read_all() == 0
    assert ESCAPE.sub("", terminal.shown).split() == ["done"]


@pytest.fixture
def server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), test_download.Handler) as server:
        server.ranges, server.honours_range, server.sends = [], True, None
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/reviews.tar.gz"
        server.shutdown()


def of_listing(folder, _):
    """Refused once it has listed the input, since there is no model."""
    files = {f"in/train/{name}/{n}.txt": "x" for name in ("neg", "pos") for n in range(2)}
    tiny_tree.write(folder, files)
    tiny_dataset.write(folder / "records", {"train": [("bad", 0), ("good", 1)]})
    command = slowed("pipelines.verify.__main__", "textrecords.text_source._is_file")
    paths = ["--input", folder / "in", "--records", folder / "records"]
    return 2, [*command, *paths, "--model_dir", folder / "model"], "2/?"


def of_download(folder, url):
    """Refused when it's there, since it is no archive."""
    command, program = slowed("pipelines.download", "shutil.copyfileobj")
    sha256 = hashlib.sha256(test_download.BODY).hexdigest()
    archive = f"command.IMDB = command.Archive({url!r}, {len(test_download.BODY)}, {sha256!r})"
    program = program.replace("real =", f"{archive}\nreal =")
    return 2, [command, program, "--output", folder / "out"], "256.0/256.0 kB"


def of_unpacking(folder, _):
    archive = test_download.write_reviews(folder / "a.tar", mode="w")
    command = slowed("pipelines.download", "pipelines.archives._plain_data")
    return 0, [*command, "--output", folder / "out", "--archive", archive], "2.6/10.2 kB"


def of_verification(folder, _):
    """Refused once the records are verified, since there is no model."""
    tiny_dataset.write(folder / "records", {"train": [("bad", 0), ("good", 1)]})
    command = slowed("model.evaluate", "textrecords.checksums.sha256")
    paths = sorted(path for path in (folder / "records").rglob("*") if path.is_file())
    sizes = [path.stat().st_size / 1000 for path in paths if path.name != "SHA256SUMS"]
    shown = f"{sum(sizes[:-1]):.1f}/{sum(sizes):.1f} kB"  # all except the last
    return 2, [*command, "--records", folder / "records", "--model_dir", folder / "model"], shown


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (of_listing, "listing files"),
        (of_download, "downloading"),
        (of_unpacking, "unpacking"),
        (of_verification, "comparing SHA-256"),
    ],
)
def test_what_takes_a_while_shows_a_bar_at_a_terminal_alone(tmp_path, server, make, what):
    code, command, how_far = make(tmp_path, server)
    terminal = Terminal(*command)
    assert terminal.read_all() == code
    assert (what, how_far) in bars(terminal.shown)
    assert HIDDEN_CURSOR not in terminal.shown


@pytest.fixture(scope="module")
def preprocessed(tmp_path_factory):
    """The output of preprocessing on a terminal, and the folder of its input and records."""
    folder = tmp_path_factory.mktemp("data")
    texts = {f"in/{split}/{name}/0.txt": "a film" for split in SPLITS for name in ("neg", "pos")}
    tiny_tree.write(folder, texts)
    command = slowed("pipelines.preprocess.__main__", "textrecords.text_source._is_file")
    flags = ["--input", folder / "in", "--output", folder / "records", "--num_shards=1"]
    terminal = Terminal(*command, *flags)
    assert terminal.read_all() == 0
    return terminal.shown, folder


def test_preprocessing_shows_bars_and_then_a_table(preprocessed):
    shown, folder = preprocessed
    assert {("listing files", "2/?"), ("counting words", "4/4")} <= bars(shown)
    assert HIDDEN_CURSOR not in shown
    lines = [line.rstrip() for line in ESCAPE.sub("", shown).split("\r\n")]
    assert lines[-8:-2] == [
        "",
        "  split   reviews   examples   tokens     OOV   median   shards",
        " ───────────────────────────────────────────────────────────────",
        "  train         2          2        4   0.00%        2        1",
        "  test          2          2        4   0.00%        2        1",
        "",
    ]
    assert lines[-2].startswith(f"wrote {folder / 'records'} in ")


def test_a_bar_leaves_no_trace_when_a_command_is_stopped(preprocessed, tmp_path):
    _, folder = preprocessed
    command = ["--input", folder / "in", "--output", tmp_path / "out"]
    terminal = Terminal("-m", "pipelines.preprocess", *command)
    terminal.read_to("listing files")
    os.killpg(terminal.process.pid, signal.SIGINT)  # as a terminal does for Ctrl-C
    assert terminal.read_all() == 130
    assert terminal.shown.endswith(f"{ERASED}stopped\r\n")
    assert HIDDEN_CURSOR not in terminal.shown


def test_a_signal_waits_until_libraries_are_loaded_while_a_bar_is_shown():
    work = (
        "with imports.quiet():",
        "    os.kill(os.getpid(), 2)",
        "    time.sleep(0.1)",
        '    print("loaded")',
        'print("not reached")',
    )
    terminal = Terminal(*under_a_bar(*work))
    assert terminal.read_all() == 130
    assert ("working", "1/2") in bars(terminal.shown)
    assert "loaded\r\n" in terminal.shown
    assert "not reached" not in terminal.shown


def test_verify_shows_how_far_it_has_compared(preprocessed):
    _, folder = preprocessed
    command = slowed("pipelines.verify.__main__", "pipelines.verify.comparison._column")
    terminal = Terminal(*command, "--input", folder / "in", "--records", folder / "records")
    assert terminal.read_all() == 0
    assert {("comparing train", "0/1"), ("comparing test", "0/1")} <= bars(terminal.shown)


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    tiny_dataset.write(folder / "records", {"train": reviews(("bad", "good"), 40)})
    flags = ["--records", str(folder / "records"), "--model_dir", str(folder / "model")]
    train.main([*flags, *QUICK, "--no-mask_padding"])
    return folder / "model"


def test_words_have_the_colors_of_their_numbers():
    words = [("good", 2.0), ("bad", -1.0), ("[x]", 0.0)]
    program = f"from textrecords import terminal; terminal.say_tinted({words})"
    terminal = Terminal("-c", program, COLORTERM="truecolor")
    assert terminal.read_all() == 0
    green, red = "\x1b[30;48;2;0;255;0m", "\x1b[30;48;2;255;128;128m"
    assert terminal.shown == f"{green}good\x1b[0m {red}bad\x1b[0m [x] \r\n"


@pytest.mark.slow
def test_no_color_turns_off_colors_in_training(model_dir, tmp_path):
    flags = ["--records", model_dir.parent / "records", "--model_dir", tmp_path / "model", *QUICK]
    terminal = Terminal("-m", "model.train", *flags, "--epochs=1", NO_COLOR="1")
    assert terminal.read_all() == 0
    assert "5/5 - " in terminal.shown  # a line, and no bar
    assert {style for style, kind in ESCAPE.findall(terminal.shown) if kind == "m"} == {"0", BOLD}


def test_lines_are_scored_as_they_are_typed_and_can_be_edited(model_dir):
    terminal = Terminal("-m", "model.predict", "--model_dir", model_dir, NO_COLOR="1")
    terminal.read_to("\r\n> ")
    assert "type a text and press Enter; end with Ctrl-D\r\n" in terminal.shown
    for typed, text in [
        ("good film\n", "good film"),
        ("bad filX\bm\n", "bad film"),
        ("ood\x01g\n", "good"),  # Ctrl-A goes to the beginning of the line
        ("\n\x1b[A film\n", "good film"),  # an empty line is no text; up is the line before
    ]:
        terminal.type(typed)
        answer = ESCAPE.sub("", terminal.read_to(f"  {text}\r\n> ")).splitlines()[-2]
        assert re.fullmatch(rf"[01]\.\d{{4}}  {'neg' if 'bad' in text else 'pos'}  {text}", answer)
    terminal.type("\x04")
    assert terminal.read_all() == 0
    lines = [line.rstrip() for line in ESCAPE.sub("", terminal.shown).splitlines()]
    assert lines[-6:] == [
        "",
        "  label   texts",
        " ───────────────",
        "  neg         1",
        "  pos         3",
        "",
    ]


def test_a_pipe_of_lines_gets_neither_prompts_nor_a_table(model_dir, tmp_path):
    command = [sys.executable, "-m", "model.predict", "--model_dir", model_dir]
    done = subprocess.run(
        command, input="good\nbad\n", capture_output=True, text=True, cwd=ROOT, env=ENVIRONMENT
    )
    assert re.fullmatch(r"[01]\.\d{4}  pos  good\n[01]\.\d{4}  neg  bad\n", done.stdout)
    assert (done.returncode, done.stderr) == (0, "")
