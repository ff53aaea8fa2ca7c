"""Hydra's basic sweeper, with a name and a label for each job."""

from collections.abc import Sequence
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser

from wrnexp.launch.naming import RECIPE, recipe_name, swept_keys


class LabelledSweeper(BasicSweeper):
    """Runs every combination, in order, and tells each job the sweep's name and its arm's label.

    A job on its own cannot know which of its values were swept; the label of its arm is made of those.
    """

    def __init__(self, max_batch_size: int | None = None, params: dict[str, str] | None = None) -> None:
        super().__init__(max_batch_size=max_batch_size, params=params)
        self._swept: list[str] = []

    def sweep(self, arguments: list[str]) -> Any:
        """Run the sweep that `arguments` (and `hydra.sweeper.params`) describe."""
        self._swept = swept_keys([*self._parse_config(), *arguments])
        return super().sweep(arguments)

    def get_job_batch(self) -> Sequence[Sequence[str]]:
        """Return the next jobs, each a list of overrides."""
        return [[*job, *self._names(job)] for job in super().get_job_batch()]

    def _names(self, job: Sequence[str]) -> list[str]:
        assert self.config is not None
        name = self.config.hydra.sweep.dir.split("/", 1)[-1]
        names = [] if self.config.name else [f"name={name}"]
        values = {str(o.key_or_group): o.get_value_element_as_str() for o in _parse(job) if o.key_or_group}
        if self.config.label is None and "label" not in values:
            label = " ".join([self._recipe(values), *(f"{key}={values[key]}" for key in self._value_keys())])
            names.append(f"label='{label}'")
        return names

    def _recipe(self, values: dict[str, str]) -> str:
        assert self.config is not None
        groups = ("experiment", *RECIPE)
        choices = dict(self.config.hydra.runtime.choices) | {k: v for k, v in values.items() if k in groups}
        return recipe_name(choices)

    def _value_keys(self) -> list[str]:
        return [key for key in self._swept if key not in ("experiment", *RECIPE)]


def _parse(overrides: Sequence[str]) -> list[Any]:
    return OverridesParser.create().parse_overrides(list(overrides))
