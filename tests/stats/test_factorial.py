import itertools
import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.anova import AnovaRM

from wrnexp import stats

SHAPES = st.tuples(st.integers(2, 4), st.integers(2, 3), st.integers(2, 5))


def cells(data: np.ndarray) -> dict[tuple[int, int], dict[int, float]]:
    rows, columns, _ = data.shape
    grid = itertools.product(range(rows), range(columns))
    return {(row, column): dict(enumerate(map(float, data[row, column]))) for row, column in grid}


def drawn(shape: tuple[int, int, int], seed: int) -> np.ndarray:
    chance = np.random.default_rng(seed)
    return 0.7 + 0.02 * chance.standard_normal(shape) + 0.02 * chance.standard_normal(shape[2])


@settings(deadline=None, max_examples=25)
@given(SHAPES, st.integers(0, 1000))
def test_the_f_tests_are_those_of_statsmodels(shape: tuple[int, int, int], seed: int) -> None:
    data = drawn(shape, seed)
    found = stats.factorial(cells(data))
    assert found is not None
    long = pd.DataFrame(
        [(r, c, s, data[r, c, s]) for r, c, s in np.ndindex(*shape)], columns=["first", "second", "seed", "value"]
    )
    expected = AnovaRM(long, "value", "seed", within=["first", "second"]).fit().anova_table
    for test, (_, row) in zip(found.tests, expected.iterrows(), strict=True):
        assert test.df == (row["Num DF"], row["Den DF"])
        assert test.f == pytest.approx(row["F Value"], rel=1e-7, abs=1e-9)
        assert test.p == pytest.approx(row["Pr > F"], abs=1e-9)


@settings(deadline=None, max_examples=25)
@given(SHAPES, st.integers(0, 1000))
def test_effects_are_paired_tests_of_means_by_hand(shape: tuple[int, int, int], seed: int) -> None:
    data = drawn(shape, seed)
    found = stats.factorial(cells(data))
    assert found is not None
    assert found.n == shape[2]
    raw = {(level, 0): data[level].mean(0) - data[0].mean(0) for level in range(1, shape[0])}
    _expect(found.first, raw)
    raw = {(0, level): data[:, level].mean(0) - data[:, 0].mean(0) for level in range(1, shape[1])}
    _expect(found.second, raw)
    raw = {
        (r, c): (data[r, c] - data[0, c]) - (data[r, 0] - data[0, 0])
        for r in range(1, shape[0])
        for c in range(1, shape[1])
    }
    _expect(found.interaction, raw)


def _expect(effects: list[stats.Effect], raw: dict[tuple[int, int], np.ndarray]) -> None:
    tests = {place: stats.paired(dict.fromkeys(range(len(d)), 0.0), dict(enumerate(d))) for place, d in raw.items()}
    corrected = stats.holm([test.p for test in tests.values()])
    assert [effect.levels for effect in effects] == list(raw)
    for effect, p in zip(effects, corrected, strict=True):
        assert effect.paired.difference == pytest.approx(tests[effect.levels].difference, abs=1e-12)
        assert effect.paired.ci95 == pytest.approx(tests[effect.levels].ci95, abs=1e-9)
        assert effect.p_holm == pytest.approx(p, abs=1e-9)


def test_seeds_that_one_cell_lacks_are_left_out_and_one_seed_tests_nothing() -> None:
    grid = cells(drawn((2, 2, 3), 1))
    assert stats.factorial(grid | {(1, 1): {0: 0.5, 2: 0.6, 7: 0.1}}).n == 2  # type: ignore[union-attr]
    assert stats.factorial(grid | {(1, 1): {0: 0.5}}) is None


def test_values_that_do_not_vary_between_seeds_give_no_test() -> None:
    data = np.array([[0.5, 0.6], [0.7, 0.9]])[:, :, None].repeat(3, 2)
    found = stats.factorial(cells(data))
    assert found is not None
    assert [test.p for test in found.tests] == [None, None, None]
    assert [effect.paired.p for effect in found.interaction] == [None]


@pytest.mark.parametrize("grid", [{(0, 0): {0: 0.5}}, {(0, 0): {0: 0.5}, (1, 1): {0: 0.5}}])
def test_a_grid_must_be_complete(grid: stats.Cells) -> None:
    with pytest.raises(ValueError, match=re.escape("want a complete grid")):
        stats.factorial(grid)
