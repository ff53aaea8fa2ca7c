"""Sums over an epoch that stay on the device and are read once, at its end; and the time spent waiting for data."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from functools import partial, reduce
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

from wrnexp.engine.distributed.ranks import Ranks

T = TypeVar("T")


class StepCheck(Protocol):
    """Decides whether a step is applied."""

    def applies(self, figures: Tensor) -> bool:
        """Called with each step's gradients, before they are applied. False: the step is skipped.

        Args:
            figures: float32 [2]: the loss of this process's images as its part of the step's mean, the gradient norm.
        """
        ...


class Meters:
    """What an epoch adds up over its applied steps: loss and images, gradient norms and clipped steps.

    Args:
        device: that sums stay on.
        ranks: the processes that share the run; each adds the losses of its own images.
        check: of each step; None applies all.
    """

    def __init__(self, device: torch.device, ranks: Ranks | None = None, check: StepCheck | None = None) -> None:
        self._ranks = ranks or Ranks()
        self._check = check
        self._step: list[tuple[Tensor, int]] = []  # losses and images of the step under way
        self._loss = torch.zeros((), dtype=torch.float32, device=device)
        self._norm = torch.zeros((), dtype=torch.float32, device=device)
        self._clipped = torch.zeros((), dtype=torch.float32, device=device)
        self.images = 0
        self.steps = 0

    def add_loss(self, summed: Tensor, images: int) -> None:
        """Add the summed loss of this process's share of `images` images; nothing is read from the device."""
        self._step.append((summed.detach(), images))

    def add_step(self, grad_norm: Tensor, limit: float) -> bool:
        """Add one optimizer step with the global gradient norm before clipping to `limit`, or drop it.

        Returns:
            False where the check has the step skipped; its losses do not count then.
        """
        step, self._step = self._step, []
        images = sum(size for _, size in step)
        if self._check is not None:
            loss = reduce(torch.add, (summed for summed, _ in step)) / images
            if not self._check.applies(torch.stack([loss.float(), grad_norm.float()])):
                return False
        for summed, _ in step:
            self._loss += summed
        self.images += images
        self._norm += grad_norm
        self._clipped += grad_norm > limit
        self.steps += 1
        return True

    def read(self) -> dict[str, float]:
        """Return the epoch's means: `train_loss` an image, `grad_norm` and `clipped` a step. Waits for the device.

        0 where no step was applied.
        """
        total = self._ranks.all_reduce_(self._loss.clone())  # norms are of gradients that all have
        loss, norm, clipped = torch.stack([total, self._norm, self._clipped]).tolist()
        return {
            "train_loss": loss / max(self.images, 1),
            "grad_norm": norm / max(self.steps, 1),
            "clipped": clipped / max(self.steps, 1),
        }

    def state_dict(self) -> dict[str, Any]:
        """Return the sums of this process, on the CPU. Waits for the device."""
        sums = torch.stack([self._loss, self._norm, self._clipped]).cpu()
        return {"sums": sums, "images": self.images, "steps": self.steps}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        for total, saved in zip((self._loss, self._norm, self._clipped), state["sums"], strict=True):
            total.copy_(saved)
        self.images, self.steps = state["images"], state["steps"]


class Timer(AbstractContextManager[None, None], Protocol):
    """Adds up the seconds between entering and leaving."""

    @property
    def seconds(self) -> float:
        """The sum so far."""
        ...


class CpuTimer:
    """The processor's time: where the step is computed by the process itself."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._start = 0.0

    def __enter__(self) -> None:
        self._start = time.perf_counter()

    def __exit__(self, *error: object) -> None:
        self.seconds += time.perf_counter() - self._start


class Mark(Protocol):
    """A mark in a device's queue of work, such as a recorded `torch.cuda.Event`."""

    def elapsed_time(self, later: Any, /) -> float:
        """Return the milliseconds from this mark to a later one, both passed by the device."""
        ...


class CudaTimer:
    """A GPU's own time between two marks in its queue, read once, after the device has passed them all.

    The process runs ahead of a GPU: it launches a step, and waits for the next batch while that step is computed. Its
    own clock would count that as waiting for data, though nothing stood still. A GPU passes the two marks at once while
    it has work before them; time between them is time in which it had none, or made the batch itself
    (`loader=resident`). This holds as long as no step waits for the device: then the process could not be ahead.

    Args:
        mark: puts a mark at the end of the device's queue.
    """

    def __init__(self, mark: Callable[[], Mark]) -> None:
        self._mark = mark
        self._pairs: list[tuple[Mark, Mark]] = []
        self._entered: list[Mark] = []

    @property
    def seconds(self) -> float:
        """The sum so far; every mark must have been passed."""
        return sum(before.elapsed_time(after) for before, after in self._pairs) / 1000

    def __enter__(self) -> None:
        self._entered.append(self._mark())

    def __exit__(self, *error: object) -> None:
        self._pairs.append((self._entered.pop(), self._mark()))


def timer(device: torch.device) -> Timer:
    """Return the clock that tells how long steps on `device` waited for their data."""
    if device.type != "cuda":
        return CpuTimer()
    return CudaTimer(partial(_cuda_mark, device))


def _cuda_mark(device: torch.device) -> Mark:
    stream = torch.cuda.current_stream(device)
    mark: Mark = stream.record_event(torch.cuda.Event(enable_timing=True))  # type: ignore[no-untyped-call]
    return mark


class TimedIterator(Iterator[T]):
    """An iterator that takes the time spent in waiting for its next item."""

    def __init__(self, items: Iterator[T], timer: Timer) -> None:
        self._items = items
        self._clock = timer

    @property
    def seconds(self) -> float:
        """The time waited so far; on a GPU only after it has done all its work, as `Meters.read` waits for."""
        return self._clock.seconds

    def __next__(self) -> T:
        with self._clock:
            return next(self._items)
