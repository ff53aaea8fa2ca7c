"""The chart of accuracy against cost."""

from collections.abc import Mapping, Sequence
from statistics import fmean

from wrnexp.report.arms import Arm
from wrnexp.report.format import listed
from wrnexp.report.measures import Run, cost
from wrnexp.report.page.chart import (
    GREY,
    ArmMark,
    Chart,
    ChartView,
    Row,
    Spec,
    arm_colour,
    chart,
    parameters,
    quantity,
    tooltip,
)
from wrnexp.report.text.notes import older_times

COSTS = {
    "train_seconds": ("Training time, seconds", 1.0),
    "peak_memory_bytes": ("Peak memory, MiB", 2.0**20),
    "parameters": ("Parameters, millions", 1e6),
}
UP = "Test accuracy, %"
NAMED = 3


def pareto(arms: Sequence[Arm], marks: Sequence[ArmMark]) -> Chart | str:
    """Return the chart of test accuracy against each cost, or the reason why there is none."""
    rows_by_title = {title: _rows(arms, name, unit) for name, (title, unit) in COSTS.items()}
    rows_by_title = {title: rows for title, rows in rows_by_title.items() if rows}
    if not rows_by_title:
        return "No run recorded its cost."
    variants = [ChartView(title, _spec(rows, marks, title)) for title, rows in rows_by_title.items()]
    devices = sorted({run.device for arm in arms for run in arm.runs})
    notes = [
        "Large marks are means of arms, small ones are seeds. The dashed line is the Pareto front of the means, "
        "without regard to their intervals."
    ]
    if len(devices) > 1:
        notes.append(f"The runs used different devices ({listed(devices)}): time and memory are not comparable.")
    notes += older_times(arms)
    text = _text(*next(iter(rows_by_title.items())), {mark.label: mark.short for mark in marks})
    return Chart("pareto", "Accuracy against cost", text, variants, "Cost", list(marks), log="x", notes=notes)


def front(points: Sequence[tuple[float, float]]) -> list[bool]:
    """Return for each point (cost, accuracy) whether it is Pareto optimal."""
    return [
        not any(other[0] <= cost and other[1] >= score and other != (cost, score) for other in points)
        for cost, score in points
    ]


def _rows(arms: Sequence[Arm], name: str, unit: float) -> list[Row]:
    def scaled_cost(run: Run) -> float | None:
        value = cost(run, name=name)
        return value / unit if value else None  # 0 means not measured

    seed_rows: list[Row] = []
    mean_rows: list[Row] = []
    for arm in arms:
        costs = arm.by_seed(scaled_cost)
        points = [(run.record.seed, 100 * run.accuracy) for run in arm.runs if run.record.seed in costs]
        if not points:
            continue
        seed_rows += [_row(arm.label, seed, costs[seed], accuracy) for seed, accuracy in points]
        mean_cost, mean_accuracy = fmean(costs[seed] for seed, _ in points), fmean(accuracy for _, accuracy in points)
        mean_rows.append(_row(arm.label, None, mean_cost, mean_accuracy))
    is_optimal = front([(row["cost"], row["accuracy"]) for row in mean_rows])
    return seed_rows + [row | {"front": optimal} for row, optimal in zip(mean_rows, is_optimal, strict=True)]


def _row(label: str, seed: int | None, cost: float, accuracy: float) -> Row:
    kind = "mean" if seed is None else "seed"
    return {"arm": label, "seed": seed, "cost": cost, "accuracy": accuracy, "kind": kind, "front": False}


def _spec(rows: Sequence[Row], marks: Sequence[ArmMark], title: str) -> Spec:
    position = {"x": quantity("cost", title), "y": quantity("accuracy", UP)}
    fields = tooltip(arm="Arm", seed="Seed", cost=title, accuracy=UP)
    circle = position | {"color": arm_colour(marks), "tooltip": fields}
    return chart(
        rows,
        params=parameters(marks),
        transform=[{"filter": "indexof(shown, datum.arm) >= 0"}],
        layer=[
            {
                "transform": [{"filter": "datum.kind == 'mean' && datum.front"}],
                "mark": {"type": "line", "color": GREY, "strokeDash": [4, 3], "strokeWidth": 1.2},
                "encoding": position | {"order": {"field": "cost"}},
            },
            {
                "transform": [{"filter": "datum.kind == 'seed'"}],
                "mark": {"type": "circle", "size": 26, "opacity": 0.55},
                "encoding": circle,
            },
            {
                "transform": [{"filter": "datum.kind == 'mean'"}],
                "mark": {"type": "circle", "size": 130, "opacity": 1},
                "encoding": circle,
            },
        ],
    )


def _text(title: str, rows: Sequence[Row], names: Mapping[str, str]) -> str:
    optimal = [row for row in rows if row["front"]]
    examples = [f"{names[row['arm']]} ({row['accuracy']:.2f}% at {row['cost']:.4g})" for row in optimal[:NAMED]]
    examples += [f"{len(optimal) - NAMED} more"] if len(optimal) > NAMED else []
    return f"Mean test accuracy of each arm against {title.lower()}. Pareto optimal: {listed(examples)}."
