"""Conversion of stored images to tensors."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wrnexp.data.images import ImageSet


def planar(images: ImageSet, positions: NDArray[np.int64]) -> Tensor:
    """Return the images at these positions of the set as uint8 [B, 3, H, W]."""
    # numpy transposes three times as fast as torch does.
    return torch.from_numpy(np.ascontiguousarray(images.gather(positions).transpose(0, 3, 1, 2)))


def labelled(images: ImageSet, positions: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
    """Return the images at these positions as uint8 [B, 3, H, W], and their labels int64 [B], on the CPU."""
    return planar(images, positions), torch.from_numpy(images.labels[positions])
