"""What counts as divergence: losses and gradient norms of steps, weights, logits; `engine.guard` acts on it."""

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from wrnexp.engine.distributed.ranks import Ranks
from wrnexp.engine.evaluate import Evaluation

# Mean cross-entropy per image of a step, in nats, and of the final weights on a whole split. A guess among a million
# classes costs 14; nets at rates that are far too high, but that recover, stay below some hundred.
LOSS_LIMIT = 1e4
# The same of evaluations before the last: batch norm's running statistics may lag far behind weights that recover.
EARLY_LOSS_LIMIT = 1e12
# Global gradient norm before clipping. Clipped runs survive large norms, so this is only short of the limits of
# float32: the squares that such a norm is made of overflow at 1.8e19.
NORM_LIMIT = 1e12

# Steps whose figures are read together where each look would make a device or other processes wait. A GPU's figures are
# looked at one period after they were sent, so that a diverged step is noticed within two periods.
PERIOD = 10


@dataclass(frozen=True)
class StepFigures:
    """One optimizer step.

    Attributes:
        step: number, from 1 over the whole run.
        loss: mean per image of all processes, in nats; NaN where it is not known.
        grad_norm: global norm before clipping; NaN where it is not known.
    """

    step: int
    loss: float = math.nan
    grad_norm: float = math.nan

    @property
    def diverged(self) -> bool:
        """True if loss or norm is not finite or has exploded."""
        return not (abs(self.loss) <= LOSS_LIMIT and self.grad_norm <= NORM_LIMIT)  # comparisons with NaN are false

    @property
    def reason(self) -> str:
        """Which of the two has diverged, in words."""
        if abs(self.loss) <= LOSS_LIMIT:
            return f"the gradient norm is {self.grad_norm:.4g}"
        return f"the training loss is {self.loss:.4g}"


class StepReader:
    """Reads the figures of steps from their device, some steps later, so that no step waits for it.

    On a CPU with one process they are read at once. Every process must make the same calls.

    Args:
        device: of the figures.
        ranks: the processes that share the run.
    """

    def __init__(self, device: torch.device, ranks: Ranks) -> None:
        self._device, self._ranks = device, ranks
        self._period = 1 if device.type == "cpu" and ranks.count == 1 else PERIOD
        self._pending: list[tuple[int, Tensor]] = []  # numbers of steps, figures on the device
        self._copying: tuple[list[int], Tensor, torch.cuda.Event | None] | None = None  # on the way to the host

    def add(self, step: int, figures: Tensor) -> list[StepFigures]:
        """Add a step; return the steps that are read by now and were not returned before.

        Args:
            step: its number.
            figures: float32 [2]: the loss of this process's images as its part of the step's mean, the gradient norm.
        """
        self._pending.append((step, figures))
        return list(self._send()) if len(self._pending) >= self._period else []

    def rest(self) -> list[StepFigures]:
        """Return all steps that were not returned before. Waits for the device."""
        return [*(self._send() if self._pending else ()), *self._arrived()]

    def drop(self) -> None:
        """Forget the steps that were not read."""
        self._pending, self._copying = [], None

    def _send(self) -> Iterator[StepFigures]:
        """Start to copy what is pending to the host; yield what was copied before, on a CPU all."""
        steps, figures = [step for step, _ in self._pending], torch.stack([values for _, values in self._pending])
        self._pending = []
        self._ranks.all_reduce_(figures)
        yield from self._arrived()
        if self._device.type == "cuda":
            host = torch.empty_like(figures, device="cpu", pin_memory=True).copy_(figures, non_blocking=True)
            self._copying = steps, host, torch.cuda.current_stream(self._device).record_event()
        else:
            self._copying = steps, figures, None
            yield from self._arrived()

    def _arrived(self) -> Iterator[StepFigures]:
        if self._copying is None:
            return
        (steps, figures, mark), self._copying = self._copying, None
        if mark is not None:
            mark.synchronize()  # passed long ago, unless the device is more than a period behind the host
        for step, (loss, norm) in zip(steps, figures.tolist(), strict=True):
            yield StepFigures(step, loss, norm / self._ranks.count)  # all processes have the same gradients


def broken_weights(state: Mapping[str, Any], ranks: Ranks, by_design: Collection[str] = ()) -> str:
    """Return which weights, buffers and averages are not finite, in words; empty where all are. Waits for the device.

    Args:
        state: of `TrainStep`.
        ranks: the processes that share the run; every one must call it, and all return the same.
        by_design: names of tensors that are not finite before training, such as the mask of an attention.
    """
    broken = [name for name in not_finite(state, ranks) if name not in by_design]
    more = f" and {len(broken) - 1} more tensors" if len(broken) > 1 else ""
    return f"the weights are not finite ({broken[0]}{more})" if broken else ""


def not_finite(state: Mapping[str, Any], ranks: Ranks) -> list[str]:
    """Return the names of weights, buffers and averages with a value that is not finite in any process."""
    averages = state["average"].get("model", {})
    tensors = {**state["model"], **{f"average of {name}": value for name, value in averages.items()}}
    tensors = {name: value for name, value in tensors.items() if value.is_floating_point() and value.numel()}
    if not tensors:
        return []
    largest = torch._foreach_norm(list(tensors.values()), math.inf)
    finite = ranks.all_reduce_(torch.stack([value.float() for value in largest])).isfinite().tolist()
    return [name for name, sound in zip(tensors, finite, strict=True) if not sound]


def broken_logits(split: str, evaluation: Evaluation, *, final: bool) -> str:
    """Return what shows divergence in an evaluation, in words; empty where nothing does.

    Args:
        split: the name of what was evaluated on.
        evaluation: of all its images.
        final: it is of the final weights: the limit of its loss is lower, and its logits must be finite in float16.
    """
    loss = evaluation.loss
    if not loss <= (LOSS_LIMIT if final else EARLY_LOSS_LIMIT):  # NaN compares as false
        return f"the {split} loss is {loss:.4g}"
    if final and not evaluation.logits.half().isfinite().all():
        return f"the final {split} logits are not finite in float16"
    return ""
