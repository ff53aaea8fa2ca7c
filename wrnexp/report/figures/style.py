"""The style of all plots: a palette for colour-blind readers, direct labels, few grid lines.

Figures are created without pyplot and its global state, so that plotting cannot affect a training process. Import this
module before matplotlib: it makes matplotlib independent of the environment.
"""

import io
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from wrnexp.report.figures.matplotlib_setup import DEFAULT_FONT, default_settings, fallback_fonts
from wrnexp.runs.record import write_atomic

with default_settings():
    from matplotlib import colormaps
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.colors import to_hex
    from matplotlib.figure import Figure
    from matplotlib.text import Text
    from matplotlib.ticker import MaxNLocator

# Okabe and Ito, Color Universal Design (2008), without yellow, which is too pale for lines on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
INK, GREY, FAINT = "#222222", "#777777", "#DDDDDD"
LABEL_INCHES = 0.17
LONGEST_LABEL = 36
DPI = 150


def palette(count: int) -> list[str]:
    """Return `count` distinct colours: from the palette if it has enough, else evenly spaced colours of viridis."""
    if count <= len(COLOURS):
        return list(COLOURS[:count])
    return [to_hex(colormaps["viridis"](0.9 * index / (count - 1))) for index in range(count)]


def blank(width: float, height: float) -> Figure:
    """Return an empty figure; sizes are in inches."""
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def dress(axes: Axes, title: str, across: str) -> None:
    """Apply the style to axes; `title` names the vertical quantity, `across` the horizontal one."""
    axes.set_title(title, loc="left", fontsize=10, color=INK, parse_math=False)
    axes.set_xlabel(across, fontsize=9, color=GREY, parse_math=False)
    axes.tick_params(labelsize=8, colors=GREY, length=0)
    axes.grid(visible=True, axis="y", color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(FAINT)


def label_ends(axes: Axes, ends: Sequence[tuple[str, float, str]], across: Sequence[float] = ()) -> None:
    """Label lines at their ends, moving labels apart where they would overlap; set the axes' limits before.

    Args:
        axes: the axes with the lines.
        ends: label, height in data units and colour of each line.
        across: horizontal start of each label in data units; default is the right edge of the axes.
    """
    limits = axes.get_ylim()
    gap = (limits[1] - limits[0]) * LABEL_INCHES / (0.8 * _height(axes))
    heights = apart([height for _, height, _ in ends], gap, limits)
    for (label, _, paint), height, start in zip(ends, heights, across or [1.0] * len(ends), strict=True):
        axes.annotate(
            label,
            xy=(start, height),
            xycoords=("data" if across else "axes fraction", "data"),
            xytext=(8, 0),
            textcoords="offset points",
            va="center",
            fontsize=8.5,
            color=paint,
            annotation_clip=False,
            parse_math=False,
        )


def apart(heights: Sequence[float], gap: float, limits: tuple[float, float]) -> list[float]:
    """Move heights as little as possible (least squares) so that they are `gap` apart and within the limits.

    Heights keep their order; if they do not fit within the limits, they start at the lower one.
    """
    if not heights:
        return []
    order = np.argsort(heights, kind="stable")
    steps = gap * np.arange(len(heights))
    free = np.asarray(heights)[order] - steps
    if np.any(np.diff(free) < 0):
        from scipy.optimize import isotonic_regression  # importing it takes as long as drawing a plot

        free = isotonic_regression(free).x
    moved = np.empty(len(heights))
    moved[order] = np.clip(free, limits[0], max(limits[0], limits[1] - steps[-1])) + steps
    return [float(height) for height in moved]


def brief(labels: Sequence[str]) -> list[str]:
    """Return labels without the comma-separated parts that all share; long ones are cut at the start."""
    parts = [label.split(",") for label in labels]
    shared = set(parts[0]).intersection(*parts[1:]) if len(parts) > 1 else set()
    distinct = [",".join(part for part in label if part not in shared) for label in parts]
    return [_end(short or label) for short, label in zip(distinct, labels, strict=True)]


def _end(label: str) -> str:
    return label if len(label) <= LONGEST_LABEL else f"\N{HORIZONTAL ELLIPSIS}{label[1 - LONGEST_LABEL :]}"


def whole_epochs(axes: Axes) -> None:
    """Place horizontal ticks at whole numbers only."""
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, steps=[1, 2, 5, 10], integer=True, min_n_ticks=1))


def save(figure: Figure, path: Path) -> None:
    """Write the figure as PNG, atomically; characters that no installed font has become boxes."""
    texts = [text for text in figure.findobj(Text) if isinstance(text, Text)]
    if fonts := fallback_fonts("".join(text.get_text() for text in texts)):
        for text in texts:
            text.set_fontfamily([DEFAULT_FONT, *fonts])
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # Suppress warnings about labels that are too long and missing glyphs, which would print run labels.
        warnings.simplefilter("ignore", UserWarning)
        figure.savefig(buffer, format="png", dpi=DPI)
    write_atomic(path, buffer.getvalue())


def _height(axes: Axes) -> float:
    figure = axes.get_figure()
    return float(figure.get_size_inches()[1]) if isinstance(figure, Figure) else 1.0
