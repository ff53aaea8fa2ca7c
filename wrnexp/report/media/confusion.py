"""Confusion matrix of the test predictions, by superclass if there are any, else by class."""

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from wrnexp.report.page.classes import classes
from wrnexp.runs.record import DataInfo

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST = 30  # classes that are readable in one picture
MIN_FULL_ORANGE = 5.0  # per cent: lower bound of the share drawn in full orange, so that rare errors stay pale
WRITTEN = 0.5  # per cent: a share above this is written into its cell


class Confusion(NamedTuple):
    """A confusion matrix.

    Attributes:
        counts: test images, int64 [k, k], by true class (rows) and predicted class (columns).
        names: of the k classes or superclasses.
        kind: `superclass` or `class`.
    """

    counts: NDArray[np.int64]
    names: list[str]
    kind: str


def confusion(data: DataInfo | None, logits: NDArray[np.floating], labels: NDArray[np.int64]) -> Confusion | None:
    """Return the confusion matrix of logits [N, classes] and labels [N], by superclass if the data set has any.

    Otherwise by class; None if there are more than `MOST` classes.
    """
    count = logits.shape[1]
    info = classes(data, count)
    if info.superclasses:
        groups, names, kind = info.groups, info.superclasses, "superclass"
    elif count <= MOST:
        groups, names, kind = np.arange(count), info.names, "class"
    else:
        return None
    cells = groups[labels] * len(names) + groups[logits.argmax(1)]
    counts = np.bincount(cells, minlength=len(names) ** 2).reshape(len(names), len(names))
    return Confusion(counts.astype(np.int64), list(names), kind)


def draw_confusion(path: Path, matrix: Confusion, title: str) -> None:
    """Draw the matrix with rows normalized to 100% and write it as PNG, atomically.

    Correct predictions are blue, from 0 to 100%; wrong ones orange, up to the largest share, at least 5%.
    """
    from wrnexp.report.figures import style  # imports matplotlib, which takes half a second

    count = len(matrix.names)
    figure = style.blank(3.0 + 0.3 * count, 2.4 + 0.25 * count)
    axes = figure.subplots()
    _cells(axes, matrix.counts)
    style.dress(axes, f"{title}: % of the test images of each true {matrix.kind}", f"predicted {matrix.kind}")
    axes.set_ylabel(f"true {matrix.kind}", fontsize=9, color=style.GREY)
    axes.grid(visible=False)
    between = np.arange(1, count) - 0.5
    axes.set_xticks(between, minor=True)
    axes.set_yticks(between, minor=True)
    axes.grid(visible=True, which="minor", color=style.FAINT, linewidth=0.4)
    axes.tick_params(which="minor", length=0)
    axes.set_xticks(range(count), matrix.names, rotation=45, ha="right", rotation_mode="anchor", parse_math=False)
    axes.set_yticks(range(count), matrix.names, parse_math=False)
    style.save(figure, path)


def _cells(axes: "Axes", counts: NDArray[np.int64]) -> None:
    from matplotlib.colors import LinearSegmentedColormap

    from wrnexp.report.figures import style

    shares = 100 * counts / np.maximum(counts.sum(1, keepdims=True), 1)
    diagonal = np.eye(len(counts), dtype=bool)
    largest_error = max(float(shares[~diagonal].max(initial=0)), MIN_FULL_ORANGE)
    for part, paint, most in ((diagonal, style.COLOURS[0], 100.0), (~diagonal, style.COLOURS[1], largest_error)):
        ramp = LinearSegmentedColormap.from_list("", ["white", paint])
        axes.imshow(np.ma.masked_array(shares, ~part), cmap=ramp, vmin=0, vmax=most, aspect="auto")
    for row, column in np.argwhere(shares > WRITTEN):
        share, most = shares[row, column], 100.0 if row == column else largest_error
        paint = "white" if share > 0.6 * most else style.INK
        text = axes.text(column, row, f"{share:.0f}", ha="center", va="center", fontsize=7.5, color=paint)
        text.set_in_layout(False)  # laying out hundreds of texts would take most of the time
