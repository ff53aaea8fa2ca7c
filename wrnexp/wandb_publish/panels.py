"""W&B panels used by both the workspace and the report.

W&B stores a config key as `group.value.key`; keys that would be misread as plain strings are given as `Config` or
`SummaryMetric`. No panel smooths or follows the grouping of the run table: grouped curves set their own grouping, and
scatter plots and parallel coordinates would show means instead of runs.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

from wrnexp.wandb_publish.extra import wr

RUNS_SHOWN = 200  # per panel; W&B's default of 10 is fewer than the seeds of two arms
RECIPE = wr.Metric("JobType")
COLUMNS, WIDTH, HEIGHT = 2, 12, 9  # of a panel in a report's grid, which is 24 units wide


def curve(title: str, key: str, by: Any = None, unit: str | None = None) -> Any:
    """Return curves of a column of metrics.jsonl against epochs.

    With `by`, one curve per group of runs: the mean with a band of one standard deviation; else one per run.
    """
    grouped = {} if by is None else {"groupby": by, "groupby_aggfunc": "mean", "groupby_rangefunc": "stddev"}
    return wr.LinePlot(
        title=title,
        x="epoch",
        y=[key],
        title_x="epoch",
        title_y=unit,
        smoothing_type="none",
        smoothing_factor=0,
        max_runs_to_show=RUNS_SHOWN,
        **grouped,
    )


def bars(title: str, key: str, by: Any) -> Any:
    """Return one bar per group of runs: the mean of a final metric, with one standard deviation."""
    return wr.BarPlot(
        title=title,
        metrics=[key],
        groupby=by,
        groupby_aggfunc="mean",
        groupby_rangefunc="stddev",
        max_runs_to_show=RUNS_SHOWN,
    )


def scatter(title: str, x: Any, y: Any) -> Any:
    """Return a scatter plot with one point per run."""
    return wr.ScatterPlot(title=title, x=x, y=y)


def parallel(title: str, columns: Sequence[tuple[str, Any, bool]]) -> Any:
    """Return parallel coordinates with one line per run; each axis is (name, key, logarithmic)."""
    axes = [wr.ParallelCoordinatesPlotColumn(key, display_name=name, log=log or None) for name, key, log in columns]
    return wr.ParallelCoordinatesPlot(title=title, columns=axes)


def pictures(title: str, key: str) -> Any:
    """Return a browser of the pictures that the selected runs logged under `key`."""
    return wr.MediaBrowser(title=title, media_keys=[key], num_columns=2)


def assign_ids(panels: Sequence[Any], prefix: str) -> list[Any]:
    """Replace the panels' random ids by ids derived from their positions, so that equal views serialize equally."""
    for index, panel in enumerate(panels):
        panel._id = stable_id(f"{prefix}/{index}")
    return list(panels)


def lay_out(panels: Sequence[Any]) -> list[Any]:
    """Lay out the panels of a report in two columns."""
    for index, panel in enumerate(panels):
        row, column = divmod(index, COLUMNS)
        panel.layout = wr.Layout(x=column * WIDTH, y=row * HEIGHT, w=WIDTH, h=HEIGHT)
    return list(panels)


def stable_id(text: str) -> str:
    """Return a hash of `text` with 12 characters, the length of W&B's ids."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]
