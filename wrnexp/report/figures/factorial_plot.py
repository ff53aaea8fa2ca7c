"""Heat map of a two-factor study."""

from pathlib import Path

from wrnexp.report.factorial import Crossed
from wrnexp.report.figures import style

HEAT = "heat.png"
DARK = 0.6  # share of the colour map's range above which text is dark


def draw(study: Crossed | None, folder: Path) -> None:
    """Draw mean test accuracy by both settings; delete an earlier plot if there is no factorial."""
    if study is None:
        (folder / HEAT).unlink(missing_ok=True)
        return
    rows, columns = (len(levels) for levels in study.levels)
    figure = style.blank(1.6 + 1.1 * columns, 1.2 + 0.5 * rows)
    axes = figure.subplots()
    means = [[100 * cell.mean for cell in row] for row in study.cells]
    low, high = min(map(min, means)), max(map(max, means))
    axes.imshow(means, cmap="viridis", aspect="auto", vmin=low, vmax=high if high > low else low + 1)
    for row, line in enumerate(means):
        for column, mean in enumerate(line):
            is_bright = high > low and (mean - low) / (high - low) > DARK
            axes.text(column, row, f"{mean:.2f}", ha="center", va="center", color="black" if is_bright else "white")
    style.dress(axes, "Test accuracy, %: mean over the seeds", study.keys[1])
    axes.grid(visible=False)
    axes.set_ylabel(study.keys[0], fontsize=9, color=style.GREY, parse_math=False)
    axes.set_xticks(range(columns), study.levels[1])
    axes.set_yticks(range(rows), study.levels[0])
    style.save(figure, folder / HEAT)
