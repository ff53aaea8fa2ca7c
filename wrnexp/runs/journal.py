"""The journal of a run: keeps its record on disk true from the first byte, and tells the sinks.

The record says `running` until the run's last line said otherwise: a kill that nothing can catch leaves it so, any
error leaves `failed`, a signal and a search that stops the run `interrupted`. A run is `completed` as soon as its
results are written: what is drawn and told after that takes nothing from it.
"""

import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from wrnexp.errors import DivergedError, Pruned, Stopped, UserError, one_line
from wrnexp.process.terminal import harmless, warn
from wrnexp.runs import provenance
from wrnexp.runs.bottleneck import diagnosis, use_of, utilization
from wrnexp.runs.digests import bytes_digest
from wrnexp.runs.record import TIME_TO, Divergence, Record, find_record, read_metrics, write_metrics, write_record
from wrnexp.runs.strict_json import finite

Row = dict[str, Any]


@dataclass(frozen=True)
class TrainingPlan:
    """How long a run is: epochs, optimizer steps an epoch, images an epoch."""

    epochs: int
    steps: int
    images: int


class Sink:
    """One who watches: told of each step, of each epoch, and of the end. What it does not override, it passes over."""

    def on_step_end(self, epoch: int, step: int) -> None:
        """Take note that `step` steps of epoch `epoch` (from 0) are done; called often, must cost next to nothing."""

    def on_resume(self, record: Record, rows: Sequence[Row]) -> None:
        """Take note of the epochs that an earlier process has trained, before the first step of this one."""

    def on_epoch_end(self, record: Record, rows: Sequence[Row]) -> None:
        """Take note of an epoch; `rows` are all so far, its own the last."""

    def on_recovery(self, record: Record) -> None:
        """Called when training has recovered from a diverged step, the last of `record.recoveries`."""

    def on_media(self, record: Record, folder: Path) -> None:
        """Take note that pictures were drawn; `folder` is the run's."""

    def on_run_end(self, record: Record) -> None:
        """Take note of the end; `record.status` says which."""


class Journal:
    """Keeps `record.json` and `metrics.jsonl` of one run; a context manager around all that the run does.

    Args:
        record: of the run.
        folder: of the run.
        silent: write nothing and tell nobody: another process of the same run does.

    Attributes:
        started: when this process began to work on the run, by `time.perf_counter`.
        programs: that train the run; written into the record with their epochs.
    """

    def __init__(self, record: Record, folder: Path, *, silent: bool = False) -> None:
        self.record = record
        self.started = time.perf_counter()
        self._silent = silent
        self.folder = folder
        self._sinks: list[Sink] = []
        self._complete = False
        self.programs: provenance.Programs | None = None
        self._metrics = b""  # what was last written to metrics.jsonl

    def attach(self, makers: Iterable[Callable[[], Sink]]) -> None:
        """Make the sinks and tell them from now on; one that cannot be made is left out."""
        for make in () if self._silent else makers:
            with self._harmless("a sink"):
                self._sinks.append(make())
        self._write()  # a sink may have said in it where it keeps what it hears

    def on_start(self, start_seconds: float | None, compile_seconds: float | None) -> None:
        """Write what all processes of the run took before training: their start, and compilation."""
        self.record.cost.start_seconds, self.record.cost.compile_seconds = start_seconds, compile_seconds
        self._write()

    def on_step(self, epoch: int, step: int) -> None:
        """Pass on that a step is done."""
        self._tell(lambda sink: sink.on_step_end(epoch, step))

    def on_epoch(self, rows: list[Row]) -> None:
        """Write the epochs so far, then pass the newest on."""
        self._keep(rows)
        self._tell(lambda sink: sink.on_epoch_end(self.record, rows))

    def on_resume(self, rows: list[Row]) -> None:
        """Write the epochs of earlier processes, then pass them on: those may have ended before all were told."""
        self._keep(rows)
        self._tell(lambda sink: sink.on_resume(self.record, rows))

    def on_recoveries(self, recoveries: list[dict[str, Any]], *, resumed: bool = False) -> None:
        """Write the recoveries so far, then pass them on unless they are those of an earlier process."""
        self.record.recoveries = [Divergence(**recovery) for recovery in recoveries]
        self._write()
        if not resumed:
            self._tell(lambda sink: sink.on_recovery(self.record))

    def on_pictures(self) -> None:
        """Pass on that pictures were drawn in the run's folder."""
        self._tell(lambda sink: sink.on_media(self.record, self.folder))

    def _keep(self, rows: list[Row]) -> None:
        last = rows[-1]
        if self.programs is not None:
            self.record.provenance["programs"] = self.programs.upto(len(rows))
        seconds = sum(row["seconds"] for row in rows)
        cost = self.record.cost
        cost.steps, cost.train_seconds = last["step"], seconds
        cost.images = round(sum(row["images_per_second"] * row["seconds"] for row in rows))
        cost.data_wait = sum(row["data_wait"] * row["seconds"] for row in rows) / seconds
        if all("evaluation_seconds" in row for row in rows):  # not in epochs that an earlier version trained
            cost.evaluation_seconds = sum(row["evaluation_seconds"] for row in rows)
            cost.checkpoint_seconds = sum(row["checkpoint_seconds"] for row in rows)
        self._judge_speed([row["images_per_second"] for row in rows])
        names = ("train_loss", "val_loss", "val_accuracy", "test_accuracy")
        self.record.metrics |= {name: finite(last[name]) for name in names}
        self.record.time_to = time_to(rows)
        if not self._silent:
            self._metrics = write_metrics(self.folder, rows)
        self._write()

    def _judge_speed(self, rates: list[float]) -> None:
        """Take the speed of the median epoch: the first one of a process still warms up.

        Of an even number of epochs it is the faster of the two in the middle, so that the second of two counts.
        """
        record, cost = self.record, self.record.cost
        rate = statistics.median_high(rates)
        cost.images_per_second = rate
        if cost.macs_per_image and (peak := record.provenance.get("peak_flops")):
            cost.flops_utilization = utilization(rate, cost.macs_per_image, peak)
        cost.verdict = diagnosis(cost.data_wait or 0.0, rate, cost.flops_utilization, use_of(record))

    def complete(
        self,
        metrics: Mapping[str, float],
        peak_memory: int | None,
        test_looks: int,
        files: Mapping[str, str] | None = None,
    ) -> None:
        """Write the final figures: the run is complete. Called once its other results are in its folder.

        Args:
            metrics: accuracies and losses of the final weights.
            peak_memory: of the device, in bytes; None where it is not measured.
            test_looks: how often the test set was read.
            files: the SHA-256 of each file that was written apart from metrics.jsonl, in hexadecimal, by name.
        """
        self.record.metrics |= {name: finite(value) for name, value in metrics.items()}
        self.record.cost.peak_memory_bytes = peak_memory
        self.record.test_looks = test_looks
        self.record.files = {**(files or {}), "metrics.jsonl": bytes_digest(self._metrics)}
        self._complete = True
        _end(self.record, None, complete=True)
        self._write()

    def __enter__(self) -> "Journal":
        self._write()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._complete:
            with harmless("record.json was not written again", "it is complete"):
                self._write()
        else:
            _end(self.record, error, complete=False)
            self._write()
        self._tell(lambda sink: sink.on_run_end(self.record))

    def _write(self) -> None:
        if not self._silent:
            write_record(self.folder, self.record)

    def _tell(self, event: Callable[[Sink], None]) -> None:
        for sink in tuple(self._sinks):
            with self._harmless(type(sink).__name__, sink):
                event(sink)

    @contextmanager
    def _harmless(self, name: str, sink: Sink | None = None) -> Iterator[None]:
        """Let no watcher's failure stop a run: it is dropped, with a line that says so.

        A user's mistake, a search that stops the run and an exit end it only while it is not complete.
        """
        try:
            yield
        except Stopped:
            raise
        except (Exception, SystemExit) as error:
            if isinstance(error, UserError | Pruned | SystemExit) and not self._complete:
                raise
            if sink in self._sinks:
                self._sinks.remove(sink)
            warn(f"{name} stopped ({one_line(error)}); the run goes on, its record is complete")


def finalize_record(error: BaseException, folder: Path, record: Record) -> None:
    """Close the record of a run whose own process could not, or that ended for a reason that it did not know.

    A completed one is left as it is: what went wrong after that takes nothing from it.

    Args:
        error: what ended the run.
        folder: of the run.
        record: to write where the run left none.
    """
    found = find_record(folder) or record
    if found.status == "completed":
        return
    _end(found, error, complete=False)
    write_record(folder, found)


def replay_to_sink(make: Callable[..., Sink], record: Record, folder: Path) -> None:
    """Tell a sink all of a run that was complete before it was asked for; its failure is said and changes nothing.

    Args:
        make: makes the sink with a `plan`; the sink may say in the record where it keeps what it hears.
        record: of the run; it is written again for that.
        folder: of the run.
    """
    try:
        rows = read_metrics(folder)
        sink = make(plan=TrainingPlan(epochs=len(rows), steps=0, images=0))
        write_record(folder, record)
        sink.on_media(record, folder)  # what was there before the first epoch
        sink.on_resume(record, rows)
        sink.on_media(record, folder)
        sink.on_run_end(record)
    except Exception as error:
        warn(f"not told to the sweep's agent ({one_line(error)}); the run is complete")


def _end(record: Record, error: BaseException | None, *, complete: bool) -> None:
    record.status = _status(error, complete)
    record.error = None if error is None else one_line(error)
    if isinstance(error, DivergedError) and error.divergence is not None:
        record.divergence = Divergence(**error.divergence)
    record.provenance["finished"] = provenance.now()


def time_to(rows: Sequence[Row]) -> dict[str, float | None]:
    """Return for each accuracy of `records.TIME_TO` the seconds of training until a look at the test set reached it."""
    found: dict[str, float | None] = dict.fromkeys(TIME_TO)
    seconds = 0.0
    for row in rows:
        seconds += row["seconds"]
        for level in TIME_TO:
            if found[level] is None and (row["test_accuracy"] or 0.0) >= float(level):
                found[level] = seconds
    return found


def _status(error: BaseException | None, complete: bool) -> Any:
    if complete:
        return "completed"
    return "interrupted" if isinstance(error, KeyboardInterrupt | SystemExit | Pruned) else "failed"
