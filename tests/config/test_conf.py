"""conf/: what each preset composes to, and the contract's table of the two recipes."""

import functools
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.golden import compose
from wrnexp.config import identity
from wrnexp.config.check import problems

GOLDEN = Path(__file__).parents[1] / "golden"
composed = functools.cache(compose.composed)  # a fifth of a second each, and several tests look at each


# The table of the contract: key, base, light.
TABLE: list[tuple[str, Any, Any]] = [
    ("model.depth", 28, 16),
    ("model.width", 10, 8),
    ("model.dropout", 0.3, 0.25),
    ("model.stem_dropout", 0.0, 0.1),
    ("augment.padding", 4, 4),
    ("augment.flip", 0.5, 0.5),
    ("augment.policy", "autoaugment", "randaugment"),
    ("augment.num_ops", 2, 2),
    ("augment.magnitude", 9, 9),
    ("augment.erasing", 0.0, 0.2),
    ("optim.epochs", 100, 85),
    ("optim.lr", 0.1, 0.8),
    ("optim.momentum", 0.9, 0.9),
    ("optim.nesterov", True, True),
    ("optim.weight_decay", 5e-4, 1e-4),
    ("optim.label_smoothing", 0.1, 0.15),
    ("optim.accumulate", 1, 2),
    ("optim.clip_norm", None, 0.5),
    ("loader.batch_size", 128, 512),
    ("loader.workers", 4, 6),
    ("loader.prefetch_factor", 2, 3),
    ("loader.drop_last", False, True),
    ("loader.persistent_workers", False, True),
    ("loader.pin_memory", True, True),
    ("data.val_size", 0, 0),
    ("trainer.test_every", 1, 1),
]


# Ids of the presets, seed 0. Keys that are added later must leave them as they are: runs on disk are found by them.
IDS = {
    "base": "3054a2df88",
    "cpu_wrn_10_1": "c534813f18",
    "demo_base": "7057dabbfa",
    "demo_light": "b833f8e2a8",
    "light": "568b47a8ed",
    "paper_wrn_16_8": "699d3ba466",
    "paper_wrn_28_10": "6bdf7ad671",
    "paper_wrn_28_10_dropout": "2803ffde02",
    "paper_wrn_40_4": "9e7fec1217",
}


def config_of(*overrides: str) -> dict[str, Any]:
    config = yaml.safe_load(composed(*overrides))
    assert isinstance(config, dict)
    return config


def value_of(config: dict[str, Any], key: str) -> Any:
    for part in key.split("."):
        config = config[part]
    return config


@pytest.mark.parametrize("preset", compose.PRESETS)
def test_a_preset_composes_to_its_golden_file(preset: str) -> None:
    golden = (GOLDEN / f"{preset}.yaml").read_text()
    assert composed(f"experiment={preset}") == golden, "run `make golden` and read the difference"


@pytest.mark.parametrize("preset", compose.PRESETS)
def test_the_ids_of_a_preset_stay(preset: str) -> None:
    assert identity.run_id(yaml.safe_load((GOLDEN / f"{preset}.yaml").read_text())) == IDS[preset]


@pytest.mark.parametrize("preset", compose.PRESETS)
def test_a_preset_is_a_good_config(preset: str) -> None:
    assert problems(config_of(f"experiment={preset}")) == []


@pytest.mark.parametrize("recipe", ["base", "light"])
def test_the_four_groups_are_the_whole_difference(recipe: str) -> None:
    by_groups = [f"{group}={recipe}" for group in ("model", "augment", "optim", "loader")]
    one, other = config_of(f"experiment={recipe}"), config_of(*by_groups)
    assert one == other
    assert identity.arm_id(one) == identity.arm_id(other)


@pytest.mark.parametrize("choice", ["experiment=base", "experiment=light", "optim=light", "experiment=paper_wrn_16_8"])
def test_the_resident_loader_keeps_the_recipes_batch(choice: str) -> None:
    own = config_of("loader=light", choice) if choice == "optim=light" else config_of(choice)
    resident = config_of(choice, "loader=resident")
    assert resident["loader"]["_target_"] == "wrnexp.data.ResidentLoader"
    for key in ("batch_size", "drop_last"):
        assert resident["loader"][key] == own["loader"][key]
    assert {name: group for name, group in resident.items() if name != "loader"} == {
        name: group for name, group in config_of(choice).items() if name != "loader"
    }
    assert problems(resident) == []


def test_a_key_given_with_the_resident_loader_wins() -> None:
    config = config_of("experiment=light", "loader=resident", "loader.batch_size=96", "loader.drop_last=false")
    assert (config["loader"]["batch_size"], config["loader"]["drop_last"]) == (96, False)


def test_a_loader_chosen_beside_an_experiment_is_that_loader() -> None:
    assert config_of("experiment=base", "loader=light")["loader"] == config_of("experiment=light")["loader"]


def test_the_default_is_base() -> None:
    assert config_of() == config_of("experiment=base")


@pytest.mark.parametrize(("key", "base", "light"), TABLE)
def test_the_table_of_the_contract(key: str, base: Any, light: Any) -> None:
    assert value_of(config_of("experiment=base"), key) == base
    assert value_of(config_of("experiment=light"), key) == light


def test_only_light_jitters_colours() -> None:
    assert set(value_of(config_of("experiment=base"), "augment.jitter").values()) == {0.0}
    assert min(value_of(config_of("experiment=light"), "augment.jitter").values()) > 0


def test_the_papers_recipe() -> None:
    config = config_of("experiment=paper_wrn_28_10_dropout")
    assert (config["model"]["depth"], config["model"]["width"], config["model"]["dropout"]) == (28, 10, 0.3)
    assert config["augment"] | {"policy": "none", "padding_mode": "reflect", "erasing": 0.0} == config["augment"]
    assert config["optim"]["schedule"]["milestones"] == [60, 120, 160]
    assert (config["optim"]["epochs"], config["optim"]["lr"], config["optim"]["weight_decay"]) == (200, 0.1, 5e-4)
    assert (config["optim"]["label_smoothing"], config["loader"]["batch_size"]) == (0.0, 128)
