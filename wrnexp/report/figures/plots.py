"""The plots of a report; each arm has the same colour in all of them."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from wrnexp.report.arms import Arm
from wrnexp.report.figures import style
from wrnexp.report.measures import Run, cost, series
from wrnexp.report.tables import ArmRow, Report

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LEARNING, ACCURACY, TIME = "learning_curves.png", "accuracy.png", "accuracy_time.png"
LOG_FROM = 8
LABELLED_AT_POINTS = 4
UNITS = ((2 * 3600, 3600, "hours"), (300, 60, "minutes"), (0, 1, "seconds"))


def draw(report: Report, folder: Path) -> list[str]:
    """Draw the plots for which there is data and return their file names; delete earlier plots of the others."""
    drawn = [
        name
        for name, plot in ((ACCURACY, _accuracy), (LEARNING, _learning), (TIME, _time))
        if plot(report, folder / name)
    ]
    for name in {LEARNING, ACCURACY, TIME} - set(drawn):
        (folder / name).unlink(missing_ok=True)
    return drawn


def _learning(report: Report, path: Path) -> bool:
    if not any(run.rows for arm in report.arms for run in arm.runs):
        return False
    figure = style.blank(10, _high_enough(report))
    accuracy_axes, loss_axes = figure.subplots(1, 2)
    _curves(accuracy_axes, report.arms, "test_accuracy", 100.0)
    _curves(loss_axes, report.arms, "train_loss", 1.0)
    style.dress(accuracy_axes, "Test accuracy, %: mean and range over seeds", "epoch")
    style.dress(loss_axes, "Training loss: mean and range over seeds", "epoch")
    style.save(figure, path)
    return True


def _curves(axes: "Axes", arms: Sequence[Arm], key: str, scale: float) -> None:
    ends = []
    for arm, label, paint in _painted(arms):
        curves = [series(run, key) for run in arm.runs]
        epochs = sorted(set().union(*curves))
        values = [[scale * curve[epoch] for curve in curves if epoch in curve] for epoch in epochs]
        if values:
            means = [fmean(seeds) for seeds in values]
            axes.fill_between(epochs, [*map(min, values)], [*map(max, values)], color=paint, alpha=0.18, linewidth=0)
            axes.plot(epochs, means, color=paint, linewidth=1.6, marker="o" if len(means) == 1 else "", markersize=4)
            ends.append((label, means[-1], paint))
    axes.margins(x=0.01)
    style.whole_epochs(axes)
    style.label_ends(axes, ends)


def _accuracy(report: Report, path: Path) -> bool:
    """Draw one row per arm: the mean with its 95% interval, and each seed as a dot below."""
    figure = style.blank(8, 0.5 * len(report.rows) + 1.3)
    axes = figure.subplots()
    painted = _painted(report.arms)
    for height, ((arm, _, paint), row) in enumerate(zip(painted, report.rows, strict=True)):
        seeds = [100 * run.accuracy for run in arm.runs]
        axes.scatter(seeds, [height + 0.2] * len(seeds), s=16, color=paint, alpha=0.55, linewidths=0)
        _interval(axes, row, height, paint)
    dotted = f"dotted: mean of {report.pairs[0].a}" if report.pairs else ""
    style.dress(axes, "Test accuracy, %: mean, 95% interval and each seed", dotted)
    _rows(axes, [label for _, label, _ in painted])
    _mark_baseline(axes, report)
    style.save(figure, path)
    return True


def _interval(axes: "Axes", row: ArmRow, height: int, paint: str) -> None:
    mean = 100 * row.accuracy.mean
    if row.accuracy.ci95:
        # The interval of two seeds may exceed the range of accuracy.
        low, high = (min(100.0, max(0.0, 100 * edge)) for edge in row.accuracy.ci95)
        axes.plot([low, high], [height, height], color=paint, linewidth=2, solid_capstyle="butt")
    axes.plot([mean], [height], marker="o", markersize=7, color=paint)
    number = axes.annotate(f"{mean:.2f}", (mean, height), (0, 7), textcoords="offset points", ha="center")
    number.set(fontsize=8.5, color=style.INK, bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6})


def _rows(axes: "Axes", labels: Sequence[str]) -> None:
    """Label the vertical axis with one name per row, the first on top."""
    axes.grid(visible=False, axis="y")
    axes.grid(visible=True, axis="x", color=style.FAINT, linewidth=0.6)
    axes.set_yticks(range(len(labels)), labels, color=style.INK, fontsize=9, parse_math=False)
    axes.set_ylim(len(labels) - 0.5, -0.6)


def _mark_baseline(axes: "Axes", report: Report) -> None:
    for row in report.rows:
        if report.pairs and row.label == report.pairs[0].a:
            axes.axvline(100 * row.accuracy.mean, color=style.GREY, linewidth=0.9, linestyle=":", zorder=0)


def _time(report: Report, path: Path) -> bool:
    """Draw test accuracy against training time: each seed as a small mark, the arm's mean as a large one."""
    timed = [entry for entry in _painted(report.arms) if any(entry[0].by_seed(_train_seconds).values())]
    if not timed:
        return False
    longest = max(time for arm, _, _ in timed for time in arm.by_seed(_train_seconds).values())
    unit, name = next((size, name) for threshold, size, name in UNITS if longest >= threshold)
    figure = style.blank(7, _high_enough(report))
    axes = figure.subplots()
    middles = [_cloud(axes, arm, unit, paint) for arm, _, paint in timed]
    axes.margins(0.12)
    low, high = axes.dataLim.intervalx
    if low > 0 and high / low >= LOG_FROM:
        axes.set_xscale("log")
    style.dress(axes, "Test accuracy, %: mean and each seed", f"training time, {name}")
    ends = [(label, middle[1], paint) for (_, label, paint), middle in zip(timed, middles, strict=True)]
    style.label_ends(axes, ends, [middle[0] for middle in middles] if len(ends) <= LABELLED_AT_POINTS else ())
    style.save(figure, path)
    return True


def _cloud(axes: "Axes", arm: Arm, unit: float, paint: str) -> tuple[float, float]:
    """Draw one arm's seeds and their mean; return the position of the mean."""
    times, scores = arm.by_seed(_train_seconds), arm.by_seed(_score)
    across, up = [time / unit for time in times.values()], [100 * scores[seed] for seed in times]
    axes.scatter(across, up, s=14, color=paint, alpha=0.5, linewidths=0)
    axes.plot([fmean(across)], [fmean(up)], marker="o", markersize=8, color=paint)
    return fmean(across), fmean(up)


def _painted(arms: Sequence[Arm]) -> list[tuple[Arm, str, str]]:
    return [*zip(arms, style.brief([arm.label for arm in arms]), style.palette(len(arms)), strict=True)]


def _high_enough(report: Report) -> float:
    """Return the height in inches at which every label fits."""
    return max(4.0, 0.22 * len(report.arms) + 1.2)


def _score(run: Run) -> float:
    return run.accuracy


_train_seconds = partial(cost, name="train_seconds")
