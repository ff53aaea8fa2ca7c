"""Hydra's launcher on this machine: worker processes that outlive their jobs, and jobs that take no others with them.

A worker imports torch once and runs one job after another; one that is killed (by the system, for want of memory) fails
the job that it was running, and another takes its place.
"""

import os
import signal
import subprocess
from collections import deque
from collections.abc import Sequence
from multiprocessing import get_context
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess

from hydra.core.utils import JobReturn
from hydra.types import TaskFunction
from omegaconf import DictConfig

from wrnexp.errors import UserError
from wrnexp.runs.provenance import usable_cores
from wrnexp.sweeps.launchers.base import WatchedLauncher, fill
from wrnexp.sweeps.launchers.worker import Assignment, JobOutcome, KilledError, serve

GRACE = 45.0  # seconds that a worker has to close its run's files when the sweep ends early


class LocalLauncher(WatchedLauncher):
    """Runs jobs in worker processes.

    Args:
        n_jobs: jobs at once; -1 is one a GPU slot, or one a core where there is no GPU.
        gpus: indices of the GPUs that are shared out where `n_jobs` is not 1; None is all that are visible.
        slots_per_gpu: jobs at once on one GPU.

    Raises:
        UserError: a number is out of range.
    """

    def __init__(self, n_jobs: int = 1, gpus: Sequence[int] | None = None, slots_per_gpu: int = 1) -> None:
        if n_jobs == 0 or n_jobs < -1:
            raise UserError(f"hydra.launcher.n_jobs={n_jobs} is not allowed; allowed: a whole number, 1 or more, or -1")
        if slots_per_gpu < 1:
            raise UserError(f"hydra.launcher.slots_per_gpu={slots_per_gpu} is not allowed; allowed: 1 or more")
        self.n_jobs, self.gpus, self.slots_per_gpu = n_jobs, gpus, slots_per_gpu
        self._workers: list[Worker] = []

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run the jobs in order and return what each gave; `UNKNOWN` is the status of one that was not wanted."""
        configs = self.configs(job_overrides, initial_job_idx)
        results = [JobReturn(overrides=list(overrides)) for overrides in job_overrides]
        try:
            self._run(configs, results)
        except BaseException:
            self.close()
            raise
        return results

    def close(self) -> None:
        """End the workers, gently at first."""
        for worker in self._workers:
            worker.process.terminate()
        for worker in self._workers:
            worker.end()
        self._workers = []

    def _run(self, configs: list[DictConfig], results: list[JobReturn]) -> None:
        """Keep every worker busy until no wanted job is left."""
        slots = self._slots()[: max(1, len(configs))]
        open_ = deque(range(len(configs)))
        while True:
            self._staff(slots)
            for worker in self._workers:
                if worker.job is None and (index := self._next(open_)) is not None:
                    worker.give(index, configs[index], quiet=len(slots) > 1)
                    self.watcher.started(index)
            busy = [worker for worker in self._workers if worker.job is not None]
            if not busy:
                return
            ready = wait([one for worker in busy for one in (worker.connection, worker.process.sentinel)])
            for worker in busy:
                if worker.connection in ready or worker.process.sentinel in ready:
                    index, outcome = worker.take()
                    fill(results[index], outcome)
                    self.watcher.ended(index, results[index])

    def _next(self, open_: deque[int]) -> int | None:
        while open_:
            index = open_.popleft()
            if self.watcher.should_run(index):
                return index
        return None

    def _staff(self, slots: list[dict[str, str]]) -> None:
        """Have a living worker in each slot."""
        self._workers = [worker for worker in self._workers if worker.process.is_alive()]
        taken = [worker.environment for worker in self._workers]
        for environment in slots:
            if environment in taken:
                taken.remove(environment)
            else:
                self._workers.append(Worker(self.task, self.config.hydra.job.name, environment))

    def _slots(self) -> list[dict[str, str]]:
        """Return the environment of each worker: the GPU that is its own, or its share of the cores."""
        if self.n_jobs == 1:
            return [{}]
        gpus = _visible_gpus()
        if self.gpus is not None:
            if wrong := [index for index in self.gpus if not 0 <= index < len(gpus)]:
                raise UserError(f"hydra.launcher.gpus has {wrong[0]}, and there are {len(gpus)} GPUs")
            gpus = [gpus[index] for index in self.gpus]
        if gpus:
            slots = [{"CUDA_VISIBLE_DEVICES": gpu} for _ in range(self.slots_per_gpu) for gpu in gpus]
            return slots if self.n_jobs == -1 else slots[: self.n_jobs]
        cores = usable_cores()
        jobs = cores if self.n_jobs == -1 else self.n_jobs
        # Torch takes every core for each process unless told otherwise; processes that share cores so are far slower.
        return [{"OMP_NUM_THREADS": str(max(1, cores // jobs)), "MKL_NUM_THREADS": str(max(1, cores // jobs))}] * jobs


class Worker:
    """A process that runs jobs, and the end of a pipe to it."""

    def __init__(self, task: TaskFunction, application: str, environment: dict[str, str]) -> None:
        self.environment = environment
        self.job: int | None = None
        self.connection, theirs = get_context("spawn").Pipe()
        what = (theirs, task.__module__, task.__qualname__, environment, application)
        self.process: SpawnProcess = get_context("spawn").Process(target=serve, args=what)
        self.process.start()
        theirs.close()  # ours would keep the pipe open when the worker is gone

    def give(self, index: int, config: DictConfig, quiet: bool) -> None:
        """Give it a job; a quiet one prints to console.log in the run's folder."""
        self.job = index
        self.connection.send(Assignment(config, quiet))

    def take(self) -> tuple[int, JobOutcome]:
        """Return the job that is over and what came of it; a worker that died has killed its job."""
        assert self.job is not None
        index, self.job = self.job, None
        try:
            outcome: JobOutcome = self.connection.recv()
        except (EOFError, OSError):
            self.process.join()
            outcome = JobOutcome(error=KilledError(_how(self.process.exitcode)))
        return index, outcome

    def end(self) -> None:
        """Wait for it to end, and end it by force after a while."""
        self.connection.close()
        self.process.join(GRACE)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.process.close()


def _how(code: int | None) -> str:
    if code is None or code >= 0:
        return f"the job's process ended with exit code {code}"
    name = signal.Signals(-code).name
    hint = "; out of memory is the usual reason" if name == "SIGKILL" else ""
    return f"the job's process was killed by {name}{hint}"


def _visible_gpus() -> list[str]:
    """Return the names of the GPUs as CUDA_VISIBLE_DEVICES takes them; without torch, whose import takes seconds."""
    if (visible := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return [gpu for gpu in visible.split(",") if gpu not in ("", "-1", "NoDevFiles")]
    command = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return done.stdout.split()
