"""Where a run lives and what it is called, from its composed config.

The folder is a function of the config (`run_id`), so the same command finds its own folder again. Hydra asks for it
through the resolvers `wrnexp.label`, `wrnexp.folder` and `wrnexp.sweep` that conf/config.yaml uses. `wrnexp.times` and
`wrnexp.linear_lr` are for the files in sweeps/.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from wrnexp.config import identity
from wrnexp.errors import UserError
from wrnexp.process.signals import TimeLimit
from wrnexp.runs.invocation import Invocation

RECIPE = ("model", "augment", "optim", "loader")
SWEEP_LIMIT = "WRNEXP_SWEEP_LIMIT"  # a variable of a job's environment; in no config, id, label or record


def current_job() -> Invocation:
    """Return the command of the job that Hydra is running now."""
    hydra = HydraConfig.get()
    folder = Path(hydra.runtime.output_dir)
    multirun = hydra.mode == RunMode.MULTIRUN
    return Invocation(
        recipe=recipe_name(_choices(hydra.runtime.choices)),
        sweep=Path(hydra.sweep.dir).name if multirun else None,
        overrides=list(hydra.overrides.task),
        # The layout of conf/config.yaml has a folder a label in between; a run.dir of the user's own has not.
        shared=folder.parent.parent if not multirun and folder.parent.parent.name == "outputs" else folder.parent,
        limit=TimeLimit.read(hydra.job.env_set.get(SWEEP_LIMIT)),
    )


def register() -> None:
    """Make the resolvers known to OmegaConf; calling it again changes nothing."""
    OmegaConf.register_new_resolver("wrnexp.label", _label, replace=True)
    OmegaConf.register_new_resolver("wrnexp.folder", _folder, replace=True)
    OmegaConf.register_new_resolver("wrnexp.sweep", _sweep, replace=True)
    OmegaConf.register_new_resolver("wrnexp.times", times, replace=True)
    OmegaConf.register_new_resolver("wrnexp.linear_lr", linear_lr, replace=True)


def times(value: float, *factors: float) -> str:
    """Return `value` times each factor, for a sweep: `${wrnexp.times:${optim.epochs},1,2}` is `85,170` with light."""
    return ",".join(f"{value * factor:.12g}" for factor in factors)


def linear_lr(lr: float, images: int, *, _root_: DictConfig) -> float:
    """Return the peak rate by the linear rule (arXiv 1706.02677): `lr` at `images` a step, and in proportion.

    `optim.lr=${wrnexp.linear_lr:0.1,128}` lets the rate follow `loader.batch_size` and `optim.accumulate`.
    """
    return float(lr / images * _root_.loader.batch_size * _root_.optim.accumulate)


def app_config(root: DictConfig) -> dict[str, Any]:
    """Return the app's part of a composed config as resolved plain values."""
    app = OmegaConf.masked_copy(root, [str(key) for key in root if key != "hydra"])
    values = OmegaConf.to_container(app, resolve=True)
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}


def recipe_name(choices: Mapping[str, str | None]) -> str:
    """Return the experiment's name, or what the four groups agree on, or base and how they differ from it."""
    if experiment := choices.get("experiment"):
        return experiment
    chosen = {group: choices.get(group) or "base" for group in RECIPE}
    if len(set(chosen.values())) == 1:
        return chosen["model"]
    return "+".join(["base", *(f"{group}={name}" for group, name in chosen.items() if name != "base")])


def fitted(label: str) -> str:
    """Return a label, made of swept values, as one that the schema allows: a long one is cut and ends with a hash."""
    from wrnexp.config.text import TEXT_LIMIT  # pydantic comes with it: not for --help and --cfg

    mark = identity.digest(label)
    return label if len(label) <= TEXT_LIMIT else f"{label[: TEXT_LIMIT - len(mark) - 1]} {mark}"


def folder_name(text: str) -> str:
    """Return the folder of a label or a sweep's name; W&B's files lie in `wandb`, where nobody looks for runs."""
    name = identity.slug(text)
    return f"{name}-{identity.digest(text)}" if name == "wandb" else name


def swept_keys(overrides: Iterable[str]) -> list[str]:
    """Return the keys of `overrides` that take several values, in their order, without the seed."""
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    return [str(one.key_or_group) for one in parsed if one.is_sweep_override() and one.key_or_group != "seed"]


def _label(*, _root_: DictConfig) -> str:
    return folder_name(
        str(_root_.label) if _root_.label is not None else recipe_name(_choices(_root_.hydra.runtime.choices))
    )


def _folder(*, _root_: DictConfig) -> str:
    """Return the run's folder name. A wrong config ends here, before Hydra makes a folder for it."""
    from wrnexp.config.check import check  # pydantic comes with it: not for --help and --cfg

    config = app_config(_root_)
    try:
        check(config)
    except UserError:
        if _root_.hydra.mode != RunMode.MULTIRUN:
            raise
        # In a sweep the job itself reports it, and the other jobs go on.
    name = identity.run_id(config)
    return f"{name}-{datetime.now():%Y%m%d-%H%M%S}" if config["rerun"] else name


def _sweep(*, _root_: DictConfig) -> str:
    if _root_.name:
        return folder_name(str(_root_.name))
    hydra = _root_.hydra
    scale = f"_{chosen}" if (chosen := hydra.runtime.choices.get("scale")) else ""  # another scale is another sweep
    if hydra.job.config_name and hydra.job.config_name != "config":
        return identity.slug(f"{hydra.job.config_name}{scale}")
    keys = [key.rsplit(".", 1)[-1] for key in swept_keys(hydra.overrides.task)]
    kind = "search_" if hydra.runtime.choices.get("hydra/sweeper") == "search" else ""
    return identity.slug(kind + ("_x_".join(keys) or "seed") + scale)


def _choices(choices: Mapping[Any, Any]) -> dict[str, str | None]:
    return {str(group): choice for group, choice in choices.items()}
