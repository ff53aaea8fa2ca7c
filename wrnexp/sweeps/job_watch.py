"""The driver's end of a launch: which jobs begin, and what is noted and printed when one begins or ends."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hydra.core.utils import JobReturn

from wrnexp.errors import BusyError, is_out_of_time, is_pruned
from wrnexp.process.terminal import printable
from wrnexp.runs import provenance
from wrnexp.runs.locks import is_locked
from wrnexp.runs.record import find_record, write_record
from wrnexp.sweeps.jobs import Job

if TYPE_CHECKING:
    from wrnexp.sweeps.driver import Driver


class JobWatch:
    """What a launcher of ours asks and tells of the jobs of one launch, by their index."""

    def __init__(self, driver: "Driver", jobs: Sequence[Job]) -> None:
        self.driver, self.jobs = driver, jobs

    def should_run(self, index: int) -> bool:
        """Say whether a job is to be run now: not over, in nobody's hands, and neither failure nor time forbids it."""
        job = self.jobs[index]
        return not (self.driver.over(job) or is_locked(job.folder) or self.called_off(index))

    def called_off(self, index: int) -> bool:
        """Say whether a job that waits is not to begin: a failure has stopped the sweep, or too little time is left."""
        return self.driver.stopped() or not self.driver.limit.fits(self.jobs[index])

    def started(self, index: int) -> None:
        """Hear that a job begins."""
        job = self.jobs[index]
        self.driver._started.add(job.folder)
        self.driver.terminal.print(printable(self.driver.title(job)), style="bold")
        self.driver.note(job, "running")

    def ended(self, index: int, result: JobReturn) -> None:
        """Hear that a job has ended."""
        job = self.jobs[index]
        self.driver._take(job, result)
        if isinstance(result._return_value, BusyError):  # another driver runs it
            return
        state, error = self.driver.state(job)
        if state != "pending":
            self.driver.note(job, state, error)
        if state != "completed":
            told, style = ("stopped by the search", "yellow") if is_pruned(error) else (state, "red")
            told, style = (f"{state}: {error}", "yellow") if is_out_of_time(error) else (told, style)
            self.driver.terminal.print(printable(f"{job.label}, seed {job.values['seed']}: {told}"), style=style)


def mark_failed(job: Job, error: str) -> None:
    """Write into the record of a run whose process was killed what became of it."""
    record = find_record(job.folder)
    if record is not None and record.run_id == job.run_id and record.status == "running":
        record.status, record.error = "failed", error
        record.provenance["finished"] = provenance.now()
        write_record(job.folder, record)
