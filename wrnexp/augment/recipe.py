"""`Augment`: the settings of the config group `augment` and the augmentations made from them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from PIL.Image import Image
from torch import Tensor

from wrnexp.augment.batched import BatchAugment
from wrnexp.augment.settings import AugmentSettings


@dataclass(frozen=True)
class Augment(AugmentSettings):
    """Training-time augmentation; the fields are those of `AugmentSettings`."""

    def batched(self, size: int, mean: Sequence[float], std: Sequence[float], classes: int, seed: int) -> BatchAugment:
        """Return the augmentation of whole batches on any device, see `BatchAugment`."""
        return BatchAugment(self, size, mean, std, classes, seed)

    def per_image(self, size: int, mean: Sequence[float], std: Sequence[float]) -> Callable[[Image], Tensor]:
        """Return the reference augmentation: torchvision's transforms on one PIL image at a time.

        The function maps an RGB image to a normalised float32 tensor `[3, size, size]`. It can be pickled and draws
        from torch's global generator only.

        Args:
            size: height and width of the images, in pixels.
            mean: of each channel, for pixels in 0..1.
            std: of each channel, for pixels in 0..1.

        Raises:
            UserError: cutout, mixup or CutMix is on; torchvision has no per-image transform for them.
        """
        from wrnexp.augment.reference import per_image  # torchvision takes a second to import

        return per_image(self, size, mean, std)
