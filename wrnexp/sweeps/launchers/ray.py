"""Hydra's launcher on Ray: on this machine, or on the machines of a cluster."""

import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn
from hydra.types import TaskFunction
from omegaconf import DictConfig, OmegaConf

from wrnexp.errors import UserError
from wrnexp.process.packages import require
from wrnexp.runs.locks import is_locked
from wrnexp.sweeps.launchers.base import WatchedLauncher, fill
from wrnexp.sweeps.launchers.worker import Assignment, JobOutcome, KilledError, execute

ROOT = Path(__file__).parents[3]
LOOK = 1.0  # seconds between looks at which jobs have begun
GRACE = 45.0  # seconds that running jobs have to close their files when the sweep ends early


def work(assignment: Assignment, task: TaskFunction, folder: str) -> JobOutcome:
    """Run a job in a worker of Ray's.

    Args:
        assignment: the job.
        task: the function that runs it.
        folder: to work in, where the worker's machine has it; what the config says relative to a folder is to this.
    """
    if Path(folder).is_dir():
        os.chdir(folder)
    try:
        return execute(assignment, task)
    except (KeyboardInterrupt, SystemExit) as stop:
        return JobOutcome(error=KilledError(f"interrupted: {stop}"))


class RayLauncher(WatchedLauncher):
    """Runs jobs as Ray tasks; keys are those of Hydra's Ray launcher.

    Args:
        ray: `init`, the arguments of `ray.init`, and `remote`, what each job is given (`ray.remote`'s options).

    Raises:
        UserError: Ray is not installed.
    """

    elsewhere = True

    def __init__(self, ray: Mapping[str, Any]) -> None:
        require("hydra/launcher=ray", "ray", extra="ray")
        options: Any = OmegaConf.to_container(ray, resolve=True) if isinstance(ray, DictConfig) else ray
        self.init, self.remote = dict(options["init"]), dict(options["remote"])

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run the jobs and return what each gave.

        Raises:
            UserError: there is no cluster at the address, or it has not what a job needs.
        """
        configs = self.configs(job_overrides, initial_job_idx)
        results = [JobReturn(overrides=list(overrides)) for overrides in job_overrides]
        self._connect()
        run = self._task()
        tasks = [run.remote(Assignment(config, quiet=True), self.task, str(Path.cwd())) for config in configs]
        try:
            self._follow(tasks, [Path(one.hydra.sweep.dir) / one.hydra.sweep.subdir for one in configs], results)
        except BaseException:
            self._break_off(tasks)
            raise
        return results

    def close(self) -> None:
        """Leave the cluster; one that was started here ends."""
        import ray

        ray.shutdown()

    def _connect(self) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported unless the user asks for it
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        import ray

        if ray.is_initialized():
            return
        options = {key: value for key, value in self.init.items() if value is not None}
        if "address" in options:  # another machine has not this one's files
            options["runtime_env"] = _with_code(options.get("runtime_env") or {})
            options.pop("include_dashboard", None)  # whoever started the cluster has decided
        before = signal.getsignal(signal.SIGTERM)
        try:
            ray.init(**options)
        except (ConnectionError, ValueError, TypeError, RuntimeError) as error:
            raise UserError(f"hydra/launcher=ray: {error} (hydra.launcher.ray.init.*)") from error
        finally:
            signal.signal(signal.SIGTERM, before)  # Ray puts its own there, which would end a sweep without its table

    def _task(self) -> Any:
        """Return the remote function, once it is known that some machine can run it."""
        import ray

        there = ray.cluster_resources()
        options = dict(self.remote)
        if options.get("num_gpus") is None:
            options["num_gpus"] = 1 if there.get("GPU") else 0
        for key, name in (("num_cpus", "CPU"), ("num_gpus", "GPU")):
            if (options.get(key) or 0) > there.get(name, 0):
                raise UserError(
                    f"hydra.launcher.ray.remote.{key}={options[key]} is more than the {there.get(name, 0):g} that the "
                    "Ray cluster has"
                )
        return ray.remote(**options)(work)

    def _follow(self, tasks: Sequence[Any], folders: Sequence[Path], results: list[JobReturn]) -> None:
        """Wait until no job is left, telling what becomes of each."""
        import ray

        left, begun = dict(zip(tasks, range(len(tasks)), strict=True)), set[int]()
        while left:
            done, _ = ray.wait(list(left), timeout=LOOK)
            for index in left.values():
                if index not in begun and (tasks[index] in done or is_locked(folders[index])):
                    begun.add(index)
                    self.watcher.started(index)
            for task in done:
                index = left.pop(task)
                fill(results[index], _outcome(task))
                self.watcher.ended(index, results[index])
            self._call_off(left, begun, folders)

    def _call_off(self, left: dict[Any, int], begun: set[int], folders: Sequence[Path]) -> None:
        """Cancel the jobs that have not begun and are not to."""
        import ray

        for task, index in list(left.items()):
            if index not in begun and not is_locked(folders[index]) and self.watcher.called_off(index):
                ray.cancel(task)
                del left[task]

    def _break_off(self, tasks: Sequence[Any]) -> None:
        """Interrupt the jobs and let them close their files."""
        import ray

        for task in tasks:
            ray.cancel(task)
        ray.wait(list(tasks), num_returns=len(tasks), timeout=GRACE)


def _outcome(task: Any) -> JobOutcome:
    import ray

    try:
        found: JobOutcome = ray.get(task)
    except ray.exceptions.RayError as error:
        text = str(error).strip().splitlines()[0]
        return JobOutcome(error=KilledError(f"{type(error).__name__}: {text}"))
    return found


def _with_code(environment: Mapping[str, Any]) -> dict[str, Any]:
    """Return a runtime environment that sends the program to the cluster's machines, unless it says what to send."""
    if "py_modules" in environment or "working_dir" in environment:
        return dict(environment)
    return dict(environment) | {"py_modules": [str(ROOT / "wrnexp"), str(ROOT / "hydra_plugins")]}
