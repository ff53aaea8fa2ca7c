"""The content of a data set: images and labels of both splits in memory, in any order."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

SplitName = Literal["train", "test"]
SPLITS: tuple[SplitName, SplitName] = ("train", "test")
SIDE = 32  # pixels; every image is 32x32 RGB


@dataclass(frozen=True, eq=False)
class Split:
    """Images uint8 [N, 32, 32, 3] and labels int64 [N]."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Content:
    """A whole data set; `classes` are the names in the order of the labels."""

    classes: tuple[str, ...]
    train: Split
    test: Split

    def split(self, name: SplitName) -> Split:
        """Return the split `train` or `test`."""
        return self.train if name == "train" else self.test


def join(parts: list[Split]) -> Split:
    """Concatenate splits."""
    return Split(np.concatenate([part.images for part in parts]), np.concatenate([part.labels for part in parts]))
