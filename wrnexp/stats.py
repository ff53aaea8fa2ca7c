"""Statistics over seeds: intervals of one arm, paired tests of two, and how many seeds a difference would need.

Distributions and tests are those of scipy. Values that do not vary at all give no interval and no p-value: where every
seed gives the same number, the spread between seeds has not been measured, and most often the seed did not reach the
training.
"""

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import stats as distributions
from scipy.optimize import brentq

ALPHA = 0.05
POWER = 0.8
MOST_SEEDS = 1_000_000

# Of test accuracy on CIFAR-100, 0..1: the standard deviation between seeds of one arm that is assumed where none is
# measured (0.002 to 0.005 are usual), and the difference of two arms that is worth knowing.
USUAL_SD = 0.003
USUAL_EFFECT = 0.004

Interval = tuple[float, float]
Verdict = Literal["better", "worse", "unresolved"]


@dataclass(frozen=True)
class Summary:
    """The values of one arm: their number, mean, standard deviation (n - 1 in the denominator) and 95% t-interval."""

    n: int
    mean: float
    sd: float | None
    ci95: Interval | None


@dataclass(frozen=True)
class Paired:
    """The difference b - a over the seeds that both arms have, and the paired t-test of it.

    What cannot be computed is None: everything at n = 0, `sd` at n = 1, `ci95` and `p` at n = 1 or where `sd` is 0.
    """

    n: int
    difference: float | None
    ci95: Interval | None
    p: float | None
    sd: float | None


@dataclass(frozen=True)
class Ratio:
    """The mean ratio b / a over the seeds that both arms have (of the logarithms) and its 95% interval.

    `ci95` is None at n = 1; where the ratio is the same in every seed, as that of memory often is, it is that number.
    """

    n: int
    ratio: float
    ci95: Interval | None


@dataclass(frozen=True)
class Spread:
    """The standard deviation of paired differences between arms, with its 95% interval and degrees of freedom."""

    sd: float
    ci95: Interval
    df: int


def summary(values: Sequence[float]) -> Summary:
    """Summarise one arm.

    Args:
        values: one finite number a seed, at least one.
    """
    data = np.asarray(values, dtype=np.float64)
    if data.size == 0:
        raise ValueError("no values to summarise")
    mean, sd = float(data.mean()), _spread(data, float(np.abs(data).max()))
    if not sd:
        return Summary(data.size, mean, sd, None)
    half = float(distributions.t.ppf(1 - ALPHA / 2, data.size - 1)) * sd / data.size**0.5
    return Summary(data.size, mean, sd, (mean - half, mean + half))


def paired(a: Mapping[int, float], b: Mapping[int, float]) -> Paired:
    """Compare two arms seed by seed with the two-sided paired t-test.

    Args:
        a: value by seed; finite.
        b: the same for the other arm. Seeds that only one arm has are left out.
    """
    seeds = sorted(a.keys() & b.keys())
    if not seeds:
        return Paired(0, None, None, None, None)
    first, second = (np.array([arm[seed] for seed in seeds], dtype=np.float64) for arm in (a, b))
    difference = float((second - first).mean())
    sd = _spread(second - first, float(np.abs([first, second]).max()))
    if not sd:
        return Paired(len(seeds), difference, None, None, sd)
    test = distributions.ttest_rel(second, first)
    low, high = test.confidence_interval(1 - ALPHA)
    return Paired(len(seeds), difference, (float(low), float(high)), float(test.pvalue), sd)


def paired_ratio(a: Mapping[int, float], b: Mapping[int, float]) -> Ratio | None:
    """Compare two arms seed by seed by a measure that is positive: the t-interval of the logarithm of b / a.

    Args:
        a: value by seed; those that are not positive are left out.
        b: the same for the other arm.

    Returns:
        None where no seed has both.
    """
    logs = [{seed: math.log(value) for seed, value in arm.items() if value > 0} for arm in (a, b)]
    test = paired(*logs)
    if test.difference is None:
        return None
    interval = (test.difference, test.difference) if test.sd == 0 else test.ci95
    return Ratio(
        test.n, math.exp(test.difference), None if interval is None else (math.exp(interval[0]), math.exp(interval[1]))
    )


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Correct p-values for the number of tests (Holm, Scandinavian Journal of Statistics 6, 1979).

    Args:
        p_values: in 0..1, in any order; None stands for a test that could not be made and does not count.

    Returns:
        The corrected p-values, in the order given.
    """
    tested = sorted((p, index) for index, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    running = 0.0
    for rank, (p, index) in enumerate(tested):
        running = max(running, min(1.0, p * (len(tested) - rank)))
        corrected[index] = running
    return corrected


def seeds_needed(difference: float, sd: float | None, power: float = POWER, alpha: float = ALPHA) -> int | None:
    """Return how many seeds an arm a paired t-test needs to find a difference of this size.

    Args:
        difference: the true mean difference to find.
        sd: standard deviation of the differences between seeds.
        power: probability of finding it, in 0..1.
        alpha: two-sided level of the test, not corrected for further tests.

    Returns:
        The smallest n of at least 2, or None where no number can be given: a difference or spread of 0 or unknown, or
        more than a million seeds.
    """
    if not sd or not difference:
        return None
    enough = bisect_left(
        range(2, MOST_SEEDS + 1), True, key=lambda n: paired_power(abs(difference) / sd, n, alpha) >= power
    )
    return enough + 2 if enough + 2 <= MOST_SEEDS else None


def smallest_difference(n: int, sd: float, power: float = POWER, alpha: float = ALPHA) -> float | None:
    """Return the smallest true difference that a paired t-test over `n` seeds finds with this power.

    Args:
        n: seeds an arm.
        sd: standard deviation of the differences between seeds, above 0.
        power: probability of finding it, above `alpha` and below 1.
        alpha: two-sided level of the test.

    Returns:
        The difference in the unit of `sd`, or None for fewer than 2 seeds, with which nothing is found.
    """
    if n < 2:
        return None
    high = 1.0
    while paired_power(high, n, alpha) < power:
        high *= 2
    return sd * float(brentq(lambda effect: paired_power(effect, n, alpha) - power, 0, high))


def spread(arms: Sequence[Mapping[int, float]]) -> Spread | None:
    """Estimate how much the differences between arms vary from seed to seed, from all arms at once.

    What is left of the values once each arm's mean and each seed's mean are taken off (the residual of the two-way
    layout) has half the variance of a paired difference; of two arms this is the standard deviation of the differences.
    Arms are taken to vary alike. The interval is that of the chi-squared distribution: it is wide for few seeds.

    Args:
        arms: value by seed, two arms at least; the seeds that all of them have count.

    Returns:
        None for fewer than two arms or common seeds, or where nothing varies.
    """
    seeds = sorted(set.intersection(*(set(arm) for arm in arms))) if arms else []
    if len(arms) < 2 or len(seeds) < 2:
        return None
    data = np.array([[arm[seed] for seed in seeds] for arm in arms], dtype=np.float64)
    residual = data - data.mean(axis=1, keepdims=True) - data.mean(axis=0, keepdims=True) + data.mean()
    df = (len(arms) - 1) * (len(seeds) - 1)
    sd = float((2 * (residual**2).sum() / df) ** 0.5)
    return _with_interval(sd, df) if sd > 1e-12 * float(np.abs(data).max()) else None


def spread_of_one(values: Sequence[float]) -> Spread | None:
    """Return the same of one arm's values: differences of two such arms vary by sqrt(2) times as much."""
    own = summary(values).sd if values else None
    return _with_interval(2**0.5 * own, len(values) - 1) if own else None


def shortfall(arms: int, seeds: int, sd: float = USUAL_SD, effect: float = USUAL_EFFECT) -> str | None:
    """Say in one line that a sweep cannot tell its arms apart; None where it can find `effect`, or has one arm.

    Args:
        arms: how many, each compared with one baseline (Holm).
        seeds: of the arm that has fewest.
        sd: of test accuracy between the seeds of one arm, 0..1. Paired differences are taken to have sqrt(2) times it.
        effect: the difference of test accuracy, 0..1, that the sweep should find with power 0.8.
    """
    if arms < 2:
        return None
    level, differences = ALPHA / (arms - 1), 2**0.5 * sd
    needed = seeds_needed(effect, differences, alpha=level)
    if needed is None or seeds >= needed:
        return None
    wanted = f"{100 * effect:.2g} points need {needed} (power {POWER}, SD {100 * sd:.2g} points)"
    if seeds < 2:
        return f"1 seed an arm has no interval and no test: this sweep cannot tell its arms apart; {wanted}"
    found = smallest_difference(seeds, differences, alpha=level)
    return f"{seeds} seeds an arm tell arms apart that differ by {100 * (found or 0):.2g} points or more; {wanted}"


def paired_power(effect: float, n: int, alpha: float = ALPHA) -> float:
    """Return the power of the two-sided paired t-test.

    Args:
        effect: true mean difference in standard deviations of the differences, not negative.
        n: seeds, at least 2.
        alpha: level of the test.
    """
    critical = float(distributions.t.ppf(1 - alpha / 2, n - 1))
    shifted = distributions.nct(n - 1, effect * n**0.5)
    # scipy gives NaN for some far tails: the wrong side is below 1e-14 there.
    return float(shifted.sf(critical) + np.nan_to_num(shifted.cdf(-critical)))


def verdict(difference: float | None, p_holm: float | None, alpha: float = ALPHA) -> Verdict:
    """Say whether arm b is better or worse than arm a, where more is better.

    Args:
        difference: mean of b - a.
        p_holm: its p-value, corrected within the report; None (one seed, no spread) is never resolved.
        alpha: level below which a difference counts as resolved.
    """
    if difference is None or p_holm is None or p_holm >= alpha:
        return "unresolved"
    return "better" if difference > 0 else "worse"


def _with_interval(sd: float, df: int) -> Spread:
    low, high = (df / float(distributions.chi2.ppf(share, df)) for share in (1 - ALPHA / 2, ALPHA / 2))
    return Spread(sd, (sd * low**0.5, sd * high**0.5), df)


def _spread(data: np.ndarray, scale: float) -> float | None:
    """Return the sample standard deviation, with the rounding error of numbers of size `scale` counted as 0."""
    if data.size < 2:
        return None
    sd = float(data.std(ddof=1))
    return sd if sd > 1e-12 * scale else 0.0
