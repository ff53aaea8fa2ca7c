"""Exponential moving average of the weights, or none, behind one interface."""

import copy
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any, Protocol

import torch
from torch import Tensor, nn


class WeightAverage(Protocol):
    """Updated after every optimizer step, evaluated, and stored in checkpoints."""

    @property
    def model(self) -> nn.Module:
        """The network to evaluate."""
        ...

    def update(self, model: nn.Module) -> None:
        """Update the average after an optimizer step."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return the state needed to resume."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the state."""
        ...


def averaged(model: nn.Module, decay: float | None) -> WeightAverage:
    """Return the average of `model`, or `model` itself; `decay` in 0..1 weights the old average, None disables it."""
    return NoAverage(model) if decay is None else ExponentialAverage(model, decay)


class NoAverage:
    """No averaging: evaluates the trained weights."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model

    def update(self, model: nn.Module) -> None:
        """Do nothing."""

    def state_dict(self) -> dict[str, Any]:
        """Return an empty dict."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Do nothing."""


class ExponentialAverage:
    """decay * average + (1 - decay) * model for weights and batch norm statistics; integer counters are copied.

    The first update copies all tensors, so that the average excludes the initial random weights. The number of updates
    is a plain integer: `torch.optim.swa_utils.AveragedModel` stores it in a tensor, which synchronizes with the device
    at every update.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        if not 0 <= decay <= 1:
            raise ValueError(f"decay is {decay}; it must be in 0..1")
        self.model = copy.deepcopy(model)
        self._decay = decay
        self._updates = 0

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Update the average from the weights and buffers of `model`."""
        pairs = list(zip(_tensors(self.model), _tensors(model), strict=True))
        blended = [pair for pair in pairs if self._updates and pair[0].is_floating_point()]
        copied = [pair for pair in pairs if not self._updates or not pair[0].is_floating_point()]
        if blended:
            averages, currents = map(list, zip(*blended, strict=True))
            torch._foreach_lerp_(averages, currents, 1 - self._decay)
        for average, current in copied:
            average.copy_(current)
        self._updates += 1

    def state_dict(self) -> dict[str, Any]:
        """Return the averaged tensors and the number of updates."""
        return {"updates": self._updates, "model": self.model.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the averaged tensors and the number of updates."""
        self.model.load_state_dict(state["model"])
        self._updates = state["updates"]


def _tensors(model: nn.Module) -> Iterator[Tensor]:
    return chain(model.parameters(), model.buffers())
