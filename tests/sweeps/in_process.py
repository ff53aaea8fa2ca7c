"""Sweeps in this process: a launcher that trains nothing and writes the records that a test asks for."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hydra._internal.callbacks import Callbacks
from hydra.core.config_loader import ConfigLoader
from hydra.core.utils import JobReturn
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig

from wrnexp.config.identity import arm_id, run_id
from wrnexp.errors import one_line
from wrnexp.hydra_app.naming import app_config
from wrnexp.runs.record import Record, write_metrics, write_record
from wrnexp.sweeps.grid import LabelledSweeper
from wrnexp.sweeps.launchers.base import WatchedLauncher, fill
from wrnexp.sweeps.launchers.worker import JobOutcome
from wrnexp.sweeps.search.sweeper import SearchSweeper

Perform = Callable[[Path, dict[str, Any]], float | None]


def record_of(config: dict[str, Any], status: str = "completed", **more: Any) -> Record:
    fields = {"status": status, "run_id": run_id(config), "arm_id": arm_id(config), "label": str(config["label"])}
    seed = config["seed"] if isinstance(config["seed"], int) else -1
    metrics = {"val_accuracy": config["optim"]["lr"], "test_accuracy": 0.5}
    return Record.model_validate(fields | {"seed": seed, "config": config, "metrics": metrics} | more)


def complete(folder: Path, config: dict[str, Any]) -> float | None:
    """Write the files of a completed run."""
    record = record_of(config)
    write_metrics(folder, [{"epoch": 1, "seconds": 1.0, "val_accuracy": record.metrics["val_accuracy"]}])
    write_record(folder, record)
    return record.metrics["val_accuracy"]


class Launcher(WatchedLauncher):
    """Runs `perform` for each job that is wanted; `launched` has the folders' names."""

    def __init__(self, perform: Perform = complete) -> None:
        self.perform, self.launched = perform, list[str]()

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        results = [JobReturn(overrides=list(overrides)) for overrides in job_overrides]
        for index, config in enumerate(self.configs(job_overrides, initial_job_idx)):
            if not self.watcher.should_run(index):
                continue
            self.watcher.started(index)
            folder = Path(config.hydra.sweep.dir) / config.hydra.sweep.subdir
            self.launched.append(folder.name)
            fill(results[index], self._outcome(folder, config))
            self.watcher.ended(index, results[index])
        return results

    def _outcome(self, folder: Path, config: DictConfig) -> JobOutcome:
        try:
            return JobOutcome(self.perform(folder, app_config(config)))
        except Exception as error:
            return JobOutcome(error=error)


def failing(error: Exception, **more: Any) -> Perform:
    """Return what fails with an error, which the record has too."""

    def perform(folder: Path, config: dict[str, Any]) -> float | None:
        write_record(folder, record_of(config, "failed", error=one_line(error), **more))
        raise error

    return perform


def sweep(loader: ConfigLoader, launcher: Launcher, *arguments: str, **search: Any) -> list[float | None]:
    """Run a sweep, or a search where `search` has the keys of `hydra.sweeper`, as the command `-m ARGUMENTS` does."""
    kind = SearchSweeper if search else LabelledSweeper
    sweeper = kind.__new__(kind)  # Hydra's scan for plugins imports the base class twice: its constructor fails
    sweeper.max_batch_size, sweeper.params, sweeper.arms = None, {}, None
    if isinstance(sweeper, SearchSweeper):
        sampler = {"startup_trials": 10, "seed": 0}
        pruning = {"enabled": False, "startup_trials": 5, "warmup_epochs": 10}
        sweeper.options = {"n_jobs": 1, "sampler": sampler, "pruning": pruning, **search}
        arguments = ("hydra/sweeper=search", *arguments)
    sweeper.config = loader.load_configuration("config", list(arguments), RunMode.MULTIRUN)
    sweeper.hydra_context = HydraContext(loader, Callbacks())
    sweeper.launcher, sweeper.task = launcher, lambda config: None
    values: list[float | None] = sweeper.sweep(list(sweeper.config.hydra.overrides.task))
    return values
