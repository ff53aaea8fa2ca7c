import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as distributions

from wrnexp import stats

ACCURACIES = st.lists(st.integers(0, 10_000).map(lambda hits: hits / 10_000), min_size=2, max_size=12)


@settings(deadline=None)
@given(ACCURACIES)
def test_summary_is_the_t_interval(values: list[float]) -> None:
    found = stats.summary(values)
    assert found.n == len(values)
    assert found.mean == pytest.approx(np.mean(values), abs=1e-12)
    assert found.sd == pytest.approx(np.std(values, ddof=1), abs=1e-12)
    if len(set(values)) == 1:
        assert found.ci95 is None
    else:
        expected = distributions.t.interval(
            0.95, len(values) - 1, loc=np.mean(values), scale=distributions.sem(np.array(values))
        )
        assert found.ci95 == pytest.approx(expected, abs=1e-9)


def test_one_value_has_no_spread_and_no_interval() -> None:
    assert stats.summary([0.7]) == stats.Summary(1, 0.7, None, None)


def test_no_value_cannot_be_summarised() -> None:
    with pytest.raises(ValueError, match="no values"):
        stats.summary([])


@settings(deadline=None)
@given(ACCURACIES)
def test_paired_is_the_one_sample_test_of_the_differences(values: list[float]) -> None:
    a = dict(enumerate(values))
    b = {seed: value + 0.01 + 0.001 * math.sin(7 * seed + value) for seed, value in a.items()}
    found = stats.paired(a, b | {99: 0.5})
    differences = np.array([b[seed] - a[seed] for seed in a])
    expected = distributions.ttest_1samp(differences, 0)
    assert found.n == len(values)
    assert found.difference == pytest.approx(differences.mean(), abs=1e-12)
    assert found.sd == pytest.approx(differences.std(ddof=1), abs=1e-12)
    assert found.p == pytest.approx(expected.pvalue, rel=1e-6)
    assert found.ci95 == pytest.approx(tuple(expected.confidence_interval(0.95)), abs=1e-9)


def test_pairs_are_matched_by_seed_not_by_order() -> None:
    a, b = {0: 0.1, 1: 0.5, 2: 0.3}, {2: 0.32, 0: 0.11, 1: 0.53}
    found = stats.paired(a, b)
    assert found.difference == pytest.approx(0.02)
    assert found.p == pytest.approx(distributions.ttest_rel([0.11, 0.53, 0.32], [0.1, 0.5, 0.3]).pvalue)


def test_no_common_seed_gives_nothing() -> None:
    assert stats.paired({0: 0.5}, {1: 0.6}) == stats.Paired(0, None, None, None, None)


def test_one_common_seed_gives_a_difference_only() -> None:
    found = stats.paired({0: 0.5, 1: 0.4}, {1: 0.6})
    assert (found.n, found.ci95, found.p, found.sd) == (1, None, None, None)
    assert found.difference == pytest.approx(0.2)


@pytest.mark.parametrize("shift", [0.0, 0.01])
def test_differences_without_spread_give_no_test(shift: float) -> None:
    a = {seed: 0.70 + 0.013 * seed for seed in range(5)}
    found = stats.paired(a, {seed: value + shift for seed, value in a.items()})
    assert found.sd == 0.0  # though the sums in binary differ in the last digit
    assert found.p is None
    assert found.ci95 is None
    assert found.difference == pytest.approx(shift)


def test_a_small_real_spread_is_kept() -> None:
    found = stats.paired({0: 0.7, 1: 0.7}, {0: 0.7101, 1: 0.7102})
    assert found.p == pytest.approx(distributions.ttest_rel([0.7101, 0.7102], [0.7, 0.7]).pvalue)


def _holm_by_definition(p_values: list[float]) -> list[float]:
    """Return for each p-value the smallest level at which Holm's procedure rejects it, found step by step."""
    order = np.argsort(p_values, kind="stable")
    corrected = np.empty(len(p_values))
    for position, index in enumerate(order):
        steps = [(len(p_values) - earlier) * p_values[order[earlier]] for earlier in range(position + 1)]
        corrected[index] = min(1.0, max(steps))
    return [float(p) for p in corrected]


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm(p_values: list[float]) -> None:
    assert stats.holm(p_values) == pytest.approx(_holm_by_definition(p_values), abs=1e-12)


def test_holm_on_a_worked_example() -> None:
    assert stats.holm([0.04, 0.01, 0.03, 0.005]) == pytest.approx([0.06, 0.03, 0.06, 0.02])


def test_holm_does_not_count_tests_that_were_not_made() -> None:
    assert stats.holm([0.02, None, 0.04]) == [0.04, None, 0.04]


@pytest.mark.parametrize(("effect", "n"), [(1.0, 5), (0.5, 20), (1.6, 4)])
def test_power_is_the_share_of_simulated_tests_that_reject(effect: float, n: int) -> None:
    draws = np.random.default_rng(1).normal(effect, 1, size=(20_000, n))
    rejected = (distributions.ttest_1samp(draws, 0, axis=1).pvalue < 0.05).mean()
    power = stats.paired_power(effect, n)
    assert rejected == pytest.approx(power, abs=4 * math.sqrt(power * (1 - power) / 20_000))


@pytest.mark.parametrize(
    ("difference", "sd"), [(0.004, 0.0042), (-0.004, 0.0042), (0.2, 0.6), (5.0, 1.0), (0.1, 1.0), (0.01, 1.0)]
)
def test_seeds_needed_is_the_first_number_with_enough_power(difference: float, sd: float) -> None:
    n = stats.seeds_needed(difference, sd)
    assert n is not None
    assert stats.paired_power(abs(difference) / sd, n) >= 0.8
    assert n == 2 or stats.paired_power(abs(difference) / sd, n - 1) < 0.8


def test_seeds_needed_agrees_with_g_power() -> None:
    # G*Power 3, matched pairs, two tails, dz = 0.5, alpha = 0.05: 34 pairs at power 0.80, 44 at 0.90.
    assert stats.seeds_needed(0.5, 1.0) == 34
    assert stats.seeds_needed(0.5, 1.0, power=0.9) == 44


@pytest.mark.parametrize(("difference", "sd"), [(0.0, 1.0), (1.0, 0.0), (1.0, None), (1e-5, 1.0)])
def test_seeds_needed_is_unknown_without_a_difference_or_a_spread(difference: float, sd: float | None) -> None:
    assert stats.seeds_needed(difference, sd) is None


@pytest.mark.parametrize(
    ("difference", "p", "expected"),
    [
        (0.01, 0.049, "better"),
        (-0.01, 0.049, "worse"),
        (0.01, 0.05, "unresolved"),
        (-0.01, 0.3, "unresolved"),
        (0.01, None, "unresolved"),
        (None, None, "unresolved"),
    ],
)
def test_verdict(difference: float | None, p: float | None, expected: str) -> None:
    assert stats.verdict(difference, p) == expected


def test_a_paired_ratio_is_the_t_interval_of_the_logarithms() -> None:
    a, b = {0: 100.0, 1: 120.0, 2: 90.0, 5: 1.0}, {0: 50.0, 1: 66.0, 2: 40.0, 7: 1.0}
    logs = np.log([b[seed] / a[seed] for seed in range(3)])
    low, high = distributions.t.interval(0.95, 2, logs.mean(), distributions.sem(logs))
    found = stats.paired_ratio(a, b)
    assert found is not None
    assert found.n == 3
    assert found.ratio == pytest.approx(np.exp(logs.mean()))
    assert found.ci95 == pytest.approx((np.exp(low), np.exp(high)))


def test_a_ratio_that_does_not_vary_is_exact_and_one_seed_has_no_interval() -> None:
    same = stats.paired_ratio({0: 8.0, 1: 4.0}, {0: 4.0, 1: 2.0})
    assert same is not None
    assert same.ci95 == pytest.approx((0.5, 0.5))
    one = stats.paired_ratio({0: 8.0}, {0: 4.0})
    assert one is not None
    assert one.n == 1
    assert one.ratio == pytest.approx(0.5)
    assert one.ci95 is None
    assert stats.paired_ratio({0: 8.0, 1: 0.0}, {1: 4.0}) is None


@pytest.mark.parametrize(
    ("n", "alpha", "power", "effect"),
    [  # statsmodels 0.15.0, TTestPower().solve_power
        (2, 0.05, 0.8, 11.549890),
        (3, 0.05, 0.8, 3.264044),
        (5, 0.0125, 0.8, 2.476790),
        (11, 0.05, 0.8, 0.937691),
        (16, 0.0125, 0.8, 0.933720),
        (16, 0.0125, 0.9, 1.058144),
        (19, 0.00625, 0.8, 0.916934),
    ],
)
def test_the_smallest_difference_agrees_with_statsmodels(n: int, alpha: float, power: float, effect: float) -> None:
    assert stats.smallest_difference(n, 0.0042, power, alpha) == pytest.approx(0.0042 * effect, rel=1e-4)


@given(n=st.integers(2, 60), comparisons=st.integers(1, 20), power=st.floats(0.3, 0.99))
@settings(deadline=None, max_examples=40)
def test_the_smallest_difference_needs_just_these_seeds(n: int, comparisons: int, power: float) -> None:
    alpha = stats.ALPHA / comparisons
    found = stats.smallest_difference(n, 1.0, power, alpha)
    assert found is not None
    assert stats.paired_power(found, n, alpha) == pytest.approx(power, abs=1e-6)
    assert stats.seeds_needed(found * 1.001, 1.0, power, alpha) == n


def test_one_seed_finds_no_difference() -> None:
    assert stats.smallest_difference(1, 1.0) is None


def test_the_spread_of_two_arms_is_that_of_their_differences() -> None:
    a, b = {0: 0.70, 1: 0.71, 2: 0.69, 5: 0.2}, {2: 0.695, 1: 0.72, 0: 0.702, 7: 0.9}
    found = stats.spread([a, b])
    differences = [b[seed] - a[seed] for seed in (0, 1, 2)]
    assert found is not None
    assert found.sd == pytest.approx(np.std(differences, ddof=1))
    assert found.df == 2
    # Interval of a variance: (n - 1) s^2 over the quantiles of chi-squared, here with 2 degrees of freedom.
    assert found.ci95 == pytest.approx((found.sd * (2 / 7.37776) ** 0.5, found.sd * (2 / 0.0506356) ** 0.5), rel=1e-4)


@given(st.integers(2, 5), st.integers(2, 6), st.integers(0, 2**32))
@settings(deadline=None)
def test_the_spread_of_many_arms_is_the_mean_over_pairs(arms: int, seeds: int, draw: int) -> None:
    values = np.random.default_rng(draw).normal(0.7, 0.003, size=(arms, seeds))
    found = stats.spread([dict(enumerate(arm)) for arm in values])
    pairs = [np.var(a - b, ddof=1) for a, b in itertools.combinations(values, 2)]
    assert found is not None
    assert found.sd == pytest.approx(np.mean(pairs) ** 0.5)
    assert found.df == (arms - 1) * (seeds - 1)


def test_the_interval_of_a_spread_holds_it_as_often_as_it_says() -> None:
    rng, repetitions, sd, held = np.random.default_rng(4), 2000, 0.3, 0
    for _ in range(repetitions):
        seed_effects = rng.normal(0, 1, size=4)  # what seeds have in common cancels
        values = rng.normal(0, sd / 2**0.5, size=(3, 4)) + seed_effects + np.array([[0.0], [5.0], [1.0]])
        found = stats.spread([dict(enumerate(arm)) for arm in values])
        assert found is not None
        held += found.ci95[0] < sd < found.ci95[1]
    assert distributions.binomtest(held, repetitions, 0.95).pvalue > 0.001


def test_the_spread_of_one_arm_is_that_of_two_that_share_nothing() -> None:
    found = stats.spread_of_one([1.0, 2.0, 4.0])
    assert found is not None
    assert found.sd == pytest.approx(2**0.5 * np.std([1, 2, 4], ddof=1))
    assert found.df == 2


@pytest.mark.parametrize("arms", [[], [{0: 1.0, 1: 2.0}], [{0: 1.0}, {0: 2.0}], [{0: 1.0, 1: 2.0}, {0: 2.0, 1: 3.0}]])
def test_a_spread_needs_two_arms_two_seeds_and_some_spread(arms: list[dict[int, float]]) -> None:
    assert stats.spread(arms) is None
    assert stats.spread_of_one([1.0] * len(arms)) is None


@pytest.mark.parametrize(
    ("arms", "seeds", "words"),
    [
        (1, 1, None),
        (2, 11, None),
        (5, 16, None),
        (2, 10, ["10 seeds an arm", "0.42 points", "0.4 points need 11", "SD 0.3 points"]),
        (5, 15, ["0.4 points need 16"]),
        (5, 1, ["1 seed an arm", "cannot tell its arms apart"]),
        (9, 0, ["cannot tell its arms apart"]),
    ],
)
def test_a_sweep_that_cannot_answer_says_so(arms: int, seeds: int, words: list[str] | None) -> None:
    line = stats.shortfall(arms, seeds)
    assert (line is None) is (words is None)
    for word in words or []:
        assert word in str(line)
    assert "\n" not in str(line)


def test_a_smaller_spread_needs_fewer_seeds() -> None:
    assert stats.shortfall(2, 5, sd=0.003) is not None
    assert stats.shortfall(2, 5, sd=0.001) is None


@pytest.mark.parametrize(("comparisons", "seeds"), [(1, 11), (2, 14), (3, 15), (4, 16), (6, 18), (8, 19)])
def test_seeds_of_a_corrected_test_agree_with_statsmodels(comparisons: int, seeds: int) -> None:
    # statsmodels 0.15.0: TTestPower().solve_power(0.4 / (2**0.5 * 0.3), alpha=0.05 / comparisons, power=0.8)
    assert stats.seeds_needed(0.004, 2**0.5 * 0.003, alpha=stats.ALPHA / comparisons) == seeds
