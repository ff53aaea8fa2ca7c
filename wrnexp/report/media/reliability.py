"""The reliability diagram of one run's test predictions."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from wrnexp.stats.metrics import Reliability

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_reliability(path: Path, bins: Reliability, title: str) -> None:
    """Draw accuracy against confidence and the number of images per bin; write them as PNG, atomically."""
    from wrnexp.report.figures import style  # imports matplotlib, which takes half a second

    figure = style.blank(5.4, 6)
    figure.suptitle(title, x=0.02, ha="left", fontsize=11, color=style.INK, parse_math=False)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    _diagram(above, bins)
    _counts(below, bins)
    style.save(figure, path)


def _diagram(axes: "Axes", bins: Reliability) -> None:
    from wrnexp.report.figures import style

    filled = np.flatnonzero(bins.images)
    images = bins.images[filled]
    confidence, accuracy = (100 * sums[filled] / images for sums in (bins.confidence, bins.right))
    width = 100 / len(bins.images)
    axes.bar((filled + 0.5) * width, accuracy, width=0.94 * width, color=style.COLOURS[0], alpha=0.5, label="accuracy")
    axes.plot([0, 100], [0, 100], color=style.INK, linewidth=1.2, linestyle="--", label="perfect calibration")
    axes.plot(
        confidence,
        accuracy,
        color=style.COLOURS[1],
        marker="o",
        markersize=4,
        linewidth=0,
        clip_on=False,
        label="mean confidence of the bin",
    )
    axes.vlines(confidence, *np.sort([confidence, accuracy], axis=0), color=style.COLOURS[1], linewidth=1.5)
    axes.set_xlim(0, 100)
    axes.set_ylim(0, 102)
    axes.legend(frameon=False, fontsize=8, labelcolor=style.GREY, loc="upper left")
    style.dress(axes, f"Accuracy, %; expected calibration error {100 * bins.error:.1f} points", "")


def _counts(axes: "Axes", bins: Reliability) -> None:
    from wrnexp.report.figures import style

    width = 100 / len(bins.images)
    centres = (np.arange(len(bins.images)) + 0.5) * width
    axes.bar(centres, bins.images, width=0.94 * width, color=style.GREY)
    for centre, count in zip(centres, bins.images, strict=True):
        if count:
            axes.annotate(
                f"{count:,}", (centre, count), (0, 2), textcoords="offset points", ha="center", fontsize=6.5,
                color=style.GREY,
            )  # fmt: skip
    axes.margins(y=0.2)
    style.dress(axes, f"Images, {int(bins.images.sum()):,} in total", "confidence, %")
