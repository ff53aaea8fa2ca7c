"""The page as text: the template filled, with styles, scripts and the copy of Vega that draws the charts."""

import re
from dataclasses import asdict
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from wrnexp.process.packages import require
from wrnexp.process.terminal import printable
from wrnexp.report.page.chart import Chart, marks
from wrnexp.report.page.parts import Part, Pictures, Section, Table
from wrnexp.report.page.sections import sections, summary
from wrnexp.report.tables import Report

BREAKS = re.compile(r"(?<=[,._])(?=[^\W\d][\w.]*=)")


def html(report: Report) -> str:
    """Return the page of a report: one HTML document, UTF-8, that refers to nothing outside itself."""
    baseline = report.answers.baseline if report.answers else report.arms[0].label
    looks = marks(report.arms, baseline)
    found = sections(report, looks)
    names = [arm.label for arm in report.arms]
    title = "Report: " + (" and ".join(names) if len(names) <= 2 else f"{len(names)} arms")
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            title=title,
            summary=summary(report),
            sections=found,
            charts=any(isinstance(part, Chart) for section in found for part in section.parts),
            style=_asset("page.css"),
            script=_asset("page.js"),
            vega=vega(),
        )
    )


@cache
def vega() -> Markup:
    """Return Vega, Vega-Lite and vega-embed as one script, which a `script` element can hold."""
    require("the report's page index.html", "vl_convert")
    import vl_convert

    code: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    return _within_script(code)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("wrnexp.report.page"),
        autoescape=True,
        finalize=_shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False}
    environment.filters["kind"] = _kind
    environment.filters["data"] = _data
    environment.filters["soft"] = _soft
    return environment


def _kind(part: Part | Section) -> str:
    kinds = {Table: "table", Chart: "chart", Pictures: "pictures"}
    return kinds.get(type(part), "text")


def _soft(text: str) -> Markup:
    """Return text, escaped, that may be broken after commas, dots and underscores before the `=` of a setting."""
    return Markup("<wbr>").join(BREAKS.split(_shown(text)))


def _shown(value: Any) -> Any:
    """Return text with controls, those that reverse the rest of a line above all, as visible escapes."""
    return printable(value, newlines=True) if type(value) is str else value


def _data(part: Chart) -> Any:
    """Return a chart as plain values whose texts are those that the page shows: its controls name arms by them."""
    return _texts_shown(asdict(part))


def _texts_shown(value: Any) -> Any:
    if isinstance(value, dict):
        return {_shown(key): _texts_shown(item) for key, item in value.items()}
    return [_texts_shown(item) for item in value] if isinstance(value, list | tuple) else _shown(value)


@cache
def _asset(name: str) -> Markup:
    return _within_script((files(__package__) / "templates" / name).read_text("utf-8"))


def _within_script(code: str) -> Markup:
    """Return code that its element holds whole: what would end or open an element in it is written otherwise."""
    return Markup(re.sub(r"<(?=/script|!--)", r"<\\", code, flags=re.IGNORECASE))
