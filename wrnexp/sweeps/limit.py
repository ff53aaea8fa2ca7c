"""The time limit of a sweep: which jobs fit into the time that is left, and how an incomplete sweep ends."""

import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from wrnexp.config.check import problems
from wrnexp.errors import TIME_LIMIT, Stopped, is_diverged
from wrnexp.process.signals import TimeLimit
from wrnexp.process.terminal import warn
from wrnexp.sweeps.describe import job_state
from wrnexp.sweeps.estimates import Measured
from wrnexp.sweeps.jobs import Job
from wrnexp.sweeps.tables import duration

OVERTIME = 30.0  # seconds that jobs have after the limit to end by themselves: a step, an evaluation, a checkpoint
OPEN = "the same command runs what is not completed"
DIVERGED = "the same command with sweep.retry_diverged=true trains the diverged jobs again"


class SweepLimit:
    """`sweep.max_seconds`, counted from the making of this object.

    Args:
        seconds: of the limit; None for none.
        records: folders with the records that say how long jobs take.
        elsewhere: whether records of other machines count: where jobs run on a cluster. For this machine the times of
            another one say nothing, and a job that is stopped half-way is better than an idle machine.

    Attributes:
        limit: None for none.
        refused: by folder, why a job was not started, in words.
    """

    def __init__(self, seconds: Any, records: list[Path], *, elsewhere: bool = False) -> None:
        self.limit = TimeLimit.from_now(seconds, "sweep.max_seconds")
        self.refused: dict[Path, str] = {}
        self._records, self._elsewhere = records, elsewhere
        self._measured: Measured | None = None
        self._needs: dict[Path, float | None] = {}

    @property
    def reached(self) -> bool:
        """Whether no time is left."""
        return self.limit is not None and self.limit.remaining <= 0

    def fits(self, job: Job) -> bool:
        """Say whether a job may start now: there is time left, and no record says that it takes longer.

        One that was begun and needs more than the whole limit may: it can be completed in parts only.
        """
        if self.limit is None:
            return True
        left, need = self.limit.remaining, self.need(job)
        if left > 0 and (need is None or need <= left or (need > self.limit.seconds and _begun(job))):
            self.refused.pop(job.folder, None)
            return True
        takes = "" if need is None else f"needs about {duration(need)}, "
        rest = f"{duration(left)} of {self.limit.key} was left" if left > 0 else f"{self.limit.key} has passed"
        self.refused[job.folder] = f"not started: {takes}{rest}"
        return False

    def need(self, job: Job) -> float | None:
        """Return the seconds that a job will take, at most `trainer.max_seconds`; None where no record tells."""
        if job.folder not in self._needs:
            self._needs[job.folder] = self._at_most(job, whole=False)
        return self._needs[job.folder]

    def fits_new(self, job: Job) -> bool:
        """Say whether a job would fit that is like another one and begins with its first epoch."""
        if self.limit is None:
            return True
        need = self._at_most(job, whole=True)
        return self.limit.remaining > 0 and (need is None or need <= self.limit.remaining)

    def _at_most(self, job: Job, *, whole: bool) -> float | None:
        """Return the seconds of what is left of a job, or of all of it; its own time limit where that is less."""
        if problems(job.values):
            return None  # the job itself says what is wrong
        if whole:
            estimate = self._measure().run_seconds(job.values)
            seconds = None if estimate is None else estimate.seconds
        else:
            seconds = self._measure().remaining_seconds(job.values, job.folder)
        own = job.values["trainer"]["max_seconds"]
        return seconds if seconds is None or own is None else min(seconds, own)

    def _measure(self) -> Measured:
        if self._measured is None:
            measured = Measured.read(self._records)
            self._measured = measured if self._elsewhere else measured.here()
        return self._measured

    def read_again(self) -> None:
        """Take note that a job has ended: its record counts from now on."""
        self._measured = None
        self._needs.clear()

    def end(self, late: Sequence[Job], errors: Sequence[str]) -> NoReturn:
        """End the program, for the sweep is not complete.

        Args:
            late: jobs that are open for want of time.
            errors: of what else is open; empty texts where there is none.

        Raises:
            SystemExit: the code is 124 where only time was short, 2 where all errors are users' mistakes, else 1.
        """
        line = DIVERGED if errors and all(map(is_diverged, errors)) else OPEN
        warn(self._closing(late) if late or not errors else line)
        if not errors:
            sys.exit(TIME_LIMIT)
        sys.exit(2 if all(error.startswith("UserError") for error in errors) else 1)

    def _closing(self, jobs: Sequence[Job]) -> str:
        """Return the last line of a sweep that ran out of time, from the jobs that are open for want of it."""
        if self.limit is None:
            return "time limit of jobs reached (trainer.max_seconds); the same command resumes"
        given = f"{self.limit.key}={self.limit.seconds:g}"
        needs = [need for job in jobs if (need := self.need(job)) is not None]
        hopeless = needs and len(needs) == len(jobs) and min(needs) > self.limit.seconds
        if hopeless and not any(map(_begun, jobs)):
            return (
                f"no job that is left fits into {given}: the shortest needs about {duration(min(needs))}; the same "
                "command with a higher limit, or with a trainer.max_seconds below it, resumes"
            )
        why = str(self.limit) if self.reached else f"no job that is left fits into the rest of {given}"
        return f"{why}; the same command resumes"

    @contextmanager
    def enforced(self) -> Iterator[None]:
        """Break off a block `OVERTIME` after the limit: a job has not ended by itself."""
        here = threading.current_thread() is threading.main_thread()
        if self.limit is None or not here or not hasattr(signal, "setitimer"):
            yield
            return
        text = str(self.limit)

        def ring(number: int, frame: FrameType | None) -> None:
            raise Stopped(None, text)

        before = signal.signal(signal.SIGALRM, ring)
        signal.setitimer(signal.ITIMER_REAL, max(0.001, self.limit.remaining + OVERTIME))
        try:
            yield
        except Stopped as stopped:
            if stopped.limit != text:
                raise
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)


def _begun(job: Job) -> bool:
    return job_state(job)[0] == "interrupted"
