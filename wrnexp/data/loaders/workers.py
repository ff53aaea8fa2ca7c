"""The loader with worker processes: torch's DataLoader, augmenting whole batches or one image at a time."""

import os
import signal
from collections.abc import Callable, Iterator
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

Loaded = tuple[Tensor, Tensor, int, int]  # from a worker: images, labels, epoch, position of the first image


class TrainLoader:
    """Shuffled, augmented micro-batches, epoch by epoch.

    An augmented image depends only on the seed, the epoch and its position in the epoch (backend `torchvision`: its
    index in the training set), not on the number of workers, the batch size or earlier draws. torch's global random
    state is preserved.

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
        """Plan the epoch; worker processes start with the first one. See `Epochs` for the arguments not listed.

        Args:
            data: its `train` images are loaded.
            device: batches are normalised, erased and mixed there; workers send bytes.
            compile: ignored; accepted so that one recipe works with `ResidentLoader` too.
            workers: of all ranks together, rounded up to a multiple of `ranks`; 0 loads in the training processes.
            prefetch_factor: batches that each worker prepares ahead.
            persistent_workers: keep the workers from epoch to epoch, until `close`.
            pin_memory: page-locked batches, if there is a GPU.
            backend: `batched` augments whole batches; `torchvision` one PIL image at a time, for comparison.

        Raises:
            UserError: a batch or a step is larger than the training set.
        """
        self._data, self._device, self._backend = data, torch.device(device), backend
        self._rank, self._ranks, workers = rank, ranks, -(-workers // ranks)
        self._source, self._finish, lookahead = _source(data, augment, seed, backend)
        count = len(data.train)
        self._epochs = Epochs(
            count, batch_size, accumulate, drop_last=drop_last, seed=seed, lookahead=lookahead, rank=rank, ranks=ranks
        )
        self.plan = self._epochs.plan
        self._sampler = _Sampler(self._epochs)
        self._loader_options: dict[str, Any] = {
            "num_workers": workers,
            "prefetch_factor": prefetch_factor if workers else None,
            "persistent_workers": persistent_workers and workers > 0,
            "pin_memory": pin_memory and torch.cuda.is_available(),
        }
        self._loader = self._new_loader()

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """Start an epoch and return its micro-batches (see `Batch`), in the order of the plan."""
        self._sampler.epoch = epoch
        loaded = iter(self._loader)
        batches = (self._finish_on_device(*batch) for batch in loaded)
        # Work on a GPU is asynchronous without a thread. torchvision draws from the generator that training uses, so
        # it must not run at the same time.
        threaded = self._device.type == "cpu" and self._backend == "batched"
        return prefetch_in_thread(batches) if threaded else batches

    def preview(self, count: int) -> Batch:
        """Return the first images of epoch 0 as the model sees them, without workers or changes to training's draws.

        They are finished on the CPU. Training on another device sees the same images up to rounding. `count` is of all
        ranks together; fewer are returned if an epoch has fewer.
        """
        with preserve_rng_state():
            return self._finish(*self._source[self._epochs.head(count)])

    def evaluation(self, images: ImageSet) -> EvalBatches:
        """Return the batches of a split in its own order."""
        return EvalBatches(images, self._data, self._device, rank=self._rank, ranks=self._ranks)

    def close(self) -> None:
        """End the persistent workers; the next epoch would start new ones."""
        self._loader = self._new_loader()  # dropping the last reference to a DataLoader ends its workers

    def _new_loader(self) -> DataLoader[Loaded]:
        return DataLoader(
            self._source,
            batch_size=None,  # a sample is a whole batch already
            sampler=self._sampler,
            collate_fn=_identity,
            worker_init_fn=_start_worker,
            generator=torch.Generator(),  # without a generator each epoch would draw its base seed from the global one
            **self._loader_options,
        )

    def _finish_on_device(self, images: Tensor, labels: Tensor, epoch: int, start: int) -> Batch:
        return self._finish(to_device(images, self._device), to_device(labels, self._device), epoch, start)


def _source(
    data: Dataset, augment: Augmentation, seed: int, backend: str
) -> tuple[TorchDataset[Loaded], Callable[[Tensor, Tensor, int, int], Batch], int]:
    """Return the dataset of the workers, the function that finishes its batches, and the lookahead."""
    if backend == "torchvision":
        transform = augment.per_image(data.image_size, data.mean, data.std)
        return _PerImage(data.train, transform, seed), lambda images, labels, epoch, start: (images, labels), 0
    batch_augment = batched(augment, data, seed)
    return _Batches(data.train, batch_augment), batch_augment.finish, batch_augment.lookahead


class _Sampler:
    """Iterates over the keys of the epoch in `epoch`."""

    def __init__(self, epochs: Epochs) -> None:
        self.epoch = 0
        self._epochs = epochs

    def __iter__(self) -> Iterator[BatchKey]:
        # Not a generator: without workers, the loader would read `self.epoch` only when the first batch is taken.
        return iter(self._epochs.keys(self.epoch))

    def __len__(self) -> int:
        return len(self._epochs)


class _Batches(TorchDataset[Loaded]):
    """Maps a key to its batch, augmented as a whole."""

    def __init__(self, images: ImageSet, augment: Batched) -> None:
        self._images, self._augment = images, augment

    def __getitem__(self, key: BatchKey) -> Loaded:
        images, labels = labelled(self._images, key.indices)
        return self._augment.pixels(images, key.epoch, key.start), labels, key.epoch, key.start


class _PerImage(TorchDataset[Loaded]):
    """Maps a key to its batch, augmented image by image."""

    def __init__(self, images: ImageSet, transform: Transform, seed: int) -> None:
        self._images, self._transform, self._seed = images, transform, seed

    def __getitem__(self, key: BatchKey) -> Loaded:
        generator = torch.default_generator
        state = generator.get_state()
        try:
            images = [self._augment(generator, key.epoch, index) for index in key.indices.tolist()]
        finally:
            generator.set_state(state)
        # A rank's share of a micro-batch may be empty.
        batch = torch.stack(images) if images else torch.empty(0, 3, *self._images[0].shape[:2])
        return batch, torch.from_numpy(self._images.labels[key.indices]), key.epoch, key.start

    def _augment(self, generator: torch.Generator, epoch: int, index: int) -> Tensor:
        # `torch.manual_seed` seeds the generators of all devices and takes 100 times as long.
        generator.manual_seed(derive(self._seed, "augment", epoch, index))
        return self._transform(Image.fromarray(self._images[index]))


def _start_worker(worker: int) -> None:
    # A terminal sends Ctrl-C to every process of the group. A worker that dies of it would prevent a clean end of the
    # run.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    keep_freed_memory()
    # torch's own watchdog lets a worker of a dead parent wait until its last batches are read. Meanwhile it keeps
    # inherited sockets open, and the other ranks would not notice that the parent is gone.
    when_parent_is_gone(lambda: os._exit(1))


def _identity(batch: Any) -> Any:
    return batch
