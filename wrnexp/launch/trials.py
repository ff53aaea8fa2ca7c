"""Drives a search: asks the study for trials, has their runs driven as those of any sweep, tells it what came of them.

The records say what came of a run. What this process is told on the way is not used, so that a trial whose driver was
killed is told by the next one as it would have been by the first.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict
from optuna.trial import FrozenTrial, TrialState
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from wrnexp import identity
from wrnexp.errors import UserError, is_diverged, is_pruned
from wrnexp.launch.driver import POLL, Driver
from wrnexp.launch.jobs import Composer, Job
from wrnexp.launch.local import LocalLauncher
from wrnexp.launch.naming import app_config
from wrnexp.launch.space import Space
from wrnexp.launch.standing import Standing
from wrnexp.records import read_metrics, read_record
from wrnexp.study import FILE, Study, step_of
from wrnexp.sweeps import state_of

LENGTH = "optim.epochs"  # searched, runs are compared at equal shares of their length instead of equal epochs


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")


class Sampler(_Part):
    """conf/hydra/sweeper/search.yaml, sampler."""

    startup_trials: int = Field(ge=0, description="a whole number, 0 or more")
    seed: int = Field(ge=0, description="a whole number, 0 or more")


class Pruning(_Part):
    """conf/hydra/sweeper/search.yaml, pruning."""

    enabled: bool = Field(description="true or false")
    startup_trials: int = Field(ge=1, description="a whole number, 1 or more")
    warmup_epochs: int = Field(ge=0, description="a whole number, 0 or more")


class Options(_Part):
    """conf/hydra/sweeper/search.yaml, without what is searched."""

    n_trials: int = Field(ge=1, description="a whole number, 1 or more")
    n_jobs: int = Field(ge=1, description="a whole number, 1 or more")
    sampler: Sampler
    pruning: Pruning

    @classmethod
    def checked(cls, options: dict[str, Any]) -> "Options":
        """Take the keys of the config.

        Raises:
            UserError: one of them is not allowed.
        """
        try:
            return cls.model_validate(options)
        except ValidationError as error:
            first = error.errors()[0]
            model: Any = cls
            for part in first["loc"][:-1]:
                model = model.model_fields[part].annotation
            field = model.model_fields.get(first["loc"][-1])
            key = ".".join(["hydra.sweeper", *map(str, first["loc"])])
            allowed = field.description if field else f"{', '.join(model.model_fields)}"
            raise UserError(f"{key}={first['input']} is not allowed; allowed: {allowed}") from error


@dataclass(frozen=True)
class Trial:
    """A trial that this process runs: its number, what it tries, and a job for each seed."""

    number: int
    params: dict[str, Any]
    jobs: list[Job]


class Searcher(Driver):
    """One command's share in a search.

    Args:
        config: the command's config as a whole.
        context: Hydra's.
        launcher: the one that the command names.
        task: the function that runs a job.
        space: what is searched.
        options: how.

    Raises:
        UserError: there would be nothing to measure the objective on.
    """

    def __init__(
        self,
        config: DictConfig,
        context: HydraContext,
        launcher: Launcher,
        task: TaskFunction,
        space: Space,
        options: Options,
    ) -> None:
        super().__init__(config, context, launcher, task)
        self.space, self.options = space, options
        self._composer = Composer(context.config_loader, config, space.arguments)
        self._numbers: dict[Path, int] = {}  # of the trials, by their runs' folders
        self._study: Study | None = None
        self._fixed = _fixed(config, space)

    @property
    def study(self) -> Study:
        """The study; it is opened, and made where it is not there, when it is first asked for."""
        if self._study is None:
            sampler = self.options.sampler
            self._study = Study(
                self.folder,
                self.space.searched,
                self._fixed,
                startup_trials=sampler.startup_trials,
                seed=sampler.seed,
                retry_failed=bool(self.config.sweep.retry_failed),
            )
        return self._study

    def search(self) -> list[float | None]:
        """Run trials until the study has all of them and none is open, and say how it stands.

        Returns:
            The value of each trial, None where it has none.
        """
        self.describe(self.space.axes(), [])
        with self.study, self:
            while not self.stopped():
                trials = [self._composed(one) for one in self.study.claim(self.options.n_jobs, self.options.n_trials)]
                if trials:
                    self._try(trials)
                elif self.study.others():
                    time.sleep(POLL)
                else:
                    break
        return self.leave()

    def preview(self) -> None:
        """Print what is known, how much is to come, and what is searched; write nothing."""
        known = (self.folder / FILE).exists()
        if known:
            self.show()
        told = len(self.study.trials) if known else 0
        self.terminal.print(f"{max(0, self.options.n_trials - told)} more trials of {self.options.n_trials}:")
        for key, (how,) in {key: how for key, how in self.space.axes().items() if key != "seed"}.items():
            self.terminal.print(f"  {key}={how}")

    def over(self, job: Job) -> bool:
        """Say whether there is nothing more to do for a job: what a search has stopped is not gone on with."""
        return super().over(job) or is_pruned(state_of(job.folder)[1])

    def title(self, job: Job) -> str:
        """Return the line that says that a job begins."""
        return f"[trial {self._numbers[job.folder]} of {self.options.n_trials}] {job.label}, seed {job.values['seed']}"

    def standing(self) -> str:
        """Return in words how far the search is."""
        return self._standing().totals()

    def show(self) -> None:
        """Print the trials, the best first, and what they say."""
        self._standing().show(self.terminal)

    def too_few_seeds(self) -> str | None:
        """Say what one seed a trial means, and that the launcher runs fewer jobs than there are trials at once."""
        if isinstance(self.launcher, LocalLauncher) and self.launcher.n_jobs == 1 < self.options.n_jobs:
            return (
                f"the launcher runs one job after another, and TPE chooses {self.options.n_jobs} trials without knowing "
                "of each other: add hydra/launcher=joblib, or leave hydra.sweeper.n_jobs=1"
            )
        return None

    def leave(self) -> list[float | None]:
        """Return the value of every trial, or end the program where one has failed or is not over."""
        standing = self._standing()
        standing.end()
        return [one.value for one in standing.trials]

    def _standing(self) -> Standing:
        return Standing(self.study, self.space, self.folder, self.options.n_trials)

    def _composed(self, trial: FrozenTrial) -> Trial:
        """Return the runs of a trial; the first one tells the study of its epochs where hopeless runs are stopped."""
        jobs = [self._composer.job(self.space.overrides(trial.params, seed)) for seed in self.space.seeds]
        for job in jobs:
            self._numbers.setdefault(job.folder, trial.number)
        pruning = self.options.pruning
        if pruning.enabled:
            with open_dict(jobs[0].config):
                jobs[0].config.tracking.search = {
                    "_target_": "wrnexp.tracking.search.Search",
                    "_partial_": True,
                    "study": str(self.folder / FILE),
                    "trial": trial.number,
                    "startup_trials": pruning.startup_trials,
                    "warmup_epochs": pruning.warmup_epochs,
                    "shares": self._shares,
                }
        return Trial(trial.number, dict(trial.params), jobs)

    @property
    def _shares(self) -> bool:
        return LENGTH in self.space.searched

    def _try(self, trials: Sequence[Trial]) -> None:
        """Run trials: each with its first seed, then with the others what was not stopped."""
        self._run([trial.jobs[0] for trial in trials])
        going = [trial for trial in trials if state_of(trial.jobs[0].folder)[0] == "completed"]
        self._run([job for trial in going for job in trial.jobs[1:]])
        for trial in trials:
            self._tell(trial)
        self.save()

    def _run(self, jobs: Sequence[Job]) -> None:
        """Run jobs, each once: a trial may be what another has been."""
        known = {job.folder: job for job in self.jobs}
        mine = list({job.folder: known.get(job.folder, job) for job in jobs}.values())
        if mine and not self.stopped():
            self.describe(self.space.axes(), mine)
            self.save()
            self.run(mine)

    def _tell(self, trial: Trial) -> None:
        """Tell the study what the records say of a trial; nothing where a run is not over."""
        ends = [state_of(job.folder) for job in trial.jobs]
        errors = [error for _, error in ends if error is not None]
        curve = self._curve(trial.jobs[0])
        if all(state == "completed" for state, _ in ends):
            value = _objective(trial.jobs)
            state, error = (TrialState.COMPLETE, None) if value is not None else (TrialState.FAIL, NO_VALUE)
            self.study.tell(trial.number, state, value, curve, error)
        elif any(is_pruned(error) or is_diverged(error) for error in errors):
            # One that diverges is no failure of the machine: told as one, TPE would not learn to keep away from there.
            self.study.tell(trial.number, TrialState.PRUNED, None, curve, errors[0])
        elif any(state == "failed" for state, _ in ends) or self._never_began(trial):
            self.study.tell(trial.number, TrialState.FAIL, None, curve, errors[0] if errors else None)

    def _never_began(self, trial: Trial) -> bool:
        """Say whether a job failed before it had a record."""
        return any(entry.state == "failed" for job in trial.jobs if (entry := self.entry(job)) is not None)

    def _curve(self, job: Job) -> dict[int, float]:
        epochs = job.values["optim"]["epochs"]
        found: dict[int, float] = {}
        for row in read_metrics(job.folder):
            if row["val_accuracy"] is not None:
                found.setdefault(step_of(row["epoch"], epochs, self._shares), row["val_accuracy"])
        return found


NO_VALUE = "UserError: the run has no validation accuracy; a search needs data.val_size above 0"


def _objective(jobs: Sequence[Job]) -> float | None:
    """Return the mean validation accuracy of the last epochs of completed runs; None where one has none."""
    values = [read_record(job.folder).metrics.get("val_accuracy") for job in jobs]
    known = [value for value in values if value is not None]
    return fmean(known) if len(known) == len(values) else None


def _fixed(config: DictConfig, space: Space) -> dict[str, Any]:
    """Return what all trials have in common, as the command gives it, and the seeds.

    Raises:
        UserError: no image is held out.
    """
    values = app_config(config)
    if values["data"].get("val_size") == 0:
        raise UserError(
            "data.val_size=0: a search needs validation images, for it must not choose by the test set; give for instance "
            "data.val_size=5000"
        )
    settings = identity.flat(identity.effective(values))
    groups = tuple(f"{key.lstrip('+')}." for key in space.searched)
    kept = {key: value for key, value in settings.items() if key not in space.searched and not key.startswith(groups)}
    return kept | {"seed": ",".join(space.seeds)}
