"""Augmentation of whole batches on any device.

The result for an image depends only on (seed, epoch, position in the epoch) and the image itself. It is the same in any
batch, in any process, on any device (up to rounding), and after a resume.
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
from wrnexp.augment.settings import AugmentSettings
from wrnexp.seeding import Numbers, below, derive, uniforms
from wrnexp.tensors import to_device


class BatchAugment:
    """Augmentation of images of one size, in two parts: `pixels` keeps the dtype, `finish` normalises.

    `pixels` is the expensive part and may run in worker processes; uint8 batches are four times smaller to send.

    Args:
        size: height and width of the images in pixels.
        mean: of R, G, B, for levels in 0..1.
        std: of R, G, B, for levels in 0..1.
        classes: number of classes, for mixed targets.

    Attributes:
        lookahead: additional images that a batch needs: 1 if images are mixed with the next one, else 0.
    """

    def __init__(
        self, settings: AugmentSettings, size: int, mean: Sequence[float], std: Sequence[float], classes: int, seed: int
    ) -> None:
        self._settings, self._size, self._seed = settings, size, seed
        self._mean, self._std = mean, std
        self._planners = _planners(settings, size)
        self._moves = [move for _, part in self._planners if isinstance(part, PolicyPlans) for move in part.moves]
        self._kernels = {CPU: kernels(self._moves, size, size)}
        self._steps = [step for _, planner in self._planners for step in planner.steps]
        self._compiled: Callable[..., Tensor] | None = None
        self._largest_batch = 0  # images of the largest batch so far
        self._erasers = _erasers(settings, size)
        mixes = settings.mixup > 0 or settings.cutmix > 0
        self._mixing = Mixing(settings.mixup, settings.cutmix, classes) if mixes else None
        self.lookahead = int(mixes)

    def pixels(self, images: Tensor, epoch: int, start: int) -> Tensor:
        """Crop, flip, apply the policy and jitter the colours; shape and dtype stay the same.

        Args:
            images: [N, 3, H, W], uint8 or float in 0..1.
            epoch: counted from 0.
            start: position in the epoch of the first image.
        """
        count = len(images)
        if count == 0:  # a rank's share of a micro-batch may be empty
            return images
        offsets, plan = self._offsets(epoch, start, count), self._plan(epoch, start, count)
        if images.device.type == "cpu":
            return apply_grouped(self._crop(images, torch.from_numpy(offsets)), plan, self._kernels[CPU])
        draws = (to_device(torch.from_numpy(array), images.device) for array in (offsets, *plan))
        return self._device_function(count)(images, *draws, self._kernels_on(images.device))

    def compile(self) -> None:
        """Run `pixels` through torch.compile from the next batch, except on a CPU.

        Only batches of the largest size seen so far are compiled. Smaller ones, such as the last batch of an epoch, run
        the same function uncompiled: one of them per epoch costs less time than a second compilation. A larger batch
        compiles again, because a resumed run may start with the last batch of an epoch.
        """
        self._compiled = torch.compile(self._augment_masked, fullgraph=True, dynamic=False)
        self._largest_batch = 0

    def finish(self, images: Tensor, labels: Tensor, epoch: int, start: int) -> tuple[Tensor, Tensor]:
        """Normalise, erase and mix the output of `pixels`, [N + lookahead, 3, H, W], and labels int64 [N + lookahead].

        Returns:
            float [N, 3, H, W], and int64 [N], or class probabilities float32 [N, classes] if images are mixed.
        """
        normalised, count = normalise(images, self._mean, self._std), len(images)
        for name, eraser in self._erasers:
            erase(normalised, eraser(self._uniform(name, epoch, start, count, eraser.words)))
        if self._mixing is None:
            return normalised, labels
        return self._mixing(normalised, labels, self._uniform("mixing", epoch, start, count - 1, self._mixing.words))

    def _device_function(self, count: int) -> Callable[..., Tensor]:
        self._largest_batch = max(self._largest_batch, count)
        return self._compiled if self._compiled and count == self._largest_batch else self._augment_masked

    def _kernels_on(self, device: torch.device) -> list[Kernel]:
        # Made with the first batch on the device, outside the compiled function: its tables must not become part of
        # the graph.
        if device not in self._kernels:
            self._kernels[device] = kernels(self._moves, self._size, self._size, device)
        return self._kernels[device]

    def _augment_masked(
        self, images: Tensor, offsets: Tensor, operations: Tensor, strengths: Tensor, kernels: Sequence[Kernel]
    ) -> Tensor:
        """Do the same as `pixels` without synchronizing with the device."""
        return apply_masked(self._crop(images, offsets), operations, strengths, kernels, self._steps)

    def _crop(self, images: Tensor, offsets: Tensor) -> Tensor:
        """Crop and flip by rows of (y, x, flip), int64 [N, 3]."""
        settings = self._settings
        if not settings.padding and not settings.flip:
            return images
        y, x, flip = offsets.unbind(1)
        return crop_and_flip(images, y, x, flip, settings.padding, settings.padding_mode)

    def _offsets(self, epoch: int, start: int, count: int) -> NDArray[np.int64]:
        """Draw rows of (y, x, flip), int64 [N, 3]."""
        offset = below(self._uniform("crop", epoch, start, count, 2), 2 * self._settings.padding + 1)
        flip = self._uniform("flip", epoch, start, count, 1) < self._settings.flip
        return np.hstack([offset, flip])

    def _plan(self, epoch: int, start: int, count: int) -> OpPlan:
        """Draw the operations of the policy, followed by those of the jitter."""
        plans = [planner(self._uniform(name, epoch, start, count, planner.words)) for name, planner in self._planners]
        if not plans:
            return OpPlan(np.zeros((count, 0), np.int64), np.zeros((count, 0), np.float32))
        return OpPlan(*(np.hstack(columns) for columns in zip(*plans, strict=True)))

    def _uniform(self, name: str, epoch: int, start: int, count: int, words: int) -> Numbers:
        # One stream per part: switching one part off does not change the draws of the others.
        return uniforms(derive(self._seed, "augment", name, epoch), start, count, words)


def normalise(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Return float images [N, 3, H, W]: (levels in 0..1 - mean) / std of each channel; uint8 becomes float32."""
    top = 1 if images.is_floating_point() else 255
    normalised = images.clone() if images.is_floating_point() else images.to(torch.float32)
    factors = torch.tensor([[1 / (top * d), m / d] for m, d in zip(mean, std, strict=True)], dtype=normalised.dtype)
    scale, shift = to_device(factors, images.device).view(3, 2, 1, 1).unbind(1)
    return normalised.mul_(scale).sub_(shift)


def _planners(settings: AugmentSettings, size: int) -> list[tuple[str, PolicyPlans | ColourJitter]]:
    chosen_policy = policy(settings.policy, settings.num_ops, settings.magnitude, size, size)
    return [
        *([("policy", PolicyPlans(chosen_policy))] if chosen_policy else []),
        *([("jitter", ColourJitter(settings.jitter))] if any(settings.jitter.values()) else []),
    ]


def _erasers(settings: AugmentSettings, size: int) -> list[tuple[str, RandomErasing | Cutout]]:
    return [
        *([("erasing", RandomErasing(settings.erasing, size, size))] if settings.erasing else []),
        *([("cutout", Cutout(settings.cutout, size, size))] if settings.cutout else []),
    ]
