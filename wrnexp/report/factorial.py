"""Two settings crossed, found in the arms: their table, and what each does by itself and with the other."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from wrnexp.report.arms import Arm, differing, natural
from wrnexp.report.format import PAIRED_COLUMNS, listed, p_value, paired_cells, percent, points, several, span
from wrnexp.report.measures import Run
from wrnexp.stats import ALPHA, Effect, Factorial, FTest, Summary, factorial, summary

TEST_COLUMNS = ("effect", "F", "degrees of freedom", "p")
EFFECT_COLUMNS = ("effect", *PAIRED_COLUMNS)


@dataclass(frozen=True)
class Crossed:
    """Two config keys, each with two values at least, and an arm for each pair of values.

    Attributes:
        keys: the two keys, dotted.
        levels: the values of each, in their order; the first ones are what the others are compared with.
        cells: test accuracy (0..1) of each arm, a row for each value of the first key.
        found: the analysis; None where the arms have fewer than two seeds in common.
    """

    keys: tuple[str, str]
    levels: tuple[list[str], list[str]]
    cells: list[list[Summary]]
    found: Factorial | None


def crossed(arms: Sequence[Arm]) -> Crossed | None:
    """Return the factorial that the arms are; None where they differ in other than two keys or a cell is missing."""
    configs = [arm.config for arm in arms]
    keys = differing(configs)
    if len(keys) != 2:
        return None
    first, second = (sorted({config.get(key, "absent") for config in configs}, key=natural) for key in keys)
    if min(len(first), len(second)) < 2 or len(arms) != len(first) * len(second):
        return None
    values = {
        (first.index(config.get(keys[0], "absent")), second.index(config.get(keys[1], "absent"))): arm.by_seed(
            _accuracy
        )
        for arm, config in zip(arms, configs, strict=True)
    }
    if set(values) != set(product(range(len(first)), range(len(second)))):
        return None
    cells = [
        [summary(list(values[row, column].values())) for column in range(len(second))] for row in range(len(first))
    ]
    return Crossed((keys[0], keys[1]), (first, second), cells, factorial(values))


def columns(study: Crossed) -> list[str]:
    """Return the heads of the two-way table."""
    return [f"{study.keys[0]}; across: {study.keys[1]}", *study.levels[1], "mean"]


def rows(study: Crossed) -> list[list[str]]:
    """Return the two-way table as text: the mean of each cell and its SD, with the means of rows and columns."""
    means = [[cell.mean for cell in row] for row in study.cells]
    table = [
        [level, *map(_cell, row), percent(_mean(mean))]
        for level, row, mean in zip(study.levels[0], study.cells, means, strict=True)
    ]
    below = [_mean(column) for column in zip(*means, strict=True)]
    return [*table, ["mean", *map(percent, below), percent(_mean(below))]]


def test_rows(study: Crossed) -> list[list[str]]:
    """Return the analysis of variance as text, in the order of `TEST_COLUMNS`."""
    if study.found is None:
        return []
    names = (*study.keys, f"{study.keys[0]} x {study.keys[1]}")
    return [
        [name, "-" if test.f is None else f"{test.f:.2f}", f"{test.df[0]} and {test.df[1]}", p_value(test.p)]
        for name, test in zip(names, study.found.tests, strict=True)
    ]


def effect_rows(study: Crossed) -> list[list[str]]:
    """Return each level's effect and the interaction as text, in the order of `EFFECT_COLUMNS`."""
    if study.found is None:
        return []
    return [[_named(study, effect), *paired_cells(effect.paired, effect.p_holm)] for effect in _effects(study.found)]


def findings(study: Crossed) -> list[str]:
    """Say in words what the two settings do."""
    if study.found is None:
        return ["The cells have fewer than two seeds in common: nothing can be said of effects."]
    main = [_main(key, test) for key, test in zip(study.keys, study.found.tests[:2], strict=True)]
    return [*main, _together(study, study.found.tests[2]), *_resolved(study, study.found)]


def as_json(study: Crossed) -> dict[str, Any]:
    """Return what report.json holds of it; accuracies are in 0..1."""
    tests = () if study.found is None else study.found.tests
    effects = [] if study.found is None else _effects(study.found)
    return {
        "keys": study.keys,
        "levels": study.levels,
        "cells": [[vars(cell) for cell in row] for row in study.cells],
        "tests": [vars(test) for test in tests],
        "effects": [
            {"effect": _named(study, effect), "place": effect.levels} | vars(effect.paired) | {"p_holm": effect.p_holm}
            for effect in effects
        ],
    }


def _effects(found: Factorial) -> list[Effect]:
    return [*found.first, *found.second, *found.interaction]


def _named(study: Crossed, effect: Effect) -> str:
    row, column = effect.levels
    (first, second), (one, two) = study.keys, study.levels
    if column == 0:
        return f"{first}: {one[row]} against {one[0]}"
    if row == 0:
        return f"{second}: {two[column]} against {two[0]}"
    return f"{first} {one[row]} against {one[0]}, at {second} {two[column]} more than at {two[0]}"


def _main(key: str, test: FTest) -> str:
    if test.p is None:
        return f"{key}: nothing varies between the seeds, so that nothing can be tested."
    changes = "changes" if test.p < ALPHA else "is not seen to change"
    return f"{key} {changes} test accuracy, averaged over the other setting (F-test, p {p_value(test.p)})."


def _together(study: Crossed, test: FTest) -> str:
    if test.p is None:
        return "Of their interaction nothing can be said."
    if test.p < ALPHA:
        return f"What {study.keys[0]} does depends on {study.keys[1]} (interaction, p {p_value(test.p)})."
    return (
        f"That what {study.keys[0]} does depends on {study.keys[1]} is not seen (interaction, p {p_value(test.p)}), "
        f"which with {several(study.found.n if study.found else 0, 'seed')} does not mean that it does not."
    )


def _resolved(study: Crossed, found: Factorial) -> list[str]:
    """Name the levels whose effect is resolved."""
    named = [
        f"{_named(study, effect)}: {points(effect.paired.difference)} points ({span(effect.paired.ci95, points)})"
        for effect in [*found.first, *found.second]
        if effect.p_holm is not None and effect.p_holm < ALPHA
    ]
    return [f"Resolved after correction: {listed(named)}."] if named else []


def _cell(cell: Summary) -> str:
    return percent(cell.mean) + (f" (SD {percent(cell.sd)})" if cell.sd is not None else "")


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _accuracy(run: Run) -> float:
    return run.accuracy
