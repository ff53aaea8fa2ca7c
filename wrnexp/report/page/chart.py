"""Charts of the page: Vega-Lite specifications with their alternative texts."""

import colorsys
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle, islice
from typing import Any

from wrnexp.report.arms import Arm
from wrnexp.report.figures.style import brief

Row = dict[str, Any]
Spec = dict[str, Any]

# Okabe and Ito's hues (Color Universal Design, 2008), adjusted to a contrast of 3 to 1 against the page's light and
# dark backgrounds, as WCAG 2.2, 1.4.11 requires of graphics.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#C05F95", "#B27500", "#3A94C9", "#8673D9", "#7A7A7A")
GREY = "#7A7A7A"
DASHES: tuple[list[int], ...] = ([1, 0], [6, 3], [2, 2], [8, 3, 2, 3])
LUMINANCE = 0.2
MAX_SELECTED = 10  # arms selected when the page opens
DIGITS = 6
REACH = 2.5  # axes of differences are cut at this multiple of the largest one, because intervals of few seeds are wide
SETTING = re.compile(r"^[\w.]*\.(?=\w+=)")  # the config groups before `key=`


@dataclass(frozen=True)
class ChartView:
    """One of the views of a chart, which the reader selects by name."""

    name: str
    spec: Spec


@dataclass(frozen=True)
class ArmMark:
    """Labels, line style and initial selection of an arm."""

    label: str
    short: str
    colour: str
    dash: list[int]
    selected: bool = True


@dataclass(frozen=True)
class Chart:
    """A chart with its controls.

    Attributes:
        name: for ids and file names, letters and hyphens.
        text: the alternative text, also used as caption.
        variants: at least one view; the first is selected.
        choice: label of the control that selects the view.
        arms: arms that can be hidden; the specifications filter by the parameter `shown`.
        zoom: name of the horizontal quantity limited by the parameters `from` and `to`; empty if there are none.
        log: the axis that can be logarithmic, `x`, `y` or empty.
        notes: further sentences of the caption.
    """

    name: str
    title: str
    text: str
    variants: list[ChartView]
    choice: str = "Show"
    arms: list[ArmMark] = field(default_factory=list)
    zoom: str = ""
    log: str = ""
    notes: list[str] = field(default_factory=list)


def palette(count: int) -> list[str]:
    """Return `count` distinct colours: the palette if it has enough, else evenly spaced hues of equal luminance."""
    if count <= len(COLOURS):
        return list(COLOURS[:count])
    return [_hue(0.8 * index / (count - 1)) for index in range(count)]


def shortened(labels: Sequence[str]) -> list[str]:
    """Return labels without their common parts and config groups: `light model.dropout=0` becomes `dropout=0`."""
    parts = [re.split(r"[ ,]+", label) for label in labels]
    if not any("=" in part for label in parts for part in label):
        return brief(labels)
    shared = set(parts[0]).intersection(*parts[1:]) if len(parts) > 1 else set()
    short = [", ".join(SETTING.sub("", part) for part in label if part not in shared) for label in parts]
    names = [name or label for name, label in zip(short, labels, strict=True)]
    return names if len(set(names)) == len(labels) else [*labels]


def luminance(colour: str) -> float:
    """Return the relative luminance of `#rrggbb`, 0..1 (WCAG 2.2)."""
    parts = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def marks(arms: Sequence[Arm], baseline: str) -> list[ArmMark]:
    """Return the mark of each arm; of many arms, the baseline and the first ones are selected initially."""
    selected = [baseline, *(arm.label for arm in arms if arm.label != baseline)][:MAX_SELECTED]
    names, dashes = shortened([arm.label for arm in arms]), islice(cycle(DASHES), len(arms))
    styles = zip(arms, names, palette(len(arms)), dashes, strict=True)
    return [ArmMark(arm.label, short, paint, dash, arm.label in selected) for arm, short, paint, dash in styles]


def chart(rows: Iterable[Mapping[str, Any]], **parts: Any) -> Spec:
    """Return a specification with these rows as data, rounded to `DIGITS` significant digits."""
    size = {"width": "container", "height": 320, "autosize": {"type": "fit-x", "contains": "padding"}}
    return size | {"data": {"values": [_rounded(row) for row in rows]}} | parts


def parameters(arms: Sequence[ArmMark], **more: Any) -> list[Row]:
    """Return the Vega parameter `shown`, the labels of the selected arms, and `more` parameters."""
    values = {"shown": [arm.label for arm in arms if arm.selected]} | more
    return [{"name": name, "value": value} for name, value in values.items()]


def arm_colour(arms: Sequence[ArmMark]) -> Row:
    """Return the colour encoding of arms, without a legend because the controls serve as one."""
    return _arm_scale(arms, [arm.colour for arm in arms])


def arm_dash(arms: Sequence[ArmMark]) -> Row:
    """Return the dash encoding of arms."""
    return _arm_scale(arms, [arm.dash for arm in arms])


def quantity(name: str, title: str, **parts: Any) -> Row:
    """Return a quantitative encoding whose axis need not start at 0."""
    return {"field": name, "type": "quantitative", "title": title, "scale": {"zero": False}} | parts


def tooltip(**fields: str) -> list[Row]:
    """Return a tooltip encoding; `fields` are titles by field."""
    return [{"field": name, "title": title} for name, title in fields.items()]


def extent(means: Iterable[float], edges: Iterable[float]) -> list[float]:
    """Return the limits of an axis of differences: includes 0, the means and, bounded by `REACH`, the interval ends."""
    centres = list(means)
    most = REACH * max(map(abs, [*centres, 0.01]))
    ends = [*centres, *edges, 0.0]
    low, high = max(min(ends), -most), min(max(ends), most)
    margin = 0.04 * (high - low) or 0.01
    return [low - margin, high + margin]


def _arm_scale(arms: Sequence[ArmMark], values: Sequence[Any]) -> Row:
    scale = {"domain": [arm.label for arm in arms], "range": list(values)}
    return {"field": "arm", "type": "nominal", "scale": scale, "legend": None}


def _hue(hue: float) -> str:
    """Return the colour with this hue, 0..1, and the luminance `LUMINANCE`."""
    low, high = 0.0, 1.0
    for _ in range(20):
        middle = (low + high) / 2
        colour = "#" + "".join(f"{round(255 * part):02X}" for part in colorsys.hls_to_rgb(hue, middle, 0.75))
        low, high = (middle, high) if luminance(colour) < LUMINANCE else (low, middle)
    return colour


def _rounded(row: Mapping[str, Any]) -> Row:
    def rounded(value: Any) -> Any:
        if not isinstance(value, float):
            return value
        return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None

    return {key: rounded(value) for key, value in row.items()}
