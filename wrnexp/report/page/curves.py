"""Learning curves with their range over seeds, and training time to each accuracy."""

from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from statistics import fmean

from wrnexp.report.arms import Arm
from wrnexp.report.format import listed, seconds, several
from wrnexp.report.measures import Run, series
from wrnexp.report.page.chart import (
    ArmMark,
    Chart,
    ChartView,
    Row,
    Spec,
    arm_colour,
    arm_dash,
    chart,
    parameters,
    quantity,
    tooltip,
)
from wrnexp.report.text.notes import older_times

MOST_POINTS = 5_000
LEVELS = [level / 100 for level in range(5, 100, 5)]
MOST_LEVELS = 10
NAMED = 4

NO_TEST_CURVE = "The test set was read at the end only, so validation accuracy is shown."
MIN_READS = 2  # epochs with an accuracy that make a curve


def learning(arms: Sequence[Arm], marks: Sequence[ArmMark]) -> Chart | None:
    """Return the learning curves, or None if no run has any."""
    measure, name = accuracy_curve(arms)
    measures: list[tuple[str, str, Callable[[float], float]]] = [
        ("train_loss", "Training loss", lambda loss: loss),
        ("val_loss", "Validation loss", lambda loss: loss),
    ]
    if measure:
        measures = [
            (measure, f"{name} accuracy, %", lambda accuracy: 100 * accuracy),
            (measure, f"{name} error, %", lambda accuracy: 100 * (1 - accuracy)),
            *measures,
        ]
    stride = _stride(arms)
    rows_by_title = {title: _rows(arms, key, scale, stride) for key, title, scale in measures}
    variants = [ChartView(title, _curve(rows, marks, title)) for title, rows in rows_by_title.items() if rows]
    if not variants:
        return None
    notes = [NO_TEST_CURVE] if measure == "val_accuracy" else []
    notes += [f"Every {stride}th epoch is shown."] if stride > 1 else []
    text = _text(variants[0].name, rows_by_title[variants[0].name], marks)
    return Chart("learning", "Learning curves", text, variants, "Measure", list(marks), "epoch", "y", notes)


def time_to_accuracy(arms: Sequence[Arm], marks: Sequence[ArmMark]) -> Chart | str:
    """Return the chart of training time to each accuracy, or the reason why there is none."""
    measure, name = accuracy_curve(arms)
    if not measure:
        return "Accuracy was measured at the end of training only, so there is no time to each accuracy."
    rows = [row for arm in arms for row in _times(arm, measure)]
    reached = [row for row in rows if row["reached"]]
    if not reached:
        return f"No run reached {LEVELS[0]:.0%} {name.lower()} accuracy in training."
    levels = sorted({row["level"] for row in reached})[-MOST_LEVELS:]
    rows = [row for row in rows if row["level"] in levels]
    notes = ["Points are drawn for accuracies that all seeds of the arm reached; the data list the others as well."]
    notes += older_times(arms)
    notes += [NO_TEST_CURVE] if measure == "val_accuracy" else []
    spec = _time_spec(rows, marks, name)
    text = _time_text(rows, levels, name, {mark.label: mark.short for mark in marks})
    return Chart("time", "Time to accuracy", text, [ChartView("Time", spec)], arms=list(marks), log="x", notes=notes)


def accuracy_curve(arms: Sequence[Arm]) -> tuple[str, str]:
    """Return key and name of the accuracy with a curve in every arm: test, else validation, else empty strings."""
    for key, name in (("test_accuracy", "Test"), ("val_accuracy", "Validation")):
        if arms and all(any(len(series(run, key)) >= MIN_READS for run in arm.runs) for arm in arms):
            return key, name
    return "", ""


def times_to(run: Run, measure: str, levels: Sequence[float] = LEVELS) -> dict[float, float]:
    """Return the seconds of training until `measure` first reached each level, without levels never reached."""
    elapsed = dict(zip(series(run, "seconds"), accumulate(series(run, "seconds").values()), strict=True))
    points = [(elapsed[epoch], value) for epoch, value in series(run, measure).items() if epoch in elapsed]
    first = ((level, next((time for time, value in points if value >= level), None)) for level in levels)
    return {level: time for level, time in first if time is not None}


def _stride(arms: Sequence[Arm]) -> int:
    """Return the stride of epochs that limits the chart to `MOST_POINTS` points."""
    longest = max((len(run.rows) for arm in arms for run in arm.runs), default=0)
    return -(-longest * len(arms) // MOST_POINTS) or 1


def _rows(arms: Sequence[Arm], key: str, scale: Callable[[float], float], stride: int) -> list[Row]:
    """Return one row per arm and epoch: mean, minimum and maximum over seeds."""
    rows = []
    for arm in arms:
        curves = [series(run, key) for run in arm.runs]
        epochs = sorted(set().union(*curves))
        for epoch in dict.fromkeys([*epochs[::stride], *epochs[-1:]]):
            values = [scale(curve[epoch]) for curve in curves if epoch in curve]
            ends = {"mean": fmean(values), "low": min(values), "high": max(values)}
            rows.append({"arm": arm.label, "epoch": epoch} | ends | {"seeds": len(values)})
    return rows


def _curve(rows: Sequence[Row], marks: Sequence[ArmMark], title: str) -> Spec:
    epochs = [row["epoch"] for row in rows]
    visible = "indexof(shown, datum.arm) >= 0 && datum.epoch >= from && datum.epoch <= to"
    across = quantity("epoch", "Epoch", axis={"format": "d", "tickMinStep": 1}, scale={"zero": False, "nice": False})
    colour = arm_colour(marks)
    fields = tooltip(arm="Arm", epoch="Epoch", mean="Mean", low="Lowest seed", high="Highest seed", seeds="Seeds")
    band = {"x": across, "y": quantity("low", title), "y2": {"field": "high"}, "color": colour}
    line = {"x": across, "y": quantity("mean", title), "color": colour, "strokeDash": arm_dash(marks)}
    dots = {"x": across, "y": quantity("mean", title), "color": colour, "tooltip": fields}
    single_epoch = len(set(epochs)) == 1
    return chart(
        rows,
        params=parameters(marks, **{"from": min(epochs), "to": max(epochs)}),
        transform=[{"filter": visible}],
        layer=[
            {"mark": {"type": "area", "opacity": 0.18}, "encoding": band},
            {"mark": {"type": "line", "strokeWidth": 1.8}, "encoding": line},
            {"mark": {"type": "circle", "size": 70, "opacity": 1 if single_epoch else 0.01}, "encoding": dots},
        ],
    )


def _times(arm: Arm, measure: str) -> list[Row]:
    """Return one row per level; the times are None unless all seeds reached it."""
    run_times = [times_to(run, measure) for run in arm.runs]
    rows = []
    for level in LEVELS:
        times = [by_level[level] for by_level in run_times if level in by_level]
        row: Row = {"arm": arm.label, "level": round(100 * level), "seconds": None, "low": None, "high": None}
        if len(times) == len(run_times):
            row |= {"seconds": fmean(times), "low": min(times), "high": max(times)}
        rows.append(row | {"reached": len(times), "seeds": len(run_times)})
    return rows


def _time_spec(rows: Sequence[Row], marks: Sequence[ArmMark], name: str) -> Spec:
    fields = tooltip(arm="Arm", level="Accuracy, %", seconds="Mean seconds", low="Fastest seed", high="Slowest seed")
    common = {"y": quantity("level", f"{name} accuracy, %"), "color": arm_colour(marks)}
    mean = common | {"x": quantity("seconds", "Training time, seconds")}
    span = common | {"x": quantity("low", "Training time, seconds"), "x2": {"field": "high"}}
    line = mean | {"order": {"field": "level"}, "strokeDash": arm_dash(marks)}
    return chart(
        rows,
        params=parameters(marks),
        transform=[{"filter": "indexof(shown, datum.arm) >= 0 && isValid(datum.seconds)"}],
        layer=[
            {"mark": {"type": "rule", "strokeWidth": 1.5}, "encoding": span},
            {"mark": {"type": "line", "strokeWidth": 1.8}, "encoding": line},
            {"mark": {"type": "circle", "size": 55, "opacity": 1}, "encoding": mean | {"tooltip": fields}},
        ],
    )


def _text(title: str, rows: Sequence[Row], marks: Sequence[ArmMark]) -> str:
    last = {row["arm"]: row for row in rows}
    names = {mark.label: mark.short for mark in marks}
    ends = [f"{names[arm]} at {row['mean']:.2f} after {several(row['epoch'], 'epoch')}" for arm, row in last.items()]
    description = f"{title} against epochs: the mean over the seeds of each arm, with a band from minimum to maximum. "
    if len(ends) <= NAMED:
        return f"{description}Final values: {listed(ends)}."
    means = [row["mean"] for row in last.values()]
    return f"{description}The final values of the {len(marks)} arms are between {min(means):.2f} and {max(means):.2f}."


def _time_text(rows: Sequence[Row], levels: Sequence[int], name: str, names: Mapping[str, str]) -> str:
    description = f"Seconds of training until {name.lower()} accuracy first reached each level, mean over seeds. "
    for level in reversed(levels):
        complete = [row for row in rows if row["level"] == level and row["seconds"] is not None]
        if complete:
            times = [f"{names[row['arm']]} {seconds(row['seconds'])} s" for row in complete[:NAMED]]
            times += [f"{len(complete) - NAMED} more"] if len(complete) > NAMED else []
            return f"{description}All seeds reached {level}% in {several(len(complete), 'arm')}: {listed(times)}."
    return f"{description}No level was reached by all seeds of an arm."
