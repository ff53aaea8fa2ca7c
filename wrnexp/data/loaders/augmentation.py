"""The interface between loaders and augmentations, for `wrnexp.augment` and for custom classes."""

from collections.abc import Callable, Sequence
from typing import Protocol

from PIL import Image
from torch import Tensor

from wrnexp.data.images import Dataset
from wrnexp.errors import UserError

Batch = tuple[Tensor, Tensor]  # images float32 [B, 3, H, W]; labels int64 [B] or probabilities float32 [B, classes]
Transform = Callable[[Image.Image], Tensor]


class Batched(Protocol):
    """Augmentation of whole batches, in which every image draws by its position in the epoch.

    Must not draw from torch's global generators: training draws from them at the same time, in another thread.
    """

    @property
    def lookahead(self) -> int:
        """Images that a batch needs beyond those that it returns."""
        ...

    def pixels(self, images: Tensor, epoch: int, start: int) -> Tensor:
        """Augment uint8 [N, 3, H, W], of the positions from `start` on; may run in a worker process."""
        ...

    def finish(self, images: Tensor, labels: Tensor, epoch: int, start: int) -> Batch:
        """Return what the model is trained on, on the device of the images."""
        ...

    def compile(self) -> None:
        """Run `pixels` through torch.compile from the next batch, except on a CPU."""
        ...


class Augmentation(Protocol):
    """The object of the config group `augment`; it may have one of the methods or both."""

    def batched(self, size: int, mean: Sequence[float], std: Sequence[float], classes: int, seed: int) -> Batched:
        """Return the augmentation of batches of `size` x `size` images with this mean and deviation per channel."""
        ...

    def per_image(self, size: int, mean: Sequence[float], std: Sequence[float]) -> Transform:
        """Return the augmentation of one PIL image at a time, which draws from torch's global generator."""
        ...


def batched(augment: Augmentation, data: Dataset, seed: int) -> Batched:
    """Return the augmentation of batches of a data set.

    Raises:
        UserError: a custom augmentation has no method `batched`.
    """
    if not hasattr(augment, "batched"):
        raise UserError(
            f"augment: {type(augment).__name__} has no method batched(size, mean, std, classes, seed); add one "
            "(docs/extending.md), or use loader=base loader.backend=torchvision, which needs only per_image"
        )
    return augment.batched(data.image_size, data.mean, data.std, len(data.classes), seed)
