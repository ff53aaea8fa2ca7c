"""How the images of an epoch fall into micro-batches, and in what order: the same for every loader."""

from itertools import accumulate as running_sum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from wrnexp.errors import UserError
from wrnexp.seeding import derive
from wrnexp.tensors import share, step_plan


class BatchKey(NamedTuple):
    """A micro-batch before its images are read.

    Attributes:
        epoch: counted from 0.
        start: position of its first image in the epoch.
        indices: of its images in the training set, int64 [B], then of those that follow it, as many as are asked for.
    """

    epoch: int
    start: int
    indices: NDArray[np.int64]


class Epochs:
    """The epochs of one training.

    Args:
        images: in the training set.
        batch_size: images in a micro-batch.
        accumulate: micro-batches in a step.
        drop_last: an epoch is a whole number of full steps.
        seed: the run's seed.
        lookahead: images beyond its own that each micro-batch is given; after the last comes the first.
        rank: which of the processes that share the run this is, from 0; each takes its share of every micro-batch.
        ranks: how many there are.

    Attributes:
        plan: the sizes of the micro-batches of every step of an epoch, those of all processes together.

    Raises:
        UserError: a batch or a step is larger than the training set.
    """

    def __init__(
        self,
        images: int,
        batch_size: int,
        accumulate: int,
        *,
        drop_last: bool,
        seed: int,
        lookahead: int = 0,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        self.plan = _plan(images, batch_size, accumulate, drop_last=drop_last)
        self._images, self._seed, self._lookahead = images, seed, lookahead
        sizes = [size for step in self.plan for size in step]
        shares = [share(size, rank, ranks) for size in sizes]
        starts = [end - size for size, end in zip(sizes, running_sum(sizes), strict=True)]
        self._spans = [(start + own.start, start + own.stop) for start, own in zip(starts, shares, strict=True)]

    def keys(self, epoch: int) -> list[BatchKey]:
        """Return this process's shares of the micro-batches of an epoch, in the order of the plan."""
        order = shuffled(self._seed, epoch, self._images)
        order = np.concatenate([order, order[: self._lookahead]])
        return [BatchKey(epoch, start, order[start : end + self._lookahead]) for start, end in self._spans]

    def head(self, count: int) -> BatchKey:
        """Return the first images of epoch 0 as one batch: `count` of all processes together, or all that there are."""
        count = min(count, sum(map(sum, self.plan)))
        order = shuffled(self._seed, 0, self._images)
        return BatchKey(0, 0, np.concatenate([order, order[: self._lookahead]])[: count + self._lookahead])

    def __len__(self) -> int:
        """Return the number of micro-batches of an epoch."""
        return len(self._spans)


def shuffled(seed: int, epoch: int, images: int) -> NDArray[np.int64]:
    """Return the order of an epoch's images, a permutation int64 [images] that depends on seed and epoch alone."""
    # Sorting raw words: their stream is fixed for good, that of numpy's and torch's permutations is not.
    words = np.random.PCG64(derive(seed, "shuffle", epoch)).random_raw(images)
    return np.argsort(words, kind="stable")


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
