"""Parts of a network whose activations are rebuilt in the backward pass instead of kept for it.

Chen et al., "Training Deep Nets with Sublinear Memory Cost", 2016 (arXiv 1604.06174). The rebuilding runs the same
kernels on the same inputs and random numbers, so the gradients are the same bit for bit, and it leaves what training
changes alone: running statistics, counters, random number generators.
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


class Kept(Enum):
    """What a block keeps for the backward pass."""

    ALL = "every activation that a gradient needs"
    CONVOLVED = "its input and its first convolution's output; norms, ReLUs and dropout are recomputed"
    INPUT = "its input; the first convolution is recomputed too"


@dataclass(frozen=True)
class Sizes:
    """What a part of a network keeps of one image by each choice, in elements; the unit of area is the caller's.

    Attributes:
        all: elements kept by `Kept.ALL`.
        convolved: by `Kept.CONVOLVED`.
        input: by `Kept.INPUT`.
        multiply_adds: what `Kept.INPUT` computes twice.
    """

    all: float
    convolved: float
    input: float
    multiply_adds: float

    def price(self) -> float:
        """Return the multiply-adds for each element that `Kept.INPUT` frees; infinite where it frees none."""
        freed = self.convolved - self.input
        return self.multiply_adds / freed if freed else math.inf


def choose(parts: Sequence[Sizes], share: float) -> tuple[list[Kept], float]:
    """Return what each part shall keep so that at most `share` of all is kept, and the share that is then kept.

    Below 1 every part goes down to `Kept.CONVOLVED`, which costs next to nothing. Then parts go on to `Kept.INPUT`, the
    cheapest for what it frees first, until the share is reached or no part is left that frees any.
    """
    if share == 1:
        return [Kept.ALL] * len(parts), 1.0
    chosen = [Kept.CONVOLVED] * len(parts)
    total, kept = sum(part.all for part in parts), sum(part.convolved for part in parts)
    for index in sorted(range(len(parts)), key=lambda index: parts[index].price()):
        if kept <= share * total or math.isinf(parts[index].price()):
            break
        chosen[index] = Kept.INPUT
        kept -= parts[index].convolved - parts[index].input
    return chosen, kept / total


def rebuilt(owner: nn.Module, part: Callable[[Tensor], R], images: Tensor) -> R:
    """Return `part(images)`, keeping `images` only; what the backward pass needs is recomputed there.

    The recomputation ends where the last tensor that a gradient needs is there: a convolution or linear layer at the
    end of `part` does not run again.

    Args:
        owner: the module whose batch norms and dropouts `part` uses, as modules, not as functions.
        part: changes nothing but the running statistics of the owner's batch norms.
        images: a tensor that `part` does not change.
    """
    if not torch.is_grad_enabled():
        return part(images)
    draws = any(isinstance(one, _DropoutNd) and one.training and one.p > 0 for one in owner.modules())
    contexts = partial(_contexts, owner, draws)
    found: R = checkpoint(part, images, use_reentrant=False, preserve_rng_state=draws, context_fn=contexts)
    return found


def _contexts(owner: nn.Module, draws: bool) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """Return the contexts of the first computation and of its repetition."""
    on_mps = draws and next(owner.parameters()).device.type == "mps"
    return nullcontext(), _Repetition(owner, torch.mps.get_rng_state() if on_mps else None)


class _Repetition(AbstractContextManager[None]):
    """The second computation of a part: batch norms write into copies of their statistics, which are thrown away.

    They cannot do without: the backward pass counts the tensors that a batch norm saves, and the statistics are among
    them. torch's checkpoint puts back the random numbers of a CPU and of CUDA, not those of mps.
    """

    def __init__(self, owner: nn.Module, generator: Tensor | None) -> None:
        self._norms = [module for module in owner.modules() if isinstance(module, _BatchNorm)]
        self._generator = generator
        self._before: Tensor | None = None
        self._true: list[tuple[_BatchNorm, str, Tensor]] = []

    def __enter__(self) -> None:
        self._true = [(norm, name, buffer) for norm in self._norms for name, buffer in norm.named_buffers()]
        for norm, name, buffer in self._true:
            setattr(norm, name, buffer.clone())
        if self._generator is not None:
            self._before = torch.mps.get_rng_state()
            torch.mps.set_rng_state(self._generator)

    def __exit__(self, *error: object) -> None:
        for norm, name, buffer in self._true:
            setattr(norm, name, buffer)
        if self._before is not None:
            torch.mps.set_rng_state(self._before)
