"""Learning rate schedules: pure functions of the step that return a factor, in 0..1, of the peak rate.

Steps and epochs count from 0. A decay at epoch 60 takes effect in the first step of epoch 60. Warm-up over W steps is
(step + 1) / W: the first step is above 0, the last one has the peak rate.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


class Schedule(Protocol):
    """The interface of a schedule; any such function will do."""

    def __call__(self, step: int, steps_per_epoch: int, epochs: int) -> float:
        """Return the factor of the peak rate, in 0..1, after `step` optimizer steps of a run of `epochs` epochs."""
        ...


@dataclass(frozen=True)
class Cosine:
    """Linear warm-up to the peak, then half a cosine down to `final` times the peak.

    Loshchilov and Hutter, "SGDR", 2017 (arXiv 1608.03983), without restarts; warm-up as in Goyal et al., 2017
    (arXiv 1706.02677). `warmup_epochs` is at most half of the run.
    """

    warmup_epochs: float = 5.0
    final: float = 0.0

    def __call__(self, step: int, steps_per_epoch: int, epochs: int) -> float:
        """Return the factor of the peak rate at `step`, see `Schedule`."""
        warmup = min(self.warmup_epochs, epochs / 2) * steps_per_epoch
        if step < warmup:
            return warmup_factor(step, warmup)
        progress = (step - warmup) / (epochs * steps_per_epoch - warmup)
        return self.final + (1 - self.final) * (1 + math.cos(math.pi * progress)) / 2


@dataclass(frozen=True)
class Steps:
    """Step decay: the peak times `gamma` for each milestone passed, in epochs, after a linear warm-up.

    The wide ResNet paper has `milestones` 60, 120, 160 and `gamma` 0.2 over 200 epochs (arXiv 1605.07146, section 3).
    """

    milestones: Sequence[float]
    gamma: float = 0.2
    warmup_epochs: float = 0.0

    def __call__(self, step: int, steps_per_epoch: int, epochs: int) -> float:
        """Return the factor of the peak rate at `step`, see `Schedule`; `epochs` is not used."""
        passed = sum(step >= milestone * steps_per_epoch for milestone in self.milestones)
        return float(self.gamma**passed) * warmup_factor(step, self.warmup_epochs * steps_per_epoch)


def warmup_factor(step: int, warmup: float) -> float:
    """Return the factor of the peak at `step` of a linear warm-up over `warmup` steps; 1 after its end."""
    return min(1.0, (step + 1) / warmup) if warmup > 0 else 1.0
