"""What a sweep's runs cost, from measured epoch times; what was not measured has no figure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from wrnexp.cli.plan.sources import Planned, PlannedRun
from wrnexp.sweeps.estimates import Estimate, Measured


@dataclass(frozen=True)
class ArmCost:
    """One arm: how many of its runs are done, what one takes, and the seconds that the others still need."""

    label: str
    seeds: int
    done: int
    run: Estimate | None
    left: float | None

    @property
    def gpu_left(self) -> float | None:
        """The GPU-seconds that are still needed; None where no GPU was measured."""
        return None if self.run is None or self.left is None or not self.run.gpus else self.left * self.run.gpus


@dataclass(frozen=True)
class Costs:
    """Every arm's cost, in the sweep's order."""

    arms: tuple[ArmCost, ...]

    @property
    def left(self) -> float | None:
        """Seconds of all runs that are left, one after another."""
        return _total(arm.left for arm in self.arms)

    @property
    def gpu_left(self) -> float | None:
        """GPU-seconds of all runs that are left."""
        return _total(arm.gpu_left for arm in self.arms)

    def whole(self, seeds: int) -> float | None:
        """Return the seconds of the sweep with so many seeds an arm, from its beginning."""
        return _total(None if arm.run is None else seeds * arm.run.seconds for arm in self.arms)

    def gpu_whole(self, seeds: int) -> float | None:
        """Return the same in GPU-seconds."""
        one = (None if arm.run is None else arm.run.gpu_seconds for arm in self.arms)
        return _total(None if seconds is None else seeds * seconds for seconds in one)


def costs(planned: Planned, folders: Sequence[Path]) -> Costs:
    """Return what each arm costs, by the records below some folders and the sweep's own."""
    measured = Measured.read([*folders, planned.runs[0].folder.parent])
    return Costs(tuple(_arm(runs, measured) for runs in planned.arms.values()))


def _arm(runs: list[PlannedRun], measured: Measured) -> ArmCost:
    config = next((run.config for run in runs if run.config is not None), None)
    return ArmCost(
        label=runs[0].label,
        seeds=len({run.seed for run in runs}),
        done=sum(run.done for run in runs),
        run=None if config is None else measured.run_seconds(config),
        left=_total(_left(run, measured) for run in runs),
    )


def _left(run: PlannedRun, measured: Measured) -> float | None:
    if run.done:
        return 0.0
    return None if run.config is None else measured.remaining_seconds(run.config, run.folder)


def _total(parts: Iterable[float | None]) -> float | None:
    """Return the sum, None where a part is not known."""
    found = list(parts)
    return None if None in found else sum(part for part in found if part is not None)
