"""The order of the images in an epoch and their division into micro-batches, for every loader."""

from itertools import accumulate as running_sum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from wrnexp.errors import UserError
from wrnexp.seeding import derive
from wrnexp.tensors import share, step_plan


class BatchKey(NamedTuple):
    """Identifies a micro-batch before its images are read.

    Attributes:
        epoch: counted from 0.
        start: position of its first image in the epoch.
        indices: of its images in the training set, followed by the lookahead images, int64 [B + lookahead].
    """

    epoch: int
    start: int
    indices: NDArray[np.int64]


class Epochs:
    """The epochs of a run, as seen by one rank.

    Args:
        images: size of the training set.
        batch_size: images in a micro-batch.
        accumulate: micro-batches per step.
        drop_last: leave out the last step of an epoch if it is not full.
        lookahead: following images that each micro-batch gets in addition; after the last image comes the first.
        rank: from 0; each rank takes its share of every micro-batch.

    Attributes:
        plan: the sizes of the micro-batches of every step of an epoch, over all ranks.

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
        self._spans = [(start + part.start, start + part.stop) for start, part in zip(starts, shares, strict=True)]

    def keys(self, epoch: int) -> list[BatchKey]:
        """Return this rank's share of every micro-batch of an epoch, in the order of the plan."""
        order = self._order(epoch)
        return [BatchKey(epoch, start, order[start : end + self._lookahead]) for start, end in self._spans]

    def head(self, count: int) -> BatchKey:
        """Return the first `count` images of epoch 0, of all ranks together, as one batch; fewer if it has fewer."""
        count = min(count, sum(map(sum, self.plan)))
        return BatchKey(0, 0, self._order(0)[: count + self._lookahead])

    def _order(self, epoch: int) -> NDArray[np.int64]:
        # The epoch wraps around: the lookahead of the last batch is the start of the order.
        order = shuffled(self._seed, epoch, self._images)
        return np.concatenate([order, order[: self._lookahead]])

    def __len__(self) -> int:
        """Return the number of micro-batches of an epoch."""
        return len(self._spans)


def shuffled(seed: int, epoch: int, images: int) -> NDArray[np.int64]:
    """Return the order of an epoch's images, a permutation int64 [images] that depends only on seed and epoch."""
    # Sort raw words: their stream is stable across versions, that of numpy's and torch's permutations is not.
    words = np.random.PCG64(derive(seed, "shuffle", epoch)).random_raw(images)
    return np.argsort(words, kind="stable")


def _plan(images: int, batch_size: int, accumulate: int, *, drop_last: bool) -> list[tuple[int, ...]]:
    if batch_size > images:
        raise UserError(
            f"loader.batch_size={batch_size} is more than the {images} training images (see data.train_limit and "
            f"data.val_size): use at most {images}"
        )
    plan = step_plan(images, batch_size, accumulate, drop_last=drop_last)
    if not plan:
        raise UserError(
            f"loader.batch_size={batch_size} x optim.accumulate={accumulate} is more than the {images} training images,"
            " and loader.drop_last=true leaves out a step that is not full"
        )
    return plan
