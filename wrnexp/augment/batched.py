"""A recipe's augmentation on whole batches, on any device: each image draws for itself, by its place in the epoch.

What an image becomes depends on (seed, epoch, position) and the image alone, so it is the same in any batch, in any
process, on any device (up to rounding) and after any stop.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wrnexp.augment.erasing import Cutout, RandomErasing, erase
from wrnexp.augment.geometry import CPU, crop_and_flip
from wrnexp.augment.jitter import ColourJitter
from wrnexp.augment.mixing import Mixing
from wrnexp.augment.operations import Kernel, OpPlan, apply_grouped, apply_masked, kernels
from wrnexp.augment.policies import PolicyPlans, policy
from wrnexp.augment.recipe import Augment
from wrnexp.seeding import Numbers, below, derive, uniforms
from wrnexp.tensors import to_device


class BatchAugment:
    """A recipe for images of one size, in two parts: `pixels` keeps the type, `finish` normalises.

    Only `pixels` costs much, so it may run in other processes, which send four times less when they send bytes.

    Args:
        recipe: what is done.
        size: height and width of the images in pixels.
        mean: of R, G, B, for levels in 0..1.
        std: likewise.
        classes: number of classes, for mixed targets.
        seed: the run's seed.

    Attributes:
        lookahead: images that a batch needs beyond those that it gives: 1 where images are mixed with the next, else 0.
    """

    def __init__(
        self, recipe: Augment, size: int, mean: Sequence[float], std: Sequence[float], classes: int, seed: int
    ) -> None:
        self._recipe, self._size, self._seed = recipe, size, seed
        self._mean, self._std = mean, std
        self._changes = _changes(recipe, size)
        self._moves = [move for _, part in self._changes if isinstance(part, PolicyPlans) for move in part.moves]
        self._kernels = {CPU: kernels(self._moves, size, size)}
        self._steps = [step for _, part in self._changes for step in part.steps]
        self._compiled: Callable[..., Tensor] | None = None
        self._largest = 0  # images of the largest batch so far
        self._erasers = _erasers(recipe, size)
        mixes = recipe.mixup > 0 or recipe.cutmix > 0
        self._mixing = Mixing(recipe.mixup, recipe.cutmix, classes) if mixes else None
        self.lookahead = int(mixes)

    def pixels(self, images: Tensor, epoch: int, first: int) -> Tensor:
        """Crop, flip, apply the policy, jitter the colours.

        Args:
            images: [N, 3, H, W], uint8 or float in 0..1, of the positions from `first` on.
            epoch: counted from 0.
            first: the position in the epoch of the first image.

        Returns:
            A tensor like `images`.
        """
        count = len(images)
        if count == 0:  # a process's share of a micro-batch may be empty
            return images
        offsets, plan = self._offsets(epoch, first, count), self._plan(epoch, first, count)
        if images.device.type == "cpu":
            return apply_grouped(self._cropped(images, torch.from_numpy(offsets)), plan, self._kernels[CPU])
        drawn = (to_device(torch.from_numpy(values), images.device) for values in (offsets, *plan))
        return self._function(count)(images, *drawn, self._kernels_on(images.device))

    def compile(self) -> None:
        """Run `pixels` through torch.compile from now on, except on a CPU.

        The size of the first batch that comes is compiled. Smaller batches, such as an epoch's last one, run the same
        function uncompiled: one such batch per epoch costs less time than a second compilation. A larger batch is
        compiled when it comes, for a resumed run may begin with an epoch's last batch.
        """
        self._compiled = torch.compile(self._all_masked, fullgraph=True, dynamic=False)
        self._largest = 0

    def finish(self, images: Tensor, labels: Tensor, epoch: int, first: int) -> tuple[Tensor, Tensor]:
        """Normalise, erase, mix.

        Args:
            images: what `pixels` gave, [N + lookahead, 3, H, W].
            labels: int64 [N + lookahead].
            epoch: as for `pixels`.
            first: as for `pixels`.

        Returns:
            float [N, 3, H, W], and int64 [N], or class probabilities float32 [N, classes] where images are mixed.
        """
        finished, count = normalise(images, self._mean, self._std), len(images)
        for name, eraser in self._erasers:
            erase(finished, eraser(self._uniform(name, epoch, first, count, eraser.words)))
        if self._mixing is None:
            return finished, labels
        return self._mixing(finished, labels, self._uniform("mixing", epoch, first, count - 1, self._mixing.words))

    def _function(self, count: int) -> Callable[..., Tensor]:
        """Return `_all_masked`, compiled if `compile` was called and no larger batch has come before."""
        self._largest = max(self._largest, count)
        return self._compiled if self._compiled and count == self._largest else self._all_masked

    def _kernels_on(self, device: torch.device) -> list[Kernel]:
        """Return the kernels for images on a device, made with the first batch there, outside any compiled call."""
        if device not in self._kernels:
            self._kernels[device] = kernels(self._moves, self._size, self._size, device)
        return self._kernels[device]

    def _all_masked(
        self, images: Tensor, offsets: Tensor, operations: Tensor, strengths: Tensor, kernels: Sequence[Kernel]
    ) -> Tensor:
        """What `pixels` does, without reading anything back from the device."""
        return apply_masked(self._cropped(images, offsets), operations, strengths, kernels, self._steps)

    def _cropped(self, images: Tensor, offsets: Tensor) -> Tensor:
        """Crop and flip by rows of top, left and flip, int64 [N, 3]."""
        recipe = self._recipe
        if not recipe.padding and not recipe.flip:
            return images
        top, left, flip = offsets.unbind(1)
        return crop_and_flip(images, top, left, flip, recipe.padding, recipe.padding_mode)

    def _offsets(self, epoch: int, first: int, count: int) -> NDArray[np.int64]:
        """Draw where each image is cropped and whether it is flipped, [N, 3]."""
        offset = below(self._uniform("crop", epoch, first, count, 2), 2 * self._recipe.padding + 1)
        flip = self._uniform("flip", epoch, first, count, 1) < self._recipe.flip
        return np.hstack([offset, flip])

    def _plan(self, epoch: int, first: int, count: int) -> OpPlan:
        """Draw what the policy and the jitter do to each image, one after the other."""
        plans = [part(self._uniform(name, epoch, first, count, part.words)) for name, part in self._changes]
        if not plans:
            return OpPlan(np.zeros((count, 0), np.int64), np.zeros((count, 0), np.float32))
        return OpPlan(*(np.hstack(columns) for columns in zip(*plans, strict=True)))

    def _uniform(self, name: str, epoch: int, first: int, count: int, words: int) -> Numbers:
        """Return random numbers [count, words]; each part has a stream of its own, whatever other parts there are."""
        return uniforms(derive(self._seed, "augment", name, epoch), first, count, words)


def normalise(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Return float images [N, 3, H, W]: (levels in 0..1 - mean) / std of each channel; uint8 becomes float32."""
    top = 1 if images.is_floating_point() else 255
    finished = images.clone() if images.is_floating_point() else images.to(torch.float32)
    factors = torch.tensor([[1 / (top * d), m / d] for m, d in zip(mean, std, strict=True)], dtype=finished.dtype)
    scale, shift = to_device(factors, images.device).view(3, 2, 1, 1).unbind(1)
    return finished.mul_(scale).sub_(shift)


def _changes(recipe: Augment, size: int) -> list[tuple[str, PolicyPlans | ColourJitter]]:
    drawn = policy(recipe.policy, recipe.num_ops, recipe.magnitude, size, size)
    return [
        *([("policy", PolicyPlans(drawn))] if drawn else []),
        *([("jitter", ColourJitter(recipe.jitter))] if any(recipe.jitter.values()) else []),
    ]


def _erasers(recipe: Augment, size: int) -> list[tuple[str, RandomErasing | Cutout]]:
    return [
        *([("erasing", RandomErasing(recipe.erasing, size, size))] if recipe.erasing else []),
        *([("cutout", Cutout(recipe.cutout, size, size))] if recipe.cutout else []),
    ]
