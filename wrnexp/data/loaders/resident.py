"""The loader of data on the training device: the training set stays there as bytes and is augmented there."""

from collections.abc import Iterator
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from wrnexp.data.images import Dataset, ImageSet
from wrnexp.data.loaders.augmentation import Augmentation, Batch, batched
from wrnexp.data.loaders.epochs import BatchKey, Epochs
from wrnexp.data.loaders.evaluation import EvalBatches
from wrnexp.data.loaders.prefetch import prefetch_in_thread, prefetch_on_stream
from wrnexp.data.loaders.tensors import labelled
from wrnexp.tensors import preserve_rng_state, to_device


class ResidentLoader:
    """Shuffled, augmented micro-batches of a data set on the device, each prepared while the previous one is in use.

    On a CPU the images are bit for bit those of `TrainLoader`. The next batch is prepared on a separate CUDA stream, or
    in a thread on a CPU. Draws depend on the position in the epoch only, so neither changes the images.

    Attributes:
        plan: the sizes of the micro-batches of every step of an epoch.
    """

    def __init__(
        self,
        data: Dataset,
        augment: Augmentation,
        *,
        device: torch.device | str,
        accumulate: int,
        seed: int,
        compile: bool = False,
        rank: int = 0,
        ranks: int = 1,
        batch_size: int,
        drop_last: bool,
        workers: int = 0,
        prefetch_factor: int = 1,
        persistent_workers: bool = False,
        pin_memory: bool = False,
        backend: Literal["batched"] = "batched",
    ) -> None:
        """Plan the epoch; the images are sent to the device when the first epoch starts.

        `workers`, `prefetch_factor`, `persistent_workers` and `pin_memory` are ignored: there are no worker processes.
        They are accepted so that one recipe works with both loaders. See `Epochs` for the other arguments.

        Args:
            data: its `train` images are loaded.
            device: holds the images.
            compile: run the augmentation through torch.compile, except on a CPU.

        Raises:
            UserError: a batch or a step is larger than the training set.
        """
        self._data, self._device, self._rank, self._ranks = data, torch.device(device), rank, ranks
        self._augment = batched(augment, data, seed)
        if compile and self._device.type != "cpu":
            self._augment.compile()
        count, lookahead = len(data.train), self._augment.lookahead
        self._epochs = Epochs(
            count, batch_size, accumulate, drop_last=drop_last, seed=seed, lookahead=lookahead, rank=rank, ranks=ranks
        )
        self.plan = self._epochs.plan
        # One stream for all epochs: the allocator reuses memory freed on a stream only for that stream.
        self._stream = torch.cuda.Stream(self._device) if self._device.type == "cuda" else None  # type: ignore[no-untyped-call]

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """Start an epoch and return its micro-batches (see `Batch`), in the order of the plan."""
        batches = (self._prepare(key) for key in self._epochs.keys(epoch))
        if self._stream is not None:
            return prefetch_on_stream(batches, self._stream)
        return prefetch_in_thread(batches) if self._device.type == "cpu" else batches

    def warm_up(self) -> None:
        """Send the images to the device and compile the augmentation, on a batch that is discarded; synchronizes."""
        key = self._epochs.keys(0)[0]
        if self._stream is None:
            self._prepare(key)
            return
        with torch.cuda.stream(self._stream):
            self._prepare(key)
        self._stream.synchronize()

    def preview(self, count: int) -> Batch:
        """Return the first images of epoch 0 as the model sees them, without changing what training draws.

        They are made on the CPU, so that nothing on the device is touched, compiled or waited for. Training on another
        device sees the same images up to rounding. `count` is of all ranks together; fewer are returned if an epoch has
        fewer.
        """
        key = self._epochs.head(count)
        with preserve_rng_state():
            return self._augment_batch(key, *labelled(self._data.train, key.indices))

    def evaluation(self, images: ImageSet) -> EvalBatches:
        """Return the batches of a split in its own order; they stay on the device."""
        return EvalBatches(images, self._data, self._device, resident=True, rank=self._rank, ranks=self._ranks)

    def close(self) -> None:
        """Free the images on the device; the next epoch would send them again."""
        self.__dict__.pop("_resident", None)

    def _prepare(self, key: BatchKey) -> Batch:
        # Runs on the stream of the caller, copies to the device included.
        indices = to_device(torch.from_numpy(key.indices), self._device)
        images, labels = self._resident
        return self._augment_batch(key, images.index_select(0, indices), labels.index_select(0, indices))

    def _augment_batch(self, key: BatchKey, images: Tensor, labels: Tensor) -> Batch:
        return self._augment.finish(self._augment.pixels(images, key.epoch, key.start), labels, key.epoch, key.start)

    @cached_property
    def _resident(self) -> tuple[Tensor, Tensor]:
        """The training set on the device: uint8 [N, 3, H, W] and labels int64 [N]."""
        train = self._data.train
        images, labels = labelled(train, np.arange(len(train)))
        return to_device(images, self._device), to_device(labels, self._device)
