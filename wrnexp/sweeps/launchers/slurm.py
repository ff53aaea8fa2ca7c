"""Hydra's launcher on a Slurm cluster: an array of jobs, each of which is queued again when its machine is taken away.

submitit writes the script, submits it and queues jobs again. Waiting for them is done here: submitit, and Hydra's
launcher that is made of it, raise at the first job without a result, whatever becomes of the others, and wait for ever
for a job that was killed on a cluster without accounting.
"""

import copy
import os
import pickle
import shlex
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn
from hydra.types import TaskFunction
from omegaconf import DictConfig, OmegaConf

from wrnexp.errors import Stopped, UserError
from wrnexp.process.packages import require
from wrnexp.sweeps.launchers.base import WatchedLauncher, fill
from wrnexp.sweeps.launchers.worker import Assignment, JobOutcome, KilledError, execute

ROOT = Path(__file__).parents[3]
LOOK = 5.0  # seconds between questions to the queue: one for all jobs
PATIENCE = 20.0  # seconds from the end of a job until its result must be seen; network file systems show files late
SHARED = {"timeout_min", "cpus_per_task", "gpus_per_node", "tasks_per_node", "mem_gb", "nodes", "name"}
SHARED |= {"stderr_to_stdout"}  # submitit's keys for every kind of cluster; the others are Slurm's
SETUP = [
    f"export PYTHONPATH={shlex.quote(str(ROOT))}${{PYTHONPATH:+:$PYTHONPATH}}",
    # A cluster that does not bind jobs to their cores shows each of them all of the machine's.
    "export OMP_NUM_THREADS=${OMP_NUM_THREADS:-${SLURM_CPUS_PER_TASK:-1}}",
]
ENDED = {"BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED"}
ENDED |= {"REVOKED", "TIMEOUT"}


@dataclass(frozen=True)
class SlurmJob:
    """What a Slurm job does: one run, by the config that it was submitted with."""

    config: DictConfig
    task: TaskFunction

    def __call__(self) -> JobOutcome:
        """Run it. On SIGUSR2 the run is closed first, then the job is queued again.

        Raises:
            Stopped: another signal has ended the run.
        """
        queue_again: Any = signal.getsignal(signal.SIGUSR2)  # submitit's; the run puts its own in its place
        config = copy.deepcopy(self.config)  # Hydra makes a job's config read-only; this one may be submitted again
        config.hydra.job.id = os.environ.get("SLURM_JOB_ID", config.hydra.job.id)
        try:
            return execute(Assignment(config, quiet=False), self.task)
        except Stopped as stopped:
            if stopped.number == signal.SIGUSR2 and callable(queue_again):
                print(f"{stopped}", flush=True)
                queue_again(signal.SIGUSR2, None)  # ends this process
            raise

    def checkpoint(self) -> Any:
        """Return what is submitted when the job is queued again: the same; the run finds its own checkpoint."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


class SlurmLauncher(WatchedLauncher):
    """Runs jobs as a Slurm job array; keys are those of Hydra's submitit launcher.

    Args:
        submitit_folder: for scripts, logs and results; on a file system that all machines share. `%j` is the job.
        max_num_timeout: how often a job may run out of time and be queued again.
        parameters: of the job, see conf/hydra/launcher/submitit_slurm.yaml and sbatch's manual.

    Raises:
        UserError: submitit is not installed.
    """

    elsewhere = True

    def __init__(self, submitit_folder: str, max_num_timeout: int = 3, **parameters: Any) -> None:
        require("hydra/launcher=submitit_slurm", "submitit", extra="slurm")
        for key in ("nodes", "tasks_per_node"):
            if (count := parameters.get(key)) not in (None, 1):
                raise UserError(
                    f"hydra.launcher.{key}={count} would start each run {count} times: use 1; for several GPUs "
                    "trainer.devices=N with gpus_per_node=N"
                )
        self.folder, self.max_num_timeout = submitit_folder, max_num_timeout
        self.parameters: dict[str, Any] = {
            key: OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
            for key, value in parameters.items()
            if value is not None
        }

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Submit the jobs, wait for all of them and return what each gave.

        Raises:
            UserError: Slurm is not there, or refuses the jobs.
        """
        work = [SlurmJob(config, self.task) for config in self.configs(job_overrides, initial_job_idx)]
        results = [JobReturn(overrides=list(overrides)) for overrides in job_overrides]
        array = _Array(self._submit(work))
        print(f"Slurm job {array.number}: {len(work)} jobs, logs in {array.logs}; `scancel {array.number}` ends them")
        try:
            self._follow(array, results)
        except BaseException:
            print(f"Slurm job {array.number} goes on without this process; `scancel {array.number}` ends it")
            raise
        return results

    def _submit(self, work: Sequence[SlurmJob]) -> list[Any]:
        import submitit

        parameters = {key if key in SHARED else f"slurm_{key}": value for key, value in self.parameters.items()}
        parameters["slurm_setup"] = [*SETUP, *self.parameters.get("setup", [])]
        try:
            executor = submitit.AutoExecutor(self.folder, cluster="slurm", slurm_max_num_timeout=self.max_num_timeout)
            executor.update_parameters(**parameters)
            jobs: list[Any] = executor.submit_array(list(work))
        except (RuntimeError, ValueError, NameError, AssertionError) as error:
            raise UserError(f"hydra/launcher=submitit_slurm: {error}") from error
        return jobs

    def _follow(self, array: "_Array", results: list[JobReturn]) -> None:
        """Wait until no job is left, telling what becomes of each."""
        left, begun = set(range(len(results))), set[int]()
        while left:
            array.look()
            for index in sorted(left):
                if index not in begun and array.begun(index):
                    begun.add(index)
                    self.watcher.started(index)
                if (outcome := array.outcome(index)) is not None:
                    left.remove(index)
                    fill(results[index], outcome)
                    self.watcher.ended(index, results[index])
            array.call_off({index for index in left - begun if self.watcher.called_off(index)})
            left -= array.gone()
            time.sleep(1 if left else 0)


class _Array:
    """Submitted jobs, and what Slurm and their files say of them."""

    def __init__(self, jobs: Sequence[Any]) -> None:
        self._jobs = jobs
        self.number = str(jobs[0].job_id).split("_")[0]
        self.logs = Path(jobs[0].paths.folder).parent
        self._states: Mapping[str, str] = {}
        self._looked = -LOOK
        self._called_off: set[int] = set()
        self._over: dict[int, float] = {}  # since when Slurm says that a job is over

    def look(self) -> None:
        """Ask Slurm for the states, if that was not done just now."""
        if time.monotonic() - self._looked < LOOK:
            return
        self._looked = time.monotonic()
        if (states := queue(self.number)) is None:
            return
        self._states = states
        for index, job in enumerate(self._jobs):
            if (self._state(job) or "COMPLETED") not in ENDED:
                self._over.pop(index, None)
            else:
                self._over.setdefault(index, self._looked)

    def begun(self, index: int) -> bool:
        """Say whether a job runs or has run."""
        job = self._jobs[index]
        return self._state(job) == "RUNNING" or job.paths.result_pickle.exists()

    def outcome(self, index: int) -> JobOutcome | None:
        """Return what came of a job; None where it is not over."""
        job = self._jobs[index]
        if job.paths.result_pickle.exists():
            kind, found = pickle.loads(job.paths.result_pickle.read_bytes())
            if isinstance(found, JobOutcome):
                return found
            return JobOutcome(error=KilledError(f"{kind}: {str(found).strip().splitlines()[-1]}"))
        if index not in self._over or time.monotonic() - self._over[index] < PATIENCE:
            return None
        state = self._state(job) or "not in the queue any more"
        return JobOutcome(
            error=KilledError(f"Slurm job {job.job_id} is {state} and left no result; {job.paths.stderr}")
        )

    def call_off(self, indices: set[int]) -> None:
        """Take jobs that wait for their first turn out of the queue; each once."""
        if not (more := indices - self._called_off):
            return
        self._called_off |= more
        subprocess.run(
            ["scancel", "--state=PENDING", *(self._jobs[index].job_id for index in sorted(more))], check=False
        )

    def gone(self) -> set[int]:
        """Return which of those called off have left the queue without a result."""
        return {
            index
            for index in self._called_off
            if self._state(self._jobs[index]) == "CANCELLED" and not self._jobs[index].paths.result_pickle.exists()
        }

    def _state(self, job: Any) -> str | None:
        """Return what Slurm says of a job; of those that never began it has one line, by the array's number."""
        return self._states.get(job.job_id) or self._states.get(self.number)


def queue(number: str) -> dict[str, str] | None:
    """Return the state of each job of an array, by its id; None where Slurm does not answer.

    Jobs that ended a while ago (`MinJobAge`, five minutes) are left out.
    """
    command = ["squeue", "--noheader", "--array", "--states=all", f"--jobs={number}", "--format=%i|%T"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.returncode and "Invalid job id" not in done.stderr:
        return None
    return dict(line.split("|", 1) for line in done.stdout.split())
