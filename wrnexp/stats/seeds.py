"""One arm's values and paired differences of two: intervals, tests, and the correction for many of them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import stats as distributions

ALPHA = 0.05

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
