"""What the group `augment` of the configuration says, as a value."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypedDict

from PIL.Image import Image
from torch import Tensor


class Jitter(TypedDict):
    """Strengths of colour jitter: each factor is drawn from [1 - x, 1 + x], the shift of the hue from [-hue, hue]."""

    brightness: float
    contrast: float
    saturation: float
    hue: float


@dataclass(frozen=True)
class Augment:
    """Random changes to a training image, in this order: crop, flip, policy, jitter, normalisation, erasing.

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
    """

    padding: int
    padding_mode: Literal["constant", "reflect"]
    flip: float
    policy: Literal["none", "autoaugment", "randaugment", "trivialaugment"]
    num_ops: int
    magnitude: int
    jitter: Jitter
    erasing: float

    def per_image(self, size: int, mean: Sequence[float], std: Sequence[float]) -> Callable[[Image], Tensor]:
        """Return the reference form: torchvision's transforms on one PIL image after another.

        The callable can be pickled, and all that it draws comes from torch's global generator.

        Args:
            size: height and width of the images, in pixels.
            mean: of each channel, for pixels in 0..1.
            std: of each channel, likewise.

        Returns:
            A function from an RGB image to a normalised float32 tensor `[3, size, size]`.
        """
        from wrnexp.augment.reference import per_image  # torchvision takes a second to import

        return per_image(self, size, mean, std)
