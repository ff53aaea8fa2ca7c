"""Differences between configs and their grouping: nothing is lost, nothing counted twice."""

import copy
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from wrnexp.config.differences import (
    ABSENT,
    Change,
    Difference,
    apply_changes,
    differences,
    equal,
    find,
    group_changes,
    merge,
    reorder,
)
from wrnexp.config.identity import identity_config
from wrnexp.errors import UserError

GOLDEN = Path(__file__).parents[1] / "golden"

SCALARS = st.none() | st.booleans() | st.integers(-3, 3) | st.floats(allow_nan=False) | st.text(max_size=4)
KEYS = st.sampled_from(["depth", "width", "lr", "epochs", "schedule", "_target_", "jitter", "a.b", "two words", "x"])
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=8
)
CONFIGS = st.dictionaries(st.sampled_from(["model", "augment", "optim", "loader", "own"]), VALUES, max_size=5)

BASE_TO_LIGHT = {
    "augmentation policy": {"augment.policy"},
    "colour jitter": {f"augment.jitter.{name}" for name in ("brightness", "contrast", "saturation", "hue")},
    "erasing": {"augment.erasing"},
    "dropout": {"model.dropout"},
    "stem dropout": {"model.stem_dropout"},
    "label smoothing": {"optim.label_smoothing"},
    "weight decay": {"optim.weight_decay"},
    "clipping": {"optim.clip_norm"},
    "batch": {"loader.batch_size", "loader.drop_last", "optim.accumulate", "optim.lr"},
    "epochs": {"optim.epochs"},
    "depth": {"model.depth"},
    "width": {"model.width"},
}


def preset(name: str) -> dict[str, Any]:
    return identity_config(yaml.safe_load((GOLDEN / f"{name}.yaml").read_text()))


def keys(change: Change) -> set[str]:
    return {difference.key for difference in change.differences}


def of(a: dict[str, Any], b: dict[str, Any]) -> dict[str, set[str]]:
    return {change.name: keys(change) for change in group_changes(differences(a, b))}


def test_base_and_light_differ_in_eighteen_settings_that_are_twelve_changes() -> None:
    found = differences(preset("base"), preset("light"))
    assert len(found) == 18
    assert of(preset("base"), preset("light")) == BASE_TO_LIGHT
    assert [change.name for change in group_changes(found)] == list(BASE_TO_LIGHT)


@settings(deadline=None)
@given(CONFIGS, CONFIGS)
def test_every_difference_is_in_one_change_and_all_changes_are_the_whole_difference(
    a: dict[str, Any], b: dict[str, Any]
) -> None:
    kept = copy.deepcopy(a)
    found = differences(a, b)
    changes = group_changes(found)
    assert Counter(one.key for change in changes for one in change.differences) == Counter(one.key for one in found)
    assert len({change.name for change in changes}) == len(changes)
    assert equal(apply_changes(a, changes), b)
    assert equal(apply_changes(b, changes, back=True), a)
    assert a == kept


@settings(deadline=None)
@given(CONFIGS, CONFIGS, st.data())
def test_some_of_the_changes_alter_their_keys_and_no_others(
    a: dict[str, Any], b: dict[str, Any], data: st.DataObject
) -> None:
    changes = group_changes(differences(a, b))
    some = [change for change in changes if data.draw(st.booleans())]
    between = apply_changes(a, some)
    assert {one.key for one in differences(a, between)} == {one.key for change in some for one in change.differences}
    rest = [change for change in changes if change not in some]
    assert equal(between, apply_changes(b, rest, back=True))


def test_the_same_config_has_no_difference() -> None:
    assert differences(preset("light"), preset("light")) == []


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        (1, 1.0, True),
        (1, True, False),
        (0, False, False),
        (None, False, False),
        ("1", 1, False),
        ([1, 2.0], [1.0, 2], True),
        ([True], [1], False),
        ({"x": [1]}, {"x": [1.0]}, True),
        (float("nan"), float("nan"), True),
    ],
)
def test_values_are_compared_by_what_they_mean(a: Any, b: Any, expected: bool) -> None:
    assert equal(a, b) is expected
    assert (differences({"k": a}, {"k": b}) == []) is expected


def test_a_node_on_one_side_is_one_difference_and_keys_of_both_are_compared() -> None:
    a = {"optim": {"schedule": None, "extra": {"x": 1, "y": 2}}}
    b = {"optim": {"schedule": {"_target_": "s", "gamma": 1}, "extra": {"x": 1, "z": 2}}}
    assert differences(a, b) == [
        Difference("optim.extra.y", 2, ABSENT),
        Difference("optim.extra.z", ABSENT, 2),
        Difference("optim.schedule", None, {"_target_": "s", "gamma": 1}),
    ]


def test_a_mapping_with_keys_that_cannot_be_addressed_is_one_value() -> None:
    assert differences({"m": {"a.b": 1}}, {"m": {"a.b": 2}}) == [Difference("m", {"a.b": 1}, {"a.b": 2})]
    assert differences({"m": {1: 1}}, {"m": {1: 2}}) == [Difference("m", {1: 1}, {1: 2})]


def test_the_learning_rate_belongs_to_the_batch_only_where_that_differs() -> None:
    a = {"optim": {"lr": 0.1, "accumulate": 1}, "loader": {"batch_size": 128, "drop_last": False}}
    rate = {"optim": {"lr": 0.2, "accumulate": 1}, "loader": {"batch_size": 128, "drop_last": True}}
    both = {"optim": {"lr": 0.2, "accumulate": 2}, "loader": {"batch_size": 128, "drop_last": True}}
    assert of(a, rate) == {"learning rate": {"optim.lr"}, "whole steps": {"loader.drop_last"}}
    assert of(a, both) == {"batch": {"optim.lr", "optim.accumulate", "loader.drop_last"}}


def test_milestones_take_the_epochs_with_them() -> None:
    found = of(preset("paper_wrn_28_10"), preset("base"))
    assert found["schedule"] == {
        "optim.epochs",
        *(f"optim.schedule.{key}" for key in ("_target_", "final", "gamma", "milestones", "warmup_epochs")),
    }
    longer = preset("base")
    longer["optim"] |= {"epochs": 7, "schedule": longer["optim"]["schedule"] | {"warmup_epochs": 1}}
    assert of(preset("base"), longer) == {"epochs": {"optim.epochs"}, "warm-up": {"optim.schedule.warmup_epochs"}}


def test_another_class_takes_its_whole_node_with_it() -> None:
    a, b = preset("base"), preset("base")
    b["model"] = {"_target_": "their.net", "blocks": [1, 2], "dropout": 0.1}
    (change,) = group_changes(differences(a, b))
    assert change.name == "model"
    assert keys(change) == {
        f"model.{key}" for key in ("_target_", "_partial_", "depth", "width", "dropout", "stem_dropout", "blocks")
    }
    assert "another class" in change.reason


def test_another_class_joins_what_reaches_beyond_its_node() -> None:
    a, b = preset("base"), preset("light")
    b["loader"]["_target_"] = "wrnexp.data.ResidentLoader"
    found = of(a, b)
    assert found["loader and batch"] == {"loader._target_", *BASE_TO_LIGHT["batch"]}
    assert set(found) == set(BASE_TO_LIGHT) - {"batch"} | {"loader and batch"}


def test_settings_that_no_rule_names_are_changes_of_their_own() -> None:
    a = {"trainer": {"ema": None, "precision": "fp32"}, "data": {"train_limit": 5}, "own": {"precision": 1}}
    b = {"trainer": {"ema": 0.9, "precision": "bf16"}, "data": {"train_limit": 6}, "own": {"precision": 2}}
    assert list(of(a, b).items()) == [
        ("train limit", {"data.train_limit"}),
        ("own.precision", {"own.precision"}),
        ("ema", {"trainer.ema"}),
        ("trainer.precision", {"trainer.precision"}),
    ]


def test_a_reason_is_given_where_there_is_something_to_explain() -> None:
    reasons = {change.name: change.reason for change in group_changes(differences(preset("base"), preset("light")))}
    assert {name for name, reason in reasons.items() if reason} == {"colour jitter", "batch"}


def test_changes_are_named_ordered_and_put_together_as_the_command_says() -> None:
    changes = group_changes(differences(preset("base"), preset("light")))
    assert find(changes, "Stem_dropout") is find(changes, "stem-dropout") is find(changes, "model.stem_dropout")
    front = reorder(changes, ["width", "optim.lr", "width"])
    assert [change.name for change in front[:3]] == ["width", "batch", "augmentation policy"]
    assert sorted(change.name for change in front) == sorted(BASE_TO_LIGHT)
    net = merge(changes, ["width", "depth"])
    assert [change.name for change in net][-1] == "width and depth"
    assert keys(net[-1]) == {"model.depth", "model.width"}
    assert merge(changes, ["width"]) == changes
    with pytest.raises(UserError, match="no change 'droput'; did you mean 'dropout'"):
        reorder(changes, ["droput"])


def test_schedules_with_lists_can_be_ordered_and_put_together() -> None:
    changes = group_changes(differences(preset("paper_wrn_28_10"), preset("light")))
    assert reorder(changes, ["schedule"])[0].name == "schedule"
    assert merge(changes, ["schedule", "batch"])[-3].name == "schedule and batch"
