"""The reliability diagram of one run's test answers."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from wrnexp.stats.metrics import Reliability

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_reliability(path: Path, found: Reliability, title: str) -> None:
    """Draw accuracy against confidence in bins of equal width, and below it how many images each bin has, as PNG.

    Args:
        path: the file to write, atomically.
        found: the images by confidence, as `wrnexp.stats.metrics.reliability` counts them.
        title: what stands above the plot.
    """
    # matplotlib takes half a second to import: only a run that ends needs it.
    from wrnexp.report.figures import style

    figure = style.blank(5.4, 6)
    figure.suptitle(title, x=0.02, ha="left", fontsize=11, color=style.INK, parse_math=False)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    _diagram(above, found)
    _counts(below, found)
    style.save(figure, path)


def _diagram(axes: "Axes", found: Reliability) -> None:
    from wrnexp.report.figures import style

    filled = np.flatnonzero(found.images)
    images = found.images[filled]
    confidence, accuracy = (100 * sums[filled] / images for sums in (found.confidence, found.right))
    width = 100 / len(found.images)
    axes.bar((filled + 0.5) * width, accuracy, width=0.94 * width, color=style.COLOURS[0], alpha=0.5, label="accuracy")
    axes.plot([0, 100], [0, 100], color=style.INK, linewidth=1.2, linestyle="--", label="as sure as right")
    axes.plot(
        confidence,
        accuracy,
        color=style.COLOURS[1],
        marker="o",
        markersize=4,
        linewidth=0,
        clip_on=False,
        label="at the mean confidence",
    )
    axes.vlines(confidence, *np.sort([confidence, accuracy], axis=0), color=style.COLOURS[1], linewidth=1.5)
    axes.set_xlim(0, 100)
    axes.set_ylim(0, 102)
    axes.legend(frameon=False, fontsize=8, labelcolor=style.GREY, loc="upper left")
    style.dress(axes, f"Accuracy, %; expected calibration error {100 * found.error:.1f} points", "")


def _counts(axes: "Axes", found: Reliability) -> None:
    from wrnexp.report.figures import style

    width = 100 / len(found.images)
    centres = (np.arange(len(found.images)) + 0.5) * width
    axes.bar(centres, found.images, width=0.94 * width, color=style.GREY)
    for centre, count in zip(centres, found.images, strict=True):
        if count:
            axes.annotate(
                f"{count:,}", (centre, count), (0, 2), textcoords="offset points", ha="center", fontsize=6.5,
                color=style.GREY,
            )  # fmt: skip
    axes.margins(y=0.2)
    style.dress(axes, f"Images, {int(found.images.sum()):,} in all", "confidence, %")
