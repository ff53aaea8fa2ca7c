"""How many seeds a difference needs, and what so many seeds can find."""

from bisect import bisect_left

import numpy as np
from scipy import stats as distributions
from scipy.optimize import brentq

from wrnexp.stats.seeds import ALPHA

POWER = 0.8
MOST_SEEDS = 1_000_000

# Of test accuracy on CIFAR-100, 0..1: the standard deviation between seeds of one arm that is assumed where none is
# measured (0.002 to 0.005 are usual), and the difference of two arms that is worth knowing.
USUAL_SD = 0.003
USUAL_EFFECT = 0.004


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
