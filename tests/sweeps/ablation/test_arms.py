"""The arms of an ablation: each config once, with all that it shows, and no config that cannot be trained."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wrnexp.config.differences import Change, Difference
from wrnexp.sweeps.ablation.arms import KINDS, design, ladder


def _changes(names: str) -> list[Change]:
    return [Change(name, (Difference(name, 0, 1),)) for name in names]


def _free(names: frozenset[str]) -> list[str]:
    return []


def _roles(kinds: tuple[str, ...] = KINDS, names: str = "uvwx") -> dict[str, list[tuple[str, object]]]:
    found = design("a", "b", _changes(names), _free, kinds, "study")
    return {
        arm.label: [(str(role["kind"]), role.get("change", role.get("step"))) for role in arm.roles]
        for arm in found.arms
    }


def test_arms_that_serve_twice_are_there_once() -> None:
    assert _roles() == {
        "a": [("a", None), ("ladder", 0)],
        "b": [("b", None), ("ladder", 4)],
        "a + u": [("add-one", "u"), ("ladder", 1)],
        "a + v": [("add-one", "v")],
        "a + w": [("add-one", "w")],
        "a + x": [("add-one", "x")],
        "b - u": [("leave-one-out", "u")],
        "b - v": [("leave-one-out", "v")],
        "b - w": [("leave-one-out", "w")],
        "b - x": [("leave-one-out", "x"), ("ladder", 3)],
        "ladder 2: + v": [("ladder", 2)],
    }


def test_one_change_is_two_arms_and_two_changes_are_four() -> None:
    assert set(_roles(names="u")) == {"a", "b"}
    assert _roles(names="u")["b"] == [("b", None), ("add-one", "u"), ("ladder", 1)]
    assert _roles(names="u")["a"] == [("a", None), ("leave-one-out", "u"), ("ladder", 0)]
    assert set(_roles(names="uv")) == {"a", "b", "a + u", "a + v"}


@pytest.mark.parametrize(("kind", "count"), [("ladder", 5), ("leave-one-out", 6), ("add-one", 6)])
def test_only_some_kinds(kind: str, count: int) -> None:
    arms = _roles((kind,))
    assert len(arms) == count
    assert {role for roles in arms.values() for role, _ in roles} == {"a", "b", kind}


def test_every_role_names_the_study_and_the_ladder_its_order() -> None:
    found, other = (design("a", "b", _changes(names), _free, KINDS, "study") for names in ("uv", "vu"))
    assert {role["study"] for arm in found.arms for role in arm.roles} == {"study"}
    orders = [{role["ladder"] for arm in one.arms for role in arm.roles if "ladder" in role} for one in (found, other)]
    assert len(orders[0]) == len(orders[1]) == 1
    assert orders[0] != orders[1]


def test_an_arm_that_cannot_be_trained_is_left_out_with_its_reason_and_the_ladder_goes_round_it() -> None:
    def wrong(names: frozenset[str]) -> list[str]:
        return ["v needs w"] if "v" in names and "w" not in names else []

    found = design("a", "b", _changes("uvwx"), wrong, KINDS, "study")
    assert {"a + v", "b - w"} & {arm.label for arm in found.arms} == set()
    assert found.ladder == [("u",), ("w",), ("v",), ("x",)]
    assert found.remarks == [
        "the ladder takes w before v: the other order is not possible (v needs w)",
        "a + v is left out: v needs w",
        "b - w is left out: v needs w",
    ]


def test_changes_that_need_each_other_are_one_step() -> None:
    def wrong(names: frozenset[str]) -> list[str]:
        return ["v and w go together"] if ("v" in names) != ("w" in names) else []

    steps, remarks = ladder("vwx", wrong)
    assert steps == [("x",), ("v", "w")]
    steps, remarks = ladder("vw", wrong)
    assert steps == [("v", "w")]
    assert remarks == ["v and w are one step of the ladder, v alone is impossible (v and w go together)"]


@settings(deadline=None)
@given(st.integers(1, 6), st.sets(st.frozensets(st.sampled_from("uvwxyz"), min_size=1, max_size=5)))
def test_a_ladder_has_every_change_once_and_no_wrong_config(count: int, forbidden: set[frozenset[str]]) -> None:
    names = "uvwxyz"[:count]

    def wrong(chosen: frozenset[str]) -> list[str]:
        return ["forbidden"] if chosen in forbidden and chosen != frozenset(names) else []

    found = design("a", "b", _changes(names), wrong, KINDS, "study")
    assert sorted(name for step in found.ladder for name in step) == sorted(names)
    done = [frozenset(name for step in found.ladder[:size] for name in step) for size in range(len(found.ladder) + 1)]
    assert not any(wrong(one) for one in done)
    assert all(before < after for before, after in pairwise(done))
    assert len({arm.changes for arm in found.arms}) == len(found.arms)
    assert not any(wrong(arm.changes) for arm in found.arms)
    assert {arm.changes for arm in found.arms} >= set(done)
