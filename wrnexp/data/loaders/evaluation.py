"""Batches for evaluation, in the order of the split: sent to the device as bytes and normalised there."""

from collections.abc import Iterator
from functools import cached_property

import numpy as np
import torch

from wrnexp.data.images import Dataset, ImageSet
from wrnexp.data.loaders.augmentation import Batch
from wrnexp.data.loaders.tensors import labelled
from wrnexp.tensors import to_device

BATCH_SIZE = 500


class EvalBatches:
    """The normalised images of a split, in order; can be iterated repeatedly.

    Args:
        images: the split.
        data: provides mean and deviation of each channel.
        resident: keep the split on the device between iterations.
        batch_size: the last batch may be smaller.
        rank: from 0. Ranks take whole batches in turn, so that each batch is computed as in a run of one process.
    """

    def __init__(
        self,
        images: ImageSet,
        data: Dataset,
        device: torch.device | str = "cpu",
        *,
        resident: bool = False,
        batch_size: int = BATCH_SIZE,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        self._images, self._device, self._resident = images, torch.device(device), resident
        self._batch_size = batch_size
        self._starts = range(rank * batch_size, len(images), ranks * batch_size)
        self._mean, self._std = data.mean, data.std

    def __iter__(self) -> Iterator[Batch]:
        """Yield images float32 [B, 3, H, W] and labels int64 [B]."""
        centre, scale = (
            to_device(torch.tensor(channels).view(3, 1, 1), self._device) for channels in (self._mean, self._std)
        )
        for pixels, labels in self._resident_batches if self._resident else self._batches():
            yield (pixels.float() / 255 - centre) / scale, labels

    @cached_property
    def _resident_batches(self) -> list[Batch]:
        return list(self._batches())

    def _batches(self) -> Iterator[Batch]:
        for start in self._starts:
            positions = np.arange(start, min(start + self._batch_size, len(self._images)))
            images, labels = labelled(self._images, positions)
            yield to_device(images, self._device), to_device(labels, self._device)
