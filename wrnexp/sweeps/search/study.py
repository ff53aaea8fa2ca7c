"""The study of a search on disk: what was tried, what came of it, what to try next. Optuna keeps it and chooses.

A study is a log that processes on this and other machines append to, `study.journal` in the sweep's folder. An open
trial belongs to the process that holds its lock, which the kernel frees when that process dies, however it dies; one
that nobody holds, because its process died or its run failed, stays open until somebody takes it over.
"""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, cast

import optuna
from filelock import FileLock, Timeout
from optuna.distributions import (
    BaseDistribution,
    check_distribution_compatibility,
    distribution_to_json,
    json_to_distribution,
)
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.pruners import MedianPruner, NopPruner
from optuna.samplers import TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, Trial, TrialState

from wrnexp.errors import UserError, one_line
from wrnexp.process.terminal import printable
from wrnexp.runs.ownership import STUDY
from wrnexp.seeding import derive

FILE = STUDY
NAME = "search"  # of the one study in the file
LOCKS = ".study"  # the folder of the locks
SEEDS = 2**32  # numpy's old generators, which Optuna uses, take no larger ones
ENOUGH = 10  # complete trials below which importances say nothing


class Study:
    """A study, and this process's share in it.

    A context manager: what it still holds on leaving is left to others.

    Args:
        folder: the sweep's.
        space: what is searched.
        fixed: everything else that the trials have in common, dotted keys and plain values.
        startup_trials: that are drawn at random before those that came before count.
        seed: of the draws. What the k-th trial is asked to be depends on it, on k and on what is known by then.

    Raises:
        UserError: the study in the folder is one of something else, or cannot be read.
    """

    def __init__(
        self,
        folder: Path,
        space: Mapping[str, BaseDistribution],
        fixed: Mapping[str, Any],
        *,
        startup_trials: int,
        seed: int,
    ) -> None:
        self._folder, self._space = folder, dict(space)
        self._startup_trials, self._seed = startup_trials, seed
        self._held: dict[int, FileLock] = {}
        with self._alone(), _readable(folder / FILE):
            self._study = open_study(folder / FILE)
            _settle(self._study, self._space, dict(fixed), folder)

    @property
    def trials(self) -> list[FrozenTrial]:
        """The trials in their order, without those whose process died while they were being chosen."""
        return [one for one in self._study.get_trials(deepcopy=False) if set(one.params) == set(self._space)]

    def claim(self, count: int, n_trials: int, passed_over: Collection[int] = ()) -> list[FrozenTrial]:
        """Return trials for this process to run: open ones that nobody holds, then new ones.

        Args:
            count: at most so many.
            n_trials: of the study in all.
            passed_over: numbers of open trials that are not to be taken.
        """
        with self._alone():
            mine: list[FrozenTrial] = []
            for one in self._open(passed_over):
                if len(mine) < count and self._take(one.number):
                    mine.append(one)
            while len(mine) < count and len(self.trials) < n_trials:
                mine.append(self._ask())
        return mine

    def others(self, passed_over: Collection[int] = ()) -> bool:
        """Say whether there are open trials that this process does not hold, but for some."""
        return bool(self._open(passed_over))

    def tell(self, number: int, value: float | None, curve: Mapping[int, float]) -> None:
        """Write down what came of a trial that this process holds, and let go of it.

        Args:
            number: of the trial.
            value: the objective; None where the trial was stopped before it had one.
            curve: the intermediate values by epoch; those that are known already are left as they are.
        """
        trial, known = followed(self._study, number)
        for epoch in sorted(set(curve) - known):
            trial.report(curve[epoch], epoch)
        self._study.tell(number, value, TrialState.PRUNED if value is None else TrialState.COMPLETE)
        self.release(number)

    def release(self, number: int) -> None:
        """Let go of a trial that this process holds; it stays open."""
        self._held.pop(number).release()

    def importances(self) -> dict[str, float]:
        """Return the share that each key has in a trial's being among the best, most first; nothing from few trials.

        PED-ANOVA, arXiv 2304.10255.
        """
        if sum(one.state is TrialState.COMPLETE for one in self.trials) < ENOUGH:
            return {}
        return dict(get_param_importances(self._study, evaluator=PedAnovaImportanceEvaluator()))

    def __enter__(self) -> "Study":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number in list(self._held):
            self.release(number)

    def _open(self, passed_over: Collection[int]) -> list[FrozenTrial]:
        known = {*self._held, *passed_over}
        return [one for one in self.trials if one.state is TrialState.RUNNING and one.number not in known]

    def _ask(self) -> FrozenTrial:
        """Choose one more trial and hold it. What a process that died while it chose has left counts for nothing."""
        whole = {one.number for one in self.trials}
        for one in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if one.number not in whole:
                self._study.tell(one.number, state=TrialState.FAIL)
        seed = derive(self._seed, "trial", len(whole)) % SEEDS
        self._study.sampler = TPESampler(n_startup_trials=self._startup_trials, seed=seed)
        number = self._study.ask(self._space).number
        self._take(number)
        return self._study.get_trials(deepcopy=False)[number]

    def _take(self, number: int) -> bool:
        lock = FileLock(self._folder / LOCKS / f"{number}.lock", timeout=0)
        try:
            lock.acquire()
        except Timeout:
            return False
        self._held[number] = lock
        return True

    def _alone(self) -> FileLock:
        (self._folder / LOCKS).mkdir(parents=True, exist_ok=True)
        return FileLock(self._folder / LOCKS / "ask.lock")


def open_study(path: Path, pruner: MedianPruner | None = None) -> optuna.Study:
    """Open a study; it is made where it is not there.

    Args:
        path: of its log.
        pruner: judges its trials; None stops none.

    Raises:
        UserError: it cannot be read.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    lock = FileLock(f"{path}.lock")
    with lock:
        _mend(path)
    with _readable(path):
        # Optuna's own locks are files that a killed process leaves behind, for others to wait on.
        storage = JournalStorage(JournalFileBackend(str(path), lock_obj=cast(Any, _Lock(lock))))
        if NAME not in optuna.get_all_study_names(storage):
            optuna.create_study(storage=storage, study_name=NAME, direction="maximize")
        study = optuna.load_study(study_name=NAME, storage=storage, pruner=pruner or NopPruner())
        for trial in study.get_trials(deepcopy=False):
            _check_figures(trial)
        return study


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turn whatever Optuna raises on a log that it cannot read into one message: it does not check what it reads.

    Raises:
        UserError: the log cannot be read.
    """
    try:
        yield
    except (UserError, OSError):
        raise
    except Exception as error:
        raise UserError(
            f"{path} is no study that can be read ({one_line(error)}); move the sweep's folder away, or give name=..."
        ) from error


def _check_figures(trial: FrozenTrial) -> None:
    """Accept a trial of which every figure is a number.

    Raises:
        TypeError: one is not.
    """
    figures = [*trial.intermediate_values.values(), *(trial.values or ())]
    if not all(isinstance(figure, int | float) for figure in figures):
        raise TypeError(f"trial {trial.number} has a value that is not a number")


def followed(study: optuna.Study, number: int) -> tuple[Trial, set[int]]:
    """Return a trial as one that can be reported to, and the epochs that were reported."""
    found = study.get_trials(deepcopy=False)[number]
    return Trial(study, found._trial_id), set(found.intermediate_values)  # Optuna has no public way from a number


class _Lock:
    """What Optuna asks of a lock, by one that the kernel frees."""

    def __init__(self, lock: FileLock) -> None:
        self._lock = lock

    def acquire(self) -> bool:
        self._lock.acquire()
        return True

    def release(self) -> None:
        self._lock.release()


def _mend(path: Path) -> None:
    """Cut off what a full disk or a power failure has left of a last line."""
    if path.exists() and not (log := path.read_bytes()).endswith(b"\n"):
        with path.open("r+b") as file:
            file.truncate(log.rfind(b"\n") + 1)


def _settle(study: optuna.Study, space: dict[str, BaseDistribution], fixed: dict[str, Any], folder: Path) -> None:
    """Write down what the study is of, or compare it with what it was of before.

    Raises:
        UserError: values of the one and the other do not compare.
    """
    known = study.user_attrs
    if "fixed" not in known:
        study.set_user_attr("space", {key: distribution_to_json(one) for key, one in space.items()})
        study.set_user_attr("fixed", fixed)
        return
    wrong = _changed({key: json_to_distribution(text) for key, text in known["space"].items()}, space)
    then = known["fixed"]
    wrong += [
        f"{key}: {then.get(key, 'absent')} then, {fixed.get(key, 'absent')} now"
        for key in sorted(then | fixed)
        if then.get(key, "absent") != fixed.get(key, "absent")
    ]
    if wrong:
        raise UserError(
            f"{folder} holds a search of something else ({printable('; '.join(wrong))}), and its values do not compare "
            "with new ones: give this search a name of its own (name=...), or move the folder away"
        )


def _changed(then: Mapping[str, BaseDistribution], now: Mapping[str, BaseDistribution]) -> list[str]:
    """Return what is searched in another way. The ends of a range may move: what was tried holds all the same."""
    found = [f"{key} was {'searched' if key in then else 'not searched'}" for key in sorted(set(then) ^ set(now))]
    for key in sorted(set(then) & set(now)):
        try:
            check_distribution_compatibility(then[key], now[key])
        except ValueError:
            found.append(f"{key}: {then[key]} then, {now[key]} now")
    return found
