"""Mixup and CutMix: an image becomes a mixture with the next one of the epoch, and its target likewise.

Each image draws its own share. The partner is the image at the next position of the epoch, which follows from the
shuffle alone; so a batch needs one image more than it gives, and the mixture does not depend on how the epoch is cut
into batches.
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

    The share of the image itself is drawn from Beta(a, a). Where both are on, each image draws one of them evenly.

    Args:
        mixup: a of mixup; 0 is off.
        cutmix: a of CutMix; 0 is off.
        classes: number of classes.
    """

    words = 4

    def __init__(self, mixup: float, cutmix: float, classes: int) -> None:
        from scipy.special import betaincinv  # which takes a while to import, and most recipes mix nothing

        self._mixup, self._cutmix, self._classes = mixup, cutmix, classes
        self._share = betaincinv

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
        boxes, share = self._draw(uniform, height, width)
        kept = outside(boxes, height, width, images.device)  # 1 where an image stays itself
        area = to_device(torch.from_numpy(_area(boxes) / (height * width)).float(), images.device)
        own = to_device(torch.from_numpy(share).float(), images.device)
        weights = kept * own.view(-1, 1, 1, 1)
        mixed = torch.lerp(images[1:], images[:-1], weights.to(images.dtype))
        targets = F.one_hot(labels, self._classes).float()
        return mixed, torch.lerp(targets[1:], targets[:-1], (own * (1 - area)).view(-1, 1))

    def _draw(self, uniform: Numbers, height: int, width: int) -> tuple[Boxes, Numbers]:
        """Return CutMix's boxes, empty where mixup was drawn, and mixup's shares, 1 where CutMix was."""
        cut = uniform[:, 0] < (0.5 if self._mixup and self._cutmix else float(self._cutmix > 0))
        shape = np.where(cut, self._cutmix, self._mixup)
        share = self._share(shape, shape, uniform[:, 1])
        half = 0.5 * np.sqrt(1 - share)
        sides = [(half * size).astype(np.int64) * cut for size in (height, width)]
        centres = [below(uniform[:, 2 + i], size) for i, size in enumerate((height, width))]
        edges = [
            np.clip(centre + sign * side, 0, size)
            for centre, side, size in zip(centres, sides, (height, width), strict=True)
            for sign in (-1, 1)
        ]
        return Boxes(*edges), np.where(cut, 1.0, share)


def _area(boxes: Boxes) -> NDArray[np.int64]:
    return (boxes.bottom - boxes.top) * (boxes.right - boxes.left)
