"""Attribution: which of the changes from one recipe to another matter, as a sweep.

The sweep is a primary config like any other, with an arm for each step of the ladder, for each change left out of the
second recipe and for each added to the first. Every arm's overrides are composed when it is written, and give exactly
the config that they should.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from wrnexp.config import identity
from wrnexp.config.check import problems
from wrnexp.config.differences import Change, Difference, apply_changes, differences, group_changes, merge, reorder
from wrnexp.errors import UserError
from wrnexp.hydra_app.naming import folder_name
from wrnexp.hydra_app.overrides import overrides, verbatim
from wrnexp.runs.record import write_atomic
from wrnexp.sweeps.ablation.arms import KINDS, AblationArm, Design, design
from wrnexp.sweeps.ablation.recipes import ComposedRecipe, Recipes, composing

SEEDS = "0,1,2"
TRAINING_IMAGES = {"cifar100": 50_000, "cifar10": 50_000, "shapes": 6_000}  # of a folder only the folder knows
# Keys of which only one value makes sense: which images are tested on, and what the study itself settles.
SAME_DATA = ("data._target_", "data.name", "data.root", "data.test_limit", "data.resize")
OWN = {
    "label": "ablate labels the arms itself",
    "experiment": "A and B are the experiments",
}


@dataclass(frozen=True)
class Command:
    """What the overrides of the command say.

    Attributes:
        seeds: as typed, for instance `0,1,2`.
        number: how many seeds that is.
        name: of the sweep, None for the usual one.
        scale: an option of conf/scale; the sweep at another scale is another sweep.
        common: overrides of every arm.
        own: overrides of the sweep itself (launcher, `sweep.*`), which stay on the command line.
    """

    seeds: str = SEEDS
    number: int = 3
    name: str | None = None
    scale: str | None = None
    common: list[str] = field(default_factory=list)
    own: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class AblationDesign:
    """An ablation, ready to be written.

    Attributes:
        a: the first recipe.
        b: the second.
        command: what else was asked for.
        changes: every setting that differs and can change a result, each in one change, in the order of the ladder.
        left_out: the settings that differ and cannot change a result, or are an axis of the sweep.
        design: the arms.
        arms: for each arm of the design its overrides, and the config that they give.
    """

    a: ComposedRecipe
    b: ComposedRecipe
    command: Command
    changes: list[Change]
    left_out: list[Difference]
    design: Design
    arms: list[tuple[list[str], dict[str, Any]]]

    @property
    def name(self) -> str:
        """Return the sweep's name, which is its folder's and its file's."""
        scale = f"_{self.command.scale}" if self.command.scale else ""
        return folder_name(self.command.name or f"ablate_{self.a.name}_{self.b.name}{scale}")


def ablation(
    root: Path,
    a: str,
    b: str,
    given: Sequence[str] = (),
    *,
    kinds: Sequence[str] = KINDS,
    order: Sequence[str] = (),
    merged: Iterable[Sequence[str]] = (),
) -> AblationDesign:
    """Design the ablation of two recipes.

    Args:
        root: the folder that holds `conf/`.
        a: an experiment, or an option that all four groups have.
        b: the other one.
        given: overrides, common to both.
        kinds: which of `KINDS` to have.
        order: names of the changes that the ladder takes first.
        merged: names of changes that are to be one.

    Raises:
        UserError: an unknown name or key, recipes that do not differ or do not compare, configs that cannot be had.
    """
    command = understood(given)
    with composing(root, command.common) as composer:
        first, second = composer.recipe(a), composer.recipe(b)
        changes, left_out = _compared(first, second)
        for names in merged:
            changes = merge(changes, names)
        changes = reorder(changes, order)
        study = identity.digest([identity.arm_id(side.config) for side in (first, second)])

        def wrong(names: frozenset[str]) -> list[str]:
            return impossible(apply_changes(first.config, [change for change in changes if change.name in names]))

        found = design(a, b, changes, wrong, kinds, study)
        arms = [_expressed(composer, arm, first, second, changes) for arm in found.arms]
    return AblationDesign(first, second, command, changes, left_out, found, arms)


def understood(given: Sequence[str]) -> Command:
    """Sort the overrides of the command.

    Raises:
        UserError: one cannot be read, or has no place in an ablation.
    """
    try:
        parsed = OverridesParser.create().parse_overrides(list(given))
    except HydraException as error:
        raise UserError(str(error).splitlines()[0]) from error
    found: dict[str, Any] = {"common": [], "own": []}
    for one in parsed:
        key, text = str(one.key_or_group), str(one.input_line)
        value = text.partition("=")[2]
        if key in OWN:
            raise UserError(f"{text} has no place here: {OWN[key]}")
        if key == "seed":
            found |= {"seeds": value, "number": _number(one)}
        elif one.is_sweep_override():
            raise UserError(
                f"{text}: the seed alone may have several values. Give a command for each, with a name=... of its own"
            )
        elif key == "name":
            found["name"] = None if one.value() is None else str(one.value())
        else:
            mine = key.split("/")[0].split(".")[0] in ("hydra", "sweep") or key == "rerun"
            found["own" if mine else "common"].append(text)
            found |= {"scale": value} if key == "scale" else {}
    return Command(**found)


def impossible(config: dict[str, Any]) -> list[str]:
    """Return why a config cannot be trained, as far as that is known before the data are read; nothing if it can."""
    if wrong := problems(config):
        return wrong
    data, loader, accumulate = config["data"], config["loader"], config["optim"]["accumulate"]
    limits = [TRAINING_IMAGES.get(str(data.get("name"))), data.get("train_limit")]
    images = min((limit for limit in limits if isinstance(limit, int)), default=None)
    size = loader.get("batch_size")
    if images is None or not isinstance(size, int):  # somebody else's data or loader
        return []
    if size > images:
        return [f"loader.batch_size={size} is more than the {images:,} training images"]
    if loader.get("drop_last") and size * accumulate > images:
        return [
            f"loader.batch_size={size} x optim.accumulate={accumulate} is more than the {images:,} training images, "
            "and loader.drop_last=true leaves out a step that is not full"
        ]
    return []


def text(study: AblationDesign, command: str) -> str:
    """Return the sweep's file.

    Args:
        study: what to write.
        command: the command that asks for it, for the reader.
    """
    common = [one for one in study.command.common if not one.startswith("~")]
    gone = [one for one in study.command.common if one.startswith("~")]  # Hydra's sweeper knows no such axis
    params = {"seed": study.command.seeds} | {key: value for key, _, value in (one.partition("=") for one in common)}
    head = [
        f"# Which of the changes from {study.a.name} to {study.b.name} matter?",
        f"# Written by `{command}`, which goes on where it stopped; for another study give another command.",
        "defaults: [config, _self_]",
        "hydra:",
        "  mode: MULTIRUN",
        "  sweeper:",
        f"    params: {_flow(params)}",
        "    arms:",
    ]
    for arm, (chosen, _) in zip(study.design.arms, study.arms, strict=True):
        head += [f"      {_flow(arm.label)}:", f"        overrides: {_flow([*chosen, *gone])}"]
        head += [f"        roles: {_flow(arm.roles)}"]
    return "\n".join([*head, ""])


def write(study: AblationDesign, path: Path, command: str) -> None:
    """Write the sweep's file, atomically.

    Raises:
        UserError: it cannot be written.
    """
    try:
        write_atomic(path, text(study, command).encode())
    except OSError as error:
        raise UserError(f"cannot write {path}: {error}") from error


def _compared(a: ComposedRecipe, b: ComposedRecipe) -> tuple[list[Change], list[Difference]]:
    """Return the changes from one recipe to the other, and what differs without effect."""
    everything = differences(a.config, b.config)
    effective = [difference.key for difference in differences(*map(identity.identity_config, (a.config, b.config)))]
    matter = [one for one in everything if one.key != "seed" and _named(one.key, effective)]
    if other := [one for one in matter if one.key in SAME_DATA]:
        shown = "; ".join(f"{one.key}: {one.a} and {one.b}" for one in other)
        raise UserError(
            f"{a.name} and {b.name} are tested on other images ({shown}), so their accuracies do not compare: give "
            "both the same with data=..."
        )
    if not matter:
        raise UserError(f"{a.name} and {b.name} differ in nothing that can change a result: there is nothing to ablate")
    return group_changes(matter), [one for one in everything if one not in matter]


def _named(key: str, others: Sequence[str]) -> bool:
    """Say whether `key` or a key below it is among `others`."""
    return any(other == key or other.startswith(f"{key}.") for other in others)


def _expressed(
    composer: Recipes, arm: AblationArm, a: ComposedRecipe, b: ComposedRecipe, changes: Sequence[Change]
) -> tuple[list[str], dict[str, Any]]:
    """Return an arm's overrides and the config that they give, which is composed to be sure.

    Where a setting follows another by an interpolation, it is set to the value that it should have.
    """
    start = b if arm.from_b else a
    apart = [change for change in changes if (change.name in arm.changes) is not arm.from_b]
    wanted = apply_changes(start.config, apart, back=arm.from_b)
    found = [one.back() if arm.from_b else one for change in apart for one in change.differences]
    chosen = [*start.overrides]
    for _ in range(3):
        chosen += overrides(found)
        found = differences(composer.config(chosen), wanted)
        if not found:
            return chosen, wanted
    off = ", ".join(difference.key for difference in found)
    raise UserError(f"{arm.label} cannot be said in overrides: {off} would be other than in {start.name}")


def _number(seeds: Override) -> int:
    return len(list(seeds.sweep_string_iterator())) if seeds.is_sweep_override() else 1


def _flow(node: Any) -> str:
    """Return a value as one line of YAML."""
    return (
        yaml.safe_dump(_plain(node), default_flow_style=True, width=math.inf, sort_keys=False, allow_unicode=True)
        .removesuffix("...\n")
        .strip()
    )


def _plain(node: Any) -> Any:
    """Keep OmegaConf from reading interpolations into what the file says."""
    if isinstance(node, dict):
        return {key: _plain(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_plain(value) for value in node]
    return verbatim(node) if isinstance(node, str) else node
