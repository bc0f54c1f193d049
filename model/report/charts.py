"""The report's charts, drawn by Matplotlib, as SVG to embed in a page.

Colors are the page's variables, so that the page switches between light and dark; text stays text.
Charts are drawn as wide as a phone's screen, and scale with the page.
"""

import html
import io
import math
import re
from collections.abc import Callable
from typing import Any

import matplotlib as mpl
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from textrecords import spec

INCHES = (4.7, 2.9)  # a point is a pixel of a phone
INK, MUTED, RULE = (
    "#010101",
    "#010102",
    "#010103",
)  # placeholders for --ink, --muted and --rule of the page
SERIES = [f"#0102{n:02x}" for n in range(10)]  # --series-0, ...
VARIABLES = {INK: "--ink", MUTED: "--muted", RULE: "--rule"} | {
    color: f"--series-{n}" for n, color in enumerate(SERIES)
}
STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "textrecords",
    "text.parse_math": False,
    "font.size": 11,
    "text.color": INK,
    "axes.edgecolor": RULE,
    "axes.labelcolor": MUTED,
    "axes.labelsize": 10.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": RULE,
    "grid.linewidth": 0.7,
    "xtick.color": RULE,
    "xtick.labelcolor": MUTED,
    "ytick.color": RULE,
    "ytick.labelcolor": MUTED,
    "ytick.left": False,
    "lines.linewidth": 2,
    "legend.frameon": False,
}
METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))
PERCENT = ticker.PercentFormatter(1)  # with as many decimals as needed
WHOLE = ticker.StrMethodFormatter("{x:,.0f}")


def svg(name: str, label: str, draw: Callable[[Axes], None]) -> str:
    """Returns a chart as an `<svg>` element.

    Args:
      name: one word, unique on the page.
      label: a description for screen readers.
      draw: draws the chart on the axes.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(INCHES, layout="constrained")
        draw(figure.subplots())
        file = io.StringIO()
        figure.savefig(file, format="svg", transparent=True, metadata=METADATA)
    text = file.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<(metadata|style)\b.*?</\1>", "", text, flags=re.DOTALL)
    text = re.sub(
        r"<[^>]*>", lambda tag: _adapt(tag[0], name), text
    )  # only tags, not the text between them
    box = re.search(r'viewBox="[^"]*"', text)[0]
    head = f'<svg {box} role="img" aria-label="{html.escape(label)}">'
    return head + text[text.index(">") + 1 :]


def _adapt(tag: str, name: str) -> str:
    """Makes the ids of a tag unique among charts, and its colors the page's variables."""
    tag = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", tag)
    return re.sub("|".join(VARIABLES), lambda color: f"var({VARIABLES[color[0]]})", tag)


def lengths(data: dict[str, Any]) -> str:
    """Draws the distribution of each split's reviews by number of tokens, as SVG."""
    edges = data["lengths"]["edges"]

    def draw(axes: Axes) -> None:
        for n, shares in enumerate(data["lengths"]["shares"]):
            axes.stairs(shares, edges, color=SERIES[n], linewidth=2)
        _log_axis(axes, "tokens per review")
        axes.set_ylim(0)
        # The first length that is cut: a bin contains its left edge, but not its right one.
        _mark(axes, data["max_len"] + 1, f"cut at {data['max_len']:,}")
        axes.yaxis.set_major_formatter(PERCENT)

    return svg("lengths", "share of the reviews by their number of tokens, for each split", draw)


def coverage(data: dict[str, Any]) -> str:
    """Draws the share of the tokens that the most frequent words cover, as SVG."""

    def draw(axes: Axes) -> None:
        axes.plot(data["coverage"]["words"], data["coverage"]["shares"], color=SERIES[0])
        _log_axis(axes, "most frequent words")
        axes.set_ylim(0, 1)
        _mark(axes, data["max_tokens"] - spec.NUM_RESERVED, f"cut at {data['max_tokens']:,}")
        axes.yaxis.set_major_formatter(PERCENT)

    return svg("coverage", "share of the tokens of train that the most frequent words cover", draw)


def by_epoch(name: str, training: dict[str, Any]) -> str:
    """Draws `loss` or `accuracy`, of train and of validation."""
    epochs = training["epochs"]

    def draw(axes: Axes) -> None:
        for n, key in enumerate((name, f"val_{name}")):
            values = [epoch[key] for epoch in epochs]
            if None not in values:
                axes.plot(_numbers(epochs), values, color=SERIES[n], marker="o", markersize=4)
        _epoch_axis(axes, epochs)
        if training["best_epoch"] < len(epochs):
            _mark(axes, training["best_epoch"], "kept")
        if name == "accuracy":
            axes.yaxis.set_major_formatter(PERCENT)

    return svg(name, f"{name} of train and of validation by epoch", draw)


def seconds(training: dict[str, Any]) -> str:
    """Draws how long each epoch took, as SVG."""
    epochs = [epoch for epoch in training["epochs"] if epoch["seconds"] is not None]

    def draw(axes: Axes) -> None:
        steps = [epoch["seconds"] for epoch in epochs]
        axes.bar(_numbers(epochs), steps, 0.7, color=SERIES[0])
        validation = [epoch["validation_seconds"] for epoch in epochs]
        axes.bar(_numbers(epochs), validation, 0.7, bottom=steps, color=SERIES[1])
        axes.axhline(training["input_seconds"], color=SERIES[2], linestyle="--")
        _epoch_axis(axes, epochs)
        axes.set_ylabel("seconds")

    return svg("seconds", "seconds of each epoch, in training and in validation", draw)


def roc(curves: list[dict[str, Any]]) -> str:
    """Draws the true positive rate at each false positive rate, as SVG."""

    def draw(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=":")
        for n, curve in enumerate(curves):
            axes.plot(*curve["roc"], color=SERIES[n])
        _unit_square(axes, "false positive rate", "true positive rate")

    return svg("roc", "true positive rate by false positive rate", draw)


def precision_recall(curves: list[dict[str, Any]]) -> str:
    """Draws the precision at each recall, as SVG."""

    def draw(axes: Axes) -> None:
        for n, curve in enumerate(curves):
            axes.axhline(curve["share"], color=MUTED, linewidth=1, linestyle=":")
            axes.plot(*curve["precision_recall"], color=SERIES[n])
        _unit_square(axes, "recall", "precision")

    return svg("precision-recall", "precision by recall", draw)


def calibration(bins: list[dict[str, Any]], score: str) -> str:
    """Draws the bins of `metrics.calibration`, and their shares of the reviews, as SVG."""
    number = sum(each["number"] for each in bins)

    def draw(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=":")
        axes.bar(
            [each["min"] for each in bins],
            [each["number"] / number for each in bins],
            [each["max"] - each["min"] for each in bins],
            align="edge",
            color=SERIES[0],
            alpha=0.25,
        )
        means, observed = ([each[key] for each in bins] for key in ("mean", "observed"))
        axes.plot(means, observed, color=SERIES[0], marker="o", markersize=5)
        _unit_square(axes, score, "share")

    return svg("calibration", f"observed share by {score}", draw)


def accuracy_by_length(bins: list[dict[str, Any]], max_len: int) -> str:
    """Draws the accuracy by review length, as SVG."""

    def draw(axes: Axes) -> None:
        places = range(len(bins))
        shares, low, high = ([each[key] for each in bins] for key in ("accuracy", "low", "high"))
        axes.bar(places, shares, 0.75, color=SERIES[0])
        axes.vlines(places, low, high, color=INK, linewidth=1.2)
        axes.set_xticks(places, [f"{each['min']:,}" for each in bins])
        axes.set_xlabel("minimum tokens per review")
        axes.set_ylim(0, 1)
        axes.yaxis.set_major_formatter(PERCENT)
        cut = next((n for n, each in enumerate(bins) if each["max"] > max_len), None)
        if cut is not None:
            inside = math.log2((max_len + 1) / bins[cut]["min"])  # bins double
            _mark(axes, cut - 0.5 + max(inside, 0.0), f"cut at {max_len:,}")

    return svg("by-length", "accuracy by the number of tokens of the review", draw)


def _numbers(epochs: list[dict[str, Any]]) -> list[int]:
    return [epoch["epoch"] for epoch in epochs]


def _epoch_axis(axes: Axes, epochs: list[dict[str, Any]]) -> None:
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(ticker.MaxNLocator(integer=True))
    numbers = _numbers(epochs)
    axes.set_xlim(numbers[0] - 0.6, numbers[-1] + 0.6)


def _log_axis(axes: Axes, label: str) -> None:
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    axes.xaxis.set_major_locator(ticker.LogLocator(subs=(1,) if high > 300 * low else (1, 2, 5)))
    axes.xaxis.set_major_formatter(WHOLE)
    axes.xaxis.set_minor_formatter(ticker.NullFormatter())
    axes.tick_params(axis="x", which="minor", bottom=False)
    axes.set_xlabel(label)


def _unit_square(axes: Axes, x: str, y: str) -> None:
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.01)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PERCENT)


def _mark(axes: Axes, x: float, label: str) -> None:
    """Draws a vertical line with a label above the axes."""
    axes.axvline(x, color=MUTED, linewidth=1.2, linestyle="--")
    axes.annotate(
        label,
        (x, 1),
        xycoords=("data", "axes fraction"),
        xytext=(0, 4),
        textcoords="offset points",
        ha="center",
        color=INK,
    )
