from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from wrnexp.errors import UserError
from wrnexp.report.arms import differing, find, flat, natural
from wrnexp.report.collect import find_runs

WriteRun = Callable[..., Path]


def _labels(outputs: Path) -> list[str]:
    return [arm.label for arm in find_runs([outputs]).arms]


def test_arms_are_runs_of_one_arm_id_in_order_of_the_seed(write_run: WriteRun, outputs: Path) -> None:
    for seed in (10, 2, 0):
        write_run("base", seed, 0.7 + seed / 1000)
    (arm,) = find_runs([outputs]).arms
    assert arm.seeds == [0, 2, 10]
    assert arm.by_seed(lambda run: run.accuracy) == pytest.approx({0: 0.7, 2: 0.702, 10: 0.71})


def test_labels_are_ordered_by_the_numbers_in_them(write_run: WriteRun, outputs: Path) -> None:
    for width in (10, 2, 8.5):
        write_run(f"width={width}", 0, 0.7)
    assert _labels(outputs) == ["width=2", "width=8.5", "width=10"]


@pytest.mark.parametrize(("before", "after"), [("lr=2", "lr=10"), ("lr=0.5", "lr=1"), ("a", "b"), ("base", "base 2")])
def test_natural_order(before: str, after: str) -> None:
    assert natural(before) < natural(after)


@pytest.mark.parametrize(
    ("configs", "expected"),
    [
        (({"lr": 0.1, "wd": 1}, {"lr": 0.4, "wd": 1}), ["base (lr=0.1)", "base (lr=0.4)"]),
        (({"lr": 0.1}, {"lr": 0.1, "ema": 0.9}), ["base (ema=0.9)", "base (ema=absent)"]),
        (({"o": {"a": 1, "b": 2}}, {"o": {"a": 3, "b": 4}}), ["base (o.a=1, o.b=2)", "base (o.a=3, o.b=4)"]),
        (({}, {}), ["base (0)", "base (1)"]),
        (({"a": 1, "b": 1, "c": 1, "d": 1}, {"a": 2, "b": 2, "c": 2, "d": 2}), ["base (0)", "base (1)"]),
        (({"data": {"root": "x"}, "label": "x"}, {"data": {"root": "y"}, "label": "y"}), ["base (0)", "base (1)"]),
    ],
)
def test_arms_of_one_label_are_told_apart(
    write_run: WriteRun, outputs: Path, configs: tuple[dict[str, Any], ...], expected: list[str]
) -> None:
    for index, config in enumerate(configs):
        write_run("base", 0, 0.7, arm_id=str(index), config=config)
    assert _labels(outputs) == expected


def test_a_label_made_distinct_does_not_meet_another(write_run: WriteRun, outputs: Path) -> None:
    write_run("base (lr=0.1)", 0, 0.7, arm_id="x")
    for index, rate in enumerate((0.1, 0.4)):
        write_run("base", 0, 0.7, arm_id=f"y{index}", config={"lr": rate})
    assert sorted(_labels(outputs)) == ["base (lr=0.1) (x)", "base (lr=0.1) (y0)", "base (lr=0.4)"]


def test_an_arm_has_its_most_frequent_label(write_run: WriteRun, outputs: Path) -> None:
    for seed, label in enumerate(["old", "new", "new"]):
        write_run(label, seed, 0.7, arm_id="x")
    (arm,) = find_runs([outputs]).arms
    assert (arm.label, arm.names) == ("new", ("new", "old"))
    assert find([arm], "old") is arm


def test_find_by_label_and_by_id(write_run: WriteRun, outputs: Path) -> None:
    write_run("base", 0, 0.7)
    write_run("light", 0, 0.7)
    arms = find_runs([outputs]).arms
    assert find(arms, "light").label == find(arms, "arm-light").label == "light"


def test_an_unknown_label_is_answered_with_the_nearest_and_all(write_run: WriteRun, outputs: Path) -> None:
    write_run("base", 0, 0.7)
    write_run("light", 0, 0.7)
    with pytest.raises(UserError, match=r"'ligth'.* Did you mean 'light'\? There are: 'base', 'light'\."):
        find(find_runs([outputs]).arms, "ligth")


def test_a_label_of_several_arms_is_answered_with_theirs(write_run: WriteRun, outputs: Path) -> None:
    for index, rate in enumerate((0.1, 0.4)):
        write_run("base", 0, 0.7, arm_id=str(index), config={"lr": rate})
    arms = find_runs([outputs]).arms
    with pytest.raises(UserError, match=r"2 arms are labelled 'base': 'base \(lr=0.1\)', 'base \(lr=0.4\)'"):
        find(arms, "base")
    assert find(arms, "base (lr=0.4)").arm_id == "1"


def test_configs_are_compared_flat() -> None:
    first = flat({"model": {"depth": 28, "stages": [1, 2]}, "seed": 1, "tracking": {"x": 1}, "data": {"root": "/x"}})
    second = flat({"model": {"depth": 16, "stages": [1, 2]}, "seed": 2, "ema": None})
    assert first == {"model.depth": "28", "model.stages": "[1, 2]"}
    assert differing([first, second]) == ["ema", "model.depth"]
