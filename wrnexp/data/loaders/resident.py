"""The loader of data that live on the training device: bytes, augmented there in batches, nothing copied back."""

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
    """Shuffled, augmented micro-batches of a data set on the device, each prepared while the one before is trained on.

    On a CPU the images are bit for bit those of `TrainLoader`. On CUDA the next batch is prepared on a stream of its
    own, on a CPU in a thread; what is drawn comes from the place in the epoch, so neither changes a number.

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
        """Plan the epoch; the images are sent to the device with the first one.

        Args:
            data: its `train` images are loaded.
            augment: the recipe's augmentation.
            device: where the images live.
            accumulate: micro-batches in a step.
            seed: the run's seed.
            compile: run the augmentation through torch.compile, except on a CPU.
            rank: which of the processes that share the run this is, from 0; it makes its share of every micro-batch.
            ranks: how many there are.
            batch_size: images in a micro-batch.
            drop_last: an epoch is a whole number of full steps.
            workers: not used, as the keys below: there are no processes. They let one recipe serve both loaders.
            prefetch_factor: not used.
            persistent_workers: not used.
            pin_memory: not used.
            backend: `batched`, the only one.

        Raises:
            UserError: a batch or a step is larger than the training set.
        """
        self._data, self._device, self._place = data, torch.device(device), (rank, ranks)
        self._augment = batched(augment, data, seed)
        if compile and self._device.type != "cpu":
            self._augment.compile()
        lookahead = self._augment.lookahead
        self._epochs = Epochs(
            len(data.train),
            batch_size,
            accumulate,
            drop_last=drop_last,
            seed=seed,
            lookahead=lookahead,
            rank=rank,
            ranks=ranks,
        )
        self.plan = self._epochs.plan
        # One for all epochs: memory that a stream has freed serves that stream only.
        self._stream = torch.cuda.Stream(self._device) if self._device.type == "cuda" else None  # type: ignore[no-untyped-call]

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """Start an epoch and return its micro-batches, in the order of the plan.

        Yields:
            images float32 [B, 3, H, W], and labels int64 [B] or class probabilities float32 [B, classes].
        """
        batches = (self._prepared(key) for key in self._epochs.keys(epoch))
        if self._stream is not None:
            return prefetch_on_stream(batches, self._stream)
        return prefetch_in_thread(batches) if self._device.type == "cpu" else batches

    def warm_up(self) -> None:
        """Send the images to the device and compile the augmentation, on a batch that is thrown away; waits for it."""
        key = self._epochs.keys(0)[0]
        if self._stream is None:
            self._prepared(key)
            return
        with torch.cuda.stream(self._stream):
            self._prepared(key)
        self._stream.synchronize()

    def preview(self, count: int) -> Batch:
        """Return the first images of epoch 0 as the model sees them, made apart from training.

        They are made on the CPU from the images of the data set, so that nothing of the device's is touched, compiled
        or waited for; on another device training sees the same up to rounding.

        Args:
            count: images, of all processes together; fewer where an epoch has fewer.

        Returns:
            images float32 [count, 3, H, W], and labels int64 [count] or class probabilities float32 [count, classes].
        """
        key = self._epochs.head(count)
        with preserve_rng_state():
            return self._augmented(key, *labelled(self._data.train, key.indices))

    def evaluation(self, images: ImageSet) -> EvalBatches:
        """Return the batches of a split in its own order; they stay on the device."""
        return EvalBatches(images, self._data, self._device, resident=True, rank=self._place[0], ranks=self._place[1])

    def close(self) -> None:
        """Let go of the images on the device; the next epoch would send them again."""
        self.__dict__.pop("_resident", None)

    def _prepared(self, key: BatchKey) -> Batch:
        """Make a batch; what it needs comes to the device on the stream that this is called on."""
        chosen = to_device(torch.from_numpy(key.indices), self._device)
        return self._augmented(key, *(one.index_select(0, chosen) for one in self._resident))

    def _augmented(self, key: BatchKey, images: Tensor, labels: Tensor) -> Batch:
        return self._augment.finish(self._augment.pixels(images, key.epoch, key.start), labels, key.epoch, key.start)

    @cached_property
    def _resident(self) -> tuple[Tensor, Tensor]:
        """The training set on the device: uint8 [N, 3, H, W] and labels int64 [N]."""
        train = self._data.train
        images, labels = labelled(train, np.arange(len(train)))
        return to_device(images, self._device), to_device(labels, self._device)
