"""The study of a search on disk: what was tried, what came of it, what to try next. Optuna keeps it and chooses.

A study is a log that processes on this and other machines append to, `study.journal` in the sweep's folder. A trial that
is open belongs to the process that holds its lock, which the kernel frees when that process dies, however it dies.
"""

from collections.abc import Mapping
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
from optuna.pruners import MedianPruner
from optuna.samplers import TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, Trial, TrialState

from wrnexp.errors import UserError
from wrnexp.seeding import derive

FILE = "study.journal"
LOCKS = ".study"  # the folder of the trials' locks
INSTEAD_OF = "instead_of"  # a trial's attribute: the number of the failed one in whose place it is
ERROR = "error"  # a trial's attribute: why it has no value
SHARES = 20  # parts of a training at which runs of different lengths are compared
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
        seed: of the draws. What trial k is asked to be depends on it, on k and on what is known by then.
        retry_failed: try those anew that failed before this process began.

    Raises:
        UserError: the study in the folder is one of something else, or cannot be read.
    """

    def __init__(
        self,
        folder: Path,
        space: Mapping[str, BaseDistribution],
        fixed: Mapping[str, Any],
        *,
        startup_trials: int = 10,
        seed: int = 0,
        retry_failed: bool = True,
    ) -> None:
        self._folder, self._space = folder, dict(space)
        self._startup_trials, self._seed = startup_trials, seed
        self._held: dict[int, FileLock] = {}
        with self._alone():
            self._study = open_study(folder / FILE)
            _settle(self._study, self._space, dict(fixed), folder)
        failed = [one for one in self.trials if one.state is TrialState.FAIL]
        self._again = [one.number for one in failed] if retry_failed else []

    @property
    def trials(self) -> list[FrozenTrial]:
        """The trials in their order, without those in whose place there is another."""
        found = self._study.get_trials(deepcopy=False)
        replaced = {one.user_attrs.get(INSTEAD_OF) for one in found}
        return [one for one in found if one.number not in replaced]

    def claim(self, count: int, n_trials: int) -> list[FrozenTrial]:
        """Return trials for this process to run: those that a dead one has left, then failed ones, then new ones.

        Args:
            count: at most so many.
            n_trials: of the study in all.
        """
        with self._alone():
            mine: list[int] = []
            for one in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
                if len(mine) < count and one.number not in self._held and self._take(one.number):
                    mine.append(self._whole(one))
            while len(mine) < count and (number := self._next(n_trials)) is not None:
                mine.append(number)
        return [self._frozen(number) for number in mine]

    def others(self) -> bool:
        """Say whether another process has open trials, or has left some."""
        found = self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        return any(one.number not in self._held for one in found)

    def tell(
        self, number: int, state: TrialState, value: float | None, curve: Mapping[int, float], error: str | None = None
    ) -> None:
        """Write down what came of a trial that this process holds.

        Args:
            number: of the trial.
            state: how it ended.
            value: the objective, where it is complete.
            curve: the intermediate values by their steps; those that are known already are left as they are.
            error: why there is no value.
        """
        trial, known = followed(self._study, number)
        for step in sorted(set(curve) - known):
            trial.report(curve[step], step)
        if error is not None:
            trial.set_user_attr(ERROR, error)
        self._study.tell(number, value, state)
        self._held.pop(number).release()

    def importances(self) -> dict[str, float]:
        """Return the share that each key has in a trial's being among the best, most first; nothing from few trials.

        PED-ANOVA, arXiv 2304.10255.
        """
        if sum(one.state is TrialState.COMPLETE for one in self.trials) < ENOUGH:
            return {}
        return get_param_importances(self._study, evaluator=PedAnovaImportanceEvaluator())

    def __enter__(self) -> "Study":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for lock in self._held.values():
            lock.release()

    def _next(self, n_trials: int) -> int | None:
        """Ask for one more trial, and take it."""
        found = self._study.get_trials(deepcopy=False)
        replaced = {one.user_attrs.get(INSTEAD_OF) for one in found}
        self._again = [number for number in self._again if number not in replaced]
        if self._again:
            self._enqueue(found[self._again[0]])
        elif len(found) - len(replaced - {None}) >= n_trials and all(one.state is not TrialState.WAITING for one in found):
            return None
        return self._ask(len(found))

    def _enqueue(self, trial: FrozenTrial) -> None:
        self._study.enqueue_trial(dict(trial.params), user_attrs={INSTEAD_OF: trial.number})

    def _ask(self, count: int) -> int:
        seed = derive(self._seed, "trial", count) % SEEDS
        self._study.sampler = TPESampler(n_startup_trials=self._startup_trials, seed=seed)
        number = self._study.ask(self._space).number
        self._take(number)
        return number

    def _whole(self, trial: FrozenTrial) -> int:
        """Return the number of a trial that was left; another's, where its process died while it was asked for."""
        if set(trial.params) == set(self._space):
            return trial.number
        self._study.tell(trial.number, state=TrialState.FAIL)
        self._held.pop(trial.number).release()
        self._enqueue(trial)
        return self._ask(len(self._study.get_trials(deepcopy=False)))

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

    def _frozen(self, number: int) -> FrozenTrial:
        return self._study.get_trials(deepcopy=False)[number]


def open_study(path: Path, startup_trials: int = 0) -> optuna.Study:
    """Open a study; it is made where it is not there.

    Args:
        path: of its log. Must be absolute where processes in other folders open it too.
        startup_trials: complete ones, before which none is pruned.

    Raises:
        UserError: it cannot be read.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    lock = FileLock(f"{path}.lock")
    with lock:
        _mend(path)
    try:
        # Optuna's own locks are files that a killed process leaves behind, for others to wait on.
        storage = JournalStorage(JournalFileBackend(str(path), lock_obj=cast(Any, _Lock(lock))))
        return optuna.create_study(
            storage=storage,
            pruner=MedianPruner(n_startup_trials=startup_trials),
            study_name="search",
            direction="maximize",
            load_if_exists=True,
        )
    except (ValueError, KeyError) as error:
        raise UserError(f"{path} is no study that can be read ({error}); move the folder away, or give a name") from error


def followed(study: optuna.Study, number: int) -> tuple[Trial, set[int]]:
    """Return a trial as one that can be reported to, and the steps that were reported."""
    found = study.get_trials(deepcopy=False)[number]
    return Trial(study, found._trial_id), set(found.intermediate_values)  # Optuna has no public way from a number


def step_of(epoch: int, epochs: int, shares: bool) -> int:
    """Return the step at which the value of an epoch (from 1) is compared with other trials'.

    That is the epoch; with `shares`, for runs of different lengths, the part of the training that is done, in
    twentieths, so that all are compared at the same position of their schedules. Of several epochs in one part the first
    counts.
    """
    return epoch * SHARES // epochs if shares else epoch


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
            f"{folder} holds a search of something else ({'; '.join(wrong)}), and its values do not compare with new "
            "ones: give this search a name of its own (name=...), or move the folder away"
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
