"""What each change of an ablation is worth, from the records and the roles that sweep.json gives the arms."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from wrnexp.config.differences import Difference, differences
from wrnexp.config.identity import IGNORED_KEYS, identity_config
from wrnexp.report.arms import Arm
from wrnexp.report.measures import Run, cost
from wrnexp.stats import Paired, Ratio, holm, paired, paired_ratio
from wrnexp.sweeps.sweep_json import JobEntry, read_sweep

# Keys that change no result and may change how long a run takes.
COSTS = ("train_seconds", "peak_memory_bytes")
PROCESS = tuple(key for key in IGNORED_KEYS if key.startswith(("loader.", "trainer.")))

Pair = tuple[str | None, str | None]
NOWHERE: Pair = (None, None)


@dataclass(frozen=True)
class ChangeEffect:
    """The difference that a change makes in one place: an arm with it against the same arm without it.

    Attributes:
        without: label of the arm that lacks the change.
        having: label of the arm that has it.
        paired: test accuracy (0..1) of `having` minus that of `without`, by seed.
        p_holm: the p-value corrected for all different tests of the ablation.
        seconds: training time of `having` as a multiple of `without`'s; None where they do not compare.
        memory: the same of the peak memory.
    """

    without: str
    having: str
    paired: Paired
    p_holm: float | None
    seconds: Ratio | None
    memory: Ratio | None


@dataclass(frozen=True)
class Worth:
    """What one change is worth in three places; None where an arm has no completed run.

    Attributes:
        change: its name.
        settings: what it changes.
        leave_one_out: the second recipe against itself without the change.
        add_one: the first recipe with the change against itself.
        ladder: its step of the ladder, where it is a step of its own.
        interaction: `leave_one_out` minus `add_one` by seed: how much more the change is worth among all the others.
        interaction_p_holm: its p-value, corrected for the number of interactions.
    """

    change: str
    settings: list[Difference]
    leave_one_out: ChangeEffect | None
    add_one: ChangeEffect | None
    ladder: ChangeEffect | None
    interaction: Paired | None = None
    interaction_p_holm: float | None = None

    @property
    def effects(self) -> list[ChangeEffect]:
        """Return the effects that there are."""
        return [one for one in (self.leave_one_out, self.add_one, self.ladder) if one is not None]


@dataclass(frozen=True)
class Step:
    """A step of the ladder: the changes made, their effect, and the mean test accuracy reached (0..1).

    `effect` is None where one of the two arms is missing, `reached` where the second is.
    """

    changes: list[str]
    effect: ChangeEffect | None
    reached: float | None


@dataclass(frozen=True)
class Ablation:
    """An ablation's figures.

    Attributes:
        sweep: its name.
        a: label of the first recipe.
        b: label of the second.
        total: the second against the first.
        changes: sorted by what they are worth in the second recipe, the best first.
        steps: of the ladder, in order; empty where there is none.
        start: mean test accuracy at the foot of the ladder.
        tests: how many different tests `p_holm` is corrected for.
        missing: labels of arms without a completed run.
    """

    sweep: str
    a: str
    b: str
    total: ChangeEffect | None
    changes: list[Worth]
    steps: list[Step]
    start: float | None
    tests: int
    missing: list[str]


def ablations(folders: Sequence[Path], arms: Sequence[Arm]) -> list[Ablation]:
    """Return the ablations that lie in these folders or right below them.

    Args:
        folders: as they were given to the report.
        arms: the arms of the report.

    Raises:
        UserError: a sweep.json cannot be read.
    """
    places = [place for top in folders for place in (top, *sorted(top.iterdir())) if (place / "sweep.json").is_file()]
    unique = {place.resolve(): place for place in places}
    found = (_ablation(sweep.name, sweep.jobs, arms) for sweep in map(read_sweep, unique.values()))
    return [one for one in found if one is not None]


def _ablation(name: str, jobs: Sequence[JobEntry], arms: Sequence[Arm]) -> Ablation | None:
    roles = [(role, job) for job in jobs for role in job.roles if "study" in role]
    if not roles:
        return None
    # A sweep.json keeps the jobs of earlier commands, of other recipes perhaps: the last command's come last.
    study = roles[-1][0]["study"]
    return _Places(name, [(role, job) for role, job in roles if role["study"] == study], arms).ablation()


class _Places:
    """Which arms stand in which places of an ablation: pairs of ids, the arm without a change and the arm with it."""

    def __init__(self, sweep: str, roles: Sequence[tuple[Mapping[str, Any], JobEntry]], arms: Sequence[Arm]) -> None:
        self.sweep = sweep
        self.arms = {arm.arm_id: arm for arm in arms}
        self.labels = {job.arm_id: job.label for _, job in roles}
        by_kind: dict[str, list[tuple[Mapping[str, Any], str]]] = {}
        for role, job in roles:
            by_kind.setdefault(role["kind"], []).append((role, job.arm_id))
        self.total = (_last(by_kind.get("a", [])), _last(by_kind.get("b", [])))
        self.add_one = {role["change"]: (self.total[0], arm) for role, arm in by_kind.get("add-one", [])}
        self.leave_one_out = {role["change"]: (arm, self.total[1]) for role, arm in by_kind.get("leave-one-out", [])}
        self.steps = _steps(by_kind.get("ladder", []))

    def ablation(self) -> Ablation:
        """Return the figures."""
        steps = [Step(changes, self.effect(pair), self.mean(pair[1])) for changes, pair in self.steps]
        names = dict.fromkeys([*self.add_one, *self.leave_one_out, *(one for step in steps for one in step.changes)])
        worth = _interactions_corrected([self.worth(name) for name in names])
        worth, steps, total, tests = _corrected(worth, steps, self.effect(self.total))
        return Ablation(
            sweep=self.sweep,
            a=self.label(self.total[0]),
            b=self.label(self.total[1]),
            total=total,
            changes=sorted(worth, key=_rank),
            steps=steps,
            start=self.mean(self.steps[0][1][0]) if self.steps else None,
            tests=tests,
            missing=[label for arm_id, label in self.labels.items() if arm_id not in self.arms],
        )

    def worth(self, name: str) -> Worth:
        """Return what one change is worth, before any correction."""
        own = next((pair for changes, pair in self.steps if changes == [name]), NOWHERE)
        out, add = self.leave_one_out.get(name, NOWHERE), self.add_one.get(name, NOWHERE)
        settings = next((found for pair in (add, out, own) if (found := self.settings(pair))), [])
        left, added = self.effect(out), self.effect(add)
        both = left is not None and added is not None and out != add
        more = paired(self.gains(add), self.gains(out)) if both else None
        return Worth(name, settings, left, added, self.effect(own), more)

    def effect(self, pair: Pair) -> ChangeEffect | None:
        """Compare two arms; None where one has no completed run."""
        first, second = self.both(pair)
        if first is None or second is None:
            return None
        test = paired(first.by_seed(_accuracy), second.by_seed(_accuracy))
        return ChangeEffect(first.label, second.label, test, None, *(_ratio(first, second, name) for name in COSTS))

    def gains(self, pair: Pair) -> dict[int, float]:
        """Return the difference in accuracy by seed."""
        first, second = (arm.by_seed(_accuracy) if arm else {} for arm in self.both(pair))
        return {seed: second[seed] - first[seed] for seed in first.keys() & second.keys()}

    def settings(self, pair: Pair) -> list[Difference]:
        """Return the settings in which two arms differ."""
        first, second = self.both(pair)
        if first is None or second is None:
            return []
        return differences(*(identity_config(arm.runs[0].record.config) | {"seed": None} for arm in (first, second)))

    def mean(self, arm_id: str | None) -> float | None:
        """Return an arm's mean test accuracy."""
        arm = self.arms.get(arm_id or "")
        return arm.mean(_accuracy) if arm else None

    def both(self, pair: Pair) -> tuple[Arm | None, Arm | None]:
        """Return the arms of a pair, None for one without a completed run."""
        return self.arms.get(pair[0] or ""), self.arms.get(pair[1] or "")

    def label(self, arm_id: str | None) -> str:
        """Return what the report calls an arm, or what the sweep does where it has no completed run."""
        arm = self.arms.get(arm_id or "")
        return arm.label if arm else self.labels.get(arm_id or "", "?")


def _steps(rungs: Sequence[tuple[Mapping[str, Any], str]]) -> list[tuple[list[str], Pair]]:
    """Return the steps of the ladder that was described last: the changes, the arm before and the arm after."""
    last = rungs[-1][0]["ladder"] if rungs else None
    by_step = {role["step"]: (list(role["changes"]), arm) for role, arm in rungs if role["ladder"] == last}
    return [
        (by_step[step][0], (by_step[step - 1][1], by_step[step][1])) for step in sorted(by_step) if step - 1 in by_step
    ]


def _ratio(first: Arm, second: Arm, name: str) -> Ratio | None:
    """Return what the second arm costs as a multiple of the first, on one device and with the same processes."""
    devices = {run.device for arm in (first, second) for run in arm.runs}
    if len(devices) > 1 or any(first.config.get(key) != second.config.get(key) for key in PROCESS):
        return None
    return paired_ratio(*(arm.by_seed(partial(cost, name=name)) for arm in (first, second)))


def _interactions_corrected(worth: Sequence[Worth]) -> list[Worth]:
    corrected = holm([one.interaction.p if one.interaction else None for one in worth])
    return [replace(one, interaction_p_holm=p) for one, p in zip(worth, corrected, strict=True)]


def _corrected(
    worth: Sequence[Worth], steps: Sequence[Step], total: ChangeEffect | None
) -> tuple[list[Worth], list[Step], ChangeEffect | None, int]:
    """Give every effect its corrected p-value; a test that stands in two places, or in three, counts once."""
    every = [effect for one in worth for effect in one.effects] + [step.effect for step in steps if step.effect]
    tests = {(one.without, one.having): one.paired.p for one in [*every, *([total] if total else [])]}
    p_holm = dict(zip(tests, holm(list(tests.values())), strict=True))

    def told(effect: ChangeEffect | None) -> ChangeEffect | None:
        return effect and replace(effect, p_holm=p_holm[effect.without, effect.having])

    found = [
        replace(one, leave_one_out=told(one.leave_one_out), add_one=told(one.add_one), ladder=told(one.ladder))
        for one in worth
    ]
    made = sum(p is not None for p in tests.values())
    return found, [replace(step, effect=told(step.effect)) for step in steps], told(total), made


def _rank(one: Worth) -> tuple[int, float]:
    """Sort by what a change is worth in the second recipe, else where it is added, else on the ladder."""
    for place, effect in enumerate((one.leave_one_out, one.add_one, one.ladder)):
        if effect is not None and effect.paired.difference is not None:
            return place, -effect.paired.difference
    return 3, 0.0


def _last(found: Sequence[tuple[Mapping[str, Any], str]]) -> str | None:
    return found[-1][1] if found else None


def _accuracy(run: Run) -> float:
    return run.accuracy
