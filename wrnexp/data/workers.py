"""The reference loader: torchvision transforms, an image at a time, in the processes of torch's DataLoader."""

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import accumulate as running_sum
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from wrnexp.batching import step_plan
from wrnexp.data.images import ImageSet
from wrnexp.errors import UserError
from wrnexp.seeding import derive

Transform = Callable[[Image.Image], Tensor]
Batch = tuple[Tensor, Tensor]
Key = tuple[int, NDArray[np.int64]]  # an epoch and the indices of a micro-batch


class TrainLoader:
    """Shuffled, augmented micro-batches of one epoch after another.

    What an image becomes depends on (seed, epoch, index) alone: not on the number of workers, the batch size, or what
    was drawn before. torch's global random state is left as it was.

    Attributes:
        plan: the sizes of the micro-batches of every step of an epoch.
    """

    def __init__(
        self,
        images: ImageSet,
        transform: Transform,
        *,
        seed: int,
        batch_size: int,
        workers: int,
        prefetch_factor: int,
        drop_last: bool,
        persistent_workers: bool,
        pin_memory: bool,
        accumulate: int,
    ) -> None:
        """Plan the epoch; processes start with the first one.

        Args:
            images: the training set.
            transform: an image to float32 [3, H, W]; may draw from torch's global generator. Picklable where processes
                are spawned.
            seed: the run's seed.
            batch_size: images in a micro-batch.
            workers: processes; 0 loads in this one.
            prefetch_factor: batches that each worker has ready.
            drop_last: an epoch is a whole number of full steps.
            persistent_workers: keep the processes from epoch to epoch, until `close`.
            pin_memory: page-locked batches, where there is a GPU.
            accumulate: micro-batches in a step.

        Raises:
            UserError: a batch or a step is larger than the training set.
        """
        self.plan = _plan(len(images), batch_size, accumulate, drop_last=drop_last)
        self._batches = _Batches(len(images), [size for step in self.plan for size in step], seed)
        # The generator is the loader's own: without one every epoch would draw from the global one.
        self._new_loader: Callable[[], DataLoader[Batch]] = partial(
            DataLoader,
            _Augmented(images, transform, seed),
            batch_size=None,
            sampler=self._batches,
            collate_fn=_unchanged,
            worker_init_fn=_leave_interrupts_to_the_main_process,
            generator=torch.Generator(),
            num_workers=workers,
            prefetch_factor=prefetch_factor if workers else None,
            persistent_workers=persistent_workers and workers > 0,
            pin_memory=pin_memory and torch.cuda.is_available(),
        )
        self._loader = self._new_loader()

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """Start an epoch and return its micro-batches, in the order of the plan.

        Yields:
            images float32 [B, 3, H, W] and labels int64 [B].
        """
        self._batches.epoch = epoch
        batches = iter(self._loader)
        return ((images, labels) for images, labels in batches)

    def close(self) -> None:
        """End the persistent workers; the next epoch would start new ones."""
        self._loader = self._new_loader()  # the old one takes its processes with it


def shuffled(seed: int, epoch: int, images: int) -> NDArray[np.int64]:
    """Return the order of an epoch's images, a permutation int64 [images] that depends on seed and epoch alone."""
    # Sorting raw words: their stream is fixed for good, that of numpy's and torch's permutations is not.
    words = np.random.PCG64(derive(seed, "shuffle", epoch)).random_raw(images)
    return np.argsort(words, kind="stable")


def eval_batches(
    images: ImageSet, mean: Sequence[float], std: Sequence[float], batch_size: int, device: torch.device | str = "cpu"
) -> Iterator[Batch]:
    """Yield all images in order, normalised on the device.

    Args:
        images: uint8 images.
        mean: of R, G, B in 0..1.
        std: likewise.
        batch_size: images in a batch; the last may be smaller.
        device: where the batches are.

    Yields:
        images float32 [B, 3, H, W] and labels int64 [B].
    """
    centre, scale = (torch.tensor(values, device=device).view(3, 1, 1) for values in (mean, std))
    for start in range(0, len(images), batch_size):
        positions = np.arange(start, min(start + batch_size, len(images)))
        pixels = torch.from_numpy(images.gather(positions)).to(device).permute(0, 3, 1, 2).contiguous()
        labels = torch.from_numpy(images.labels[positions]).to(device)
        yield (pixels.float() / 255 - centre) / scale, labels


def _plan(images: int, batch_size: int, accumulate: int, *, drop_last: bool) -> list[tuple[int, ...]]:
    if batch_size > images:
        raise UserError(
            f"loader.batch_size={batch_size} is more than the {images} training images (see data.train_limit and "
            "data.val_size): at most that many fit"
        )
    plan = step_plan(images, batch_size, accumulate, drop_last=drop_last)
    if not plan:
        raise UserError(
            f"loader.batch_size={batch_size} x optim.accumulate={accumulate} is more than the {images} training images,"
            " and loader.drop_last=true leaves out a step that is not full"
        )
    return plan


class _Batches:
    """The micro-batches of the epoch that is set, as keys."""

    def __init__(self, images: int, sizes: list[int], seed: int) -> None:
        self.epoch = 0
        self._images = images
        self._ends = list(running_sum(sizes))
        self._seed = seed

    def __iter__(self) -> Iterator[Key]:
        # Not a generator: a loader without workers would read the epoch too late.
        order = shuffled(self._seed, self.epoch, self._images)
        return iter([(self.epoch, part) for part in np.split(order, self._ends)[:-1]])

    def __len__(self) -> int:
        return len(self._ends)


class _Augmented(TorchDataset[Batch]):
    """The training set by keys: what a worker holds."""

    def __init__(self, images: ImageSet, transform: Transform, seed: int) -> None:
        self._images = images
        self._transform = transform
        self._seed = seed

    def __getitem__(self, key: Key) -> Batch:
        epoch, indices = key
        with _random_state_kept() as generator:
            images = [self._augment(generator, epoch, index) for index in indices.tolist()]
        return torch.stack(images), torch.from_numpy(self._images.labels[indices])

    def _augment(self, generator: torch.Generator, epoch: int, index: int) -> Tensor:
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


def _leave_interrupts_to_the_main_process(worker: int) -> None:
    """Ignore Ctrl-C: a terminal sends it to every process, and workers that die of it take the clean ending along."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _unchanged(batch: Any) -> Any:
    """Collate nothing: a sample is a batch already."""
    return batch
