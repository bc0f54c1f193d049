"""Renders the report as a page, entirely from one JSON object, which the page also embeds."""

import functools
import json
import os
from typing import Any

import jinja2
import markupsafe

from model.report import charts

TEMPLATE = "page.html.jinja"
MISSING = "none"


def render(report: dict[str, Any]) -> str:
    """Returns the page for the output of `build_report.build`."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(os.path.dirname(__file__)),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template(TEMPLATE)
    return page.render(
        **report,
        charts=_charts(report),
        number=functools.partial(number, report),
        json=markupsafe.Markup(embedded(report)),
    )


def number(report: dict[str, Any], pointer: str, spec: str) -> str:
    """Returns an element that shows a number of the report, with its JSON Pointer.

    Args:
      report: the content of the page.
      pointer: to the number, a JSON Pointer such as `/data/splits/0/examples`.
      spec: Python's format of it.
    """
    value: Any = report
    for step in pointer.split("/")[1:]:
        value = value[int(step) if isinstance(value, list) else step]
    if value is None:
        return MISSING
    element = '<data value="{}" data-at="{}" data-format="{}">{}</data>'
    return markupsafe.Markup(element).format(json.dumps(value), pointer, spec, format(value, spec))


def embedded(report: dict[str, Any]) -> str:
    """Returns JSON that is safe inside a `<script>`: nothing in it ends that element."""
    return json.dumps(report, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def _charts(report: dict[str, Any]) -> dict[str, markupsafe.Markup]:
    """Returns the charts by name, without those that have no data."""
    data, training, result = (report[part] for part in ("data", "training", "result"))
    score = f"score of {result['curves'][0]['class']}" if report["binary"] else "highest score"
    drawn = {
        "lengths": charts.lengths(data),
        "coverage": charts.coverage(data),
        "loss": charts.by_epoch("loss", training),
        "accuracy": charts.by_epoch("accuracy", training),
        "calibration": charts.calibration(result["calibration"], score),
        "by_length": charts.accuracy_by_length(result["lengths"], data["max_len"]),
    }
    if training["input_share"] is not None:
        drawn["seconds"] = charts.seconds(training)
    if result["curves"]:
        drawn["roc"] = charts.roc(result["curves"])
        drawn["precision_recall"] = charts.precision_recall(result["curves"])
    return {name: markupsafe.Markup(svg) for name, svg in drawn.items()}
