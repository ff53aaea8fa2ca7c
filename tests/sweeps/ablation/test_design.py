"""Ablations: every arm's overrides, composed by Hydra, give exactly the config that the arm stands for."""

import shutil
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from wrnexp.config.differences import apply_changes, differences, equal, group_changes
from wrnexp.config.identity import arm_id, identity_config, run_id
from wrnexp.data.sources import shapes
from wrnexp.data.sources.cifar import CIFARS
from wrnexp.errors import UserError
from wrnexp.hydra_app.overrides import overrides
from wrnexp.sweeps.ablation.design import (
    SEEDS,
    TRAINING_IMAGES,
    AblationDesign,
    ablation,
    impossible,
    text,
    understood,
    write,
)
from wrnexp.sweeps.ablation.recipes import ComposedRecipe, composing

ROOT = Path(__file__).parents[3]
PAIRS = [
    ("base", "light"),
    ("light", "base"),
    ("demo_base", "demo_light"),
    ("paper_wrn_28_10", "paper_wrn_16_8"),
    ("paper_wrn_40_4", "base"),
    ("paper_wrn_28_10_dropout", "light"),
]
LONG = {("light", "base"), ("paper_wrn_28_10_dropout", "light")}  # as many arms as base and light, of the same kinds


@pytest.fixture(scope="module")
def base_light() -> AblationDesign:
    return ablation(ROOT, "base", "light")


@cache
def recipe(name: str) -> ComposedRecipe:
    with composing(ROOT) as composer:
        return composer.recipe(name)


def composed(overrides: list[str], root: Path = ROOT) -> dict[str, Any]:
    with composing(root) as composer:
        return composer.config(overrides)


def by_label(study: AblationDesign) -> dict[str, tuple[list[str], dict[str, Any]]]:
    return {arm.label: found for arm, found in zip(study.design.arms, study.arms, strict=True)}


def arms_of_file(written: str) -> dict[str, Any]:
    """Return the arms of a sweep's file as Hydra's sweeper is given them."""
    node = OmegaConf.to_container(OmegaConf.create(written), resolve=True)
    assert isinstance(node, dict)
    arms: dict[str, Any] = node["hydra"]["sweeper"]["arms"]
    return arms


@pytest.mark.parametrize(
    ("a", "b"), [pytest.param(*pair, marks=pytest.mark.slow if pair in LONG else ()) for pair in PAIRS]
)
def test_every_arm_composes_to_its_config_and_differs_in_its_changes_alone(a: str, b: str) -> None:
    study = ablation(ROOT, a, b, kinds=["add-one", "leave-one-out"])
    assert equal(identity_config(apply_changes(study.a.config, study.changes)), identity_config(study.b.config))
    keys = {change.name: {one.key for one in change.differences} for change in study.changes}
    with composing(ROOT) as composer:
        configs = [composer.config(chosen) for chosen, _ in study.arms]
    for arm, (_, config), got in zip(study.design.arms, study.arms, configs, strict=True):
        assert equal(got, config)
        assert run_id(got) == run_id(apply_changes(study.a.config, [c for c in study.changes if c.name in arm.changes]))
        found = {one.key for one in differences(*map(identity_config, (study.a.config, got)))}
        assert found == {key for name in arm.changes for key in keys[name]}
    assert run_id(by_label(study)[b][1]) == run_id(study.b.config)


@settings(deadline=None, max_examples=15)
@given(st.sampled_from(PAIRS), st.data())
def test_any_of_the_changes_said_in_overrides_give_that_config(pair: tuple[str, str], data: st.DataObject) -> None:
    a, b = (recipe(name) for name in pair)
    changes = group_changes(differences(a.config, b.config))
    some = [change for change in changes if data.draw(st.booleans(), label=change.name)]
    chosen = overrides(one for change in some for one in change.differences)
    with composing(ROOT) as composer:
        assert equal(composer.config([*a.overrides, *chosen]), apply_changes(a.config, some))


def test_the_arms_of_base_and_light(base_light: AblationDesign) -> None:
    arms = by_label(base_light)
    assert len(arms) == 35
    assert arms["base"][0] == ["experiment=base"]
    assert arms["base + dropout"][0] == ["experiment=base", "model.dropout=0.25"]
    assert arms["light - dropout"][0] == ["experiment=light", "model.dropout=0.3"]
    assert arms["light - clipping"][0] == ["experiment=light", "optim.clip_norm=null"]
    assert arms["ladder 2: + colour jitter"][0][:2] == ["experiment=base", "augment.policy=randaugment"]
    assert [one.key for one in base_light.left_out] == [
        "loader.persistent_workers",
        "loader.prefetch_factor",
        "loader.workers",
    ]


def test_the_file_asks_its_question_and_holds_the_arms(base_light: AblationDesign, tmp_path: Path) -> None:
    write(base_light, tmp_path / "sweep.yaml", "wrnexp ablate base light")
    written = (tmp_path / "sweep.yaml").read_text()
    assert written.splitlines()[0] == "# Which of the changes from base to light matter?"
    assert "wrnexp ablate base light" in written.splitlines()[1]
    node = yaml.safe_load(written)
    assert node["defaults"] == ["config", "_self_"]
    assert node["hydra"]["mode"] == "MULTIRUN"
    assert node["hydra"]["sweeper"]["params"] == {"seed": SEEDS}
    arms = arms_of_file(written)
    assert {label: arm["overrides"] for label, arm in arms.items()} == {
        label: chosen for label, (chosen, _) in by_label(base_light).items()
    }
    assert arms["light - width"]["roles"][1] | {"ladder": ""} == {
        "study": arms["base"]["roles"][0]["study"],
        "kind": "ladder",
        "ladder": "",
        "step": 11,
        "changes": ["depth"],
    }


def test_common_overrides_go_to_both_and_into_the_file() -> None:
    given = ["seed=3,4", "data=shapes", "optim.epochs=10", "hydra/launcher=joblib", "name=mine"]
    study = ablation(ROOT, "base", "light", given, kinds=["add-one"])
    assert "epochs" not in {change.name for change in study.changes}
    assert {config["optim"]["epochs"] for _, config in study.arms} == {10}
    assert {config["data"]["name"] for _, config in study.arms} == {"shapes"}
    assert (study.name, study.command.number, study.command.own) == ("mine", 2, ["hydra/launcher=joblib"])
    node = yaml.safe_load(text(study, ""))["hydra"]["sweeper"]
    assert node["params"] == {"seed": "3,4", "data": "shapes", "optim.epochs": "10"}
    common = [f"{key}={value}" for key, value in node["params"].items() if key != "seed"]
    with composing(ROOT) as composer:
        for arm, (_, config) in zip(node["arms"].values(), study.arms, strict=True):
            assert run_id(composer.config([*arm["overrides"], *common])) == run_id(config)


def test_groups_that_have_a_common_option_are_a_recipe(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    for group in ("model", "augment", "optim", "loader"):
        (tmp_path / f"conf/{group}/mine.yaml").write_text("defaults: [light, _self_]\n")
    (tmp_path / "conf/model/mine.yaml").write_text("defaults: [light, _self_]\nwidth: 4\n")
    study = ablation(tmp_path, "light", "mine")
    assert by_label(study)["mine"][0] == ["model=mine", "augment=mine", "optim=mine", "loader=mine"]
    assert [change.name for change in study.changes] == ["width"]


def _own(folder: Path, body: str) -> Path:
    """Return a root with the experiment `own`, which is base with `body`."""
    shutil.copytree(ROOT / "conf", folder / "conf")
    (folder / "conf/experiment/own.yaml").write_text(
        f"# @package _global_\ndefaults:\n  - override /model: base\n{body}"
    )
    return folder


OWN = """
model:
  _target_: their.package.Net
  depth: 22
  blocks: [1, [2, {kind: "a b"}]]
  note: "it's ${seed}, 100% \\\\${kept}, [1]"
  table: {1: one, 2: null}
  stem: {kernel: 3, pool: null}
augment:
  mixup: 0.2
optim:
  schedule:
    final: 0.01
  clip_norm: 1
trainer:
  ema: 0.999
"""


def test_a_model_of_ones_own_with_lists_and_odd_text(tmp_path: Path) -> None:
    root = _own(tmp_path, OWN)
    study = ablation(root, "base", "own")
    assert [change.name for change in study.changes] == ["mixup", "clipping", "final", "ema", "model"]
    assert study.b.config["model"]["note"] == "it's 0, 100% ${kept}, [1]"
    arms = arms_of_file(text(study, ""))
    with composing(root) as composer:
        for label, (_, config) in by_label(study).items():
            assert equal(composer.config(arms[label]["overrides"]), config)
        swapped = composer.config(arms["base + model"]["overrides"])
        back = composer.config(arms["own - model"]["overrides"])
    assert equal(swapped["model"], study.b.config["model"])
    assert equal(back["model"], study.a.config["model"])


def test_a_key_that_is_taken_away_is_so_in_every_arm(tmp_path: Path) -> None:
    root = _own(tmp_path, OWN)
    (root / "conf/experiment/other.yaml").write_text("# @package _global_\ndefaults: [own]\noptim: {epochs: 3}\n")
    study = ablation(root, "own", "other", ["~model.note", "+model.more=1"])
    node = yaml.safe_load(text(study, ""))["hydra"]["sweeper"]
    assert node["params"] == {"seed": SEEDS, "+model.more": "1"}
    assert {arm["overrides"][-1] for arm in node["arms"].values()} == {"~model.note"}
    assert run_id(composed([*node["arms"]["other"]["overrides"], "+model.more=1"], root)) == run_id(study.b.config)
    assert "note" not in study.b.config["model"]


def test_a_setting_that_follows_another_is_held_where_it_should_be(tmp_path: Path) -> None:
    root = _own(tmp_path, "optim:\n  epochs: 30\n  schedule:\n    warmup_epochs: ${optim.epochs}\n")
    study = ablation(root, "own", "base")
    arms = by_label(study)
    assert "optim.schedule.warmup_epochs=30" in arms["own + epochs"][0]
    assert arms["own + epochs"][1]["optim"]["schedule"]["warmup_epochs"] == 30


def test_configs_that_cannot_be_trained_are_left_out() -> None:
    study = ablation(ROOT, "base", "light", ["data=shapes", "data.train_limit=600"], kinds=["add-one"])
    labels = {arm.label for arm in study.design.arms}
    assert "base + batch" not in labels
    assert "light" in labels
    (remark,) = [one for one in study.design.remarks if one.startswith("base + batch")]
    assert "512 x optim.accumulate=2 is more than the 600 training images" in remark


def test_steps_that_cannot_be_taken_alone_are_taken_later_or_together(tmp_path: Path) -> None:
    root = _own(tmp_path, "augment:\n  cutout: 8\noptim:\n  epochs: 50\n")
    oracle = ["loader.backend=torchvision"]
    with pytest.raises(UserError, match=r"own: .*augment\.cutout=8 needs loader\.backend=batched"):
        ablation(root, "base", "own", oracle)
    (root / "conf/experiment/old.yaml").write_text(
        "# @package _global_\ndefaults:\n  - override /model: base\nloader:\n  backend: torchvision\n"
    )
    study = ablation(root, "old", "own")
    assert study.design.ladder == [("epochs",), ("backend",), ("cutout",)]
    assert study.design.remarks[0].startswith("the ladder takes epochs before cutout: the other order is not possible")


def test_the_sizes_that_are_known_are_those_of_the_data() -> None:
    assert {"shapes": shapes.TRAIN, **dict.fromkeys(CIFARS, 50_000)} == TRAINING_IMAGES


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], None),
        (["loader.batch_size=60000"], "batch_size=60000 is more than the 50,000 training images"),
        (["data=shapes", "loader.batch_size=6001"], "6,000"),
        (["data=folder", "data.root=x", "loader.batch_size=60000"], None),
        (["optim.momentum=0"], "nesterov"),
    ],
)
def test_what_cannot_be_trained_is_known_before(given: list[str], message: str | None) -> None:
    found = impossible(composed(given))
    assert (not found) if message is None else any(message in line for line in found)


@pytest.mark.parametrize(
    ("a", "b", "given", "message"),
    [
        ("bse", "light", [], "no recipe 'bse'; did you mean base"),
        ("base", "paper", [], "no recipe 'paper'; did you mean paper_wrn"),
        ("base", "base", [], "differ in nothing"),
        ("base", "demo_base", [], r"tested on other images \(data.name: cifar100 and shapes"),
        ("base", "light", ["optim.epoch=3"], "no such key; did you mean optim.epochs"),
        ("base", "light", ["optim.lr=0.1,0.2"], "the seed alone may have several values"),
        ("base", "light", ["label=x"], "labels the arms itself"),
        ("base", "light", ["experiment=base"], "A and B are the experiments"),
        ("base", "light", ["model.dropout=2"], r"base: model\.dropout=2 is not allowed"),
        ("base", "light", ["seed=(("], "OverrideParse|mismatched|no viable|extraneous"),
    ],
)
def test_mistakes_are_told(a: str, b: str, given: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        ablation(ROOT, a, b, given)


@pytest.mark.parametrize(("seeds", "number"), [("seed=7", 1), ("seed=0,1,2", 3), ("seed=range(5)", 5)])
def test_seeds_are_counted(seeds: str, number: int) -> None:
    assert understood([seeds]).number == number
    assert understood([seeds]).seeds == seeds.removeprefix("seed=")


def test_another_scale_is_another_sweep() -> None:
    assert ablation(ROOT, "base", "light", ["+scale=small"], kinds=[]).name == "ablate_base_light_small"
    assert understood(["+scale=small", "name=mine"]).name == "mine"


def test_the_seed_is_no_change(tmp_path: Path) -> None:
    study = ablation(_own(tmp_path, "seed: 5\nmodel:\n  width: 4\n"), "base", "own")
    assert [change.name for change in study.changes] == ["width"]
    assert "seed" in {one.key for one in study.left_out}
    assert len({arm_id(config) for _, config in study.arms}) == len(study.arms)
