"""Learning rate schedules: pure functions of the step that return a multiple, in 0..1, of the peak rate.

Steps count from 0, and a step takes the rate of its start: a decay at epoch 60 begins with the step that starts epoch
60, counted from 0. Warm-up over W steps is (step + 1) / W: the first step moves, the last of the warm-up has the peak.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


class Schedule(Protocol):
    """Any function that gives the multiple of the peak rate at a step."""

    def __call__(self, step: int, steps_per_epoch: int, epochs: int) -> float:
        """Return the multiple of the peak rate, in 0..1.

        Args:
            step: optimizer steps already taken, from 0.
            steps_per_epoch: optimizer steps in an epoch.
            epochs: epochs of the whole training.
        """
        ...


@dataclass(frozen=True)
class Cosine:
    """Linear warm-up to the peak, then half a cosine down to `final` times the peak.

    Loshchilov and Hutter, "SGDR", 2017 (arXiv 1608.03983), without restarts; the warm-up is of Goyal et al., 2017
    (arXiv 1706.02677).

    Attributes:
        warmup_epochs: length of the warm-up, in epochs; half of the training where that is shorter.
        final: where the cosine ends, as a share of the peak.
    """

    warmup_epochs: float = 5.0
    final: float = 0.0

    def __call__(self, step: int, steps_per_epoch: int, epochs: int) -> float:
        """Return the multiple of the peak rate at `step`, see `Schedule`."""
        warmup = min(self.warmup_epochs, epochs / 2) * steps_per_epoch
        if step < warmup:
            return warmed_up(step, warmup)
        progress = (step - warmup) / (epochs * steps_per_epoch - warmup)
        return self.final + (1 - self.final) * (1 + math.cos(math.pi * progress)) / 2


@dataclass(frozen=True)
class Steps:
    """The peak times `gamma` for every milestone that has passed.

    The wide ResNet paper has `milestones` 60, 120, 160 and `gamma` 0.2 over 200 epochs (arXiv 1605.07146, section 3).

    Attributes:
        milestones: epochs after which the rate falls.
        gamma: factor at each milestone.
        warmup_epochs: length of a linear warm-up, in epochs.
    """

    milestones: Sequence[float]
    gamma: float = 0.2
    warmup_epochs: float = 0.0

    def __call__(self, step: int, steps_per_epoch: int, epochs: int) -> float:
        """Return the multiple of the peak rate at `step`, see `Schedule`; the number of epochs has no part in it."""
        passed = sum(step >= milestone * steps_per_epoch for milestone in self.milestones)
        return float(self.gamma**passed) * warmed_up(step, self.warmup_epochs * steps_per_epoch)


def warmed_up(step: int, warmup: float) -> float:
    """Return the share of the peak at `step` of a linear warm-up over `warmup` steps, 1 from its end on."""
    return min(1.0, (step + 1) / warmup) if warmup > 0 else 1.0
