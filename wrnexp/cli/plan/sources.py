"""The runs that a sweep consists of: from its file in sweeps/, or from the folder of one that has begun."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from wrnexp.config import identity
from wrnexp.config.check import check, known_keys, message, nearest
from wrnexp.errors import UserError
from wrnexp.report.arms import Arm
from wrnexp.report.collect import comparable, find_runs
from wrnexp.report.measures import Run as RecordedRun
from wrnexp.runs.record import RecordError, read_record
from wrnexp.sweeps.grid import seeded, together
from wrnexp.sweeps.jobs import Composer, Job, combinations, read_arms
from wrnexp.sweeps.sweep_json import JobEntry, question_of, read_sweep


@dataclass(frozen=True)
class PlannedRun:
    """One run of the sweep.

    `config` is resolved, None where no record tells it; `accuracy` is the test accuracy, 0..1, of a run that is done.
    """

    label: str
    arm_id: str
    seed: int
    folder: Path
    done: bool
    config: Mapping[str, Any] | None
    accuracy: float | None = None


@dataclass(frozen=True)
class Planned:
    """A sweep: its runs, done or still to come."""

    name: str
    question: str | None
    runs: tuple[PlannedRun, ...]

    @property
    def arms(self) -> dict[str, list[PlannedRun]]:
        """The runs of each arm, by `arm_id`, in the sweep's order."""
        found: dict[str, list[PlannedRun]] = {}
        for run in self.runs:
            found.setdefault(run.arm_id, []).append(run)
        return found

    @property
    def accuracies(self) -> list[dict[int, float]]:
        """The test accuracy (0..1) by seed of each arm that has two at least."""
        arms = [{run.seed: run.accuracy for run in runs if run.accuracy is not None} for runs in self.arms.values()]
        return [arm for arm in arms if len(arm) > 1]

    @property
    def seeds(self) -> int:
        """How many seeds the arm with fewest has."""
        return min(len({run.seed for run in runs}) for runs in self.arms.values())


def kept_sweeps(root: Path) -> list[str]:
    """Return the names of the sweeps that are kept in `root/sweeps`."""
    return sorted(path.stem for path in (root / "sweeps").glob("*.yaml"))


def from_file(name: str, overrides: Sequence[str], root: Path) -> Planned:
    """Compose the sweep of a file in `sweeps/`, as `run.py -cn NAME OVERRIDES` does.

    Raises:
        UserError: there is no such sweep, or it does not compose, or a run of it has a wrong config.
    """
    kept = kept_sweeps(root)
    if name not in kept:
        near = difflib.get_close_matches(name, kept, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        text = f"{name} is no folder here and no sweep of {root / 'sweeps'}.{hint} There are: {', '.join(kept)}."
        raise UserError(text)
    if wrong := [f"{one}: there is no such key{nearest(_key(one))}" for one in overrides if _unknown(one, root)]:
        raise UserError(message(wrong))
    try:
        runs = {run.folder: run for run in _runs(name, overrides, root)}  # what is the same run is run once
    except (HydraException, OmegaConfBaseException) as error:
        reason = next((line for line in str(error.__cause__ or error).splitlines() if line.strip()), "")
        raise UserError(f"{' '.join([name, *overrides])} does not compose: {reason}") from error
    question = question_of(root / "sweeps" / f"{name}.yaml")
    return Planned(next(iter(runs)).parent.name, question, tuple(runs.values()))


def from_folder(folder: Path) -> Planned:
    """Read a sweep that has begun: its completed runs, and those that sweep.json says are still to come.

    Raises:
        UserError: no run below the folder is completed.
    """
    arms = comparable(find_runs([folder])).arms
    done = [_recorded(run, arm) for arm in arms for run in arm.runs]
    try:
        sweep = read_sweep(folder)
    except FileNotFoundError:
        return Planned(folder.resolve().name, None, tuple(done))
    configs = {run.arm_id: run.config for run in done}
    known = {(run.arm_id, run.seed) for run in done}
    open_ = [job for job in sweep.jobs if (job.arm_id, job.seed) not in known]
    left = [_to_come(job, folder, configs.get(job.arm_id)) for job in open_]
    return Planned(sweep.name, sweep.question, (*done, *left))


def _key(override: str) -> str:
    return override.partition("=")[0].lstrip("+~").partition("@")[0]


def _unknown(override: str, root: Path) -> bool:
    key = _key(override)
    return not ((root / "conf" / key).is_dir() or key.partition(".")[0] == "hydra" or key in known_keys())


def _runs(name: str, overrides: Sequence[str], root: Path) -> list[PlannedRun]:
    with initialize_config_dir(str(root / "conf"), version_base="1.3"):
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None
        mode = RunMode.MULTIRUN
        config = hydra.compose_config(name, list(overrides), run_mode=mode, with_log_configuration=False)
        sweeper: Any = OmegaConf.to_container(config.hydra.sweeper, resolve=True)
        kept = [f"{key}={text}" for key, text in (sweeper.get("params") or {}).items()]
        arguments = seeded(together(kept, config.hydra.overrides.task), config.seed)
        composer = Composer(hydra.config_loader, config, arguments)
        found: dict[tuple[Any, ...], Job] = {}
        runs = []
        for arm, own in combinations(arguments, read_arms(sweeper.get("arms"))):
            key = (arm.label, *(one for one in own if not one.startswith("seed=")))
            if key not in found:  # composing takes a twentieth of a second, and the seed is all that differs
                found[key] = composer.job(own, arm)
                check(found[key].values)
            runs.append(_run_of(found[key], _seed(own)))
        return runs


def _seed(overrides: Sequence[str]) -> int:
    """Return the seed that holds: the last one given."""
    text = next(one for one in reversed(overrides) if one.startswith("seed=")).removeprefix("seed=")
    try:
        return int(text)
    except ValueError as error:
        raise UserError(f"seed={text} is not allowed; allowed: whole numbers, 0 or more") from error


def _run_of(job: Job, seed: int) -> PlannedRun:
    config = {**job.values, "seed": seed}
    folder = job.folder.parent / identity.run_id(config)
    done, accuracy = _ended(folder)
    return PlannedRun(job.label, identity.arm_id(config), seed, folder, done, config, accuracy)


def _ended(folder: Path) -> tuple[bool, float | None]:
    """Return whether a run is completed, and with which test accuracy."""
    try:
        record = read_record(folder)
    except (OSError, RecordError):
        return False, None
    done = record.status == "completed"
    return done, record.metrics.get("test_accuracy") if done else None


def _recorded(run: RecordedRun, arm: Arm) -> PlannedRun:
    record = run.record
    return PlannedRun(arm.label, arm.arm_id, record.seed, run.folder, True, record.config, run.accuracy)


def _to_come(job: JobEntry, folder: Path, config: Mapping[str, Any] | None) -> PlannedRun:
    """Return a job of sweep.json; `config` is that of another run of its arm, None where there is none yet."""
    own = None if config is None else {**config, "seed": job.seed}
    return PlannedRun(job.label, job.arm_id, job.seed, folder / job.folder, False, own)
