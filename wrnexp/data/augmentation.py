"""What loaders ask of an augmentation: the protocols that `wrnexp.augment` meets, and those of a user's own."""

from collections.abc import Callable, Sequence
from typing import Protocol

from PIL import Image
from torch import Tensor

Batch = tuple[Tensor, Tensor]  # images float [B, 3, H, W]; labels int64 [B] or class probabilities [B, classes]
Transform = Callable[[Image.Image], Tensor]


class Batched(Protocol):
    """An augmentation of whole batches: every image draws for itself, by its position in the epoch."""

    @property
    def context(self) -> int:
        """Images that a batch needs beyond its own."""
        ...

    def pixels(self, images: Tensor, epoch: int, first: int) -> Tensor:
        """Return changed images uint8 [N, 3, H, W] of the positions from `first` on; may run in another process."""
        ...

    def finish(self, images: Tensor, labels: Tensor, epoch: int, first: int) -> Batch:
        """Return what training sees, on the device of the images."""
        ...

    def compile(self) -> None:
        """Run `pixels` through torch.compile from now on, except on a CPU."""
        ...


class Augmentation(Protocol):
    """The group `augment`, in the two forms that loaders take."""

    def batched(self, size: int, mean: Sequence[float], std: Sequence[float], classes: int, seed: int) -> Batched:
        """Return the form for batches of `size` x `size` images with channels of this mean and deviation."""
        ...

    def per_image(self, size: int, mean: Sequence[float], std: Sequence[float]) -> Transform:
        """Return the form for one PIL image after another, which draws from torch's global generator."""
        ...
