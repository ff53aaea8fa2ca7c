"""Drives a sweep: what is done is left, what is open is launched, and in the end a table says how it stands.

Several drivers may run one sweep at once: a run's folder is held by one process at a time, a job that another driver
runs is waited for, and one whose process died is taken over.
"""

import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from wrnexp.errors import BusyError, UserError, is_diverged, is_out_of_time, one_line
from wrnexp.process.signals import SignalGuard
from wrnexp.process.terminal import Terminal, printable
from wrnexp.runs.locks import is_locked
from wrnexp.runs.ownership import own_record
from wrnexp.runs.record import RecordError
from wrnexp.sweeps.describe import (
    changes,
    described,
    factor_common_settings,
    folder_problem,
    job_state,
    mistake,
    needs_verification,
)
from wrnexp.sweeps.estimates import Measured
from wrnexp.sweeps.job_watch import JobWatch, mark_failed
from wrnexp.sweeps.jobs import FrozenConfigs, Job
from wrnexp.sweeps.launchers.base import WatchedLauncher
from wrnexp.sweeps.launchers.worker import KilledError
from wrnexp.sweeps.limit import SweepLimit
from wrnexp.sweeps.merging import short
from wrnexp.sweeps.sweep_json import JobEntry, State, update_sweep
from wrnexp.sweeps.tables import duration, jobs_table, totals

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
        self.terminal = Terminal(soft_wrap=True)
        self.jobs: list[Job] = []
        self.values: dict[Path, float | None] = {}
        self._entries: dict[Path, JobEntry] = {}
        self._started: set[Path] = set()
        self._not_retried: set[Path] = set()  # of jobs that failed before and are not tried again
        self._unverified: set[Path] = set()  # of completed jobs whose images or results are yet to be compared
        self._refused: dict[Path, str] = {}  # errors of this command that their records do not have
        self._signals = ExitStack()
        self._begun = datetime.now(UTC).replace(microsecond=0)  # records have whole seconds

    def describe(self, axes: Mapping[str, Sequence[str]], jobs: Sequence[Job]) -> None:
        """Say what the sweep consists of; more jobs may be added later."""
        self.sweep.axes = {key: list(values) for key, values in axes.items()}
        new = [job for job in jobs if job.folder not in self._entries]
        for job in new:
            if job.values.get("rerun") is True and (error := folder_problem(job)) is not None:
                self._refused[job.folder], self.values[job.folder] = error, None
        self.jobs += new
        self.sweep.config, entries = factor_common_settings(self.jobs, self.folder)
        for entry, job in zip(entries, self.jobs, strict=True):
            if known := self._entries.get(job.folder):  # what was noted of a job that has no record
                entry.state, entry.error = known.state, known.error
        self._entries = dict(zip((job.folder for job in self.jobs), entries, strict=True))
        self.sweep.jobs = entries
        self._refresh()

    def __enter__(self) -> "Driver":
        """Write sweep.json, say what has changed since the last start, and let SIGTERM end the sweep as Ctrl-C does."""
        self._signals.enter_context(SignalGuard().listening())
        with update_sweep(self.folder, self.sweep) as stored:
            for line in changes(stored, self.sweep, self.folder):
                self.say(f"note: {line}")
            stored.take(self.sweep)
        for caution in self.cautions():
            self.say(f"note: {caution}")
        self.terminal.print(printable(f"sweep {self.sweep.name}: {self.standing()}; {short(self.folder)}"))
        self._not_retried = {folder for folder, entry in self._entries.items() if not self._is_retried(entry)}
        self.values |= dict.fromkeys(self._not_retried)
        completed = {folder for folder, entry in self._entries.items() if entry.state == "completed"}
        self._unverified = {job.folder for job in self.jobs if job.folder in completed and needs_verification(job)}
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
            ready = [job for job in left if not is_locked(job.folder)][:at_once]
            if not ready:
                time.sleep(POLL)
                continue
            self._launch(ready)
            if self.stopped():
                return

    def stopped(self) -> bool:
        """Say whether a job failed in a sweep that stops at the first failure; those that are left do not count."""
        tried = [job for job in self.jobs if job.folder in self.values.keys() - self._not_retried]
        return self.config.sweep.on_error == "stop" and any(self.is_failure(*self.state(job)) for job in tried)

    def is_failure(self, state: State, error: str | None) -> bool:
        """Say whether a job in this state has failed."""
        return state == "failed"

    def state(self, job: Job) -> tuple[State, str | None]:
        """Return a job's state and, where it went wrong, one line that says how."""
        error = self._refused.get(job.folder)
        return job_state(job) if error is None else ("failed", error)

    def save(self) -> None:
        """Ask every record for its job's state and write sweep.json."""
        self._refresh()
        with update_sweep(self.folder, self.sweep) as stored:
            stored.take(self.sweep)

    def show(self) -> None:
        """Print the jobs, their states and the first line of each error."""
        self.terminal.print(jobs_table(self.sweep.jobs, self.folder, notes=self.notes()))
        self.terminal.print(printable(f"{self.standing()}: {short(self.folder)}"))

    def say(self, line: str) -> None:
        """Print a line that the user should not miss."""
        self.terminal.print(printable(line), style="yellow")

    def standing(self) -> str:
        """Return in words how far the sweep is."""
        return totals(self.sweep.jobs)

    def title(self, job: Job) -> str:
        """Return the line that says that a job begins."""
        return f"[{self.jobs.index(job) + 1}/{len(self.jobs)}] {job.label}, seed {job.values['seed']}"

    def preview(self) -> None:
        """Print the jobs, which are done, and the time that the others need where runs on record tell it.

        Raises:
            SystemExit: a config is wrong, or a folder holds another run; the code is 2.
        """
        measured = Measured.read(self._records())
        mistakes = {job.folder: error for job in self.jobs if (error := mistake(job)) is not None}
        for folder, error in mistakes.items():
            self._entries[folder].state, self._entries[folder].error = "failed", error
        open_ = [job for job in self._open() if job.folder not in mistakes]
        left = {self._entries[job.folder].key: measured.remaining_seconds(job.values, job.folder) for job in open_}
        known = [seconds for seconds in left.values() if seconds is not None]
        cells = {key: duration(seconds) for key, seconds in left.items()}
        self.terminal.print(jobs_table(self.sweep.jobs, self.folder, cells))
        line = totals(self.sweep.jobs)
        if known:
            line += f"; {len(known)} of the open ones take {duration(sum(known))}, one after another"
        if len(known) < len(open_):
            line += f"; for {len(open_) - len(known)} no run like them is on record: their time is not measured"
        self.terminal.print(line)
        if mistakes:
            sys.exit(2)

    def leave(self) -> list[float | None]:
        """Return the value of every job, or end the program where one is not completed."""
        if open_ := self._open():
            late = [job for job in open_ if self.late(job)]
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

    def _open(self) -> list[Job]:
        return [job for job in self.jobs if self._entries[job.folder].state != "completed"]

    def _launch(self, ready: list[Job]) -> None:
        if isinstance(self.launcher, WatchedLauncher):
            self.launcher.watcher = JobWatch(self, ready)
        with self.limit.enforced():
            results = self.launcher.launch([job.all_overrides for job in ready], self.jobs.index(ready[0]))
            for job, result in zip(ready, results, strict=True):
                self._take(job, result)

    def _take(self, job: Job, result: JobReturn) -> None:
        """Note that a launched job is over, unless it was never begun or another process held its folder."""
        if result.status == JobStatus.UNKNOWN or isinstance(result._return_value, BusyError):
            return
        self.limit.read_again()
        self._unverified.discard(job.folder)
        failed, state = result.status == JobStatus.FAILED, job_state(job)[0]
        if isinstance(result._return_value, KilledError):
            mark_failed(job, str(result._return_value))
        self.values[job.folder] = None if failed else result._return_value
        # Its images are others now, or its results are damaged and there is no checkpoint: its record stays as it is.
        if failed and state == "completed":
            self._refused[job.folder] = one_line(result._return_value)
        if failed and state in ("pending", "completed"):  # pending: it ended before it had a record
            self.note(job, "failed", one_line(result._return_value))

    def over(self, job: Job) -> bool:
        """Say whether this driver has nothing more to do for a job."""
        if job.folder in self.values:
            return True
        try:
            record = own_record(job.folder, job.run_id, job.values, busy=is_locked(job.folder))
        except UserError:  # nothing of the folder is the job's: `state` says why
            self.values[job.folder] = None
            return True
        except RecordError:  # damaged: the run itself looks what can be resumed
            return False
        if record is None:
            return False
        if record.status == "completed":
            if job.folder in self._unverified:
                return False
            self.values[job.folder] = record.metrics.get("val_accuracy")
            return True
        # Failed in this call: another driver of the sweep has tried it.
        return record.status == "failed" and _time(record.provenance.get("finished")) >= self._begun

    def note(self, job: Job, state: Any, error: str | None = None) -> None:
        """Write one job's state down."""
        entry = self._entries[job.folder]
        entry.state, entry.error = state, error
        with update_sweep(self.folder, self.sweep) as stored:
            stored.jobs = [entry if one.key == entry.key else one for one in stored.jobs]

    def cautions(self) -> Iterator[str]:
        """Yield a line for what the sweep cannot tell and for what it does not do."""
        seeds = Counter(entry.arm_id for entry in self.sweep.jobs)
        if len(seeds) > 1:
            from wrnexp.stats import shortfall  # scipy's distributions take half a second to import

            if line := shortfall(len(seeds), min(seeds.values())):
                yield line
        if count := sum(is_diverged(entry.error) and not self._is_retried(entry) for entry in self.sweep.jobs):
            jobs, again = ("job is", "it again") if count == 1 else ("jobs are", "them again")
            yield f"{count} diverged {jobs} not trained again; sweep.retry_diverged=true trains {again}"

    def _is_retried(self, entry: JobEntry) -> bool:
        """Say whether a job is tried again where it has failed before."""
        keys = self.config.sweep
        return entry.state != "failed" or bool(keys.retry_diverged if is_diverged(entry.error) else keys.retry_failed)

    def _records(self) -> list[Path]:
        """Return the folders whose records say how long jobs take."""
        return [Path("outputs"), self.folder.parent]

    def _refresh(self) -> None:
        for job, entry in zip(self.jobs, self.sweep.jobs, strict=True):
            entry.ask(self.folder, job.values)
            if job.folder in self._refused:
                entry.state, entry.error = self.state(job)


def _time(text: Any) -> datetime:
    try:
        return datetime.fromisoformat(str(text))
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)
