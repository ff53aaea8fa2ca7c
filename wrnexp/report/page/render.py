"""Renders the page from its template, with styles, scripts and the copy of Vega inlined."""

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
    """Return the page of a report as one self-contained HTML document."""
    baseline = report.answers.baseline if report.answers else report.arms[0].label
    page_sections = sections(report, marks(report.arms, baseline))
    names = [arm.label for arm in report.arms]
    title = "Report: " + (" and ".join(names) if len(names) <= 2 else f"{len(names)} arms")
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            title=title,
            summary=summary(report),
            sections=page_sections,
            charts=any(isinstance(part, Chart) for section in page_sections for part in section.parts),
            style=_asset("page.css"),
            script=_asset("page.js"),
            vega=vega(),
        )
    )


@cache
def vega() -> Markup:
    """Return Vega, Vega-Lite and vega-embed as one script for a `script` element."""
    require("the report's page index.html", "vl_convert")
    import vl_convert

    code: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    return _within_script(code)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("wrnexp.report.page"),
        autoescape=True,
        finalize=_printable,
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
    """Escape text, allowing line breaks after commas, dots and underscores before the `=` of a setting."""
    return Markup("<wbr>").join(BREAKS.split(_printable(text)))


def _printable(value: Any) -> Any:
    """Replace control characters in text, such as those that reverse the writing direction, by visible escapes."""
    return printable(value, newlines=True) if type(value) is str else value


def _data(part: Chart) -> Any:
    """Return a chart for JSON, with its texts escaped as in the page, because the controls refer to arms by label."""
    return _printable_texts(asdict(part))


def _printable_texts(value: Any) -> Any:
    if isinstance(value, dict):
        return {_printable(key): _printable_texts(nested) for key, nested in value.items()}
    return [_printable_texts(nested) for nested in value] if isinstance(value, list | tuple) else _printable(value)


@cache
def _asset(name: str) -> Markup:
    return _within_script((files(__package__) / "templates" / name).read_text("utf-8"))


def _within_script(code: str) -> Markup:
    """Escape `</script` and `<!--` in code so that they do not end or open an element."""
    return Markup(re.sub(r"<(?=/script|!--)", r"<\\", code, flags=re.IGNORECASE))
