"""Mixup and CutMix: mix each image, and its target, with the next image of the epoch.

Each image draws its own weight. The partner is the image at the next position of the epoch, so the result does not
depend on how the epoch is divided into batches; a batch needs one image more than it returns.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from wrnexp.augment.erasing import Boxes, outside
from wrnexp.seeding import Numbers, below
from wrnexp.tensors import to_device


class Mixing:
    """Mixup (Zhang et al., 2018, arXiv 1710.09412) and CutMix (Yun et al., 2019, arXiv 1905.04899).

    `mixup` and `cutmix` are the parameter a of Beta(a, a), from which the weight of the image is drawn; 0 is off. If
    both are on, each image draws one of them evenly.
    """

    words = 4

    def __init__(self, mixup: float, cutmix: float, classes: int) -> None:
        from scipy.special import betaincinv  # slow to import, and most recipes do not mix

        self._mixup, self._cutmix, self._classes = mixup, cutmix, classes
        self._beta_quantile = betaincinv

    def __call__(self, images: Tensor, labels: Tensor, uniform: Numbers) -> tuple[Tensor, Tensor]:
        """Mix N + 1 images into N.

        Args:
            images: float [N + 1, 3, H, W], normalised.
            labels: int64 [N + 1].
            uniform: random numbers [N, words] in [0, 1).

        Returns:
            float [N, 3, H, W], and class probabilities float32 [N, classes].
        """
        height, width = images.shape[2:]
        boxes, drawn_weights = self._draw(uniform, height, width)
        outside_box = outside(boxes, height, width, images.device)  # 0 where CutMix pastes the partner
        area = to_device(torch.from_numpy(_area(boxes) / (height * width)).float(), images.device)
        weight = to_device(torch.from_numpy(drawn_weights).float(), images.device)
        pixel_weights = outside_box * weight.view(-1, 1, 1, 1)
        mixed = torch.lerp(images[1:], images[:-1], pixel_weights.to(images.dtype))
        targets = F.one_hot(labels, self._classes).float()
        return mixed, torch.lerp(targets[1:], targets[:-1], (weight * (1 - area)).view(-1, 1))

    def _draw(self, uniform: Numbers, height: int, width: int) -> tuple[Boxes, Numbers]:
        """Return CutMix's boxes, empty if mixup was drawn, and mixup's weights, 1 if CutMix was drawn."""
        cuts = uniform[:, 0] < (0.5 if self._mixup and self._cutmix else float(self._cutmix > 0))
        shape = np.where(cuts, self._cutmix, self._mixup)
        weight = self._beta_quantile(shape, shape, uniform[:, 1])
        half = 0.5 * np.sqrt(1 - weight)
        half_sides = [(half * size).astype(np.int64) * cuts for size in (height, width)]
        centres = [below(uniform[:, 2 + i], size) for i, size in enumerate((height, width))]
        edges = [
            np.clip(centre + sign * half_side, 0, size)
            for centre, half_side, size in zip(centres, half_sides, (height, width), strict=True)
            for sign in (-1, 1)
        ]
        return Boxes(*edges), np.where(cuts, 1.0, weight)


def _area(boxes: Boxes) -> NDArray[np.int64]:
    return (boxes.bottom - boxes.top) * (boxes.right - boxes.left)
