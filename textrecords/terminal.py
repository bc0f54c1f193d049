"""Terminal output of commands: progress while they work, and tables at their end.

Rich is imported lazily, since `--help` and workers don't need it.
"""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import IO, TYPE_CHECKING, TypeVar

from textrecords import signals

if TYPE_CHECKING:
    import rich.progress
    import rich.text

T = TypeVar("T")
SECONDS_BEFORE = 0.3  # shorter work shows no bar, which would only flicker
MIN_WORDS = 8  # the minimum width in characters of a table column that folds words
BETWEEN = 3  # characters between the columns of a table
SIGNS = "⠋━╸"  # of a bar
UNLIMITED = 100_000  # characters: lines aren't wrapped in files and pipes
Done = tuple[str, int, int | None]  # description, progress, and the total if known


def one_line(text: object) -> str:
    """Returns `text` with control characters and stray bytes escaped, safe for a terminal."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(text))


def say(text: object) -> None:
    """Prints a line, escaping what isn't printable."""
    print(one_line(text))


def show(columns: Sequence[str], rows: Iterable[Sequence[object]], *, words: int = 1) -> None:
    """Prints a table, in color on a terminal unless `NO_COLOR` is set.

    Args:
      columns: their names.
      rows: the cells; integers get commas, and texts are escaped.
      words: the number of columns, from the left, with words; the others have numbers.
    """
    from rich import box, console, table

    shown = table.Table(box=box.SIMPLE, header_style="bold")
    cells = [[_cell(value) for value in row] for row in (columns, *rows)]
    widths = [max(cell.cell_len for cell in column) for column in zip(*cells, strict=True)]
    for position, (name, width) in enumerate(zip(cells[0], widths, strict=True)):
        if position < words:
            shown.add_column(name, style="cyan", overflow="fold")
        else:
            shown.add_column(name, style="green", justify="right", min_width=width, no_wrap=True)
    for row in cells[1:]:
        shown.add_row(*row)
    to = console.Console()
    minimum = [min(width, MIN_WORDS) for width in widths[:words]] + widths[words:]
    if not sys.stdout.isatty() or sum(minimum) + BETWEEN * len(minimum) > to.width:
        to.width = UNLIMITED
    with to.capture() as captured:
        to.print(shown)
    sys.stdout.writelines(f"{line.rstrip()}\n" for line in captured.get().splitlines())


def say_tinted(words: Sequence[tuple[str, float]]) -> None:
    """Prints words on one line, green for positive numbers and red for negative ones.

    Args:
      words: with their numbers; the farther from 0, relative to the others, the stronger the color.
    """
    from rich import console, text

    largest = max((abs(number) for _, number in words), default=0) or 1.0
    line = text.Text()
    for word, number in words:
        rest = round(255 * (1 - abs(number) / largest))  # of the two other channels
        color = f"rgb({rest},255,{rest})" if number > 0 else f"rgb(255,{rest},{rest})"
        line.append(one_line(word), f"black on {color}" if number else "").append(" ")
    console.Console(soft_wrap=True).print(line)


def in_colors() -> bool:
    """Returns whether output may be in color."""
    return _takes_bars() and not os.environ.get("NO_COLOR")


def _takes_bars() -> bool:
    """Returns whether bars can be shown, without escaped signs or visible control codes."""
    if not sys.stdout.isatty() or os.environ.get("TERM") in ("dumb", "unknown"):
        return False
    try:
        SIGNS.encode(sys.stdout.encoding)
    except UnicodeError:
        return False
    return True


def _cell(value: object) -> "rich.text.Text":
    from rich import text

    return text.Text(f"{value:,}" if isinstance(value, int) else one_line(value))


@contextlib.contextmanager
def progress(
    look: Callable[[], Done], *, of_bytes: bool = False, seconds: float = 0.1
) -> Iterator[None]:
    """Shows what `look` returns, repeatedly, while the block runs; only on a terminal.

    Args:
      look: is called in its own thread, so that it doesn't slow the work.
      of_bytes: whether bytes are counted.
      seconds: between calls of `look`.
    """
    if not _takes_bars():
        yield
        return
    ended = threading.Event()
    arguments = look, ended, of_bytes, seconds
    thread = threading.Thread(target=_watch, args=arguments, daemon=True)
    try:
        thread.start()
        yield
    finally:
        ended.set()
        try:
            thread.join()
        finally:  # after a signal, too
            thread.join()


def _watch(
    look: Callable[[], Done], ended: threading.Event, of_bytes: bool, seconds: float
) -> None:
    """Shows a bar until the work has ended."""
    # The main thread handles them, and may block them.
    signal.pthread_sigmask(signal.SIG_BLOCK, signals.STOP_SIGNALS)
    if ended.wait(SECONDS_BEFORE):
        return
    bar = _bar(of_bytes=of_bytes)
    task = bar.add_task("", total=None)

    def update() -> None:
        with contextlib.suppress(OSError):  # for example of a store that doesn't answer
            description, completed, total = look()
            bar.update(task, description=description, completed=completed, total=total)

    with contextlib.suppress(OSError):  # the work continues without a bar
        update()
        with bar:
            while not ended.wait(seconds):
                update()
                bar.refresh()


def _bar(*, of_bytes: bool = False, auto_refresh: bool = False) -> "rich.progress.Progress":
    from rich import console, progress

    class Console(console.Console):
        def show_cursor(self, show: bool = True) -> bool:
            return False  # never hidden: a killed run would leave the terminal without it

    return progress.Progress(
        progress.SpinnerColumn(),
        progress.TextColumn("{task.description}", markup=False),
        progress.BarColumn(),
        progress.DownloadColumn() if of_bytes else progress.MofNCompleteColumn(),
        progress.TimeElapsedColumn(),
        console=Console(soft_wrap=True),  # doesn't break lines that are printed meanwhile
        auto_refresh=auto_refresh,
        transient=True,
        redirect_stderr=sys.stderr.isatty(),  # else it would go to standard output
    )


def file_progress(
    description: str, file: IO[bytes], size: int
) -> contextlib.AbstractContextManager[None]:
    """Shows the position in a file of `size` bytes while the block reads or writes it."""
    return progress(lambda: (description, file.tell(), size), of_bytes=True)


@contextlib.contextmanager
def tracked(
    items: Iterable[T], description: str, total: int | None = None
) -> Iterator[Iterable[T]]:
    """Yields the items, and shows how many have been consumed while the block runs."""
    if not _takes_bars():
        yield items
        return
    with _bar(auto_refresh=True) as bar:
        yield bar.track(items, total, description=description)
