"""The plots of an ablation study: the effect of each change, and the ladder from one recipe to the other."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wrnexp.report.ablation import Ablation, ChangeEffect, Worth
from wrnexp.report.ablation_tables import resolved, settings
from wrnexp.report.figures import style
from wrnexp.report.format import percent, points
from wrnexp.stats import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes

EFFECTS, LADDER = "effects{}.png", "ladder{}.png"
IN_B, ADDED, STEP = style.COLOURS[0], style.COLOURS[1], style.COLOURS[2]
BETTER, WORSE = style.COLOURS[0], style.COLOURS[1]
# Wide intervals of few seeds are cut, with an arrow, so that the differences stay visible.
REACH = 2.5  # limit of the axis, in multiples of the largest difference
REACH_OF_STEPS = 0.5  # limit beyond the levels of the ladder, as a share of the range that they span


def draw(studies: Sequence[Ablation], folder: Path) -> dict[str, list[str]]:
    """Delete earlier plots, draw those of each ablation and return their file names by the ablation's name."""
    for pattern in (EFFECTS, LADDER):
        for path in folder.glob(pattern.format("*")):
            path.unlink()
    drawn = {}
    for number, study in enumerate(studies, start=1):
        suffix = "" if number == 1 else f"_{number}"
        plots = ((EFFECTS.format(suffix), _effects), (LADDER.format(suffix), _ladder))
        drawn[study.sweep] = [name for name, plot in plots if plot(study, folder / name)]
    return drawn


def _effects(study: Ablation, path: Path) -> bool:
    """Draw one row per change: its effect in the second recipe, added to the first, and on the ladder."""
    rows = [change for change in study.changes if change.effects]
    if not rows:
        return False
    figure = style.blank(9, 0.52 * len(rows) + 1.6)
    axes = figure.subplots()
    effects = [effect for change in rows for effect in change.effects]
    limits = _limits(effects)
    for height, change in enumerate(rows):
        if height % 2 == 0:
            axes.axhspan(height - 0.5, height + 0.5, color=style.FAINT, alpha=0.3, linewidth=0, zorder=0)
        for effect, shift, paint, marker in _markers(change):
            _effect(axes, effect, height + shift, paint, marker, limits)
        _row_label(axes, height, change.change, settings(change, most=1))
    axes.axvline(0, color=style.INK, linewidth=0.9, zorder=1)
    axes.set_xlim(limits)
    _rows(axes, len(rows))
    style.dress(axes, "", f"points of test accuracy, {_meaning(effects)}")
    _upright_grid(axes)
    _legend(axes, study)
    style.save(figure, path)
    return True


def _markers(change: Worth) -> list[tuple[ChangeEffect | None, float, str, str]]:
    """Return effect, vertical shift, colour and marker of each comparison."""
    return [
        (change.leave_one_out, -0.22, IN_B, "o"),
        (change.add_one, 0.0, ADDED, "s"),
        (change.ladder, 0.22, STEP, "D"),
    ]


def _effect(
    axes: "Axes", effect: ChangeEffect | None, height: float, paint: str, marker: str, limits: Interval
) -> None:
    if effect is None or effect.paired.difference is None:
        return
    if effect.paired.ci95:
        low, high = (100 * edge for edge in effect.paired.ci95)
        _interval(axes, (low, high), height, paint, limits)
    face = paint if resolved(effect) else "white"
    axes.plot(
        [100 * effect.paired.difference],
        [height],
        marker=marker,
        markersize=6 if marker == "o" else 5,
        color=paint,
        markerfacecolor=face,
        markeredgewidth=1.4,
        zorder=4,
    )


def _interval(axes: "Axes", ends: Interval, height: float, paint: str, limits: Interval) -> None:
    inside = [max(ends[0], limits[0]), min(ends[1], limits[1])]
    axes.plot(inside, [height, height], color=paint, linewidth=1.6, solid_capstyle="butt", zorder=3)
    for edge, beyond, arrow in ((limits[0], ends[0] < limits[0], "<"), (limits[1], ends[1] > limits[1], ">")):
        if beyond:
            axes.plot([edge], [height], marker=arrow, color=paint, markersize=5, clip_on=False, zorder=3)


def _limits(effects: Sequence[ChangeEffect]) -> Interval:
    """Return the axis limits in points: the ends of the intervals, bounded by `REACH`."""
    means = [100 * effect.paired.difference for effect in effects if effect.paired.difference is not None]
    edges = [100 * edge for effect in effects for edge in effect.paired.ci95 or ()]
    most = REACH * max(map(abs, [*means, 0.01]))
    low, high = max(min([*means, *edges, 0.0]), -most), min(max([*means, *edges, 0.0]), most)
    margin = 0.04 * (high - low) or 0.01
    return low - margin, high + margin


def _row_label(axes: "Axes", height: float, name: str, detail: str) -> None:
    from matplotlib.transforms import blended_transform_factory

    transform = blended_transform_factory(axes.transAxes, axes.transData)
    lift = -0.16 if detail else 0.0
    common: dict[str, Any] = {
        "transform": transform, "ha": "right", "va": "center", "parse_math": False, "clip_on": False,
    }  # fmt: skip
    axes.text(-0.012, height + lift, name, fontsize=9, color=style.INK, **common)
    if detail:
        axes.text(-0.012, height + 0.19, detail, fontsize=7, color=style.GREY, **common)


def _rows(axes: "Axes", count: int) -> None:
    axes.set_yticks([])
    axes.set_ylim(count - 0.45, -0.55)


def _meaning(effects: Sequence[ChangeEffect]) -> str:
    if not any(effect.paired.ci95 for effect in effects):
        return "one seed, so without intervals"
    return "mean and 95% interval over seeds; filled if statistically significant (Holm)"


def _upright_grid(axes: "Axes") -> None:
    axes.grid(visible=False, axis="y")
    axes.grid(visible=True, axis="x", color=style.FAINT, linewidth=0.6)


def _legend(axes: "Axes", study: Ablation) -> None:
    from matplotlib.lines import Line2D

    entries = [
        ("o", IN_B, f"in {study.b}, against leaving it out"),
        ("s", ADDED, f"added to {study.a} alone"),
        ("D", STEP, "its step on the ladder"),
    ]
    handles = [
        Line2D([], [], marker=marker, color=paint, linewidth=1.8, markersize=6, markerfacecolor=paint, label=label)
        for marker, paint, label in entries
    ]
    axes.legend(
        handles=handles,
        loc="lower left",
        bbox_to_anchor=(0, 1.0),
        ncols=3,
        frameon=False,
        fontsize=8.5,
        title=f"Effect of each change, from {study.a} to {study.b}",
        title_fontsize=10,
        alignment="left",
        borderaxespad=0.2,
        labelcolor=style.INK,
        columnspacing=1.6,
    )


def _ladder(study: Ablation, path: Path) -> bool:
    """Draw the ladder as a waterfall chart from the accuracy of the first recipe to that of the second."""
    levels = [study.start, *(step.reached for step in study.steps)]
    measured = [100 * level for level in levels if level is not None]
    if not study.steps or len(measured) < 2:
        return False
    figure = style.blank(9, 0.36 * (len(levels) + 1) + 1.0)
    axes = figure.subplots()
    limits = _level_limits(study, measured)
    for row, (name, level) in ((0, (study.a, levels[0])), (len(levels), (study.b, levels[-1]))):
        _row_label(axes, row, name, "")
        _level(axes, row, level)
    for row, step in enumerate(study.steps, start=1):
        _row_label(axes, row, f"+ {' and '.join(step.changes)}", "")
        _step(axes, row, (levels[row - 1], levels[row]), step.effect, limits)
    room = 0.09 * (limits[1] - limits[0])  # for the numbers next to the intervals
    axes.set_xlim(limits[0] - room, limits[1] + room)
    _rows(axes, len(levels) + 1)
    meaning = _meaning([step.effect for step in study.steps if step.effect])
    style.dress(axes, f"From {study.a} to {study.b}, step by step", f"test accuracy, %, {meaning}")
    _upright_grid(axes)
    style.save(figure, path)
    return True


def _level_limits(study: Ablation, levels: Sequence[float]) -> Interval:
    """Return the axis limits: the levels, and the ends of the intervals as far as `REACH_OF_STEPS` allows."""
    halves = [half for step in study.steps if step.effect and (half := _half_width(step.effect))]
    span = max(levels) - min(levels) or 0.1
    reach = min(max(halves, default=0.0), REACH_OF_STEPS * span)
    return min(levels) - reach, max(levels) + reach


def _level(axes: "Axes", row: int, level: float | None) -> None:
    if level is not None:
        axes.plot([100 * level], [row], marker="o", markersize=8, color=style.INK, zorder=4)
        _number(axes, 100 * level, row, percent(level), 1)


def _step(
    axes: "Axes", row: int, levels: tuple[float | None, float | None], effect: ChangeEffect | None, limits: Interval
) -> None:
    """Draw one step: a bar between two levels, the interval around its end, and the difference as a number."""
    if None in levels or effect is None or effect.paired.difference is None:
        return
    start, end = (100 * (level or 0.0) for level in levels)
    up = effect.paired.difference >= 0
    paint = BETTER if up else WORSE
    face = paint if resolved(effect) else "white"
    axes.barh(row, end - start, left=start, height=0.56, facecolor=face, edgecolor=paint, linewidth=1.4, zorder=2)
    axes.plot([start, start], [row - 0.72, row - 0.28], color=style.GREY, linewidth=0.8, zorder=1)
    axes.plot([end, end], [row + 0.28, row + 0.72], color=style.GREY, linewidth=0.8, zorder=1)
    low, high = end - _half_width(effect), end + _half_width(effect)
    if low < high:
        _interval(axes, (low, high), row, style.INK, limits)
    number_at = min(high, limits[1]) if up else max(low, limits[0])
    _number(axes, number_at, row, points(effect.paired.difference), 1 if up else -1)


def _half_width(effect: ChangeEffect) -> float:
    """Return half the width of the interval, in points; 0 if there is none."""
    interval = effect.paired.ci95
    return 50 * (interval[1] - interval[0]) if interval else 0.0


def _number(axes: "Axes", across: float, row: int, text: str, side: int) -> None:
    note = axes.annotate(text, (across, row), (7 * side, 0), textcoords="offset points", va="center")
    note.set(fontsize=8.5, color=style.INK, ha="left" if side > 0 else "right")
