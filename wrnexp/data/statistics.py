"""Mean and standard deviation of the colour channels."""

import math

import numpy as np
from numpy.typing import NDArray

Triple = tuple[float, float, float]


def channel_statistics(images: NDArray[np.uint8]) -> tuple[Triple, Triple]:
    """Return mean and standard deviation of R, G and B over all pixels of uint8 [N, H, W, 3], scaled to 0..1.

    Sums are of integers, so the result does not depend on the machine or the order of the images.
    """
    red, green, blue = (_moments(images[..., channel]) for channel in range(3))
    return (red[0], green[0], blue[0]), (red[1], green[1], blue[1])


def _moments(levels: NDArray[np.uint8]) -> tuple[float, float]:
    counts = np.bincount(levels.ravel(), minlength=256).tolist()
    total = sum(counts)
    first = sum(level * count for level, count in enumerate(counts))
    second = sum(level * level * count for level, count in enumerate(counts))
    return first / total / 255, math.sqrt((total * second - first * first) / total**2) / 255
