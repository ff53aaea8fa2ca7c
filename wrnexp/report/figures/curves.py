"""`curves.png` of a run: loss, accuracy and learning rate against epochs."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LOSSES = {"train_loss": "train", "val_loss": "validation", "test_loss": "test"}
ACCURACIES = {"val_accuracy": "validation", "test_accuracy": "test"}
SPLITS = ("train", "test", "validation")  # in the order of their colours


def plot_run(rows: list[dict[str, Any]], path: Path, title: str) -> None:
    """Draw the curves of the rows of metrics.jsonl, skipping null and missing values; write PNG, atomically."""
    from wrnexp.report.figures import style  # imports matplotlib, which takes half a second

    figure = style.blank(9, 4.2)
    figure.suptitle(title, x=0.01, ha="left", fontsize=11, color=style.INK, parse_math=False)
    grid = figure.add_gridspec(2, 2, height_ratios=[5, 1])
    _panel(figure.add_subplot(grid[0, 0]), rows, LOSSES, "Loss", 3)
    _panel(figure.add_subplot(grid[0, 1]), rows, ACCURACIES, "Accuracy, %", 2)
    _rate(figure.add_subplot(grid[1, :]), rows)
    style.save(figure, path)


def points(rows: Sequence[Mapping[str, Any]], key: str, scale: float = 1.0) -> tuple[list[float], list[float]]:
    """Return the epochs at which `key` was measured, and the values times `scale`."""
    measured = [row for row in rows if _is_finite(row.get(key)) and "epoch" in row]
    return [row["epoch"] for row in measured], [scale * row[key] for row in measured]


def _panel(axes: "Axes", rows: list[dict[str, Any]], columns: Mapping[str, str], title: str, digits: int) -> None:
    from wrnexp.report.figures import style

    scale = 100.0 if columns is ACCURACIES else 1.0
    ends = []
    for key, name in columns.items():
        epochs, values = points(rows, key, scale)
        if values:
            paint = style.COLOURS[SPLITS.index(name)]
            axes.plot(epochs, values, color=paint, linewidth=1.5, marker="o" if len(values) == 1 else "", markersize=4)
            ends.append((f"{name} {values[-1]:.{digits}f}", values[-1], paint))
    style.whole_epochs(axes)
    style.dress(axes, title, "")
    style.label_ends(axes, ends)


def _rate(axes: "Axes", rows: list[dict[str, Any]]) -> None:
    from wrnexp.report.figures import style

    epochs, rates = points(rows, "lr")
    axes.plot(epochs, rates, color=style.GREY, linewidth=1.2)
    axes.set_ylim(bottom=0)
    style.whole_epochs(axes)
    axes.locator_params(axis="y", nbins=2)
    style.dress(axes, "Learning rate", "epoch")


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
