"""Learning curves with the range of the seeds, and how soon each accuracy is reached."""

from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from statistics import fmean

from wrnexp.report.arms import Arm
from wrnexp.report.format import listed, seconds, several
from wrnexp.report.measures import Run, series
from wrnexp.report.page.chart import (
    ArmMark,
    Chart,
    Row,
    Spec,
    Variant,
    chart,
    coloured,
    dashed,
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
FEW_READS = 2


def learning(arms: Sequence[Arm], looks: Sequence[ArmMark]) -> Chart | None:
    """Return the learning curves; None where no run has any."""
    measure, name = accuracy_curve(arms)
    measures = [(measure, f"{name} accuracy, %", _percent), (measure, f"{name} error, %", _error)] if measure else []
    measures += [("train_loss", "Training loss", _same), ("val_loss", "Validation loss", _same)]
    thin = _step(arms)
    rows = [(title, _rows(arms, key, scale, thin)) for key, title, scale in measures]
    variants = [Variant(title, _curve(found, looks, title)) for title, found in rows if found]
    if not variants:
        return None
    notes = [NO_TEST_CURVE] if measure == "val_accuracy" else []
    notes += [f"Every {thin}th epoch is shown."] if thin > 1 else []
    text = _text(variants[0].name, rows[0][1] if measure else rows[-1][1], looks)
    return Chart("learning", "Learning curves", text, variants, "Measure", list(looks), "epoch", "y", notes)


def time_to_accuracy(arms: Sequence[Arm], looks: Sequence[ArmMark]) -> Chart | str:
    """Return training time to each accuracy, or why there is no such chart."""
    measure, name = accuracy_curve(arms)
    if not measure:
        return "Accuracy was measured at the end of training only: nothing can be said of how soon it was reached."
    rows = [row for arm in arms for row in _times(arm, measure)]
    reached = [row for row in rows if row["reached"]]
    if not reached:
        return f"No run reached {LEVELS[0]:.0%} {name.lower()} accuracy in training."
    levels = sorted({row["level"] for row in reached})[-MOST_LEVELS:]
    rows = [row for row in rows if row["level"] in levels]
    notes = ["A point is drawn where every seed of the arm reached the accuracy; the data name the others too."]
    notes += older_times(arms)
    notes += [NO_TEST_CURVE] if measure == "val_accuracy" else []
    spec = _time_spec(rows, looks, name)
    text = _time_text(rows, levels, name, {mark.label: mark.short for mark in looks})
    return Chart("time", "Time to accuracy", text, [Variant("Time", spec)], arms=list(looks), log="x", notes=notes)


def accuracy_curve(arms: Sequence[Arm]) -> tuple[str, str]:
    """Return the key of the accuracy that has a curve in every arm, and its name: test, else validation, else none."""
    for key, name in (("test_accuracy", "Test"), ("val_accuracy", "Validation")):
        if arms and all(any(len(series(run, key)) >= FEW_READS for run in arm.runs) for arm in arms):
            return key, name
    return "", ""


def times_to(run: Run, measure: str, levels: Sequence[float] = LEVELS) -> dict[float, float]:
    """Return the seconds of training until `measure` first reached each level, without the levels never reached."""
    spent = dict(zip(series(run, "seconds"), accumulate(series(run, "seconds").values()), strict=True))
    points = [(spent[epoch], value) for epoch, value in series(run, measure).items() if epoch in spent]
    first = ((level, next((time for time, value in points if value >= level), None)) for level in levels)
    return {level: time for level, time in first if time is not None}


def _step(arms: Sequence[Arm]) -> int:
    longest = max((len(run.rows) for arm in arms for run in arm.runs), default=0)
    return -(-longest * len(arms) // MOST_POINTS) or 1


def _rows(arms: Sequence[Arm], key: str, scale: Callable[[float], float], thin: int) -> list[Row]:
    """Return a row an arm and epoch: the mean over the seeds, the lowest and the highest."""
    found = []
    for arm in arms:
        curves = [series(run, key) for run in arm.runs]
        epochs = sorted(set().union(*curves))
        for epoch in dict.fromkeys([*epochs[::thin], *epochs[-1:]]):
            values = [scale(curve[epoch]) for curve in curves if epoch in curve]
            ends = {"mean": fmean(values), "low": min(values), "high": max(values)}
            found.append({"arm": arm.label, "epoch": epoch} | ends | {"seeds": len(values)})
    return found


def _curve(rows: Sequence[Row], looks: Sequence[ArmMark], title: str) -> Spec:
    epochs = [row["epoch"] for row in rows]
    visible = "indexof(shown, datum.arm) >= 0 && datum.epoch >= from && datum.epoch <= to"
    across = quantity("epoch", "Epoch", axis={"format": "d", "tickMinStep": 1}, scale={"zero": False, "nice": False})
    colour = coloured(looks)
    told = tooltip(arm="Arm", epoch="Epoch", mean="Mean", low="Lowest seed", high="Highest seed", seeds="Seeds")
    band = {"x": across, "y": quantity("low", title), "y2": {"field": "high"}, "color": colour}
    line = {"x": across, "y": quantity("mean", title), "color": colour, "strokeDash": dashed(looks)}
    dots = {"x": across, "y": quantity("mean", title), "color": colour, "tooltip": told}
    alone = len(set(epochs)) == 1
    return chart(
        rows,
        params=parameters(looks, **{"from": min(epochs), "to": max(epochs)}),
        transform=[{"filter": visible}],
        layer=[
            {"mark": {"type": "area", "opacity": 0.18}, "encoding": band},
            {"mark": {"type": "line", "strokeWidth": 1.8}, "encoding": line},
            {"mark": {"type": "circle", "size": 70, "opacity": 1 if alone else 0.01}, "encoding": dots},
        ],
    )


def _times(arm: Arm, measure: str) -> list[Row]:
    found = [times_to(run, measure) for run in arm.runs]
    rows = []
    for level in LEVELS:
        times = [one[level] for one in found if level in one]
        whole = len(times) == len(found)
        ends = {"seconds": fmean(times), "low": min(times), "high": max(times)} if whole else {}
        empty = dict.fromkeys(("seconds", "low", "high"))
        seeds = {"reached": len(times), "seeds": len(found)}
        rows.append({"arm": arm.label, "level": round(100 * level)} | empty | ends | seeds)
    return rows


def _time_spec(rows: Sequence[Row], looks: Sequence[ArmMark], name: str) -> Spec:
    up = quantity("level", f"{name} accuracy, %")
    colour = coloured(looks)
    across = quantity("seconds", "Training time, seconds")
    told = tooltip(arm="Arm", level="Accuracy, %", seconds="Mean seconds", low="Fastest seed", high="Slowest seed")
    span = {"x": quantity("low", "Training time, seconds"), "x2": {"field": "high"}, "y": up, "color": colour}
    return chart(
        rows,
        params=parameters(looks),
        transform=[{"filter": "indexof(shown, datum.arm) >= 0 && isValid(datum.seconds)"}],
        layer=[
            {"mark": {"type": "rule", "strokeWidth": 1.5}, "encoding": span},
            {
                "mark": {"type": "line", "strokeWidth": 1.8},
                "encoding": {"x": across, "y": up, "color": colour, "order": {"field": "level"}}
                | {"strokeDash": dashed(looks)},
            },
            {
                "mark": {"type": "circle", "size": 55, "opacity": 1},
                "encoding": {"x": across, "y": up, "color": colour, "tooltip": told},
            },
        ],
    )


def _text(title: str, rows: Sequence[Row], looks: Sequence[ArmMark]) -> str:
    last = {row["arm"]: row for row in rows}
    names = {mark.label: mark.short for mark in looks}
    ends = [f"{names[arm]} at {row['mean']:.2f} after {several(row['epoch'], 'epoch')}" for arm, row in last.items()]
    said = (
        f"{title} against epochs, a line for the mean of each arm's seeds and a band from the lowest to the highest. "
    )
    if len(ends) <= NAMED:
        return f"{said}The lines end: {listed(ends)}."
    means = [row["mean"] for row in last.values()]
    return f"{said}The {len(looks)} lines end between {min(means):.2f} and {max(means):.2f}."


def _time_text(rows: Sequence[Row], levels: Sequence[int], name: str, names: Mapping[str, str]) -> str:
    said = f"Seconds of training until {name.lower()} accuracy first reached each level, the mean over the seeds. "
    for level in reversed(levels):
        whole = [row for row in rows if row["level"] == level and row["seconds"] is not None]
        if whole:
            times = [f"{names[row['arm']]} {seconds(row['seconds'])} s" for row in whole[:NAMED]]
            times += [f"{len(whole) - NAMED} more"] if len(whole) > NAMED else []
            return f"{said}All seeds reached {level}% in {several(len(whole), 'arm')}: {listed(times)}."
    return f"{said}No level was reached by all seeds of an arm."


def _percent(value: float) -> float:
    return 100 * value


def _error(value: float) -> float:
    return 100 * (1 - value)


def _same(value: float) -> float:
    return value
