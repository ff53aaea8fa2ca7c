"""Charts of differences from the baseline, of the effects of an ablation, and of a two-factor study."""

import json
from collections.abc import Mapping, Sequence

from wrnexp.report.ablation import Ablation
from wrnexp.report.ablation_tables import resolved
from wrnexp.report.factorial import Crossed
from wrnexp.report.format import listed, points, several
from wrnexp.report.page.chart import COLOURS, GREY, Chart, ChartView, Row, Spec, chart, extent, quantity, tooltip
from wrnexp.report.tables import PairRow
from wrnexp.stats import Paired

VERDICTS = {"better": COLOURS[0], "worse": COLOURS[1], "unresolved": GREY}
ROW_HEIGHT = 24
VIRIDIS = "viridis"
DARK = 0.6  # share of the colour map's range above which text is dark
TITLE = "Difference in accuracy, points"


def pairs_chart(pairs: Sequence[PairRow], names: Mapping[str, str]) -> Chart | None:
    """Return the differences from the baseline, or None if there are none; `names` maps labels to short labels."""
    rows = [
        _row(names[pair.b], pair.paired)
        | {"label": pair.b, "verdict": pair.verdict, "resolved": pair.verdict != "unresolved"}
        for pair in pairs
        if pair.paired.difference is not None
    ]
    if not rows:
        return None
    colour = {
        "field": "verdict",
        "type": "nominal",
        "title": "Verdict",
        "scale": {"domain": [*VERDICTS], "range": [*VERDICTS.values()]},
        "legend": {"orient": "top"},
    }
    shape = {"field": "verdict", "type": "nominal", "title": "Verdict", "scale": {"domain": [*VERDICTS]}}
    spec = _forest(rows, "arm", colour, {"shape": shape})
    counts = [f"{sum(row['verdict'] == kind for row in rows)} {kind}" for kind in VERDICTS]
    text = (
        f"Mean difference of each arm from {pairs[0].a} in points of test accuracy, with its 95% interval over the "
        f"common seeds: {listed(counts)}."
    )
    return Chart("differences", f"Differences from {pairs[0].a}", text, [ChartView("Differences", spec)])


def effects_chart(study: Ablation, number: int) -> Chart | None:
    """Return the effect of each change in up to three comparisons; None if none was measured."""
    comparisons = (f"in {study.b}", f"added to {study.a}", "its step on the ladder")
    rows = [
        _row(change.change, effect.paired, "change") | {"place": comparison, "resolved": resolved(effect)}
        for change in study.changes
        for comparison, effect in zip(comparisons, (change.leave_one_out, change.add_one, change.ladder), strict=True)
        if effect and effect.paired.difference is not None
    ]
    if not rows:
        return None
    measured = [comparison for comparison in comparisons if any(row["place"] == comparison for row in rows)]
    colour = {"field": "place", "type": "nominal", "title": None, "legend": {"orient": "top", "columns": 1}}
    colour["scale"] = {"domain": measured, "range": list(COLOURS[: len(measured)])}
    shape = {"field": "place", "type": "nominal", "title": None, "scale": {"domain": measured}}
    more = {"yOffset": {"field": "place", "scale": {"domain": measured}}, "shape": shape}
    spec = _forest(rows, "change", colour, more, 18 * len(measured) + 6)
    best = max(rows, key=lambda row: row["difference"])
    text = (
        f"Effect of each of {several(len(study.changes), 'change')} in points of test accuracy, with 95% intervals "
        f"over seeds. The largest is {best['difference']:+.2f} ({best['change']}, {best['place']})."
    )
    name = "effects" if number == 1 else f"effects-{number}"
    notes = ["Filled marks are statistically significant after Holm's correction. Wide intervals are cut at the edge."]
    title = f"Effect of each change, {study.a} to {study.b}"
    return Chart(name, title, text, [ChartView("Effects", spec)], notes=notes)


def heat_chart(study: Crossed) -> Chart:
    """Return the heat map of mean test accuracy by both settings."""
    cells = [
        (first, second, cell)
        for first, row in zip(study.levels[0], study.cells, strict=True)
        for second, cell in zip(study.levels[1], row, strict=True)
    ]
    means = [100 * cell.mean for _, _, cell in cells]
    low, high = min(means), max(means)
    rows: list[Row] = [
        {
            "first": first,
            "second": second,
            "mean": mean,
            "n": cell.n,
            "sd": None if cell.sd is None else 100 * cell.sd,
            "text": f"{mean:.2f}",
            "dark": high > low and (mean - low) / (high - low) > DARK,
        }
        for (first, second, cell), mean in zip(cells, means, strict=True)
    ]
    axis = {"labelAngle": 0}
    across = {"field": "second", "type": "ordinal", "title": study.keys[1], "sort": study.levels[1], "axis": axis}
    up = {"field": "first", "type": "ordinal", "title": study.keys[0], "sort": study.levels[0]}
    colour = {"field": "mean", "type": "quantitative", "title": "Mean, %", "scale": {"scheme": VIRIDIS, "zero": False}}
    ink = {"condition": {"test": "datum.dark", "value": "#111"}, "value": "#fff"}
    fields = tooltip(first=study.keys[0], second=study.keys[1], mean="Mean, %", sd="SD, points", n="Seeds")
    spec = chart(
        rows,
        height=44 * len(study.levels[0]),
        encoding={"x": across, "y": up},
        layer=[
            {"mark": "rect", "encoding": {"color": colour, "tooltip": fields}},
            {"mark": {"type": "text", "fontSize": 13}, "encoding": {"text": {"field": "text"}, "color": ink}},
        ],
    )
    best = max(rows, key=lambda row: row["mean"])
    text = (
        f"Mean test accuracy for each pair of {study.keys[0]} and {study.keys[1]}, from {low:.2f}% to {high:.2f}%, the "
        f"highest at {best['first']} and {best['second']}."
    )
    return Chart("factorial", f"{study.keys[0]} and {study.keys[1]}", text, [ChartView("Means", spec)])


def _row(name: str, test: Paired, key: str = "arm") -> Row:
    low, high = test.ci95 or (None, None)
    return {
        key: name,
        "difference": 100 * (test.difference or 0.0),
        "low": None if low is None else 100 * low,
        "high": None if high is None else 100 * high,
        "n": test.n,
        "text": points(test.difference),
    }


def _forest(rows: Sequence[Row], name: str, colour: Row, more: Row, step: int = ROW_HEIGHT) -> Spec:
    """Return a forest plot: one row per name with the mean difference, filled if resolved, and its interval."""
    edges = [edge for row in rows for edge in (row["low"], row["high"]) if edge is not None]
    scale = {"domain": extent([row["difference"] for row in rows], edges), "nice": False}
    fields = tooltip(**{name: name.capitalize(), "difference": "Points", "low": "95% from", "high": "to", "n": "Seeds"})
    vertical: Row = {"y": {"field": name, "type": "nominal", "sort": None, "title": None, "axis": {"grid": False}}}
    point = vertical | {"x": quantity("difference", TITLE, scale=scale), "color": colour, "tooltip": fields} | more
    interval = vertical | {"x": quantity("low", TITLE, scale=scale), "x2": {"field": "high"}, "color": colour}
    interval |= {key: value for key, value in more.items() if key != "shape"}
    zero = {"x": {"datum": 0, "type": "quantitative"}, "y": {"value": 0}, "y2": {"value": "height"}}
    return chart(
        rows,
        height=step * len({row[name] for row in rows}),
        layer=[
            {"mark": {"type": "rule", "color": GREY}, "encoding": zero},
            {"mark": {"type": "rule", "strokeWidth": 2, "clip": True}, "encoding": interval},
            *(
                {
                    "transform": [{"filter": f"datum.resolved === {json.dumps(filled)}"}],
                    "mark": {"type": "point", "filled": filled, "size": 80, "opacity": 1, "strokeWidth": 2},
                    "encoding": point,
                }
                for filled in (True, False)
                if any(row["resolved"] is filled for row in rows)
            ),
        ],
    )
