"""Hydra's basic sweeper, with a name and a label for each job."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser

from wrnexp.launch.naming import RECIPE, recipe_name, swept_keys

CHOICES = ("experiment", *RECIPE)


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
        values = {str(o.key_or_group): o.get_value_element_as_str() for o in _parse(job) if o.key_or_group}
        names = [] if self.config.name else [f"name='{_escaped(Path(self.config.hydra.sweep.dir).name)}'"]
        if self.config.label is None and "label" not in values:
            choices = dict(self.config.hydra.runtime.choices) | {key: values[key] for key in CHOICES if key in values}
            names.append(f"label='{_escaped(arm_label(choices, self._swept, values))}'")
        return names


def arm_label(choices: Mapping[str, str | None], swept: Sequence[str], values: Mapping[str, str]) -> str:
    """Return the recipe's name and the swept values that the name does not say.

    Args:
        choices: the chosen option of each group, `experiment` among them.
        swept: the keys that take several values.
        values: this job's value of each key on the command line.
    """
    named = CHOICES if not choices.get("experiment") else ("experiment",)
    return " ".join([recipe_name(choices), *(f"{key}={values[key]}" for key in swept if key not in named)])


def _escaped(text: str) -> str:
    """Return `text` as it stands between single quotes in Hydra's grammar.

    There a backslash is one only before a quote: those, and those at the end, are doubled.
    """
    return re.sub(r"(\\*)('|$)", lambda found: found[1] * 2 + found[2].replace("'", "\\'"), text)


def _parse(overrides: Sequence[str]) -> list[Any]:
    return OverridesParser.create().parse_overrides(list(overrides))
