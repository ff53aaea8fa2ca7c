"""Charts of the networks' predictions: reliability, and changes in accuracy by class."""

from collections.abc import Mapping, Sequence

import numpy as np

from wrnexp.report.format import listed
from wrnexp.report.images import GroupChange
from wrnexp.report.page.chart import (
    COLOURS,
    GREY,
    ArmMark,
    Chart,
    ChartView,
    Row,
    Spec,
    arm_colour,
    arm_dash,
    chart,
    extent,
    parameters,
    quantity,
    tooltip,
)
from wrnexp.report.predictions import Calibration, Predictions

BEFORE, AFTER = "Before temperature scaling", "After temperature scaling"
MOST_GROUPS = 30  # of more groups, the largest losses and gains are shown


def reliability_chart(read: Predictions, marks: Sequence[ArmMark]) -> Chart | None:
    """Return the reliability diagram of each arm, pooled over seeds; None if no predictions were read."""
    if not read.arms:
        return None
    marks_read = [mark for mark in marks if mark.label in read.arms]
    before = {label: [answers.before for answers in runs] for label, runs in read.arms.items()}
    variants = [ChartView(BEFORE, _reliability(before, marks_read))]
    after = {label: [answers.after for answers in runs if answers.after] for label, runs in read.arms.items()}
    after = {label: calibrations for label, calibrations in after.items() if calibrations}
    if after:
        variants.append(ChartView(AFTER, _reliability(after, marks_read)))
    text = (
        "Accuracy against confidence of the predictions, in 15 bins; below the diagonal the network is overconfident. "
        f"Mean confidence minus accuracy: {_overconfidence(before, {mark.label: mark.short for mark in marks_read})}."
    )
    return Chart("reliability", "Reliability diagram", text, variants, "Temperature", marks_read)


def groups_chart(
    name: str, title: str, changes: Mapping[str, Sequence[GroupChange]], names: Sequence[str], baseline: str
) -> Chart:
    """Return the changes in accuracy from the baseline, with one view per arm and one bar per class or superclass."""
    variants = [ChartView(label, _groups(arm_changes, names)) for label, arm_changes in changes.items()]
    first, first_changes = next(iter(changes.items()))
    ordered = sorted(first_changes, key=_difference)
    loss, gain = (f"{names[change.group]} {100 * _difference(change):+.1f}" for change in (ordered[0], ordered[-1]))
    text = f"Change in accuracy from {baseline} to {first}, in points. Largest loss: {loss}; largest gain: {gain}."
    notes = ["Thin lines are uncorrected 95% intervals over seeds, for two seeds or more."]
    if len(first_changes) > MOST_GROUPS:
        notes.append(f"The {MOST_GROUPS // 2} largest losses and gains; the data below have all {len(first_changes)}.")
    return Chart(name, title, text, variants, "Arm", notes=notes)


def _reliability(calibrations: Mapping[str, Sequence[Calibration]], marks: Sequence[ArmMark]) -> Spec:
    rows = [row for label, runs in calibrations.items() for row in _bins(label, runs)]
    position = {
        "x": quantity("confidence", "Confidence, %", scale={"domain": [0, 100]}),
        "y": quantity("accuracy", "Accuracy, %", scale={"domain": [0, 100]}),
    }
    fields = tooltip(arm="Arm", confidence="Mean confidence, %", accuracy="Accuracy, %", images="Images")
    selected = [{"filter": "indexof(shown, datum.arm) >= 0"}]
    diagonal = {"values": [{"confidence": 0, "accuracy": 0}, {"confidence": 100, "accuracy": 100}]}
    size = {"field": "images", "type": "quantitative", "legend": None, "scale": {"range": [20, 220]}}
    return chart(
        rows,
        params=parameters(marks),
        layer=[
            {
                "data": diagonal,
                "mark": {"type": "line", "color": GREY, "strokeDash": [4, 3], "strokeWidth": 1.2},
                "encoding": position,
            },
            {
                "transform": selected,
                "mark": {"type": "line", "strokeWidth": 1.5},
                "encoding": position | {"color": arm_colour(marks), "strokeDash": arm_dash(marks)},
            },
            {
                "transform": selected,
                "mark": {"type": "circle", "opacity": 0.85},
                "encoding": position | {"color": arm_colour(marks), "size": size, "tooltip": fields},
            },
        ],
    )


def _bins(label: str, runs: Sequence[Calibration]) -> list[Row]:
    """Return one row per non-empty confidence bin, pooled over seeds."""
    images, confidence, right = (
        np.sum([getattr(run.bins, name) for run in runs], axis=0) for name in ("images", "confidence", "right")
    )
    return [
        {
            "arm": label,
            "images": int(images[index]),
            "confidence": 100 * float(confidence[index] / images[index]),
            "accuracy": 100 * float(right[index] / images[index]),
        }
        for index in np.flatnonzero(images)
    ]


def _overconfidence(calibrations: Mapping[str, Sequence[Calibration]], names: Mapping[str, str], most: int = 4) -> str:
    gaps = []
    for label, runs in list(calibrations.items())[:most]:
        images, confidence, right = (
            sum(float(getattr(run.bins, name).sum()) for run in runs) for name in ("images", "confidence", "right")
        )
        gaps.append(f"{names[label]} {100 * (confidence - right) / images:+.2f} points")
    return listed([*gaps, *([f"{len(calibrations) - most} more"] if len(calibrations) > most else [])])


def _groups(changes: Sequence[GroupChange], names: Sequence[str]) -> Spec:
    rows = [_group_row(change, names) for change in sorted(changes, key=_difference)]
    half = MOST_GROUPS // 2
    for rank, row in enumerate(rows):
        row["shown"] = len(rows) <= MOST_GROUPS or rank < half or rank >= len(rows) - half
    edges = [edge for row in rows for edge in (row["low"], row["high"]) if edge is not None]
    scale = {"domain": extent([row["difference"] for row in rows], edges), "nice": False}
    title = "Change in accuracy, points"
    up = {"field": "name", "type": "nominal", "sort": None, "title": None, "axis": {"grid": False}}
    colour = {"condition": {"test": "datum.difference < 0", "value": COLOURS[1]}, "value": COLOURS[0]}
    across = quantity("difference", title, scale=scale)
    fields = tooltip(name="Class", difference="Points", low="95% from", high="to", images="Images")
    span = {"x": quantity("low", title, scale=scale), "x2": {"field": "high"}}
    return chart(
        rows,
        height=17 * min(len(rows), MOST_GROUPS),
        transform=[{"filter": "datum.shown"}],
        encoding={"y": up},
        layer=[
            {"mark": {"type": "bar", "clip": True}, "encoding": {"x": across, "color": colour, "tooltip": fields}},
            {"mark": {"type": "rule", "color": GREY, "clip": True}, "encoding": span},
        ],
    )


def _group_row(change: GroupChange, names: Sequence[str]) -> Row:
    low, high = change.paired.ci95 or (None, None)
    return {
        "name": names[change.group],
        "images": change.images,
        "before": 100 * change.mean_a,
        "after": 100 * change.mean_b,
        "difference": 100 * _difference(change),
        "low": None if low is None else 100 * low,
        "high": None if high is None else 100 * high,
        "p": change.paired.p,
        "p_holm": change.p_holm,
    }


def _difference(change: GroupChange) -> float:
    return change.mean_b - change.mean_a
