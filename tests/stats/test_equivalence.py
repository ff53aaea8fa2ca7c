import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from statsmodels.stats.weightstats import ttost_paired

from wrnexp import stats

PAIRS = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=2, max_size=10)


@settings(deadline=None)
@given(PAIRS, st.floats(0.001, 0.2))
def test_it_is_tost_of_statsmodels(pairs: list[tuple[float, float]], margin: float) -> None:
    first, second = (np.array(side) for side in zip(*pairs, strict=True))
    assume(np.std(second - first) > 1e-6)
    found = stats.equivalence(dict(enumerate(first)), dict(enumerate(second)), margin)
    assert found.p == pytest.approx(ttost_paired(second, first, -margin, margin)[0], abs=1e-9)
    assert found.ci90 is not None
    assert found.equivalent == (-margin < found.ci90[0] and found.ci90[1] < margin) or found.p == pytest.approx(0.05)


def test_what_does_not_vary_is_not_tested() -> None:
    same = {0: 0.7, 1: 0.7}
    assert stats.equivalence(same, same) == stats.Equivalence(0.01, None, None, equivalent=False)
    assert stats.equivalence({0: 0.7}, {0: 0.7}).p is None
    assert stats.equivalence({0: 0.7}, {1: 0.7}).p is None


def test_seeds_of_one_arm_are_left_out() -> None:
    a, b = {0: 0.70, 1: 0.71, 2: 0.73, 9: 0.1}, {0: 0.701, 1: 0.709, 2: 0.731, 8: 0.9}
    found = stats.equivalence(a, b)
    first, second = ({seed: arm[seed] for seed in range(3)} for arm in (a, b))
    assert found == stats.equivalence(first, second)
    assert found.equivalent
