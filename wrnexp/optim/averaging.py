"""An exponential moving average of the weights, or none, behind one interface."""

from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

Tensors = tuple[Tensor, ...] | list[Tensor]


class WeightAverage(Protocol):
    """What the trainer updates after every step, evaluates and keeps in a checkpoint."""

    @property
    def model(self) -> nn.Module:
        """The network to evaluate."""
        ...

    def update(self, model: nn.Module) -> None:
        """Take in the weights and buffers of `model` after an optimizer step."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return what resuming needs: tensors by name."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        ...


def averaged(model: nn.Module, decay: float | None) -> WeightAverage:
    """Return the average of `model` over its updates, or `model` itself where `decay` is None.

    Args:
        model: the network that is trained, on its device.
        decay: weight of the old average at each update, in 0..1; None is no average.
    """
    return NoAverage(model) if decay is None else ExponentialAverage(model, decay)


class NoAverage:
    """No average: the trained network itself is evaluated, and there is nothing to keep."""

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
    """decay * average + (1 - decay) * model for weights and batch norm statistics; counters are copied.

    The first update copies, so the average does not remember the random weights that training started from.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        average = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]

        def average_or_copy(averages: Tensors, currents: Tensors, updates: Tensor | int) -> None:
            if averages[0].is_floating_point():
                average(averages, currents, updates)
            else:
                torch._foreach_copy_(averages, currents)

        self._averaged = AveragedModel(model, multi_avg_fn=average_or_copy, use_buffers=True)
        self.model: nn.Module = self._averaged.module

    def update(self, model: nn.Module) -> None:
        """Take in the weights and buffers of `model`."""
        self._averaged.update_parameters(model)

    def state_dict(self) -> dict[str, Any]:
        """Return the averaged tensors and the number of updates."""
        return self._averaged.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from the averaged tensors and the number of updates."""
        self._averaged.load_state_dict(dict(state))
