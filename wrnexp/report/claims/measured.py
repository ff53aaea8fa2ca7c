"""What a claim may be about: a figure of each run, and what must be known where it is missing or misleading."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from wrnexp.report.arms import Arm
from wrnexp.report.format import count
from wrnexp.report.measures import Run, cost, drops, epoch_seconds, late_oscillation, series, step_images

RECORDED = "not recorded in any common seed"


@dataclass(frozen=True)
class Measure:
    """A figure of a run.

    Attributes:
        read: returns it, None where the run has none.
        machine: it is the machine's as much as the recipe's: runs on different devices do not compare.
        times: it is, or counts from, training seconds, which older records measure otherwise.
        accuracy: it is in units of accuracy, 0..1.
        missing: what is said where no common seed has it.
    """

    read: Callable[[Run], float | None]
    machine: bool = False
    times: bool = False
    accuracy: bool = False
    missing: str = RECORDED


def _accuracy(run: Run) -> float:
    return run.accuracy


def _seconds_to_70(run: Run) -> float | None:
    return run.record.time_to.get("0.70")


def _epochs(run: Run) -> float | None:
    return float(len(series(run, "epoch"))) or None


MEASURES = {
    "test_accuracy": Measure(_accuracy, accuracy=True),
    "peak_memory": Measure(partial(cost, name="peak_memory_bytes"), machine=True),
    "images_per_second": Measure(partial(cost, name="images_per_second"), machine=True),
    "train_seconds": Measure(partial(cost, name="train_seconds"), machine=True, times=True),
    "seconds_to_70": Measure(_seconds_to_70, machine=True, times=True),
    "epoch_seconds": Measure(epoch_seconds, machine=True, times=True),
    "epochs": Measure(_epochs),
    "parameters": Measure(partial(cost, name="parameters")),
    "late_oscillation": Measure(
        late_oscillation,
        accuracy=True,
        missing="needs a test of every epoch in the last quarter and at least 9 epochs",
    ),
    "drops": Measure(drops, accuracy=True, missing="needs a test of every epoch and at least 3 epochs"),
}


def remark(name: str, a: Arm, b: Arm) -> str:
    """Say what else a reader must know of a measure in these arms; most need nothing."""
    if name == "peak_memory" and any(run.on_cpu for run in a.runs):
        return "on a CPU this is the memory of the whole process, its libraries and data included"
    sizes = [arm.mean(step_images) for arm in (a, b)]
    if name == "images_per_second" and None not in sizes and sizes[0] != sizes[1]:
        return f"a step is {count(sizes[0])} images in {a.label} and {count(sizes[1])} in {b.label}"
    return ""
