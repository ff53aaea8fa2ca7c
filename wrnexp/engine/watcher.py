"""What training calls while it goes."""

from typing import Any, Protocol

Row = dict[str, Any]  # of metrics.jsonl


class Watcher(Protocol):
    """Who is told how training goes."""

    def on_resume(self, rows: list[Row]) -> None:
        """Hear what an earlier process logged, before the first step."""
        ...

    def on_start(self, start_seconds: float | None, compile_seconds: float | None) -> None:
        """Called before the first step of this process, with what all processes of the run took to get there.

        None where the run's first processes did not measure it.
        """
        ...

    def on_step(self, epoch: int, step: int) -> None:
        """Hear that `step` steps of epoch `epoch` (from 0) are done."""
        ...

    def on_epoch(self, rows: list[Row]) -> None:
        """Hear that an epoch is done; `rows` are the log so far."""
        ...
