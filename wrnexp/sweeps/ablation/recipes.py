"""Recipes by name, composed: experiments, and options that all four groups have."""

import difflib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from hydra.types import RunMode

from wrnexp.config.check import problems
from wrnexp.errors import UserError
from wrnexp.hydra_app.main import composition_message
from wrnexp.hydra_app.naming import RECIPE, app_config
from wrnexp.sweeps.jobs import OneReading


@dataclass(frozen=True)
class ComposedRecipe:
    """A named recipe.

    Attributes:
        name: as it was given.
        overrides: what chooses it on a command line.
        config: the resolved config, without Hydra's own part.
    """

    name: str
    overrides: tuple[str, ...]
    config: dict[str, Any]


class Recipes:
    """Composes configs of one root, all with some overrides in common."""

    def __init__(self, root: Path, common: Sequence[str]) -> None:
        self._root, self._common = root, list(common)
        self._loader = OneReading(GlobalHydra.instance().config_loader())

    def recipe(self, name: str) -> ComposedRecipe:
        """Return the recipe of this name.

        Raises:
            UserError: there is none, or its config is not a good one.
        """
        chosen = self._chosen(name)
        config = self.config(chosen)
        if wrong := problems(config):
            raise UserError(f"{name}: {'; '.join(wrong)}")
        return ComposedRecipe(name, tuple(chosen), config)

    def config(self, overrides: Sequence[str]) -> dict[str, Any]:
        """Return the resolved config of the common overrides and these.

        Raises:
            UserError: they do not compose.
        """
        given = [*overrides, *self._common]
        try:
            return app_config(self._loader.load_configuration("config", given, RunMode.RUN, from_shell=False))
        except HydraException as error:
            raise UserError(composition_message(error, given, self._root)) from error

    def _chosen(self, name: str) -> list[str]:
        experiments = set(self._loader.get_group_options("experiment"))
        shared = set.intersection(*(set(self._loader.get_group_options(group)) for group in RECIPE))
        if name in experiments:
            return [f"experiment={name}"]
        if name in shared:
            return [f"{group}={name}" for group in RECIPE]
        known = sorted(experiments | shared)
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f"; did you mean {near[0]}?" if near else "."
        raise UserError(
            f"there is no recipe {name!r}{hint} There are the experiments and the options that {', '.join(RECIPE)} all "
            f"have: {', '.join(known)}."
        )


@contextmanager
def composing(root: Path, common: Sequence[str] = ()) -> Iterator[Recipes]:
    """Compose configs of the folder `conf` in `root`.

    Args:
        root: the folder that holds `conf/`.
        common: overrides of every config.
    """
    with initialize_config_dir(str(root.absolute() / "conf"), version_base="1.3"):
        yield Recipes(root, common)
