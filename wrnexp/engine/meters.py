"""Sums over an epoch that stay on the device and are read once, at its end; and the time spent waiting for data."""

import time
from collections.abc import Iterator
from typing import TypeVar

import torch
from torch import Tensor

T = TypeVar("T")


class Meters:
    """What an epoch adds up: loss and images, gradient norms and clipped steps."""

    def __init__(self, device: torch.device) -> None:
        self._loss = torch.zeros((), dtype=torch.float32, device=device)
        self._norm = torch.zeros((), dtype=torch.float32, device=device)
        self._clipped = torch.zeros((), dtype=torch.float32, device=device)
        self.images = 0
        self.steps = 0

    def add_loss(self, summed: Tensor, images: int) -> None:
        """Add the summed loss of `images` images; nothing is read from the device."""
        self._loss += summed.detach()
        self.images += images

    def add_step(self, grad_norm: Tensor, limit: float) -> None:
        """Add one optimizer step with the global gradient norm before clipping to `limit`."""
        self._norm += grad_norm
        self._clipped += grad_norm > limit
        self.steps += 1

    def read(self) -> dict[str, float]:
        """Return the epoch's means: `train_loss` an image, `grad_norm` and `clipped` a step. Waits for the device."""
        loss, norm, clipped = torch.stack([self._loss, self._norm, self._clipped]).tolist()
        return {
            "train_loss": loss / self.images,
            "grad_norm": norm / self.steps,
            "clipped": clipped / self.steps,
        }


class Waiting(Iterator[T]):
    """An iterator that adds up the seconds spent in waiting for its next item."""

    def __init__(self, items: Iterator[T]) -> None:
        self._items = items
        self.seconds = 0.0

    def __next__(self) -> T:
        start = time.perf_counter()
        try:
            return next(self._items)
        finally:
            self.seconds += time.perf_counter() - start
