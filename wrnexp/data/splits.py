"""Stratified selection: classes in proportion, the same images for every seed."""

import numpy as np
from numpy.typing import NDArray


def stratified(labels: NDArray[np.int64], size: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Select `size` images, in proportion to the class counts; return the positions of selected and other images.

    Quotas are rounded by largest remainder; ties go to the lower class. The first images of each class are taken. In
    canonical order, which is by hash, that is a random but fixed selection.

    Args:
        labels: int64 [N].
        size: 0 to N.

    Returns:
        Two ascending arrays, int64 [size] and int64 [N - size].
    """
    selected = _rank_in_class(labels) < _quotas(np.bincount(labels), size)[labels]
    return np.flatnonzero(selected), np.flatnonzero(~selected)


def _quotas(counts: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Return the number of images to take from each class."""
    quotas, remainders = np.divmod(size * counts, max(counts.sum(), 1))
    short = size - quotas.sum()
    quotas[np.argsort(-remainders, kind="stable")[:short]] += 1
    return quotas


def _rank_in_class(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return for each image the number of earlier images of its class."""
    by_class = np.argsort(labels, kind="stable")
    starts = np.cumsum(np.bincount(labels)) - np.bincount(labels)
    ranks = np.empty(len(labels), dtype=np.int64)
    ranks[by_class] = np.arange(len(labels)) - starts[labels[by_class]]
    return ranks
