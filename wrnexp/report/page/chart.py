"""Charts of the page: a Vega-Lite specification for each view, with the words that stand for it."""

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

# Okabe and Ito's hues (Color Universal Design, 2008), moved so far that each has a contrast of 3 to 1 against white and
# against the page's dark ground, as WCAG 2.2, 1.4.11 asks of graphics.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#C05F95", "#B27500", "#3A94C9", "#8673D9", "#7A7A7A")
GREY = "#7A7A7A"
DASHES: tuple[list[int], ...] = ([1, 0], [6, 3], [2, 2], [8, 3, 2, 3])
LUMINANCE = 0.2
SHOWN_AT_FIRST = 10
DIGITS = 6
# An interval of two or three seeds may be so wide that nothing else can be seen: axes reach no further than so many
# times the largest difference.
REACH = 2.5
SETTING = re.compile(r"^[\w.]*\.(?=\w+=)")  # the groups before a key that has a value


@dataclass(frozen=True)
class Variant:
    """One view of a chart, which the reader can choose by name."""

    name: str
    spec: Spec


@dataclass(frozen=True)
class ArmMark:
    """How an arm is drawn: its whole label, the short one, colour and dashes, and whether it is shown at first."""

    label: str
    short: str
    colour: str
    dash: list[int]
    shown: bool = True


@dataclass(frozen=True)
class Chart:
    """A chart with its controls.

    Attributes:
        name: for ids and file names, letters and hyphens.
        title: its heading.
        text: what it shows, in words, for those who do not see it.
        variants: one view or more, the first shown.
        choice: what the variants differ in, the label of their control.
        arms: those that can be shown and hidden; the specifications filter by the parameter `shown`.
        zoom: name of the horizontal quantity that parameters `from` and `to` limit; empty where none do.
        log: which axis can be logarithmic, `x`, `y` or none.
        notes: what the reader must know beside it.
    """

    name: str
    title: str
    text: str
    variants: list[Variant]
    choice: str = "Show"
    arms: list[ArmMark] = field(default_factory=list)
    zoom: str = ""
    log: str = ""
    notes: list[str] = field(default_factory=list)


def palette(count: int) -> list[str]:
    """Return that many colours; more than `COLOURS` has are hues of one luminance, from red to violet."""
    if count <= len(COLOURS):
        return list(COLOURS[:count])
    return [_hue(0.8 * index / (count - 1)) for index in range(count)]


def shortened(labels: Sequence[str]) -> list[str]:
    """Return labels without what all share and without groups of settings: `light model.dropout=0` is `dropout=0`."""
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
    """Give each arm its looks; of many arms only the baseline and the first ones are shown at first."""
    shown = [baseline, *(arm.label for arm in arms if arm.label != baseline)][:SHOWN_AT_FIRST]
    names, dashes = shortened([arm.label for arm in arms]), islice(cycle(DASHES), len(arms))
    looks = zip(arms, names, palette(len(arms)), dashes, strict=True)
    return [ArmMark(arm.label, short, paint, dash, arm.label in shown) for arm, short, paint, dash in looks]


def chart(rows: Iterable[Mapping[str, Any]], **parts: Any) -> Spec:
    """Return a specification with these rows as data; numbers are rounded to `DIGITS` significant digits."""
    size = {"width": "container", "height": 320, "autosize": {"type": "fit-x", "contains": "padding"}}
    return size | {"data": {"values": [_rounded(row) for row in rows]}} | parts


def parameters(arms: Sequence[ArmMark], **others: Any) -> list[Row]:
    """Return the parameter `shown` and others."""
    shown = [arm.label for arm in arms if arm.shown]
    return [{"name": "shown", "value": shown}, *({"name": name, "value": value} for name, value in others.items())]


def coloured(arms: Sequence[ArmMark]) -> Row:
    """Return the encoding of the arm's colour; the controls are its legend."""
    return _scaled(arms, [arm.colour for arm in arms])


def dashed(arms: Sequence[ArmMark]) -> Row:
    """Return the encoding of the arm's dashes."""
    return _scaled(arms, [arm.dash for arm in arms])


def quantity(name: str, title: str, **parts: Any) -> Row:
    """Return the encoding of a number; axes need not start at 0."""
    return {"field": name, "type": "quantitative", "title": title, "scale": {"zero": False}} | parts


def tooltip(**fields: str) -> list[Row]:
    """Return a tooltip of these fields with the titles given."""
    return [{"field": name, "title": title} for name, title in fields.items()]


def extent(means: Iterable[float], edges: Iterable[float]) -> list[float]:
    """Return how far an axis of differences reaches: to the ends of intervals as far as `REACH` allows, and to 0."""
    middles = list(means)
    most = REACH * max(map(abs, [*middles, 0.01]))
    ends = [*middles, *edges, 0.0]
    low, high = max(min(ends), -most), min(max(ends), most)
    margin = 0.04 * (high - low) or 0.01
    return [low - margin, high + margin]


def _scaled(arms: Sequence[ArmMark], values: Sequence[Any]) -> Row:
    scale = {"domain": [arm.label for arm in arms], "range": list(values)}
    return {"field": "arm", "type": "nominal", "scale": scale, "legend": None}


def _hue(hue: float) -> str:
    """Return the colour of this hue, 0..1, that has the luminance `LUMINANCE`."""
    low, high = 0.0, 1.0
    for _ in range(20):
        middle = (low + high) / 2
        colour = "#" + "".join(f"{round(255 * part):02X}" for part in colorsys.hls_to_rgb(hue, middle, 0.75))
        low, high = (middle, high) if luminance(colour) < LUMINANCE else (low, middle)
    return colour


def _rounded(row: Mapping[str, Any]) -> Row:
    return {key: _number(value) for key, value in row.items()}


def _number(value: Any) -> Any:
    if not isinstance(value, float):
        return value
    return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
