"""Names: what a run's folder, its arm and its sweep are called."""

from typing import Any

import pytest

from wrnexp.launch.naming import recipe_name, swept_keys


@pytest.mark.parametrize(
    ("choices", "name"),
    [
        ({}, "base"),
        ({"model": "base", "augment": "base", "optim": "base", "loader": "base"}, "base"),
        ({"model": "light", "augment": "light", "optim": "light", "loader": "light"}, "light"),
        ({"model": "light", "augment": "base", "optim": "base", "loader": "base"}, "base+model=light"),
        ({"experiment": "demo_light", "model": "light"}, "demo_light"),
        ({"experiment": None, "model": "light", "loader": "light"}, "base+model=light+loader=light"),
    ],
)
def test_a_recipe_is_named_by_its_choices(choices: dict[str, Any], name: str) -> None:
    assert recipe_name(choices) == name


@pytest.mark.parametrize(
    ("overrides", "keys"),
    [
        (["model.dropout=0,0.3", "seed=0,1"], ["model.dropout"]),
        (["optim.lr=0.1"], []),
        (
            ["optim.label_smoothing=range(0,0.3,0.1)", "model.dropout=choice(0,0.1)"],
            ["optim.label_smoothing", "model.dropout"],
        ),
        (["optim.schedule.milestones=[1,2]", "experiment=base,light"], ["experiment"]),
    ],
)
def test_swept_keys_are_those_with_several_values(overrides: list[str], keys: list[str]) -> None:
    assert swept_keys(overrides) == keys
