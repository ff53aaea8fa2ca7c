"""How every plot looks: colours that colour-blind readers can tell apart, labels at the lines, little ink else.

Figures are made directly, without pyplot and its global state, so that plotting is safe beside training. Whoever uses
matplotlib imports this module first, which makes it independent of the environment.
"""

import io
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from wrnexp.report.figures.matplotlib_setup import OWN_FONT, fallback_fonts, own_settings
from wrnexp.runs.record import write_atomic

with own_settings():
    from matplotlib import colormaps
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.colors import to_hex
    from matplotlib.figure import Figure
    from matplotlib.text import Text
    from matplotlib.ticker import MaxNLocator

# Okabe and Ito, Color Universal Design (2008), without the yellow, which is too pale for lines on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
INK, GREY, FAINT = "#222222", "#777777", "#DDDDDD"
LABEL_INCHES = 0.17
LONGEST_LABEL = 36
DPI = 150


def palette(count: int) -> list[str]:
    """Return that many colours; for more than the palette has, steps of viridis, which suits the values of a sweep."""
    if count <= len(COLOURS):
        return list(COLOURS[:count])
    return [to_hex(colormaps["viridis"](0.9 * index / (count - 1))) for index in range(count)]


def blank(width: float, height: float) -> Figure:
    """Return an empty figure of this size in inches."""
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def dress(axes: Axes, title: str, across: str) -> None:
    """Give the axes a title that names the vertical quantity, a label across and only the lines that help."""
    axes.set_title(title, loc="left", fontsize=10, color=INK, parse_math=False)
    axes.set_xlabel(across, fontsize=9, color=GREY, parse_math=False)
    axes.tick_params(labelsize=8, colors=GREY, length=0)
    axes.grid(visible=True, axis="y", color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(FAINT)


def label_ends(axes: Axes, ends: Sequence[tuple[str, float, str]], across: Sequence[float] = ()) -> None:
    """Write labels at the height of the lines' ends, moved apart where they would overlap.

    Args:
        axes: where the lines are, with its limits settled.
        ends: label, height in data units and colour of each line.
        across: where each label starts, in data units; the right edge of the axes where not given.
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
    """Move heights as little as possible (least squares) so that none are nearer than `gap` and all lie within limits.

    Heights keep their order; where they cannot all lie within the limits, they start at the lower one.
    """
    if not heights:
        return []
    order = np.argsort(heights, kind="stable")
    steps = gap * np.arange(len(heights))
    free = np.asarray(heights)[order] - steps
    if np.any(np.diff(free) < 0):
        from scipy.optimize import isotonic_regression  # takes as long to import as a plot to draw

        free = isotonic_regression(free).x
    moved = np.empty(len(heights))
    moved[order] = np.clip(free, limits[0], max(limits[0], limits[1] - steps[-1])) + steps
    return [float(height) for height in moved]


def brief(labels: Sequence[str]) -> list[str]:
    """Return labels without the comma-separated parts that all share, and only the end of long ones."""
    parts = [label.split(",") for label in labels]
    shared = set(parts[0]).intersection(*parts[1:]) if len(parts) > 1 else set()
    kept = [",".join(part for part in label if part not in shared) for label in parts]
    return [_end(short or label) for short, label in zip(kept, labels, strict=True)]


def _end(label: str) -> str:
    return label if len(label) <= LONGEST_LABEL else f"\N{HORIZONTAL ELLIPSIS}{label[1 - LONGEST_LABEL :]}"


def whole_epochs(axes: Axes) -> None:
    """Put the ticks across at whole numbers only."""
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, steps=[1, 2, 5, 10], integer=True, min_n_ticks=1))


def save(figure: Figure, path: Path) -> None:
    """Write the figure as PNG, atomically; a character that no installed font has is a box."""
    texts = [text for text in figure.findobj(Text) if isinstance(text, Text)]
    if fonts := fallback_fonts("".join(text.get_text() for text in texts)):
        for text in texts:
            text.set_fontfamily([OWN_FONT, *fonts])
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # Of labels too long for the plot, and letters that the font lacks: the warning would put them on the terminal.
        warnings.simplefilter("ignore", UserWarning)
        figure.savefig(buffer, format="png", dpi=DPI)
    write_atomic(path, buffer.getvalue())


def _height(axes: Axes) -> float:
    figure = axes.get_figure()
    return float(figure.get_size_inches()[1]) if isinstance(figure, Figure) else 1.0
