"""One run as the report sees it: its folder, its record and the figures read from it."""

import math
import re
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from wrnexp.runs.digests import FileState, file_state
from wrnexp.runs.record import LaterEvaluation, Record, RecordError, read_evaluations, read_metrics

LATE_CHANGES = 3
# A record names a processor with its threads, as in `AMD EPYC 9V74, 2 threads`; GPUs have none.
PROCESSOR = re.compile(r"\bcpu\b|\d+ threads?$", re.IGNORECASE)


@dataclass(frozen=True)
class Run:
    """A run's folder, its place as the report names it (never an absolute path) and its record."""

    folder: Path
    place: str
    record: Record

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl, one per epoch; none where the file is damaged."""
        return [] if self.has_damaged_rows else read_metrics(self.folder)

    @cached_property
    def has_damaged_rows(self) -> bool:
        """True if metrics.jsonl is not what the run wrote."""
        return file_state(self.folder, self.record, "metrics.jsonl") is FileState.DAMAGED

    @cached_property
    def evaluations(self) -> list[LaterEvaluation] | None:
        """The entries of evaluations.json; None where it cannot be read."""
        try:
            return read_evaluations(self.folder)
        except RecordError:
            return None

    @property
    def later_looks(self) -> int:
        """How often `wrnexp evaluate` read the test set after training; 0 where its file cannot be read."""
        return sum(one.test_looks for one in self.evaluations or ())

    @property
    def accuracy(self) -> float:
        """Test accuracy of the last epoch's weights, in 0..1; NaN where the record has none."""
        value = self.record.metrics.get("test_accuracy")
        return math.nan if value is None else value

    @property
    def device(self) -> str:
        """The device's name as the record gives it, with their number where there were several."""
        name = str(self.record.provenance.get("device") or "unknown device")
        count = self.record.provenance.get("devices")
        return f"{count} x {name}" if isinstance(count, int) and count > 1 else name

    @property
    def on_cpu(self) -> bool:
        """Whether the run trained on a CPU."""
        trainer = self.record.config.get("trainer")
        asked = trainer.get("device") if isinstance(trainer, dict) else None
        return asked == "cpu" or PROCESSOR.search(self.device) is not None


def metric(run: Run, name: str) -> float | None:
    """Return one of the record's `metrics`."""
    return run.record.metrics.get(name)


def cost(run: Run, name: str) -> float | None:
    """Return one of the record's `cost` figures."""
    value: float | None = getattr(run.record.cost, name)
    return value


def times_include_start(run: Run) -> bool:
    """True if the run's training seconds include start and compilation: a version before `start_seconds` trained it."""
    return run.record.cost.start_seconds is None


def series(run: Run, key: str) -> dict[int, float]:
    """Return a column of metrics.jsonl by epoch, without the epochs where it was not measured."""
    return {row["epoch"]: row[key] for row in run.rows if _is_number(row.get("epoch")) and _is_number(row.get(key))}


def epoch_seconds(run: Run) -> float | None:
    """Return the mean seconds of training an epoch, without evaluation."""
    seconds = series(run, "seconds").values()
    return fmean(seconds) if seconds else None


def step_images(run: Run) -> int | None:
    """Return the images of an optimizer step, rounded."""
    spent = run.record.cost
    return round(spent.images / spent.steps) if spent.steps else None


def late_oscillation(run: Run) -> float | None:
    """Return the standard deviation of the changes of test accuracy from epoch to epoch, over the last quarter.

    Returns:
        A number in units of accuracy (0..1), or None where an epoch of the last quarter was not tested or the quarter
        holds fewer than three changes.
    """
    epochs, accuracy = list(series(run, "epoch")), series(run, "test_accuracy")
    changes = math.ceil(len(epochs) / 4)
    tail = [accuracy[epoch] for epoch in epochs[-changes - 1 :] if epoch in accuracy]
    if changes < LATE_CHANGES or len(tail) < changes + 1:
        return None
    return stdev(after - before for before, after in pairwise(tail))


def drops(run: Run) -> float | None:
    """Return how much test accuracy is lost from epoch to epoch, as a mean over all changes; gains count as 0.

    Returns:
        A number in units of accuracy (0..1), or None where an epoch was not tested or there are fewer than three.
    """
    epochs, accuracy = series(run, "epoch"), series(run, "test_accuracy")
    if len(epochs) < LATE_CHANGES or len(accuracy) < len(epochs):
        return None
    return fmean(max(0.0, before - after) for before, after in pairwise(accuracy.values()))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
