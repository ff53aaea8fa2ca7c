"""What a search's command asks for: which keys are searched and how, the seeds, and what all trials have in common.

Hydra's override grammar says it: `interval`, `choice` (or values with commas) and `range`, with `tag(log, ...)` and
`int(...)`; a key with one value is the same in every trial.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_DOWN, Context
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, IntervalSweep, Override, RangeSweep
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from wrnexp.config import identity
from wrnexp.errors import UserError

DIGITS = 5  # significant ones of a searched real number: a run's label and command stay readable
LOG = "log"  # the tag of what is searched on a logarithmic scale
NOT_SEARCHED = {
    "data": "is what the objective is measured on",
    "trainer.test_every": "is of no use to a search, which never looks at the test set",
    "trainer.devices": "changes no result",
} | dict.fromkeys(identity.IGNORED_KEYS, "changes no result")


@dataclass(frozen=True)
class Space:
    """What a command asks for.

    Attributes:
        arguments: the command's overrides.
        searched: the distribution of each searched key. Real numbers are given out with `DIGITS` digits, choices as in
            the command.
        seeds: each trial is trained with each of them.
    """

    arguments: tuple[str, ...]
    searched: dict[str, BaseDistribution]
    seeds: tuple[str, ...]

    def overrides(self, params: Mapping[str, Any], seed: str) -> list[str]:
        """Return the overrides of one run.

        Args:
            params: a value of each searched key.
            seed: of the run.
        """
        kept = [text for text in self.arguments if _key(text).lstrip("+") != "seed" and _key(text) not in self.searched]
        return [*kept, *self.chosen(params), f"seed={seed}"]

    def chosen(self, params: Mapping[str, Any]) -> list[str]:
        """Return an override for each searched key.

        Args:
            params: a value of each.
        """
        return [f"{key}={written(one, params[key])}" for key, one in self.searched.items()]

    def corners(self) -> list[dict[str, Any]]:
        """Return values of all searched keys, so that every choice and both ends of every range are among them."""
        ends = {key: _ends(one) for key, one in self.searched.items()}
        count = max(map(len, ends.values()), default=0)
        return [{key: values[index % len(values)] for key, values in ends.items()} for index in range(count)]

    def steps(self) -> list[dict[str, Any]]:
        """Return values of all searched keys: the first corner, and that with each key in turn at its other end."""
        ends = {key: _ends(one) for key, one in self.searched.items()}
        first = {key: values[0] for key, values in ends.items()}
        return [first, *(first | {key: values[-1]} for key, values in ends.items())]

    def axes(self) -> dict[str, list[str]]:
        """Return each searched key with how it is searched, as in the command, and the seeds."""
        given = {_key(text): text.partition("=")[2] for text in self.arguments}
        return {key: [given[key]] for key in self.searched} | {"seed": list(self.seeds)}


def space(arguments: Sequence[str]) -> Space:
    """Return what the overrides of a command ask for; one of them is the seed's.

    Raises:
        UserError: a key is not to be searched, or not in this way.
    """
    parser = OverridesParser.create()
    searched: dict[str, BaseDistribution] = {}
    seeds: tuple[str, ...] = ()
    for override in parser.parse_overrides(list(arguments)):
        key = str(override.get_key_element())
        if key.lstrip("+") == "seed":
            seeds = _seeds(override)
        elif override.is_sweep_override():
            if reason := _refusal(key.lstrip("+")):
                raise UserError(f"{override.input_line}: {key} {reason}; give it one value")
            searched[key] = distribution(override)
    return Space(tuple(arguments), searched, seeds)


def distribution(override: Override) -> BaseDistribution:
    """Return how a key is searched.

    Raises:
        UserError: the override says what no distribution can be made of.
    """
    value = override.value()
    try:
        if isinstance(value, IntervalSweep):
            return _interval(value)
        if isinstance(value, RangeSweep):
            return _range(value)
    except ValueError as error:
        raise UserError(f"{override.input_line}: {error}") from error
    if isinstance(value, Glob):
        raise UserError(f"{override.input_line}: a search takes interval, choice and range; name the options of a glob")
    return CategoricalDistribution(tuple(dict.fromkeys(override.sweep_string_iterator())))


def written(distribution: BaseDistribution, value: Any) -> str:
    """Return a value of a distribution as an override has it."""
    if not isinstance(distribution, FloatDistribution):
        return str(value)
    if distribution.step is not None:
        return repr(float(f"{value:.12g}"))  # without what adding up steps has left: 0.3, not 0.30000000000000004
    # Towards zero, which no end of a range has a part in: the same trial is the same run after an end was moved.
    return repr(float(Context(prec=DIGITS, rounding=ROUND_DOWN).create_decimal(repr(float(value)))))


def _interval(value: IntervalSweep) -> BaseDistribution:
    low, high, log = value.start, value.end, LOG in value.tags
    if low is None or high is None:
        raise ValueError("an interval has two ends")
    if not low < high:
        raise ValueError(f"the interval must go from the smaller number to the larger, not from {low} to {high}")
    if log and low <= 0:
        raise ValueError(f"a logarithmic scale begins above 0, not at {low}")
    if isinstance(low, int) and isinstance(high, int):
        return IntDistribution(low, high, log=log)
    return FloatDistribution(low, high, log=log)


def _range(value: RangeSweep) -> BaseDistribution:
    """Return a range as the values that it has; its end is not among them."""
    values = sorted(value.range())
    if not values:
        raise ValueError("the range has no values")
    low, high, step = values[0], values[-1], abs(value.step)
    if LOG in value.tags:
        if step != 1 or low <= 0 or not all(isinstance(one, int) for one in values):
            raise ValueError("a logarithmic scale takes a range of whole numbers above 0 in steps of 1, or an interval")
        return IntDistribution(int(low), int(high), log=True)
    if all(isinstance(one, int) for one in values):
        return IntDistribution(int(low), int(high), step=int(step))
    return FloatDistribution(float(low), float(high), step=float(step))


def _seeds(override: Override) -> tuple[str, ...]:
    if not override.is_sweep_override():
        return (str(override.value()),)
    if isinstance(override.value(), Glob | IntervalSweep):
        raise UserError(f"{override.input_line}: a seed is not searched; give one, or several for each trial: seed=0,1")
    return tuple(dict.fromkeys(override.sweep_string_iterator()))


def _ends(one: Any) -> Sequence[Any]:
    return one.choices if isinstance(one, CategoricalDistribution) else (one.low, one.high)


def _refusal(key: str) -> str | None:
    """Say why a key is not searched; None where it may be."""
    return next((why for name, why in NOT_SEARCHED.items() if key == name or key.startswith(f"{name}.")), None)


def _key(text: str) -> str:
    return str(OverridesParser.create().parse_override(text).get_key_element())
