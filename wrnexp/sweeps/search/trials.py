"""Drives a search: asks the study for trials, has their runs driven as those of any sweep, tells it what came of them.

The records say what came of a run. What this process is told on the way is not used, so that a trial whose driver was
killed is told by the next one as it would have been by the first.
"""

import time
from collections.abc import Iterator, Sequence
from itertools import chain
from statistics import fmean
from typing import Any

from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict
from optuna.trial import FrozenTrial

from wrnexp.config import identity
from wrnexp.config.check import message, problems
from wrnexp.errors import UserError, is_diverged, is_pruned
from wrnexp.process.terminal import printable
from wrnexp.runs.record import read_metrics
from wrnexp.sweeps.driver import POLL, Driver
from wrnexp.sweeps.estimates import Measured
from wrnexp.sweeps.jobs import Composer, Job
from wrnexp.sweeps.merging import require_own_folders, short
from wrnexp.sweeps.search.leaderboard import Standing
from wrnexp.sweeps.search.options import Options
from wrnexp.sweeps.search.space import Space
from wrnexp.sweeps.search.study import FILE, Study
from wrnexp.sweeps.sweep_json import State, completed_record
from wrnexp.sweeps.tables import duration

LENGTH = "optim.epochs"  # searched, no run is stopped: at one epoch runs of different lengths do not compare


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
        UserError: a trial could not be run, or would have no images to measure the objective on, or would share the
            folder of another.
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
        self._corners = [self._composer.job(space.overrides(params, space.seeds[0])) for params in space.corners()]
        _check([job.values for job in self._corners], pruning=options.pruning.enabled)
        if self._corners[0].folder.name != self._corners[0].run_id:  # another layout than that of conf/config.yaml
            probes = [(params, space.seeds[0]) for params in space.steps()]
            probes += [(space.corners()[0], seed) for seed in space.seeds]
            require_own_folders(
                self._composer.job(space.overrides(params, seed), number=number)
                for number, (params, seed) in enumerate(probes)
            )
        self._runs: dict[int, list[Job]] = {}  # of each trial that is known, one a seed
        self._left: set[int] = set()  # open trials that this command leaves open: a run of theirs has failed
        self._study: Study | None = None

    @property
    def study(self) -> Study:
        """The study; it is opened, and made where it is not there, when it is first asked for."""
        if self._study is None:
            sampler = self.options.sampler
            self._study = Study(
                self.folder,
                self.space.searched,
                _fixed([job.values for job in self._corners], self.space),
                startup_trials=sampler.startup_trials,
                seed=sampler.seed,
            )
        return self._study

    def search(self) -> list[float | None]:
        """Run trials until the study has all of them and none is open, and say how it stands.

        Returns:
            The value of each trial, None where it was stopped.
        """
        self._adopt(self.study.trials)
        with self.study, self:
            self._verify_data()
            while not self.stopped() and (trials := self._next()):
                self._try(trials)
        return self.leave()

    def preview(self) -> None:
        """Print what is known, how much is to come, and what is searched; write nothing."""
        if known := (self.folder / FILE).exists():
            self.show()
        open_ = self.options.n_trials - (len(self.study.trials) if known else 0)
        self.terminal.print(f"{max(0, open_)} more trials of {self.options.n_trials}:")
        for key in self.space.searched:
            self.terminal.print(printable(f"  {key}={self.space.axes()[key][0]}"))
        measured = Measured.read(self._records())
        times = [measured.remaining_seconds(job.values, job.folder) for job in self._corners]
        known_times = [seconds for seconds in times if seconds is not None]
        each = fmean(known_times) * len(self.space.seeds) if len(known_times) == len(times) else None
        self.terminal.print(f"time for a trial that is not stopped: {duration(each)}")

    def over(self, job: Job) -> bool:
        """Say whether there is nothing more to do for a job: what was stopped or diverged is not gone on with."""
        return super().over(job) or _settled(self.state(job)[1])

    def is_failure(self, state: State, error: str | None) -> bool:
        """Say whether a job in this state has failed; one that diverged is an answer."""
        return super().is_failure(state, error) and not is_diverged(error)

    def title(self, job: Job) -> str:
        """Return the line that says that a job begins."""
        number = next(number for number, jobs in self._runs.items() if job.folder in [one.folder for one in jobs])
        return f"trial {number}: {job.label}, seed {job.values['seed']}"

    def standing(self) -> str:
        """Return in words how far the search is."""
        return self._standing().totals(self.options.n_trials)

    def show(self) -> None:
        """Print the trials, the best first, and what they say."""
        self._standing().show(self.terminal)
        count, runs = len(self._runs), len({jobs[0].run_id for jobs in self._runs.values()})
        if runs < count:
            self.say(f"note: {count} trials are {runs} runs per seed: {count - runs} repeat earlier settings")
        self.terminal.print(printable(f"{self.standing()}: {short(self.folder)}"))

    def cautions(self) -> Iterator[str]:
        """Say so where the launcher runs another number of jobs at once than there are trials."""
        together, n_jobs = self.options.n_jobs, getattr(self.launcher, "n_jobs", -1)
        if n_jobs not in (-1, together):
            yield (
                f"hydra.sweeper.n_jobs={together} trials are chosen at once, hydra.launcher.n_jobs={n_jobs} run at "
                "once: give both the same number; hydra/launcher=joblib runs several"
            )

    def leave(self) -> list[float | None]:
        """Return the value of every trial, or end the program where one has failed or is not over."""
        standing = self._standing()
        if standing.open or len(standing.rows) < self.options.n_trials:
            late = {row.number: [job for job in self._runs[row.number] if self.late(job)] for row in standing.open}
            errors = [row.error or "" for row in standing.open if row.error or not late[row.number]]
            self.limit.end(list(chain(*late.values())), errors or ([] if self.limit.limit else [""]))
        return standing.values

    def _next(self) -> list[FrozenTrial]:
        """Return trials to run, once there are some or no other process has open ones."""
        while True:
            # Without time for a new trial those that are open are gone on with.
            count = self.options.n_trials if self._time_for_another() else 0
            trials = self.study.claim(self.options.n_jobs, count, self._left)
            if trials or self.limit.reached or not self.study.others(self._left):
                self._adopt(trials)
                return trials
            time.sleep(POLL)

    def _time_for_another(self) -> bool:
        """Say whether a new trial may fit: what it will be is not known, so the quickest of the corners decides."""
        return any(self.limit.fits_new(job) for job in self._corners)

    def _try(self, trials: Sequence[FrozenTrial]) -> None:
        """Run trials: each with its first seed, then with the others what was not stopped."""
        runs = [self._runs[one.number] for one in trials]
        self._run([jobs[0] for jobs in runs])
        self._run([job for jobs in runs if self.state(jobs[0])[0] == "completed" for job in jobs[1:]])
        for trial, jobs in zip(trials, runs, strict=True):
            self._tell(trial.number, jobs)
        self._adopt(self.study.trials)
        self.save()

    def _run(self, jobs: Sequence[Job]) -> None:
        if jobs and not self.stopped():
            self.run(list({job.folder: job for job in jobs}.values()))

    def _verify_data(self) -> None:
        """Compare the images with those of the completed runs, and write damaged results anew.

        Raises:
            UserError: the images have changed, or the results of a run cannot be repaired.
        """
        completed = [job for job in self.jobs if job.folder in self._unverified]
        self._run(completed)
        if errors := [self._refused[job.folder] for job in completed if job.folder in self._refused]:
            raise UserError(f"{errors[0].removeprefix('UserError: ')}; or give this search a name=... of its own")

    def _tell(self, number: int, jobs: Sequence[Job]) -> None:
        """Tell the study what the records say of a trial; where a run has failed or is not over it stays open.

        One that diverges is told like one that was stopped: as a failure it would teach nothing, and fail again.
        """
        ends = [self.state(job) for job in jobs]
        if any(_settled(error) for _, error in ends):
            value = None
        elif all(state == "completed" for state, _ in ends):
            value = _objective(jobs)
        else:
            self._left.add(number)
            self.study.release(number)
            return
        rows = read_metrics(jobs[0].folder)
        self.study.tell(
            number, value, {row["epoch"]: one for row in rows if (one := row.get("val_accuracy")) is not None}
        )

    def _adopt(self, trials: Sequence[FrozenTrial]) -> None:
        """Make the runs of trials known to the sweep; two trials may be the same run.

        Raises:
            UserError: two runs would share a folder.
        """
        known = {job.run_id: job for job in self.jobs}
        for one in trials:
            if one.number not in self._runs:
                jobs = [self._composed(one, seed) for seed in self.space.seeds]
                self._runs[one.number] = [known.setdefault(job.run_id, job) for job in jobs]
        require_own_folders(known.values())
        self.describe(self.space.axes(), list(known.values()))

    def _composed(self, trial: FrozenTrial, seed: str) -> Job:
        """Return a run of a trial; the one of the first seed tells the study of its epochs where runs are stopped."""
        seeds = self.space.seeds
        number = trial.number * len(seeds) + seeds.index(seed)
        job = self._composer.job(self.space.overrides(trial.params, seed), number=number)
        pruning = self.options.pruning
        if pruning.enabled and seed == seeds[0] and LENGTH not in self.space.searched:
            with open_dict(job.config):
                job.config.tracking.search = {
                    "_target_": "wrnexp.tracking.search.Search",
                    "_partial_": True,
                    "study": str(self.folder / FILE),
                    "trial": trial.number,
                    "startup_trials": pruning.startup_trials,
                    "warmup_epochs": pruning.warmup_epochs,
                }
        return job

    def _standing(self) -> Standing:
        self._adopt(trials := self.study.trials)
        entries = [[self._entries[job.folder] for job in self._runs[one.number]] for one in trials]
        return Standing(self.study, self.space, zip(trials, entries, strict=True), self.notes())


def _settled(error: str | None) -> bool:
    return is_pruned(error) or is_diverged(error)


def _objective(jobs: Sequence[Job]) -> float | None:
    """Return the mean validation accuracy of the last epochs of completed runs; None where one is not a number."""
    records = [completed_record(job.folder, job.run_id) for job in jobs]
    values = [None if record is None else record.metrics.get("val_accuracy") for record in records]
    known = [value for value in values if value is not None]
    return fmean(known) if len(known) == len(values) else None


def _check(configs: Sequence[dict[str, Any]], *, pruning: bool) -> None:
    """Accept the configs of a search's corners.

    Raises:
        UserError: one of them is not right, or holds no image out, or spreads runs that may be stopped over devices.
    """
    if wrong := list(dict.fromkeys(line for config in configs for line in problems(config))):
        raise UserError(message(wrong))
    if any(config["data"].get("val_size") == 0 for config in configs):
        raise UserError(
            "data.val_size=0: a search needs validation images, for it must not choose by the test set; give for "
            "instance data.val_size=5000"
        )
    if pruning and any(config["trainer"]["devices"] != 1 for config in configs):
        raise UserError(
            "hydra.sweeper.pruning.enabled=true needs trainer.devices=1; use one device a run, or pruning.enabled=false"
        )


def _fixed(configs: Sequence[dict[str, Any]], space: Space) -> dict[str, Any]:
    """Return what all trials have in common, by the configs of the corners, and the seeds."""
    first, *others = [identity.flat(identity.identity_config(config)) for config in configs]
    settings = {key: value for key, value in first.items() if all(other.get(key) == value for other in others)}
    searched = {key.lstrip("+") for key in space.searched}
    groups = tuple(f"{key}." for key in searched)
    kept = {key: value for key, value in settings.items() if key not in searched and not key.startswith(groups)}
    return kept | {"seed": ",".join(space.seeds)}
