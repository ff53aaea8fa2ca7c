"""Charts of the networks' answers: reliability, and how classes and superclasses change."""

from collections.abc import Mapping, Sequence

import numpy as np

from wrnexp.report.format import listed
from wrnexp.report.images import GroupChange
from wrnexp.report.page.chart import (
    COLOURS,
    GREY,
    ArmMark,
    Chart,
    Row,
    Spec,
    Variant,
    chart,
    coloured,
    dashed,
    extent,
    parameters,
    quantity,
    tooltip,
)
from wrnexp.report.predictions import Calibration, Predictions

BEFORE, AFTER = "Before temperature scaling", "After temperature scaling"
MOST_GROUPS = 30  # of many classes those that gain most and lose most


def reliability_chart(read: Predictions, looks: Sequence[ArmMark]) -> Chart | None:
    """Return the reliability diagram of each arm, all its seeds together; None where no answers were read."""
    if not read.arms:
        return None
    there = [mark for mark in looks if mark.label in read.arms]
    before = {label: [answers.before for answers in found] for label, found in read.arms.items()}
    variants = [Variant(BEFORE, _reliability(before, there))]
    after = {label: [one.after for one in found if one.after] for label, found in read.arms.items()}
    after = {label: found for label, found in after.items() if found}
    if after:
        variants.append(Variant(AFTER, _reliability(after, there)))
    text = (
        "Accuracy of the answers against the confidence they are given with, in 15 bins; on the diagonal they agree, "
        f"below it the network is too sure. Confidence less accuracy, over all images: "
        f"{_sureness(before, {mark.label: mark.short for mark in there})}."
    )
    return Chart("reliability", "Reliability diagram", text, variants, "Temperature", there)


def groups_chart(
    name: str,
    title: str,
    changes: Mapping[str, Sequence[GroupChange]],
    names: Sequence[str],
    baseline: str,
) -> Chart:
    """Return the changes from the baseline on each class or superclass, a view an arm.

    Args:
        name: the chart's.
        title: its heading.
        changes: by the arm's name.
        names: of the groups.
        baseline: label of the arm compared with.
    """
    variants = [Variant(label, _groups(found, names)) for label, found in changes.items()]
    first, found = next(iter(changes.items()))
    ordered = sorted(found, key=_difference)
    text = (
        f"Change in accuracy from {baseline} to {first}, in points. The largest loss: {_told(ordered[0], names)}; the "
        f"largest gain: {_told(ordered[-1], names)}."
    )
    notes = [
        "The thin line is the 95% interval over seeds, where there are two seeds at least, without any correction."
    ]
    if len(found) > MOST_GROUPS:
        notes.append(f"The {MOST_GROUPS // 2} largest losses and gains; the data below have all {len(found)}.")
    return Chart(name, title, text, variants, "Arm", notes=notes)


def _reliability(found: Mapping[str, Sequence[Calibration]], looks: Sequence[ArmMark]) -> Spec:
    rows = [row for label, one in found.items() for row in _bins(label, one)]
    place = {
        "x": quantity("confidence", "Confidence, %", scale={"domain": [0, 100]}),
        "y": quantity("accuracy", "Accuracy, %", scale={"domain": [0, 100]}),
    }
    told = tooltip(arm="Arm", confidence="Mean confidence, %", accuracy="Accuracy, %", images="Images")
    seen = [{"filter": "indexof(shown, datum.arm) >= 0"}]
    diagonal = {"values": [{"confidence": 0, "accuracy": 0}, {"confidence": 100, "accuracy": 100}]}
    size = {"field": "images", "type": "quantitative", "legend": None, "scale": {"range": [20, 220]}}
    return chart(
        rows,
        params=parameters(looks),
        layer=[
            {
                "data": diagonal,
                "mark": {"type": "line", "color": GREY, "strokeDash": [4, 3], "strokeWidth": 1.2},
                "encoding": place,
            },
            {
                "transform": seen,
                "mark": {"type": "line", "strokeWidth": 1.5},
                "encoding": place | {"color": coloured(looks), "strokeDash": dashed(looks)},
            },
            {
                "transform": seen,
                "mark": {"type": "circle", "opacity": 0.85},
                "encoding": place | {"color": coloured(looks), "size": size, "tooltip": told},
            },
        ],
    )


def _bins(label: str, found: Sequence[Calibration]) -> list[Row]:
    """Return a row for each bin of confidence that holds images, those of all seeds together."""
    images, confidence, right = (
        np.sum([getattr(one.bins, name) for one in found], axis=0) for name in ("images", "confidence", "right")
    )
    return [
        {
            "arm": label,
            "images": int(images[at]),
            "confidence": 100 * float(confidence[at] / images[at]),
            "accuracy": 100 * float(right[at] / images[at]),
        }
        for at in np.flatnonzero(images)
    ]


def _sureness(found: Mapping[str, Sequence[Calibration]], names: Mapping[str, str], most: int = 4) -> str:
    gaps = []
    for label, one in list(found.items())[:most]:
        images, confidence, right = (
            sum(float(getattr(each.bins, name).sum()) for each in one) for name in ("images", "confidence", "right")
        )
        gaps.append(f"{names[label]} {100 * (confidence - right) / images:+.2f} points")
    return listed([*gaps, *([f"{len(found) - most} more"] if len(found) > most else [])])


def _groups(changes: Sequence[GroupChange], names: Sequence[str]) -> Spec:
    rows = [_group_row(change, names) for change in sorted(changes, key=_difference)]
    half = MOST_GROUPS // 2
    for place, row in enumerate(rows):
        row["shown"] = len(rows) <= MOST_GROUPS or place < half or place >= len(rows) - half
    edges = [edge for row in rows for edge in (row["low"], row["high"]) if edge is not None]
    reach = {"domain": extent([row["difference"] for row in rows], edges), "nice": False}
    title = "Change in accuracy, points"
    up = {"field": "name", "type": "nominal", "sort": None, "title": None, "axis": {"grid": False}}
    colour = {"condition": {"test": "datum.difference < 0", "value": COLOURS[1]}, "value": COLOURS[0]}
    across = quantity("difference", title, scale=reach)
    told = tooltip(name="Class", difference="Points", low="95% from", high="to", images="Images")
    span = {"x": quantity("low", title, scale=reach), "x2": {"field": "high"}}
    return chart(
        rows,
        height=17 * min(len(rows), MOST_GROUPS),
        transform=[{"filter": "datum.shown"}],
        encoding={"y": up},
        layer=[
            {"mark": {"type": "bar", "clip": True}, "encoding": {"x": across, "color": colour, "tooltip": told}},
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


def _told(change: GroupChange, names: Sequence[str]) -> str:
    return f"{names[change.group]} {100 * _difference(change):+.1f}"
