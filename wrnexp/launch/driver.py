"""Drives a sweep: what is done is left, what is open is launched, and in the end a table says how it stands.

Several drivers may run one sweep at once: a run's folder is held by one process at a time, a job that another driver
runs is waited for, and one whose process died is taken over.
"""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig
from rich.console import Console

from wrnexp import provenance
from wrnexp.errors import BusyError, is_out_of_time, is_pruned, one_line
from wrnexp.estimates import Measured
from wrnexp.launch.describe import absorb, changes, described
from wrnexp.launch.jobs import FrozenConfigs, Job
from wrnexp.launch.limit import SweepLimit
from wrnexp.launch.watching import WatchedLauncher
from wrnexp.launch.worker import KilledError
from wrnexp.locks import held
from wrnexp.records import find_record, write_record
from wrnexp.stopping import Stop
from wrnexp.sweeps import JobEntry, duration, jobs_table, state_of, totals, update_sweep

POLL = 1.0  # seconds between looks at jobs that another driver runs


class Driver:
    """One command's share in a sweep: `describe`, then `with` it `run` as often as there are jobs, then `leave`.

    Args:
        config: the command's config as a whole.
        context: Hydra's.
        launcher: the one that the command names; it is given the frozen configs.
        task: the function that runs a job.

    Attributes:
        jobs: the jobs described so far.
        values: what each job that is over returned, by its folder; None where it is not completed.
        limit: of the time that this command may take.
    """

    def __init__(self, config: DictConfig, context: HydraContext, launcher: Launcher, task: TaskFunction) -> None:
        self.config, self.context, self.launcher, self.task = config, context, launcher, task
        self.folder = Path(config.hydra.sweep.dir).absolute()
        self.limit = SweepLimit(
            config.sweep.max_seconds, self._records(), elsewhere=getattr(launcher, "elsewhere", False)
        )
        self.sweep = described(config, self.folder)
        self.terminal = Console(highlight=False, soft_wrap=True)
        self.jobs: list[Job] = []
        self.values: dict[Path, float | None] = {}
        self._entries: dict[Path, JobEntry] = {}
        self._started: set[Path] = set()
        self._signals = ExitStack()
        self._begun = datetime.now(UTC).replace(microsecond=0)  # records have whole seconds

    def describe(self, axes: Mapping[str, Sequence[str]], jobs: Sequence[Job]) -> None:
        """Say what the sweep consists of; more jobs may be added later."""
        self.sweep.axes = {key: list(values) for key, values in axes.items()}
        self.jobs += [job for job in jobs if job.folder not in self._entries]
        self.sweep.config, entries = absorb(self.jobs, self.folder)
        for entry, job in zip(entries, self.jobs, strict=True):
            if known := self._entries.get(job.folder):  # what was noted of a job that has no record
                entry.state, entry.error = known.state, known.error
        self._entries = dict(zip((job.folder for job in self.jobs), entries, strict=True))
        self.sweep.jobs = entries
        self._refresh()

    def __enter__(self) -> "Driver":
        """Write sweep.json, say what has changed since the last start, and let SIGTERM end the sweep as Ctrl-C does."""
        self._signals.enter_context(Stop().heard())
        with update_sweep(self.folder, self.sweep) as stored:
            for line in changes(stored, self.sweep, self.folder):
                self.terminal.print(f"note: {line}", style="yellow")
            stored.take(self.sweep)
        if caution := self.caution():
            self.terminal.print(f"note: {caution}", style="yellow")
        self.terminal.print(f"sweep {self.sweep.name}: {self.standing()}; {short(self.folder)}")
        if not self.config.sweep.retry_failed:
            self.values |= {folder: None for folder, entry in self._entries.items() if entry.state == "failed"}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._signals:
            if isinstance(self.launcher, WatchedLauncher):
                self.launcher.close()
            self.save()
            self.show()

    def run(self, jobs: Sequence[Job], at_once: int | None = None) -> None:
        """Run what is open of some jobs, until each is over or in other hands no more.

        Args:
            jobs: of those described.
            at_once: how many are handed to the launcher in one call; None is all.
        """
        self.launcher.setup(
            hydra_context=HydraContext(
                FrozenConfigs(self.context.config_loader, jobs, self.limit.limit), self.context.callbacks
            ),
            task_function=self.task,
            config=self.config,
        )
        if self.limit.limit is not None and not isinstance(self.launcher, WatchedLauncher):
            at_once = 1  # it does not ask whether a job still fits when it is about to start it
        while left := [job for job in jobs if not self.over(job) and self.limit.fits(job)]:
            ready = [job for job in left if not held(job.folder)][:at_once]
            if not ready:
                time.sleep(POLL)
                continue
            self._launch(ready)
            if self.stopped():
                return

    def stopped(self) -> bool:
        """Say whether a job failed in a sweep that stops at the first failure."""
        return self.config.sweep.on_error == "stop" and any(state_of(folder)[0] == "failed" for folder in self.values)

    def save(self) -> None:
        """Ask every record for its job's state and write sweep.json."""
        self._refresh()
        with update_sweep(self.folder, self.sweep) as stored:
            stored.take(self.sweep)

    def show(self) -> None:
        """Print the jobs, their states and the first line of each error."""
        self.terminal.print(jobs_table(self.sweep.jobs, self.folder, notes=self.notes()))
        self.terminal.print(f"{self.standing()}: {short(self.folder)}")

    def standing(self) -> str:
        """Return in words how far the sweep is."""
        return totals(self.sweep.jobs)

    def title(self, job: Job) -> str:
        """Return the line that says that a job begins."""
        return f"[{self.jobs.index(job) + 1}/{len(self.jobs)}] {job.label}, seed {job.values['seed']}"

    def preview(self) -> None:
        """Print the jobs, which are done, and the time that the others need where runs on record tell it."""
        measured = Measured.read(self._records())
        open_ = [job for job in self.jobs if self._entries[job.folder].state != "completed"]
        left = {self._entries[job.folder].folder: measured.remaining_seconds(job.values, job.folder) for job in open_}
        known = [seconds for seconds in left.values() if seconds is not None]
        cells = {folder: duration(seconds) for folder, seconds in left.items()}
        self.terminal.print(jobs_table(self.sweep.jobs, self.folder, cells))
        line = totals(self.sweep.jobs)
        if known:
            line += f"; {len(known)} of the open ones take {duration(sum(known))}, one after another"
        if len(known) < len(open_):
            line += f"; for {len(open_) - len(known)} no run like them is on record: their time is not measured"
        self.terminal.print(line)

    def leave(self) -> list[float | None]:
        """Return the value of every job, or end the program where one is not completed."""
        open_ = [job for job in self.jobs if self._entries[job.folder].state != "completed"]
        late = [job for job in open_ if self.late(job)]
        if open_:
            self.limit.end(late, [self._entries[job.folder].error or "" for job in open_ if job not in late])
        return [self.values.get(job.folder) for job in self.jobs]

    def notes(self) -> dict[str, str]:
        """Return why jobs were not started for want of time, by their folders as the entries have them."""
        refused = self.limit.refused.items()
        return {self._entries[folder].folder: why for folder, why in refused if folder not in self._started}

    def late(self, job: Job) -> bool:
        """Say whether a time limit is why a job is not completed: its own ended it, or the sweep's left no time."""
        entry = self._entries[job.folder]
        refused = job.folder in self.limit.refused and entry.state in ("pending", "interrupted")
        return refused or is_out_of_time(entry.error)

    def _launch(self, ready: list[Job]) -> None:
        if isinstance(self.launcher, WatchedLauncher):
            self.launcher.watcher = _Watch(self, ready)
        with self.limit.enforced():
            results = self.launcher.launch([job.all_overrides for job in ready], self.jobs.index(ready[0]))
            for job, result in zip(ready, results, strict=True):
                self._take(job, result)

    def _take(self, job: Job, result: JobReturn) -> None:
        """Note that a launched job is over, unless it was never begun or another process held its folder."""
        if result.status == JobStatus.UNKNOWN or isinstance(result._return_value, BusyError):
            return
        self.limit.read_again()
        failed = result.status == JobStatus.FAILED
        if isinstance(result._return_value, KilledError):
            _mark_failed(job.folder, str(result._return_value))
        self.values[job.folder] = None if failed else result._return_value
        if failed and state_of(job.folder)[0] == "pending":  # it ended before it had a record
            self.note(job, "failed", one_line(result._return_value))

    def over(self, job: Job) -> bool:
        """Say whether this driver has nothing more to do for a job."""
        if job.folder in self.values:
            return True
        record = find_record(job.folder)
        if record is None:
            return False
        if record.status == "completed":
            self.values[job.folder] = record.metrics.get("val_accuracy")
            return True
        # Failed in this call: another driver of the sweep has tried it.
        return record.status == "failed" and _time(record.provenance.get("finished")) >= self._begun

    def note(self, job: Job, state: Any, error: str | None = None) -> None:
        """Write one job's state down."""
        entry = self._entries[job.folder]
        entry.state, entry.error = state, error
        with update_sweep(self.folder, self.sweep) as stored:
            stored.jobs = [entry if one.folder == entry.folder else one for one in stored.jobs]

    def caution(self) -> str | None:
        """Say in one line what the sweep cannot tell; None where there is nothing to say."""
        from wrnexp.stats import shortfall  # scipy comes with it

        seeds = Counter(entry.arm_id for entry in self.sweep.jobs)
        return shortfall(len(seeds), min(seeds.values())) if seeds else None

    def _records(self) -> list[Path]:
        """Return the folders whose records say how long jobs take."""
        return [Path("outputs"), self.folder.parent]

    def _refresh(self) -> None:
        for entry in self.sweep.jobs:
            entry.ask(self.folder)


class _Watch:
    """What a launcher of ours asks and tells of the jobs of one launch, by their index."""

    def __init__(self, driver: Driver, jobs: Sequence[Job]) -> None:
        self.driver, self.jobs = driver, jobs

    def wanted(self, index: int) -> bool:
        """Say whether a job is to be run now: not over, in nobody's hands, and neither failure nor time forbids it."""
        job = self.jobs[index]
        return not (self.driver.over(job) or held(job.folder) or self.called_off(index))

    def called_off(self, index: int) -> bool:
        """Say whether a job that waits is not to begin: a failure has stopped the sweep, or too little time is left."""
        return self.driver.stopped() or not self.driver.limit.fits(self.jobs[index])

    def started(self, index: int) -> None:
        """Hear that a job begins."""
        job = self.jobs[index]
        self.driver._started.add(job.folder)
        self.driver.terminal.print(self.driver.title(job), style="bold")
        self.driver.note(job, "running")

    def ended(self, index: int, result: JobReturn) -> None:
        """Hear that a job has ended."""
        job = self.jobs[index]
        self.driver._take(job, result)
        if isinstance(result._return_value, BusyError):  # another driver runs it
            return
        state, error = state_of(job.folder)
        if state != "pending":
            self.driver.note(job, state, error)
        if state != "completed":
            told, style = ("stopped by the search", "yellow") if is_pruned(error) else (state, "red")
            told, style = (f"{state}: {error}", "yellow") if is_out_of_time(error) else (told, style)
            self.driver.terminal.print(f"{job.label}, seed {job.values['seed']}: {told}", style=style)


def short(folder: Path) -> str:
    """Return a folder as seen from the working directory where it lies below that."""
    return str(folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder)


def _mark_failed(folder: Path, error: str) -> None:
    """Write into the record of a run whose process was killed what became of it."""
    record = find_record(folder)
    if record is not None and record.status == "running":
        record.status, record.error = "failed", error
        record.provenance["finished"] = provenance.now()
        write_record(folder, record)


def _time(text: Any) -> datetime:
    try:
        return datetime.fromisoformat(str(text))
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)
