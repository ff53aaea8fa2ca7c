import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as distributions
from statsmodels.stats.contingency_tables import mcnemar

from wrnexp import stats

ANSWERS = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60)


@settings(deadline=None)
@given(ANSWERS)
def test_the_p_value_is_mcnemar_s_of_statsmodels(answers: list[tuple[bool, bool]]) -> None:
    a, b = (np.array(side) for side in zip(*answers, strict=True))
    found = stats.per_image(a, b, resamples=10)
    counts = [[found.both, found.only_a], [found.only_b, found.neither]]
    assert found.images == len(answers)
    assert found.both == sum(x and y for x, y in answers)
    assert found.only_a == sum(x and not y for x, y in answers)
    assert found.only_b == sum(y and not x for x, y in answers)
    assert found.difference == pytest.approx(np.mean(b.astype(float) - a), abs=1e-12)
    if found.only_a + found.only_b:
        assert found.p == pytest.approx(mcnemar(counts, exact=True).pvalue, abs=1e-9)
    else:
        assert found.p == 1


def test_the_interval_is_the_paired_bootstrap_of_scipy() -> None:
    chance = np.random.default_rng(5)
    a = chance.random(400) < 0.7
    b = np.where(chance.random(400) < 0.2, ~a, a)
    found = stats.per_image(a, b)
    expected = distributions.bootstrap(
        (b.astype(float) - a,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    assert found.ci95 == pytest.approx((expected.low, expected.high), abs=0.004)
    assert found == stats.per_image(a, b)  # its draws are its own


@pytest.mark.parametrize(("a", "b"), [(np.ones(3, bool), np.ones(2, bool)), (np.ones(0, bool), np.ones(0, bool))])
def test_answers_must_be_of_the_same_images(a: np.ndarray, b: np.ndarray) -> None:
    with pytest.raises(ValueError, match="want two of"):
        stats.per_image(a, b)
