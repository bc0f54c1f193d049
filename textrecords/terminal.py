"""What a command shows at a terminal: progress while it works, and a table at its end.

Rich is imported where it is first needed, so that `--help` and workers do without.
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
SECONDS_BEFORE = 0.3  # what takes less time shows no bar, which would but flicker
LEAST_WORDS = 8  # columns of a table that words are folded into, at least
BETWEEN = 3  # columns between the columns of a table
SIGNS = "⠋━╸"  # of a bar
UNLIMITED = 100_000  # columns: who reads a file or a pipe wants lines whole
Done = tuple[str, int, int | None]  # what is being done, how far it is, and of how much if known


def one_line(text: object) -> str:
    """Returns `text` with control characters and stray bytes escaped, safe on a terminal."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(text))


def say(text: object) -> None:
    """Prints a line, whatever names and texts stand in it."""
    print(one_line(text))


def show(columns: Sequence[str], rows: Iterable[Sequence[object]], *, words: int = 1) -> None:
    """Prints a table, in colours at a terminal unless `NO_COLOR` is set.

    Args:
      columns: their names.
      rows: the cells; whole numbers get commas, and texts are escaped.
      words: how many columns, from the left, hold words; the others hold numbers.
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
    least = [min(width, LEAST_WORDS) for width in widths[:words]] + widths[words:]
    if not sys.stdout.isatty() or sum(least) + BETWEEN * len(least) > to.width:
        to.width = UNLIMITED
    with to.capture() as captured:
        to.print(shown)
    sys.stdout.writelines(f"{line.rstrip()}\n" for line in captured.get().splitlines())


def say_tinted(words: Sequence[tuple[str, float]]) -> None:
    """Prints words on one line, green if their number is positive and red if it's negative.

    Args:
      words: with numbers; the farther from 0, compared with the others, the stronger the colour.
    """
    from rich import console, text

    largest = max((abs(number) for _, number in words), default=0) or 1.0
    line = text.Text()
    for word, number in words:
        rest = round(255 * (1 - abs(number) / largest))  # of the two other colours
        colour = f"rgb({rest},255,{rest})" if number > 0 else f"rgb(255,{rest},{rest})"
        line.append(one_line(word), f"black on {colour}" if number else "").append(" ")
    console.Console(soft_wrap=True).print(line)


def in_colours() -> bool:
    """Tells whether what is printed may have colours."""
    return _takes_bars() and not os.environ.get("NO_COLOR")


def _takes_bars() -> bool:
    """Tells whether bars can be shown: else their signs would be escaped, or control codes seen."""
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
    """Shows what `look` returns, time and again, while the block runs; nothing but at a terminal.

    Args:
      look: is called in a thread of its own, so that the work itself isn't slowed.
      of_bytes: whether bytes are counted.
      seconds: from one look to the next.
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
    # They are for the main thread, which may have them wait.
    signal.pthread_sigmask(signal.SIG_BLOCK, signals.STOP_SIGNALS)
    if ended.wait(SECONDS_BEFORE):
        return
    bar = _bar(of_bytes=of_bytes)
    task = bar.add_task("", total=None)

    def update() -> None:
        with contextlib.suppress(OSError):  # say of a store that doesn't answer
            description, completed, total = look()
            bar.update(task, description=description, completed=completed, total=total)

    with contextlib.suppress(OSError):  # work goes on without a bar
        update()
        with bar:
            while not ended.wait(seconds):
                update()
                bar.refresh()


def _bar(*, of_bytes: bool = False, auto_refresh: bool = False) -> "rich.progress.Progress":
    from rich import console, progress

    class Console(console.Console):
        def show_cursor(self, show: bool = True) -> bool:
            return False  # it stays: a run that is killed would leave the terminal without it

    return progress.Progress(
        progress.SpinnerColumn(),
        progress.TextColumn("{task.description}", markup=False),
        progress.BarColumn(),
        progress.DownloadColumn() if of_bytes else progress.MofNCompleteColumn(),
        progress.TimeElapsedColumn(),
        console=Console(soft_wrap=True),  # what is printed meanwhile stays whole
        auto_refresh=auto_refresh,
        transient=True,
        redirect_stderr=sys.stderr.isatty(),  # else it would go where standard output goes
    )


def file_progress(
    description: str, file: IO[bytes], size: int
) -> contextlib.AbstractContextManager[None]:
    """Shows how far into a file of so many bytes its reader or writer is, while the block runs."""
    return progress(lambda: (description, file.tell(), size), of_bytes=True)


@contextlib.contextmanager
def tracked(
    items: Iterable[T], description: str, total: int | None = None
) -> Iterator[Iterable[T]]:
    """Yields the items, and shows how many have been taken while the block runs."""
    if not _takes_bars():
        yield items
        return
    with _bar(auto_refresh=True) as bar:
        yield bar.track(items, total, description=description)
