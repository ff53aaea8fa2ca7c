"""Data sets and image sets as used in training; the images stay on disk and are mapped into memory."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from wrnexp.data.checks import FileCheck
from wrnexp.runs.record import Signature


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images of an .npy file, selected by index, with their labels.

    The file is mapped when the first image is read, once per process; processes share its pages. Pickling transfers the
    path, not the pixels, and drops the check: the training process has waited for it.

    Attributes:
        path: an .npy file, uint8 [M, H, W, 3].
        indices: rows of the file, int64 [N].
        labels: int64 [N].
        check: must pass before the first image is read; None without a digest.
    """

    path: Path
    indices: NDArray[np.int64]
    labels: NDArray[np.int64]
    check: FileCheck | None = None

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        """Return a copy of one image, uint8 [H, W, 3]."""
        image: NDArray[np.uint8] = self._pixels[self.indices[index]]
        return image.copy()

    def gather(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return copies of the images at these positions of the set, uint8 [B, H, W, 3]."""
        return self._pixels[self.indices[indices]]

    def subset(self, positions: NDArray[np.int64]) -> "ImageSet":
        """Return the images at these positions as a new set."""
        return replace(self, indices=self.indices[positions], labels=self.labels[positions])

    def verify(self) -> None:
        """Wait until the file has been compared with its digest; raise UserError if it is damaged."""
        if self.check is not None:
            self.check.wait()

    @cached_property
    def _pixels(self) -> NDArray[np.uint8]:
        self.verify()
        # A plain view: indexing an np.memmap is several times slower.
        return np.asarray(np.load(self.path, mmap_mode="r"))

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "indices": self.indices, "labels": self.labels}


class Superclasses(NamedTuple):
    """The coarse labels of CIFAR-100: the superclass of each class, and the names of the superclasses."""

    of_class: tuple[int, ...]
    names: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Dataset:
    """A data set as one run uses it; all images are in canonical order.

    Attributes:
        classes: names, in the order of the labels.
        superclasses: CIFAR-100's coarse labels, None for other data sets.
        val: training images held out, None if there are none.
        digest: content digests of the whole `train` and `test` splits, before images are held out or limited.
        mean: of the channels R, G, B of the whole train split, in 0..1.
        std: of the channels R, G, B of the whole train split, in 0..1.
        image_size: height and width in pixels.
    """

    name: str
    classes: tuple[str, ...]
    superclasses: Superclasses | None
    train: ImageSet
    val: ImageSet | None
    test: ImageSet
    digest: Mapping[str, str]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    image_size: int

    def verify(self) -> None:
        """Wait until the files of all images have been compared with their digests.

        Must be called before training: worker processes of loaders do not check digests.

        Raises:
            UserError: a file is damaged; the message says which, and how to repair it.
        """
        for images in (self.train, self.val, self.test):
            if images is not None:
                images.verify()


def signature(data: Dataset) -> Signature:
    """Return the inputs and outputs of a network for this data set."""
    mean_r, mean_g, mean_b = map(float, data.mean)
    std_r, std_g, std_b = map(float, data.std)
    mean, std = (mean_r, mean_g, mean_b), (std_r, std_g, std_b)
    return Signature(classes=[str(name) for name in data.classes], mean=mean, std=std, image_size=data.image_size)
