"""Differences from the baseline, what the changes of an ablation are worth, and two settings crossed."""

import json
from collections.abc import Mapping, Sequence
from itertools import product

from wrnexp.report.ablation import Ablation, ChangeEffect
from wrnexp.report.ablation_tables import resolved
from wrnexp.report.factorial import Crossed
from wrnexp.report.format import listed, points, several
from wrnexp.report.page.chart import COLOURS, GREY, Chart, Row, Spec, Variant, chart, extent, quantity, tooltip
from wrnexp.report.tables import PairRow
from wrnexp.stats import Paired

VERDICTS = {"better": COLOURS[0], "worse": COLOURS[1], "unresolved": GREY}
ROW_HEIGHT = 24
VIRIDIS = "viridis"
DARK = 0.6  # of the colour map's range, above which text on it is dark
TITLE = "Difference in accuracy, points"


def pairs_chart(pairs: Sequence[PairRow], names: Mapping[str, str]) -> Chart | None:
    """Return the difference of each arm from the baseline with its interval; None where there is none.

    Args:
        pairs: each arm against the baseline.
        names: the short label of each label.
    """
    known = [pair for pair in pairs if pair.paired.difference is not None]
    rows = [_row(names[pair.b], pair.paired) | _judged(pair) for pair in known]
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
        f"Each arm's mean difference from {pairs[0].a} in points of test accuracy, with its 95% interval over the "
        f"common seeds: {listed(counts)}."
    )
    return Chart("differences", f"Differences from {pairs[0].a}", text, [Variant("Differences", spec)])


def effects_chart(study: Ablation, number: int) -> Chart | None:
    """Return what each change is worth in up to three places; None where nothing is known of any."""
    names = (f"in {study.b}", f"added to {study.a}", "its step of the ladder")
    rows = [
        _effect_row(one.change, place, effect)
        for one in study.changes
        for place, effect in zip(names, (one.leave_one_out, one.add_one, one.ladder), strict=True)
        if effect and effect.paired.difference is not None
    ]
    if not rows:
        return None
    there = [name for name in names if any(row["place"] == name for row in rows)]
    colour = {"field": "place", "type": "nominal", "title": None, "legend": {"orient": "top", "columns": 1}}
    colour["scale"] = {"domain": there, "range": list(COLOURS[: len(there)])}
    shape = {"field": "place", "type": "nominal", "title": None, "scale": {"domain": there}}
    more = {"yOffset": {"field": "place", "scale": {"domain": there}}, "shape": shape}
    spec = _forest(rows, "change", colour, more, 18 * len(there) + 6)
    best = max(rows, key=lambda row: row["difference"])
    text = (
        f"What each of {several(len(study.changes), 'change')} is worth in points of test accuracy, with 95% intervals "
        f"over the seeds. The largest is {best['difference']:+.2f} ({best['change']}, {best['place']})."
    )
    name = "effects" if number == 1 else f"effects-{number}"
    notes = ["Filled marks are told from chance after Holm's correction. Wide intervals are cut at the edge."]
    return Chart(
        name, f"What each change is worth, {study.a} to {study.b}", text, [Variant("Effects", spec)], notes=notes
    )


def heat_chart(study: Crossed) -> Chart:
    """Return mean test accuracy by both settings."""
    places = product(range(len(study.levels[0])), range(len(study.levels[1])))
    cells = [(study.levels[0][row], study.levels[1][column], study.cells[row][column]) for row, column in places]
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
    upright = {"labelAngle": 0}
    across = {"field": "second", "type": "ordinal", "title": study.keys[1], "sort": study.levels[1], "axis": upright}
    up = {"field": "first", "type": "ordinal", "title": study.keys[0], "sort": study.levels[0]}
    colour = {"field": "mean", "type": "quantitative", "title": "Mean, %", "scale": {"scheme": VIRIDIS, "zero": False}}
    ink = {"condition": {"test": "datum.dark", "value": "#111"}, "value": "#fff"}
    told = tooltip(first=study.keys[0], second=study.keys[1], mean="Mean, %", sd="SD, points", n="Seeds")
    spec = chart(
        rows,
        height=44 * len(study.levels[0]),
        encoding={"x": across, "y": up},
        layer=[
            {"mark": "rect", "encoding": {"color": colour, "tooltip": told}},
            {"mark": {"type": "text", "fontSize": 13}, "encoding": {"text": {"field": "text"}, "color": ink}},
        ],
    )
    best = max(rows, key=lambda row: row["mean"])
    text = (
        f"Mean test accuracy for each pair of {study.keys[0]} and {study.keys[1]}, from {low:.2f}% to {high:.2f}%, the "
        f"highest at {best['first']} and {best['second']}."
    )
    return Chart("factorial", f"{study.keys[0]} and {study.keys[1]}", text, [Variant("Means", spec)])


def _row(name: str, test: Paired, key: str = "arm") -> Row:
    low, high = test.ci95 or (None, None)
    ends = {"low": None if low is None else 100 * low, "high": None if high is None else 100 * high}
    return (
        {key: name, "difference": 100 * (test.difference or 0.0)}
        | ends
        | {"n": test.n, "text": points(test.difference)}
    )


def _judged(pair: PairRow) -> Row:
    return {"label": pair.b, "verdict": pair.verdict, "resolved": pair.verdict != "unresolved"}


def _effect_row(change: str, place: str, effect: ChangeEffect) -> Row:
    return _row(change, effect.paired, "change") | {"place": place, "resolved": resolved(effect)}


def _forest(rows: Sequence[Row], name: str, colour: Row, more: Row, step: int = ROW_HEIGHT) -> Spec:
    """Return a row a name: the mean difference as a mark, filled where resolved, its interval as a line, and 0."""
    edges = [edge for row in rows for edge in (row["low"], row["high"]) if edge is not None]
    reach = {"domain": extent([row["difference"] for row in rows], edges), "nice": False}
    told = tooltip(**{name: name.capitalize(), "difference": "Points", "low": "95% from", "high": "to", "n": "Seeds"})
    place: Row = {"y": {"field": name, "type": "nominal", "sort": None, "title": None, "axis": {"grid": False}}}
    point = place | {"x": quantity("difference", TITLE, scale=reach), "color": colour, "tooltip": told} | more
    interval = place | {"x": quantity("low", TITLE, scale=reach), "x2": {"field": "high"}, "color": colour}
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
                    "transform": [{"filter": f"datum.resolved === {json.dumps(resolved)}"}],
                    "mark": {"type": "point", "filled": resolved, "size": 80, "opacity": 1, "strokeWidth": 2},
                    "encoding": point,
                }
                for resolved in (True, False)
                if any(row["resolved"] is resolved for row in rows)
            ),
        ],
    )
