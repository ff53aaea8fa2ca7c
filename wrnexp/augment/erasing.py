"""RandomErasing and Cutout: set a rectangle of the normalised image to 0."""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wrnexp.seeding import Numbers, below
from wrnexp.tensors import to_device


class Boxes(NamedTuple):
    """One rectangle per image, int64 [N] each; `bottom` and `right` are exclusive, so a rectangle may be empty."""

    top: NDArray[np.int64]
    bottom: NDArray[np.int64]
    left: NDArray[np.int64]
    right: NDArray[np.int64]


class RandomErasing:
    """A rectangle of 2 to 33 % of the area, aspect ratio 0.3 to 3.3 (Zhong et al., 2020, arXiv 1708.04896).

    The distribution is that of torchvision's RandomErasing: up to `TRIES` sizes are drawn until one is smaller than the
    image. An image has a rectangle with the given probability.
    """

    TRIES = 10
    AREA = (0.02, 0.33)
    RATIO = (0.3, 3.3)
    words = 3 + 2 * TRIES

    def __init__(self, probability: float, height: int, width: int) -> None:
        self._probability, self._height, self._width = probability, height, width

    def __call__(self, uniform: Numbers) -> Boxes:
        """Return the boxes of N images from random numbers [N, words] in [0, 1)."""
        sizes = uniform[:, 3:].reshape(len(uniform), self.TRIES, 2)
        area = self._height * self._width * _between(sizes[..., 0], *self.AREA)
        ratio = np.exp(_between(sizes[..., 1], *np.log(self.RATIO)))
        heights, widths = np.rint(np.sqrt(area * ratio)), np.rint(np.sqrt(area / ratio))
        fits = (heights < self._height) & (widths < self._width)
        first_fit = np.arange(len(uniform)), fits.argmax(1)
        erases = fits.any(1) & (uniform[:, 0] < self._probability)
        height, width = heights[first_fit] * erases, widths[first_fit] * erases
        top = np.floor(uniform[:, 1] * (self._height - height + 1))
        left = np.floor(uniform[:, 2] * (self._width - width + 1))
        return Boxes(*(edge.astype(np.int64) for edge in (top, top + height, left, left + width)))


class Cutout:
    """A square around a random pixel, clipped at the border (DeVries and Taylor, 2017, arXiv 1708.04552)."""

    words = 2

    def __init__(self, side: int, height: int, width: int) -> None:
        self._side, self._size = side, np.array([height, width])

    def __call__(self, uniform: Numbers) -> Boxes:
        """Return the boxes of N images from random numbers [N, words] in [0, 1)."""
        start = below(uniform, self._size) - self._side // 2
        low, high = np.clip(start, 0, self._size), np.clip(start + self._side, 0, self._size)
        return Boxes(low[:, 0], high[:, 0], low[:, 1], high[:, 1])


def erase(images: Tensor, boxes: Boxes) -> Tensor:
    """Set the boxes of float images [N, C, H, W] to 0, in place; return the images."""
    height, width = images.shape[2:]
    if images.device.type != "cpu":
        return images.mul_(outside(boxes, height, width, images.device))
    # On a CPU slice assignment is cheaper than a mask over all pixels, and most images may have no box.
    pixels = images.numpy()
    for index in np.flatnonzero(boxes.top < boxes.bottom):
        top, bottom, left, right = (edge[index] for edge in boxes)
        pixels[index, :, top:bottom, left:right] = 0
    return images


def outside(boxes: Boxes, height: int, width: int, device: torch.device) -> Tensor:
    """Return float32 [N, 1, H, W], 0 in the boxes and 1 elsewhere."""
    # One copy to the device; the mask is computed there.
    top, bottom, left, right = to_device(torch.from_numpy(np.stack(boxes)), device)[:, :, None]
    rows, columns = torch.arange(height, device=device), torch.arange(width, device=device)
    in_rows = ((rows >= top) & (rows < bottom)).float()
    in_columns = ((columns >= left) & (columns < right)).float()
    return torch.mul(in_rows[:, :, None], in_columns[:, None]).neg_().add_(1)[:, None]


def _between(uniform: Numbers, low: float, high: float) -> Numbers:
    return low + (high - low) * uniform
