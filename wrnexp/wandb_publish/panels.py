"""Panels that the workspace and the report share, over what a run has: metrics.jsonl, the record's figures, its config.

W&B keeps a config key as `group.value.key`; where a plain string would come out as something else, the key is given as
a `Config` or `SummaryMetric`. No panel smooths, and none follows the grouping of the run table: a curve that is
grouped says so itself, and whatever shows single runs, a scatter plot or parallel coordinates, would else show means.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

from wrnexp.wandb_publish.extra import wr

RUNS_SHOWN = 200  # of a panel; W&B's own default is 10, fewer than the seeds of two arms
RECIPE = wr.Metric("JobType")
COLUMNS, WIDTH, HEIGHT = 2, 12, 9  # of a report's grid, which is 24 units wide


def curve(title: str, key: str, by: Any = None, unit: str | None = None) -> Any:
    """Return curves of a key of metrics.jsonl against epochs.

    Args:
        title: above the panel.
        key: of metrics.jsonl.
        by: what groups the runs, each group a mean with a band of one standard deviation; None shows every run.
        unit: beside the vertical axis.
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
    """Return a bar a group: the mean of a final figure over its runs, with one standard deviation."""
    return wr.BarPlot(
        title=title,
        metrics=[key],
        groupby=by,
        groupby_aggfunc="mean",
        groupby_rangefunc="stddev",
        max_runs_to_show=RUNS_SHOWN,
    )


def scatter(title: str, x: Any, y: Any) -> Any:
    """Return a point a run."""
    return wr.ScatterPlot(title=title, x=x, y=y)


def parallel(title: str, columns: Sequence[tuple[str, Any, bool]]) -> Any:
    """Return a line a run through several axes: of each its name, its key, and whether it is logarithmic."""
    found = [wr.ParallelCoordinatesPlotColumn(key, display_name=name, log=log or None) for name, key, log in columns]
    return wr.ParallelCoordinatesPlot(title=title, columns=found)


def pictures(title: str, key: str) -> Any:
    """Return the pictures that the runs shown keep under a key."""
    return wr.MediaBrowser(title=title, media_keys=[key], num_columns=2)


def named(panels: Sequence[Any], place: str) -> list[Any]:
    """Give each panel an id made of its place, where the library draws one: the same view is the same text."""
    for index, panel in enumerate(panels):
        panel._id = stable_id(f"{place}/{index}")
    return list(panels)


def placed(panels: Sequence[Any]) -> list[Any]:
    """Place the panels of a report in two columns."""
    for index, panel in enumerate(panels):
        row, column = divmod(index, COLUMNS)
        panel.layout = wr.Layout(x=column * WIDTH, y=row * HEIGHT, w=WIDTH, h=HEIGHT)
    return list(panels)


def stable_id(text: str) -> str:
    """Return 12 characters, a function of `text`, as long as the ids that W&B draws."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]
