"""The loader of worker processes: torch's DataLoader, augmenting whole batches at once or one image after another."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Literal

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from wrnexp.data.images import Dataset, ImageSet
from wrnexp.data.loaders.augmentation import Augmentation, Batch, Batched, Transform, batched
from wrnexp.data.loaders.epochs import BatchKey, Epochs
from wrnexp.data.loaders.evaluation import EvalBatches
from wrnexp.data.loaders.prefetch import prefetch_in_thread
from wrnexp.data.loaders.tensors import labelled
from wrnexp.process.malloc import keep_freed_memory
from wrnexp.process.parent import when_parent_is_gone
from wrnexp.seeding import derive
from wrnexp.tensors import preserve_rng_state, to_device

Loaded = tuple[Tensor, Tensor, int, int]  # a batch as a worker sends it, its epoch, the position of its first image


class TrainLoader:
    """Shuffled, augmented micro-batches of one epoch after another.

    What an image becomes depends on the seed, the epoch and its position there alone (with the backend `torchvision`:
    its index in the training set): not on the number of workers, the batch size, or what was drawn before. torch's
    global random state is left as it was.

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
        workers: int,
        prefetch_factor: int,
        drop_last: bool,
        persistent_workers: bool,
        pin_memory: bool,
        backend: Literal["batched", "torchvision"] = "batched",
    ) -> None:
        """Plan the epoch; processes start with the first one.

        Args:
            data: its `train` images are loaded.
            augment: the recipe's augmentation.
            device: where batches are finished: workers send bytes, which are normalised, erased and mixed there.
            accumulate: micro-batches in a step.
            seed: the run's seed.
            compile: not used; `ResidentLoader` does.
            rank: which of the processes that share the run this is, from 0; it makes its share of every micro-batch.
            ranks: how many there are.
            batch_size: images in a micro-batch.
            workers: processes of the whole run, at least one for each that trains; 0 loads in those themselves.
            prefetch_factor: batches that each worker has ready.
            drop_last: an epoch is a whole number of full steps.
            persistent_workers: keep the processes from epoch to epoch, until `close`.
            pin_memory: page-locked batches, where there is a GPU.
            backend: `batched` augments whole batches; `torchvision` one PIL image after another, for comparison.

        Raises:
            UserError: a batch or a step is larger than the training set.
        """
        self._data, self._device, self._backend = data, torch.device(device), backend
        self._place, workers = (rank, ranks), -(-workers // ranks)
        self._source, self._finish, lookahead = _source(data, augment, seed, backend)
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
        self._sampler = _Sampler(self._epochs)
        self._new_loader = partial(
            _processes,
            self._source,
            self._sampler,
            num_workers=workers,
            prefetch_factor=prefetch_factor if workers else None,
            persistent_workers=persistent_workers and workers > 0,
            pin_memory=pin_memory and torch.cuda.is_available(),
        )
        self._loader = self._new_loader()

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """Start an epoch and return its micro-batches, in the order of the plan.

        Yields:
            images float32 [B, 3, H, W], and labels int64 [B] or class probabilities float32 [B, classes].
        """
        self._sampler.epoch = epoch
        loaded = iter(self._loader)
        batches = (self._finished(*batch) for batch in loaded)
        # A GPU is told what to do and not waited for. torchvision draws from the generator that training uses.
        apart = self._device.type == "cpu" and self._backend == "batched"
        return prefetch_in_thread(batches) if apart else batches

    def preview(self, count: int) -> Batch:
        """Return the first images of epoch 0 as the model sees them, made apart from training and without workers.

        They are finished on the CPU; on another device training sees the same up to rounding.

        Args:
            count: images, of all processes together; fewer where an epoch has fewer.

        Returns:
            images float32 [count, 3, H, W], and labels int64 [count] or class probabilities float32 [count, classes].
        """
        with preserve_rng_state():
            return self._finish(*self._source[self._epochs.head(count)])

    def evaluation(self, images: ImageSet) -> EvalBatches:
        """Return the batches of a split in its own order."""
        return EvalBatches(images, self._data, self._device, rank=self._place[0], ranks=self._place[1])

    def close(self) -> None:
        """End the persistent workers; the next epoch would start new ones."""
        self._loader = self._new_loader()  # the old one takes its processes with it

    def _finished(self, images: Tensor, labels: Tensor, epoch: int, first: int) -> Batch:
        return self._finish(to_device(images, self._device), to_device(labels, self._device), epoch, first)


def _processes(source: TorchDataset[Loaded], sampler: "_Sampler", **options: Any) -> DataLoader[Loaded]:
    """Return torch's loader of ready batches; `options` are its own, of the processes."""
    return DataLoader(
        source,
        batch_size=None,
        sampler=sampler,
        collate_fn=_unchanged,
        worker_init_fn=_start_worker,
        generator=torch.Generator(),  # its own: without one every epoch would draw from the global one
        **options,
    )


def _source(
    data: Dataset, augment: Augmentation, seed: int, backend: str
) -> tuple[TorchDataset[Loaded], Callable[[Tensor, Tensor, int, int], Batch], int]:
    """Return what a worker holds, what finishes its batches, and the images that a batch needs beyond its own."""
    if backend == "torchvision":
        transform = augment.per_image(data.image_size, data.mean, data.std)
        return _PerImage(data.train, transform, seed), lambda images, labels, epoch, first: (images, labels), 0
    in_batches = batched(augment, data, seed)
    return _Batches(data.train, in_batches), in_batches.finish, in_batches.lookahead


class _Sampler:
    """The micro-batches of the epoch that is set, as keys."""

    def __init__(self, epochs: Epochs) -> None:
        self.epoch = 0
        self._epochs = epochs

    def __iter__(self) -> Iterator[BatchKey]:
        # Not a generator: a loader without workers would read the epoch too late.
        return iter(self._epochs.keys(self.epoch))

    def __len__(self) -> int:
        return len(self._epochs)


class _Batches(TorchDataset[Loaded]):
    """The training set by keys, augmented in batches: what a worker holds."""

    def __init__(self, images: ImageSet, augment: Batched) -> None:
        self._images, self._augment = images, augment

    def __getitem__(self, key: BatchKey) -> Loaded:
        images, labels = labelled(self._images, key.indices)
        return self._augment.pixels(images, key.epoch, key.start), labels, key.epoch, key.start


class _PerImage(TorchDataset[Loaded]):
    """The training set by keys, augmented image by image."""

    def __init__(self, images: ImageSet, transform: Transform, seed: int) -> None:
        self._images, self._transform, self._seed = images, transform, seed

    def __getitem__(self, key: BatchKey) -> Loaded:
        with _random_state_kept() as generator:
            images = [self._augmented(generator, key.epoch, index) for index in key.indices.tolist()]
        # A process's share of a micro-batch may be empty.
        batch = torch.stack(images) if images else torch.empty(0, 3, *self._images[0].shape[:2])
        return batch, torch.from_numpy(self._images.labels[key.indices]), key.epoch, key.start

    def _augmented(self, generator: torch.Generator, epoch: int, index: int) -> Tensor:
        # `torch.manual_seed` seeds every kind of device and takes 100 times as long.
        generator.manual_seed(derive(self._seed, "augment", epoch, index))
        return self._transform(Image.fromarray(self._images[index]))


@contextmanager
def _random_state_kept() -> Iterator[torch.Generator]:
    """Give torch's global CPU generator and put its state back afterwards."""
    generator = torch.default_generator
    state = generator.get_state()
    try:
        yield generator
    finally:
        generator.set_state(state)


def _start_worker(worker: int) -> None:
    """Ignore Ctrl-C: a terminal sends it to every process, and workers that die of it take the clean ending along."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    keep_freed_memory()
    # torch's own watch leaves a worker waiting for a reader of its last batches, and with it the sockets that it
    # inherited: the other processes of a run would not see that the parent is gone.
    when_parent_is_gone(lambda: os._exit(1))


def _unchanged(batch: Any) -> Any:
    """Collate nothing: a sample is a batch already."""
    return batch
