"""What the group `augment` of the configuration says, as a value."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from PIL.Image import Image
from torch import Tensor

from wrnexp.augment.jitter import Jitter

if TYPE_CHECKING:
    from wrnexp.augment.batched import BatchAugment


@dataclass(frozen=True)
class Augment:
    """Random changes to a training image: crop, flip, policy, jitter, normalisation, erasing, cutout, mixing.

    Attributes:
        padding: pixels added on each side before a crop back to the image's size; 0 is no crop.
        padding_mode: what the added pixels are, black or the image reflected.
        flip: probability of a horizontal flip.
        policy: `autoaugment` with the policy found on CIFAR-10 (arXiv 1805.09501), `randaugment` (arXiv 1909.13719),
            `trivialaugment` (arXiv 2103.10158), or `none`.
        num_ops: operations an image, of `randaugment` alone.
        magnitude: their strength, 0 to 30, of `randaugment` alone.
        jitter: strengths of colour jitter; all 0 is off.
        erasing: probability that a rectangle of the normalised image is set to 0 (arXiv 1708.04896).
        cutout: side in pixels of the square of the normalised image that is set to 0 (arXiv 1708.04552); 0 is off.
        mixup: a of the Beta(a, a) that an image's share in a mixture is drawn from (arXiv 1710.09412); 0 is off.
        cutmix: likewise for CutMix (arXiv 1905.04899). Where both are on, each image draws one of them evenly.
    """

    padding: int
    padding_mode: Literal["constant", "reflect"]
    flip: float
    policy: Literal["none", "autoaugment", "randaugment", "trivialaugment"]
    num_ops: int
    magnitude: int
    jitter: Jitter
    erasing: float
    cutout: int
    mixup: float
    cutmix: float

    def batched(
        self, size: int, mean: Sequence[float], std: Sequence[float], classes: int, seed: int
    ) -> "BatchAugment":
        """Return the form for whole batches on any device, see `wrnexp.augment.batched.BatchAugment`."""
        from wrnexp.augment.batched import BatchAugment  # it needs the recipe

        return BatchAugment(self, size, mean, std, classes, seed)

    def per_image(self, size: int, mean: Sequence[float], std: Sequence[float]) -> Callable[[Image], Tensor]:
        """Return the reference form: torchvision's transforms on one PIL image after another.

        The callable can be pickled, and all that it draws comes from torch's global generator.

        Args:
            size: height and width of the images, in pixels.
            mean: of each channel, for pixels in 0..1.
            std: of each channel, likewise.

        Returns:
            A function from an RGB image to a normalised float32 tensor `[3, size, size]`.

        Raises:
            UserError: the recipe has what torchvision does not do to one image: cutout, mixup, CutMix.
        """
        from wrnexp.augment.reference import per_image  # torchvision takes a second to import

        return per_image(self, size, mean, std)
