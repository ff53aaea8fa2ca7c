"""Two factors crossed, with the same seeds in every cell: main effects, interaction, and what each level does."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats as distributions

from wrnexp.stats.seeds import Paired, holm, paired

Cells = Mapping[tuple[int, int], Mapping[int, float]]  # value by seed, by the places of the two levels
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class FTest:
    """An F-test of the analysis of variance; `f` and `p` are None where nothing varies between seeds."""

    f: float | None
    df: tuple[int, int]
    p: float | None


@dataclass(frozen=True)
class Effect:
    """A paired difference over the seeds, its p-value corrected (Holm) among those of its kind."""

    levels: tuple[int, int]
    paired: Paired
    p_holm: float | None


@dataclass(frozen=True)
class Factorial:
    """What two crossed factors do to a value.

    Attributes:
        n: the seeds that every cell has.
        tests: of the first factor, the second, and their interaction: the two-way analysis of variance with repeated
            measures, seeds as subjects (Maxwell, Delaney and Kelley, "Designing Experiments and Analyzing Data", 2018,
            chapter 12), without a correction for sphericity.
        first: each level of the first factor against its first level, averaged over the levels of the second.
        second: the same for the second factor.
        interaction: by how much the effect of a level of one factor differs between a level and the first level of the
            other (difference of differences).
    """

    n: int
    tests: tuple[FTest, FTest, FTest]
    first: list[Effect]
    second: list[Effect]
    interaction: list[Effect]


def factorial(cells: Cells) -> Factorial | None:
    """Analyse a complete grid.

    Args:
        cells: value by seed for each pair of levels; both factors have two levels at least, numbered from 0.

    Returns:
        None where the cells have fewer than two seeds in common.

    Raises:
        ValueError: a cell of the grid is missing, or a factor has one level.
    """
    rows, columns = (1 + max(place[axis] for place in cells) for axis in (0, 1))
    grid = [(row, column) for row in range(rows) for column in range(columns)]
    if min(rows, columns) < 2 or set(cells) != set(grid):
        raise ValueError(f"{len(cells)} cells of {rows} x {columns}: want a complete grid of 2 x 2 at least")
    seeds = sorted(set.intersection(*(set(cell) for cell in cells.values())))
    if len(seeds) < 2:
        return None
    data = np.array([cells[place][seed] for place in grid for seed in seeds]).reshape(rows, columns, len(seeds))
    return Factorial(
        len(seeds),
        (_main(data), _main(data.swapaxes(0, 1)), _interaction(data)),
        _levels(data.mean(1), 0),
        _levels(data.mean(0), 1),
        _differences_of_differences(data),
    )


def _main(data: Floats) -> FTest:
    """Test the factor of the first axis of `[levels, others, seeds]` against its interaction with the seeds."""
    levels, others, seeds = data.shape
    by_level, by_seed, mean = data.mean((1, 2)), data.mean((0, 1)), data.mean()
    rest = data.mean(1) - by_level[:, None] - by_seed + mean
    effect = others * seeds * float(((by_level - mean) ** 2).sum())
    return _f(effect, others * float((rest**2).sum()), (levels - 1, (levels - 1) * (seeds - 1)), data)


def _interaction(data: Floats) -> FTest:
    rows, columns, seeds = data.shape
    cell = data.mean(2)
    effect = cell - cell.mean(1, keepdims=True) - cell.mean(0, keepdims=True) + cell.mean()
    own = data - cell[:, :, None]  # without the cells' means, then without the seeds' rows and columns
    rest = own - own.mean(1, keepdims=True) - own.mean(0, keepdims=True) + own.mean((0, 1), keepdims=True)
    df = (rows - 1) * (columns - 1)
    return _f(seeds * float((effect**2).sum()), float((rest**2).sum()), (df, df * (seeds - 1)), data)


def _f(effect: float, rest: float, df: tuple[int, int], data: Floats) -> FTest:
    if rest <= (1e-12 * float(np.abs(data).max())) ** 2 * data.size:  # rounding
        return FTest(None, df, None)
    f = (effect / df[0]) / (rest / df[1])
    return FTest(f, df, float(distributions.f.sf(f, *df)))


def _levels(means: Floats, axis: int) -> list[Effect]:
    """Compare each level of `[levels, seeds]` with the first."""
    tests = [paired(_by_seed(means[0]), _by_seed(level)) for level in means[1:]]
    places = [(level, 0) if axis == 0 else (0, level) for level in range(1, len(means))]
    return _corrected(places, tests)


def _differences_of_differences(data: Floats) -> list[Effect]:
    change = data - data[:1]
    places = [(row, column) for row in range(1, data.shape[0]) for column in range(1, data.shape[1])]
    tests = [paired(_by_seed(change[row, 0]), _by_seed(change[row, column])) for row, column in places]
    return _corrected(places, tests)


def _corrected(places: list[tuple[int, int]], tests: list[Paired]) -> list[Effect]:
    corrected = holm([test.p for test in tests])
    return [Effect(*found) for found in zip(places, tests, corrected, strict=True)]


def _by_seed(values: Floats) -> dict[int, float]:
    return dict(enumerate(map(float, values)))
