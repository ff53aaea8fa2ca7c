"""What loaders ask of an augmentation: the protocols that `wrnexp.augment` meets, and those of a user's own."""

from collections.abc import Callable, Sequence
from typing import Protocol

from PIL import Image
from torch import Tensor

from wrnexp.data.images import Dataset
from wrnexp.errors import UserError

Batch = tuple[Tensor, Tensor]  # images float [B, 3, H, W]; labels int64 [B] or class probabilities [B, classes]
Transform = Callable[[Image.Image], Tensor]


class Batched(Protocol):
    """An augmentation of whole batches: every image draws for itself, by its position in the epoch.

    Nothing may draw from torch's global generators: training draws from them at the same time, in another thread.
    """

    @property
    def lookahead(self) -> int:
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


def batched(augment: Augmentation, data: Dataset, seed: int) -> Batched:
    """Return the form of an augmentation for batches of a data set.

    Raises:
        UserError: the augmentation, one of the user's own, has none.
    """
    if not hasattr(augment, "batched"):
        raise UserError(
            f"augment: {type(augment).__name__} has no method batched(size, mean, std, classes, seed); give it one "
            "(docs/extending.md), or use loader=base loader.backend=torchvision, which asks for per_image alone"
        )
    return augment.batched(data.image_size, data.mean, data.std, len(data.classes), seed)
