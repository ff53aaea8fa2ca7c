"""Settings of the config group `augment`."""

from dataclasses import dataclass
from typing import Literal, TypedDict


class Jitter(TypedDict):
    """Strengths of colour jitter: factors are drawn from [1 - x, 1 + x], hue shifts from [-hue, hue]."""

    brightness: float
    contrast: float
    saturation: float
    hue: float


@dataclass(frozen=True)
class AugmentSettings:
    """Crop, flip, policy, jitter, erasing, cutout and mixing of training images.

    Attributes:
        padding: pixels added on each side before a crop back to the image's size; 0 disables the crop.
        padding_mode: the added pixels are black (`constant`) or the image mirrored at its edge (`reflect`).
        flip: probability of a horizontal flip.
        policy: `autoaugment` (the CIFAR-10 policy, arXiv 1805.09501), `randaugment` (arXiv 1909.13719),
            `trivialaugment` (arXiv 2103.10158), or `none`.
        num_ops: operations per image; used by `randaugment` only.
        magnitude: strength of these operations, 0 to 30; used by `randaugment` only.
        jitter: strengths of colour jitter; all 0 disables it.
        erasing: probability that a rectangle of the normalised image is set to 0 (arXiv 1708.04896).
        cutout: side in pixels of the square of the normalised image that is set to 0 (arXiv 1708.04552); 0 disables it.
        mixup: parameter a of the Beta(a, a) distribution of mixing weights (arXiv 1710.09412); 0 disables mixup.
        cutmix: the same for CutMix (arXiv 1905.04899). If both are on, each image draws one of them evenly.
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
