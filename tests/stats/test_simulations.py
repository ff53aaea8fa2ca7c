"""What the tests promise, on drawn accuracies: differences that are not there, and one that is."""

import numpy as np
import pytest
from scipy import stats as distributions

from wrnexp import stats

REPETITIONS = 2_000


def arms(chance: np.random.Generator, means: list[float], sd: float, seeds: int) -> list[dict[int, float]]:
    return [dict(enumerate(mean + sd * chance.standard_normal(seeds))) for mean in means]


def called(values: list[dict[int, float]]) -> bool:
    """Say whether any arm is called better or worse than the first, as a report does it."""
    tests = [stats.paired(values[0], other) for other in values[1:]]
    corrected = stats.holm([test.p for test in tests])
    return any(stats.verdict(test.difference, p) != "unresolved" for test, p in zip(tests, corrected, strict=True))


def range_of(rate: float) -> tuple[float, float]:
    """Return the counts between which a binomial of this rate lies in 99.9% of all cases."""
    low, high = distributions.binom.interval(0.999, REPETITIONS, rate)
    return float(low), float(high)


def test_the_same_arm_twice_is_called_different_in_five_of_a_hundred_cases() -> None:
    chance = np.random.default_rng(2026)
    found = sum(called(arms(chance, [0.75, 0.75], 0.003, 5)) for _ in range(REPETITIONS))
    low, high = range_of(0.05)
    assert low <= found <= high


def test_of_four_arms_that_are_the_same_one_is_called_different_in_no_more_cases() -> None:
    chance = np.random.default_rng(7)
    found = sum(called(arms(chance, [0.75] * 4, 0.003, 5)) for _ in range(REPETITIONS))
    assert range_of(0.02)[0] <= found <= range_of(0.05)[1]  # the comparisons share an arm: Holm errs on the safe side


@pytest.mark.parametrize("effect", [0.004, -0.004])
def test_a_difference_is_found_as_often_as_it_was_planned(effect: float) -> None:
    sd = 0.003
    seeds = stats.seeds_needed(0.004, 2**0.5 * sd)
    assert seeds is not None
    power = stats.paired_power(0.004 / (2**0.5 * sd), seeds)
    assert 0.8 <= power < 0.85
    chance = np.random.default_rng(11)
    found = sum(called(arms(chance, [0.75, 0.75 + effect], sd, seeds)) for _ in range(REPETITIONS))
    low, high = range_of(power)
    assert low <= found <= high


def test_arms_a_margin_apart_are_called_equivalent_in_five_of_a_hundred_cases() -> None:
    chance = np.random.default_rng(3)
    drawn = (arms(chance, [0.75, 0.76], 0.003, 5) for _ in range(REPETITIONS))
    found = sum(stats.equivalence(a, b, margin=0.01).equivalent for a, b in drawn)
    assert range_of(0.05)[0] <= found <= range_of(0.05)[1]
