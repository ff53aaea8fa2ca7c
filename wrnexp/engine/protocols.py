"""What training asks of the loader group, and what it calls while it goes."""

from collections.abc import Iterator
from typing import Any, Protocol

from wrnexp.engine.step import Batch

Row = dict[str, Any]  # of metrics.jsonl


class Batches(Protocol):
    """What training asks of the loader group: micro-batches, and how they fall into steps."""

    @property
    def plan(self) -> list[tuple[int, ...]]:
        """The sizes of the micro-batches of each step of an epoch."""
        ...

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """Return the micro-batches of an epoch, counted from 0, in the order of the plan."""
        ...


class TrainingCallbacks(Protocol):
    """Hooks called during training."""

    def on_resume(self, rows: list[Row]) -> None:
        """Called before the first step of a resumed run, with the rows logged so far."""
        ...

    def on_start(self, start_seconds: float | None, compile_seconds: float | None) -> None:
        """Called before the first step of this process, with the seconds that all processes of the run took to start.

        None where an earlier version, which did not measure them, trained a part of the run.
        """
        ...

    def on_step(self, epoch: int, step: int) -> None:
        """Called after each optimizer step; `step` counts from 1 within `epoch`, which counts from 0."""
        ...

    def on_epoch(self, rows: list[Row]) -> None:
        """Called after each epoch, with the rows logged so far."""
        ...

    def on_recoveries(self, recoveries: list[dict[str, Any]], *, resumed: bool = False) -> None:
        """Called when training has recovered from a diverged step, and before the first step of a resumed run.

        Args:
            recoveries: all so far, at most 100, each as `records.Divergence`.
            resumed: none of them is new.
        """
        ...
