"""Activation checkpointing: recompute activations in the backward pass instead of saving them.

Chen et al., "Training Deep Nets with Sublinear Memory Cost", 2016 (arXiv 1604.06174). The recomputation runs the same
kernels on the same inputs and random numbers, so gradients are equal bit for bit. It does not change running
statistics, counters or random number generators.
"""

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd
from torch.utils.checkpoint import checkpoint

R = TypeVar("R")


class Saved(Enum):
    """The activations that a block saves for the backward pass."""

    ALL = "every activation that a gradient needs"
    CONVOLVED = "its input and its first convolution's output; norms, ReLUs and dropout are recomputed"
    INPUT = "its input; the first convolution is recomputed too"


@dataclass(frozen=True)
class SavedSizes:
    """Elements that a part of a network saves per image, for each `Saved`; the unit of area is the caller's.

    `multiply_adds` is the additional computation of `Saved.INPUT`.
    """

    all: float
    convolved: float
    input: float
    multiply_adds: float

    def price(self) -> float:
        """Return the multiply-adds per element that `Saved.INPUT` frees; infinite if it frees none."""
        freed = self.convolved - self.input
        return self.multiply_adds / freed if freed else math.inf


def choose(parts: Sequence[SavedSizes], share: float) -> tuple[list[Saved], float]:
    """Return what each part saves so that at most `share` of all activations is saved, and the share reached.

    Below 1 every part uses `Saved.CONVOLVED`, which costs almost nothing. Then parts change to `Saved.INPUT` in order
    of their price, until the share is reached or no further part frees anything.
    """
    if share == 1:
        return [Saved.ALL] * len(parts), 1.0
    choices = [Saved.CONVOLVED] * len(parts)
    total, saved = sum(part.all for part in parts), sum(part.convolved for part in parts)
    for index in sorted(range(len(parts)), key=lambda index: parts[index].price()):
        if saved <= share * total or math.isinf(parts[index].price()):
            break
        choices[index] = Saved.INPUT
        saved -= parts[index].convolved - parts[index].input
    return choices, saved / total


def rebuilt(owner: nn.Module, part: Callable[[Tensor], R], images: Tensor) -> R:
    """Return `part(images)`, saving only `images`; the backward pass recomputes the other activations.

    The recomputation stops at the last tensor that a gradient needs: a convolution or linear layer at the end of `part`
    does not run again.

    Args:
        owner: contains the batch norms and dropouts used by `part`, which must be modules, not functions.
        part: must not change anything except the running statistics of the owner's batch norms.
        images: must not be changed by `part`.
    """
    if not torch.is_grad_enabled():
        return part(images)
    draws = any(isinstance(module, _DropoutNd) and module.training and module.p > 0 for module in owner.modules())
    contexts = partial(_contexts, owner, draws)
    output: R = checkpoint(part, images, use_reentrant=False, preserve_rng_state=draws, context_fn=contexts)
    return output


def _contexts(owner: nn.Module, draws: bool) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """Return the contexts of the first computation and of the recomputation."""
    on_mps = draws and next(owner.parameters()).device.type == "mps"
    return nullcontext(), _Recomputation(owner, torch.mps.get_rng_state() if on_mps else None)


class _Recomputation(AbstractContextManager[None]):
    """Lets batch norms write into temporary copies of their statistics, and restores the random numbers of mps.

    The statistics cannot be left out: autograd counts the tensors that a batch norm saves, and they are among them.
    torch's checkpoint restores the random state of the CPU and of CUDA, but not of mps.
    """

    def __init__(self, owner: nn.Module, mps_state: Tensor | None) -> None:
        self._norms = [module for module in owner.modules() if isinstance(module, _BatchNorm)]
        self._mps_state = mps_state
        self._mps_state_before: Tensor | None = None
        self._buffers: list[tuple[_BatchNorm, str, Tensor]] = []

    def __enter__(self) -> None:
        self._buffers = [(norm, name, buffer) for norm in self._norms for name, buffer in norm.named_buffers()]
        for norm, name, buffer in self._buffers:
            setattr(norm, name, buffer.clone())
        if self._mps_state is not None:
            self._mps_state_before = torch.mps.get_rng_state()
            torch.mps.set_rng_state(self._mps_state)

    def __exit__(self, *error: object) -> None:
        for norm, name, buffer in self._buffers:
            setattr(norm, name, buffer)
        if self._mps_state_before is not None:
            torch.mps.set_rng_state(self._mps_state_before)
