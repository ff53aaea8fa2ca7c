"""The jobs of a sweep: every combination of values, with every arm, each with the config that it will run by.

Configs are composed once, when the sweep starts, from one reading of conf/: what is edited later changes no job.
"""

import copy
import itertools
import pickle
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import CachingConfigRepository, IConfigRepository
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.plugins.config_source import ConfigResult
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from wrnexp.config import identity
from wrnexp.errors import UserError
from wrnexp.hydra_app.naming import RECIPE, SWEEP_LIMIT, app_config, fitted, recipe_name, swept_keys
from wrnexp.hydra_app.overrides import escaped
from wrnexp.process.signals import TimeLimit

CHOICES = ("experiment", *RECIPE)


@dataclass(frozen=True)
class SweepArm:
    """What `hydra.sweeper.arms` says of an arm: its overrides, and what a study notes of it."""

    label: str | None = None
    overrides: tuple[str, ...] = ()
    roles: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True)
class Job:
    """One job of a sweep.

    `overrides` are its own, `names` the name and label that it is told beside them, `config` all that it runs by,
    Hydra's part included, `values` the app's part, resolved.
    """

    overrides: tuple[str, ...]
    names: tuple[str, ...]
    roles: tuple[Mapping[str, Any], ...]
    config: DictConfig = field(repr=False)
    values: dict[str, Any] = field(repr=False)

    @property
    def all_overrides(self) -> list[str]:
        """Return what the launcher is given."""
        return [*self.overrides, *self.names]

    @property
    def folder(self) -> Path:
        """Return the run's folder."""
        return Path(self.config.hydra.sweep.dir) / str(self.config.hydra.sweep.subdir)

    @property
    def label(self) -> str:
        """Return the label of its arm."""
        return str(self.values["label"])

    @cached_property
    def run_id(self) -> str:
        """The id of its run; jobs with equal ids are one job."""
        return identity.run_id(self.values)


def read_arms(node: Any) -> list[SweepArm]:
    """Return the arms that a sweep's file names; one without a label where it names none.

    Raises:
        UserError: an arm is not a mapping with `overrides`, a list.
    """
    arms = []
    plain: Any = OmegaConf.to_container(node, resolve=True) if isinstance(node, DictConfig) else node
    for label, arm in (plain or {}).items():
        wrong = not isinstance(arm, Mapping) or set(arm) - {"overrides", "roles"}
        overrides = None if wrong else arm.get("overrides", [])
        if wrong or not isinstance(overrides, list):
            raise UserError(
                f"hydra.sweeper.arms: {label!r} must be a mapping with overrides, a list such as "
                "[model.dropout=0.1], and no other key but roles"
            )
        arms.append(SweepArm(str(label), tuple(map(str, overrides)), tuple(arm.get("roles") or ())))
    return arms or [SweepArm()]


def combinations(arguments: Sequence[str], arms: Sequence[SweepArm]) -> list[tuple[SweepArm, tuple[str, ...]]]:
    """Return each arm with each combination of the values that `arguments` list, as overrides."""
    overrides = OverridesParser.create().parse_overrides(list(arguments))
    (products,) = BasicSweeper.split_arguments(overrides, None)
    return [(arm, (*arm.overrides, *product)) for arm, product in itertools.product(arms, products)]


def axes(arguments: Sequence[str], arms: Sequence[SweepArm]) -> dict[str, list[str]]:
    """Return the values of each key that takes several, as text; `arm` lists the labels where there are arms."""
    found = {"arm": [str(arm.label) for arm in arms]} if len(arms) > 1 else {}
    for override in OverridesParser.create().parse_overrides(list(arguments)):
        if override.is_sweep_override() or override.key_or_group == "seed":
            values = override.sweep_string_iterator() if override.is_sweep_override() else [str(override.value())]
            found[str(override.key_or_group)] = [str(value) for value in values]
    return found


class Composer:
    """Composes the jobs of one sweep.

    Args:
        loader: Hydra's, which knows the search path.
        master: the config of the command as a whole.
        arguments: the command's overrides.
    """

    def __init__(self, loader: ConfigLoader, master: DictConfig, arguments: Sequence[str]) -> None:
        self._loader = OneReading(loader)
        self._master = master
        self._swept = swept_keys(arguments)

    def job(self, overrides: Sequence[str], arm: SweepArm = SweepArm(), number: int = 0) -> Job:
        """Return a job with its config; the app's part is resolved here, once.

        Args:
            overrides: of this job.
            arm: that it belongs to.
            number: `hydra.job.num` of the job, for its folder. Launchers number the jobs of each launch again.

        Raises:
            HydraException: the overrides do not compose.
        """
        names = tuple(self._names(overrides, arm))
        config = self._loader.load_sweep_config(self._master, [*overrides, *names])
        values = app_config(config)
        with open_dict(config):
            config.update(values)
            config.hydra.job.id, config.hydra.job.num = str(number), number
            config.hydra.mode = RunMode.MULTIRUN
            config.hydra.sweep.dir = str(Path(config.hydra.sweep.dir).absolute())
            config.hydra.sweep.subdir = str(config.hydra.sweep.subdir)
        return Job(tuple(overrides), names, arm.roles, config, values)

    def _names(self, overrides: Sequence[str], arm: SweepArm) -> list[str]:
        values = {str(o.key_or_group): o.get_value_element_as_str() for o in _parse(overrides) if o.key_or_group}
        names = [] if self._master.name else [f"name='{escaped(Path(self._master.hydra.sweep.dir).name)}'"]
        if self._master.label is None and "label" not in values:
            own = dict(self._master.hydra.runtime.choices)
            choices = own | {key: values[key] for key in CHOICES if key in values}
            names.append(f"label='{escaped(arm_label(choices, self._swept, values, arm.label))}'")
        return names


class FrozenConfigs(ConfigLoaderImpl):
    """A config loader that hands out the configs of a sweep as they were composed, wherever the job runs.

    Launchers pickle it and send it to their workers, once a job: the configs, which differ little, travel compressed.

    Args:
        loader: Hydra's.
        jobs: of the sweep.
        limit: of the sweep. Each job is told of it in Hydra's part of its config: any launcher passes that on, and no
            id, label, override or record has it.
    """

    def __init__(self, loader: ConfigLoader, jobs: Iterable[Job], limit: TimeLimit | None = None) -> None:
        vars(self).update(vars(loader))
        self._frozen = {tuple(job.all_overrides): job.config for job in jobs}
        self._environment = {} if limit is None else {SWEEP_LIMIT: limit.written}

    def load_sweep_config(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        """Return the config of the job with these overrides; one that is not the sweep's is composed."""
        frozen = self._frozen.get(tuple(sweep_overrides))
        if frozen is None:
            return super().load_sweep_config(master_config, sweep_overrides)
        config = copy.deepcopy(frozen)
        environment = config.hydra.job.env_set
        with read_write(environment), open_dict(environment):
            environment.update(self._environment)
        return config

    def __getstate__(self) -> dict[str, Any]:
        """Return what pickle stores."""
        return vars(self) | {"_frozen": zlib.compress(pickle.dumps(self._frozen))}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take what `__getstate__` returned."""
        vars(self).update(state, _frozen=pickle.loads(zlib.decompress(state["_frozen"])))


class _Copies(CachingConfigRepository):
    """Reads each file once and hands out copies, from pickle, whose loading takes a tenth of `copy.deepcopy`'s time."""

    def __init__(self, delegate: IConfigRepository) -> None:
        super().__init__(delegate)
        self._pickled: dict[str, bytes] = {}

    def load_config(self, config_path: str) -> ConfigResult | None:
        if config_path not in self._pickled:
            self._pickled[config_path] = pickle.dumps(self.delegate.load_config(config_path))
        copied: ConfigResult | None = pickle.loads(self._pickled[config_path])
        return copied

    def __deepcopy__(self, memo: dict[int, Any]) -> "_Copies":
        """Stay the same: a `CachingConfigRepository` copies what it asks, and would have each file read again."""
        return self


class OneReading(ConfigLoaderImpl):
    """Composes any number of configs from one reading of each file."""

    def __init__(self, loader: ConfigLoader) -> None:
        vars(self).update(vars(loader))
        self._first: Any = None

    def _parse_overrides_and_create_caching_repo(self, config_name: str | None, overrides: list[str]) -> Any:
        parsed = OverridesParser.create().parse_overrides(overrides=overrides)
        if self._first is None:
            _, read = super()._parse_overrides_and_create_caching_repo(config_name, overrides)
            self._first = _Copies(read.delegate)  # a search path of the sweep's own file is in the delegate
        # Composing changes what it is given, and asks for most files three times.
        return parsed, CachingConfigRepository(self._first)


def arm_label(
    choices: Mapping[str, str | None], swept: Sequence[str], values: Mapping[str, str], label: str | None = None
) -> str:
    """Return the recipe's name and the swept values that the name does not say.

    Args:
        choices: the chosen option of each group, `experiment` among them.
        swept: the keys that take several values.
        values: this job's value of each key on the command line.
        label: takes the place of the recipe's name.
    """
    named = () if label else CHOICES if not choices.get("experiment") else ("experiment",)
    text = " ".join([label or recipe_name(choices), *(f"{key}={values[key]}" for key in swept if key not in named)])
    return fitted(text)


def _parse(overrides: Sequence[str]) -> list[Any]:
    return OverridesParser.create().parse_overrides(list(overrides))
