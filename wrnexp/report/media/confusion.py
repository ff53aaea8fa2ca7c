"""Confusion of the test answers among superclasses, or among classes where they are few."""

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from wrnexp.report.page.classes import classes
from wrnexp.runs.record import DataInfo

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST = 30  # classes that can be read in one picture
PALEST = 5.0  # per cent, at least, at the strongest orange: a good network shall not glow all over
WRITTEN = 0.5  # per cent, above which a cell says how many it has


class Confusion(NamedTuple):
    """Answers by true class.

    Attributes:
        counts: test images, int64 [k, k], a row for each true class, a column for each class answered.
        names: of the k classes or superclasses.
        kind: `superclass` or `class`.
    """

    counts: NDArray[np.int64]
    names: list[str]
    kind: str


def confusion(data: DataInfo | None, logits: NDArray[np.floating], labels: NDArray[np.int64]) -> Confusion | None:
    """Count the answers among a data set's superclasses; without such among its classes, where they are 30 at most.

    Args:
        data: what the record says of the data set.
        logits: [N, classes].
        labels: class indices [N].

    Returns:
        None where there are more than 30 classes without superclasses.
    """
    count = logits.shape[1]
    known = classes(data, count)
    if known.superclasses:
        groups, names, kind = known.groups, known.superclasses, "superclass"
    elif count <= MOST:
        groups, names, kind = np.arange(count), known.names, "class"
    else:
        return None
    cells = groups[labels] * len(names) + groups[logits.argmax(1)]
    counts = np.bincount(cells, minlength=len(names) ** 2).reshape(len(names), len(names))
    return Confusion(counts.astype(np.int64), list(names), kind)


def draw_confusion(path: Path, found: Confusion, title: str) -> None:
    """Draw the shares of each true class's images and write them as PNG, atomically.

    Right answers are blue, from 0 to 100%; wrong ones orange, up to the largest share of one cell, 5% at least.

    Args:
        path: the file to write.
        found: the answers.
        title: what stands first above the plot.
    """
    # matplotlib takes half a second to import: only a run that ends needs it.
    from wrnexp.report.figures import style

    count = len(found.names)
    figure = style.blank(3.0 + 0.3 * count, 2.4 + 0.25 * count)
    axes = figure.subplots()
    _cells(axes, found.counts)
    style.dress(axes, f"{title}: % of each true {found.kind}'s test images", f"{found.kind} answered")
    axes.set_ylabel(f"true {found.kind}", fontsize=9, color=style.GREY)
    axes.grid(visible=False)
    between = np.arange(1, count) - 0.5
    axes.set_xticks(between, minor=True)
    axes.set_yticks(between, minor=True)
    axes.grid(visible=True, which="minor", color=style.FAINT, linewidth=0.4)
    axes.tick_params(which="minor", length=0)
    axes.set_xticks(range(count), found.names, rotation=45, ha="right", rotation_mode="anchor", parse_math=False)
    axes.set_yticks(range(count), found.names, parse_math=False)
    style.save(figure, path)


def _cells(axes: "Axes", counts: NDArray[np.int64]) -> None:
    """Paint the cells and write their shares into them."""
    from matplotlib.colors import LinearSegmentedColormap

    from wrnexp.report.figures import style

    shares = 100 * counts / np.maximum(counts.sum(1, keepdims=True), 1)
    own = np.eye(len(counts), dtype=bool)
    top = max(float(shares[~own].max(initial=0)), PALEST)
    for part, paint, most in ((own, style.COLOURS[0], 100.0), (~own, style.COLOURS[1], top)):
        ramp = LinearSegmentedColormap.from_list("", ["white", paint])
        axes.imshow(np.ma.masked_array(shares, ~part), cmap=ramp, vmin=0, vmax=most, aspect="auto")
    for row, column in np.argwhere(shares > WRITTEN):
        share, most = shares[row, column], 100.0 if row == column else top
        paint = "white" if share > 0.6 * most else style.INK
        text = axes.text(column, row, f"{share:.0f}", ha="center", va="center", fontsize=7.5, color=paint)
        text.set_in_layout(False)  # measuring hundreds of them would take most of the time
