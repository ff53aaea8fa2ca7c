"""How many seeds a sweep needs for an effect, and the smallest effect that its own seeds find."""

from dataclasses import dataclass

from wrnexp import stats
from wrnexp.cli.plan.sources import Planned
from wrnexp.stats import ALPHA, Interval


@dataclass(frozen=True)
class Aim:
    """The difference of test accuracy (0..1) that a sweep shall find, and how surely."""

    effect: float
    power: float


@dataclass(frozen=True)
class Deviation:
    """The standard deviation of paired differences (0..1), its 95% interval where it was measured, and in words."""

    differences: float
    ci95: Interval | None
    words: str


@dataclass(frozen=True)
class SeedRequirement:
    """What one level of the test asks for.

    `seeds` finds the effect (None: more than a million), `at_bounds` are the seeds at both ends of the deviation's
    interval, `found` is the smallest difference (0..1) that the sweep's own seeds find (None: fewer than 2 seeds).
    """

    comparisons: int
    seeds: int | None
    at_bounds: tuple[int | None, int | None] | None
    found: float | None


def deviation(planned: Planned, given: float | None) -> Deviation:
    """Return the deviation to plan with: the given one, else what the sweep's own records show, else the usual one.

    Args:
        planned: the sweep.
        given: standard deviation between the seeds of one arm, 0..1.
    """
    if given is not None:
        return _of_one(given, None, "as given")
    arms = planned.accuracies
    if (found := stats.spread(arms)) is not None:
        seeds = found.df // (len(arms) - 1) + 1
        own = f"Standard deviation of paired differences {_points(found.sd)}, measured over {seeds} common seeds of "
        return Deviation(found.sd, found.ci95, f"{own}{len(arms)} arms{_roughly(found.ci95)}")
    values = list(max(arms, key=len, default={}).values())
    if (found := stats.spread_of_one(values)) is not None:
        return _of_one(found.sd / 2**0.5, found.ci95, f"measured over {len(values)} seeds")
    return _of_one(stats.USUAL_SD, None, "assumed, for nothing is measured")


def _of_one(sd: float, ci95: Interval | None, source: str) -> Deviation:
    own = (
        f"Standard deviation between the seeds of one arm {_points(sd)}, {source}; that of paired differences sqrt(2) "
    )
    return Deviation(
        2**0.5 * sd, ci95, f"{own}times it, {_points(2**0.5 * sd)}, as if arms shared nothing{_roughly(ci95)}"
    )


def _roughly(ci95: Interval | None) -> str:
    """Say how little a measured deviation of few seeds tells."""
    if ci95 is None:
        return "."
    return f". So few values tell it only roughly: its 95% interval is {_points(ci95[0])} to {_points(ci95[1])}."


def _points(share: float) -> str:
    return f"{100 * share:.2f} points"


def needs(planned: Planned, aim: Aim, spread: Deviation) -> list[SeedRequirement]:
    """Return what one comparison needs, and what all comparisons with one baseline need after Holm's correction.

    Holm tests the smallest of m p-values at alpha / m: an effect that every comparison may have to show is planned for
    at that level.
    """
    comparisons = len(planned.arms) - 1
    return [_need(planned, aim, spread, count) for count in sorted({1, comparisons}) if count]


def _need(planned: Planned, aim: Aim, spread: Deviation, comparisons: int) -> SeedRequirement:
    level = ALPHA / comparisons

    def seeds(sd: float) -> int | None:
        return stats.seeds_needed(aim.effect, sd, aim.power, level)

    return SeedRequirement(
        comparisons,
        seeds(spread.differences),
        None if spread.ci95 is None else (seeds(spread.ci95[0]), seeds(spread.ci95[1])),
        stats.smallest_difference(planned.seeds, spread.differences, aim.power, level),
    )
