"""Stratified choice: every class in proportion, the same images for every seed."""

import numpy as np
from numpy.typing import NDArray


def stratified(labels: NDArray[np.int64], size: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Choose `size` images, from every class in proportion to its count, and return what was chosen and what is left.

    Whole numbers are made by largest remainder, the lower class first where remainders are equal. Of a class the first
    images are taken: in canonical order, which is by hash, that is a random choice that never changes.

    Args:
        labels: int64 [N].
        size: 0 to N.

    Returns:
        Two ascending arrays of positions, int64 [size] and int64 [N - size].
    """
    chosen = _rank_in_class(labels) < _quotas(np.bincount(labels), size)[labels]
    return np.flatnonzero(chosen), np.flatnonzero(~chosen)


def _quotas(counts: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Return how many images each class gives."""
    quotas, remainders = np.divmod(size * counts, max(counts.sum(), 1))
    short = size - quotas.sum()
    quotas[np.argsort(-remainders, kind="stable")[:short]] += 1
    return quotas


def _rank_in_class(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return for every image how many of its class stand before it."""
    by_class = np.argsort(labels, kind="stable")
    starts = np.cumsum(np.bincount(labels)) - np.bincount(labels)
    ranks = np.empty(len(labels), dtype=np.int64)
    ranks[by_class] = np.arange(len(labels)) - starts[labels[by_class]]
    return ranks
