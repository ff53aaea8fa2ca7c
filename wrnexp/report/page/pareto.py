"""Accuracy against what it costs."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from statistics import fmean

from wrnexp.report.arms import Arm
from wrnexp.report.format import listed
from wrnexp.report.measures import Run, cost
from wrnexp.report.page.chart import ArmMark, Chart, Row, Spec, Variant, chart, coloured, parameters, quantity, tooltip
from wrnexp.report.text.notes import older_times

COSTS = {
    "train_seconds": ("Training time, seconds", 1.0),
    "peak_memory_bytes": ("Peak memory, MiB", 2.0**20),
    "parameters": ("Parameters, millions", 1e6),
}
UP = "Test accuracy, %"
NAMED = 3


def pareto(arms: Sequence[Arm], looks: Sequence[ArmMark]) -> Chart | str:
    """Return test accuracy against each cost, or why there is none."""
    found = {title: _rows(arms, name, unit) for name, (title, unit) in COSTS.items()}
    found = {title: rows for title, rows in found.items() if rows}
    if not found:
        return "No run recorded what it cost."
    variants = [Variant(title, _spec(rows, looks, title)) for title, rows in found.items()]
    devices = sorted({run.device for arm in arms for run in arm.runs})
    notes = [
        "Large marks are means of arms, small ones are seeds. The dashed line joins the arms that no other beats in "
        "both accuracy and cost; it goes by the means alone, without regard to their intervals."
    ]
    if len(devices) > 1:
        notes.append(f"The runs were made on different devices ({listed(devices)}): time and memory do not compare.")
    notes += older_times(arms)
    text = _text(*next(iter(found.items())), {mark.label: mark.short for mark in looks})
    return Chart("pareto", "Accuracy against cost", text, variants, "Cost", list(looks), log="x", notes=notes)


def front(points: Sequence[tuple[float, float]]) -> list[bool]:
    """Say of each point (cost, accuracy) whether no other is as good in both and better in one."""
    return [
        not any(other[0] <= cost and other[1] >= score and other != (cost, score) for other in points)
        for cost, score in points
    ]


def _rows(arms: Sequence[Arm], name: str, unit: float) -> list[Row]:
    read = partial(_scaled, read=partial(cost, name=name), unit=unit)
    seeds = [(arm.label, *point) for arm in arms for point in _points(arm, read)]
    labels = list(dict.fromkeys(label for label, _, _, _ in seeds))
    means = [_middle([row for row in seeds if row[0] == label]) for label in labels]
    best = front(means)
    rows: list[Row] = [
        {"arm": label, "seed": seed, "cost": across, "accuracy": up, "kind": "seed", "front": False}
        for label, seed, across, up in seeds
    ]
    for label, (across, up), ahead in zip(labels, means, best, strict=True):
        rows.append({"arm": label, "seed": None, "cost": across, "accuracy": up, "kind": "mean", "front": ahead})
    return rows


def _middle(seeds: Sequence[tuple[str, int, float, float]]) -> tuple[float, float]:
    """Return the mean cost and the mean accuracy."""
    return fmean(cost for _, _, cost, _ in seeds), fmean(score for *_, score in seeds)


def _points(arm: Arm, read: Callable[[Run], float | None]) -> list[tuple[int, float, float]]:
    """Return seed, cost and accuracy in percent of the runs that recorded the cost."""
    costs = arm.by_seed(read)
    return [
        (run.record.seed, costs[run.record.seed], 100 * run.accuracy) for run in arm.runs if run.record.seed in costs
    ]


def _scaled(run: Run, read: Callable[[Run], float | None], unit: float) -> float | None:
    value = read(run)
    # A cost of 0 was not measured: a run trains for some time.
    return value / unit if value else None


def _spec(rows: Sequence[Row], looks: Sequence[ArmMark], title: str) -> Spec:
    place = {"x": quantity("cost", title), "y": quantity("accuracy", UP)}
    told = tooltip(arm="Arm", seed="Seed", cost=title, accuracy=UP)
    colour = {"color": coloured(looks)}
    mean = "datum.kind == 'mean'"
    line = place | {"order": {"field": "cost"}}
    return chart(
        rows,
        params=parameters(looks),
        transform=[{"filter": "indexof(shown, datum.arm) >= 0"}],
        layer=[
            {
                "transform": [{"filter": f"{mean} && datum.front"}],
                "mark": {"type": "line", "color": "#7A7A7A", "strokeDash": [4, 3], "strokeWidth": 1.2},
                "encoding": line,
            },
            {
                "transform": [{"filter": "datum.kind == 'seed'"}],
                "mark": {"type": "circle", "size": 26, "opacity": 0.55},
                "encoding": place | colour | {"tooltip": told},
            },
            {
                "transform": [{"filter": mean}],
                "mark": {"type": "circle", "size": 130, "opacity": 1},
                "encoding": place | colour | {"tooltip": told},
            },
        ],
    )


def _text(title: str, rows: Sequence[Row], names: Mapping[str, str]) -> str:
    ahead = [row for row in rows if row["front"]]
    named = [f"{names[row['arm']]} ({row['accuracy']:.2f}% at {row['cost']:.4g})" for row in ahead[:NAMED]]
    named += [f"{len(ahead) - NAMED} more"] if len(ahead) > NAMED else []
    return f"Mean test accuracy of each arm against {title.lower()}. Beaten by no other arm in both: {listed(named)}."
