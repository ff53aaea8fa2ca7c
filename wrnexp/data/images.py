"""What training sees: a data set, and image sets that lie on disk and are mapped into memory by every process."""

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
    """Images of an .npy file, chosen by index, with their labels.

    The file is mapped when the first image is read, once a process; processes share its pages. Pickling sends the path,
    never pixels, and not the check: the process that trains has waited for it.

    Attributes:
        path: an .npy file, uint8 [M, H, W, 3].
        indices: the rows of the file that make the set, int64 [N].
        labels: int64 [N].
        check: compares the file with its digest before the first image is read; None where there is no digest.
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
        """Return the images at these positions as a set of their own."""
        return replace(self, indices=self.indices[positions], labels=self.labels[positions])

    def verify(self) -> None:
        """Wait until the file is compared with its digest.

        Raises:
            UserError: the file is damaged; the message says how to repair it.
        """
        if self.check is not None:
            self.check.wait()

    @cached_property
    def _pixels(self) -> NDArray[np.uint8]:
        self.verify()
        # A plain view: indexing a memmap object costs several times as much.
        return np.asarray(np.load(self.path, mmap_mode="r"))

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "indices": self.indices, "labels": self.labels}


class Superclasses(NamedTuple):
    """The coarse labels of CIFAR-100: the superclass of every class, and the superclasses' names."""

    of_class: tuple[int, ...]
    names: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Dataset:
    """A data set as one run uses it.

    Attributes:
        name: `cifar100`, `cifar10`, `shapes` or `folder`.
        classes: the names, in the order of the labels.
        superclasses: CIFAR-100's coarse labels, None for other data sets.
        train: the images to train on, in canonical order.
        val: the training images held out, None where none are.
        test: the test images, in canonical order.
        digest: the content digest of the whole `train` and `test` splits, before anything is held out or limited.
        mean: of the whole train split's channels, R, G, B, each in 0..1.
        std: likewise, the standard deviations.
        image_size: pixels a side.
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
        """Wait until the files of all images are compared with their digests; to be called before training.

        Processes that load batches do not look at digests, so training must not start them before this.

        Raises:
            UserError: a file is damaged; the message says which, and how to repair it.
        """
        for images in (self.train, self.val, self.test):
            if images is not None:
                images.verify()


def signature(data: Dataset) -> Signature:
    """Return what a network for this data set takes and gives."""
    red, green, blue = (float(value) for value in data.mean)
    spread_red, spread_green, spread_blue = (float(value) for value in data.std)
    return Signature(
        classes=[str(name) for name in data.classes],
        mean=(red, green, blue),
        std=(spread_red, spread_green, spread_blue),
        image_size=data.image_size,
    )
