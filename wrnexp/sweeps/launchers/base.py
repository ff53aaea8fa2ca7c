"""What the launchers share: somebody who decides on jobs and hears of them, and the configs that jobs run by."""

from collections.abc import Sequence
from typing import Protocol

from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from wrnexp.sweeps.launchers.worker import JobOutcome


class JobCallbacks(Protocol):
    """Who decides on jobs and hears of them, by their index in a launch."""

    def should_run(self, index: int) -> bool:
        """Say whether a job is to be run now."""
        ...

    def called_off(self, index: int) -> bool:
        """Say whether a job that waits is not to begin any more: another has failed, or too little time is left."""
        ...

    def started(self, index: int) -> None:
        """Hear that a job begins."""
        ...

    def ended(self, index: int, result: JobReturn) -> None:
        """Hear that a job has ended."""
        ...


class _Nobody:
    def should_run(self, index: int) -> bool:
        return True

    def called_off(self, index: int) -> bool:
        return False

    def started(self, index: int) -> None:
        pass

    def ended(self, index: int, result: JobReturn) -> None:
        pass


class WatchedLauncher(Launcher):
    """A launcher that tells how its jobs go while they go; no failure of a job is raised.

    Attributes:
        elsewhere: whether jobs may run on other machines than this one.
        watcher: who is told; nobody at first.
    """

    elsewhere = False
    watcher: JobCallbacks = _Nobody()

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Take what Hydra knows of the command."""
        self.context, self.task, self.config = hydra_context, task_function, config

    def close(self) -> None:
        """Let go of what outlives a launch."""

    def configs(self, job_overrides: Sequence[Sequence[str]], first: int) -> list[DictConfig]:
        """Return the config of each job; they are numbered from `first`."""
        found = []
        for number, overrides in enumerate(job_overrides, first):
            config = self.context.config_loader.load_sweep_config(self.config, list(overrides))
            config.hydra.job.id, config.hydra.job.num = str(number), number
            found.append(config)
        return found


def fill(result: JobReturn, outcome: JobOutcome) -> None:
    """Write down in Hydra's form what came of a job."""
    failed = outcome.error is not None
    result.return_value = outcome.error if failed else outcome.value
    result.status = JobStatus.FAILED if failed else JobStatus.COMPLETED
