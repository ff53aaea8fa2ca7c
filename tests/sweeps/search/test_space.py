"""What a search's command asks for: each form of the grammar, and each mistake in one message."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from wrnexp.errors import UserError
from wrnexp.sweeps.search.space import space, written


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("interval(0.05,1.6)", FloatDistribution(0.05, 1.6)),
        ("tag(log,interval(0.05,1.6))", FloatDistribution(0.05, 1.6, log=True)),
        ("tag(log, interval(1e-5, 1e-2))", FloatDistribution(1e-5, 1e-2, log=True)),
        ("interval(0,0.3)", FloatDistribution(0.0, 0.3)),
        ("interval(1,8)", FloatDistribution(1.0, 8.0)),
        ("int(interval(1,8))", IntDistribution(1, 8)),
        ("tag(log,int(interval(1,8)))", IntDistribution(1, 8, log=True)),
        ("range(10,41,6)", IntDistribution(10, 40, step=6)),
        ("range(1,9)", IntDistribution(1, 8)),
        ("tag(log,range(1,9))", IntDistribution(1, 8, log=True)),
        ("range(0,0.35,0.1)", FloatDistribution(0.0, 0.3, step=0.1)),
        ("choice(base,light)", CategoricalDistribution(("base", "light"))),
        ("0,0.1,0.2", CategoricalDistribution(("0", "0.1", "0.2"))),
        ("1,1,2", CategoricalDistribution(("1", "2"))),
    ],
)
def test_each_form_is_the_distribution_that_it_says(text: str, expected: Any) -> None:
    assert space([f"key={text}", "seed=0"]).searched == {"key": expected}


def test_what_has_one_value_is_the_same_in_every_trial_and_seeds_are_not_searched() -> None:
    found = space(["data.val_size=48", "optim.lr=interval(0.1,1.0)", "model.dropout=0,0.1", "seed=0,1"])
    assert list(found.searched) == ["optim.lr", "model.dropout"]
    assert found.seeds == ("0", "1")
    assert found.overrides({"optim.lr": 0.25, "model.dropout": "0.1"}, "1") == [
        "data.val_size=48", "optim.lr=0.25", "model.dropout=0.1", "seed=1",
    ]  # fmt: skip
    assert found.axes() == {"optim.lr": ["interval(0.1,1.0)"], "model.dropout": ["0,0.1"], "seed": ["0", "1"]}


def test_the_corners_have_both_ends_of_each_range_and_every_choice() -> None:
    found = space(["a=interval(0.1,1.0)", "b=x,y,z", "c=range(1,4)", "seed=0"]).corners()
    assert {one["a"] for one in found} == {0.1, 1.0}
    assert {one["b"] for one in found} == {"x", "y", "z"}
    assert {one["c"] for one in found} == {1, 3}


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("optim.lr=interval(0.3,0.1)", "from the smaller number to the larger"),
        ("optim.lr=interval(0.3,0.3)", "from the smaller number to the larger"),
        ("optim.lr=tag(log,interval(0,1))", "begins above 0"),
        ("model.depth=range(10,10)", "no values"),
        ("model.depth=tag(log,range(10,30,6))", "steps of 1"),
        ("model=glob(*)", "name the options of a glob"),
        ("data.val_size=1000,5000", "objective is measured on; give it one value"),
        ("loader.workers=0,1", "changes no result; give it one value"),
        ("tracking.wandb.mode=offline,disabled", "changes no result; give it one value"),
        ("trainer.devices=1,2", "changes no result; give it one value"),
        ("+trainer.test_every=0,1", "is of no use to a search"),
        ("++seed=interval(0,4)", "a seed is not searched"),
        ("seed=interval(0,4)", "a seed is not searched"),
    ],
)
def test_what_cannot_be_searched_is_said_with_the_override(override: str, words: str) -> None:
    with pytest.raises(UserError, match=words) as told:
        space(["seed=0", override])
    assert str(told.value).startswith(f"{override}: ")


ENDS = st.tuples(st.integers(1, 99_999), st.integers(-10, 3)).map(lambda parts: float(f"{parts[0]}e{parts[1]}"))


@given(ENDS, ENDS, st.floats(0, 1))
def test_a_written_number_is_short_and_stays_between_the_ends(one: float, two: float, share: float) -> None:
    low, high = sorted((one, two))
    value = min(high, max(low, low + share * (high - low)))
    text = written(FloatDistribution(low, high), value)
    assert low <= float(text) <= high
    assert float(text) == pytest.approx(value, rel=1e-4)


@given(st.floats(0.05, 1.6), ENDS)
def test_a_trial_is_written_in_one_way_wherever_the_ends_are_moved(value: float, end: float) -> None:
    moved = FloatDistribution(min(end, 0.05), max(end, 0.06))
    assert written(moved, value) == written(FloatDistribution(0.05, 1.6), value)


@given(st.integers(0, 50))
def test_steps_are_written_without_what_adding_them_up_has_left(steps: int) -> None:
    assert written(FloatDistribution(0.0, 5.0, step=0.1), steps * 0.1) == repr(steps / 10)
