"""Names: what a run's folder, its arm and its sweep are called."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import DictConfig

from wrnexp.config.text import TEXT_LIMIT
from wrnexp.hydra_app import naming
from wrnexp.hydra_app.naming import recipe_name, swept_keys
from wrnexp.hydra_app.overrides import escaped
from wrnexp.runs.record import record_folders
from wrnexp.sweeps.grid import together
from wrnexp.sweeps.jobs import arm_label


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


@pytest.mark.parametrize(
    ("choices", "values", "label"),
    [
        ({"experiment": "light"}, {"experiment": "light"}, "light"),
        ({"experiment": None}, {"model.dropout": "0.1", "seed": "1"}, "base model.dropout=0.1"),
        ({"experiment": None, "model": "light"}, {"model": "light"}, "base+model=light"),
        ({"experiment": "light", "model": "base"}, {"model": "base"}, "light model=base"),
        ({"experiment": "light"}, {"data": "shapes"}, "light data=shapes"),
    ],
)
def test_an_arm_is_labelled_by_what_was_swept(choices: dict[str, Any], values: dict[str, str], label: str) -> None:
    swept = [key for key in values if key != "seed"]
    assert arm_label(choices, swept, values) == label


@given(st.text(alphabet="ab'\\=, [1]", max_size=12).map(str.strip))
def test_any_label_survives_the_command_line(text: str) -> None:
    label = f"base {text}"
    (override,) = OverridesParser.create().parse_overrides([f"label='{escaped(label)}'"])
    assert override.value() == label


def test_the_command_holds_over_the_sweeps_file() -> None:
    kept = ["model.dropout=0,0.3", "seed=range(16)", "optim.lr=0.1"]
    assert together(kept, ["seed=0,1", "+scale=small"]) == [
        "model.dropout=0,0.3",
        "optim.lr=0.1",
        "seed=0,1",
        "+scale=small",
    ]


def test_names_in_other_scripts_are_sweeps_of_their_own(tiny: Callable[..., DictConfig]) -> None:
    folders = [naming._sweep(_root_=tiny(f"name='{name}'")) for name in ("дропаут", "сглаживание", "😀", "😁")]
    assert folders[:2] == ["дропаут", "сглаживание"]
    assert len(set(folders)) == 4


@pytest.mark.parametrize("text", ["wandb", ".wandb"])
def test_no_run_lies_in_the_folder_of_wandbs_files(tiny: Callable[..., DictConfig], tmp_path: Path, text: str) -> None:
    folder = tmp_path / naming._sweep(_root_=tiny(f"name={text}"))
    assert folder.name == naming._label(_root_=tiny(f"label={text}"))
    folder.mkdir()
    (folder / "record.json").touch()
    assert list(record_folders(tmp_path)) == [folder]


@given(st.lists(st.text(), max_size=30))
def test_a_label_of_many_swept_values_is_one_that_the_schema_allows(values: list[str]) -> None:
    label = " ".join(values)
    assert len(naming.fitted(label)) <= TEXT_LIMIT
    assert (naming.fitted(label) == label) == (len(label) <= TEXT_LIMIT)


def test_long_labels_stay_different() -> None:
    assert naming.fitted("x" * 300) != naming.fitted("x" * 301)
