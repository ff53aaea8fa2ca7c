"""Image operations, and two ways to apply a batch of drawn operations.

An `OpPlan` holds an operation and a strength for each image and step. `apply_grouped` (for CPUs) runs each operation
only on the images that drew it. `apply_masked` (for GPUs and compilation) runs every operation on all images and
selects by mask, so that no shape depends on a draw. Both return the same images bit for bit.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wrnexp.augment import colour, pointwise
from wrnexp.augment.geometry import CPU, SourceTable, matrix
from wrnexp.tensors import to_device

Kernel = Callable[[Tensor, Tensor], Tensor]  # images [N, 3, H, W] and strengths [N] to images


class OpSpec(NamedTuple):
    """An operation with its strength.

    The strength is the signed level of `shear_x` and `shear_y`, whole pixels of `translate_x` and `translate_y`,
    degrees of `rotate`; the factor of `brightness`, `saturation`, `contrast` and `sharpness`; a fraction of a full turn
    of `hue`; the bits of `posterize`; the threshold of `solarize` in 0..1. The others have none.
    """

    operation: str
    strength: float = 0.0


class OpPlan(NamedTuple):
    """The operations of N images in S steps: kernel numbers int64 [N, S], and strengths float32 [N, S]."""

    operations: NDArray[np.int64]
    strengths: NDArray[np.float32]


def identity(images: Tensor, strength: Tensor) -> Tensor:
    """Return the images unchanged."""
    return images


LEVELS: dict[str, Kernel] = {
    "identity": identity,
    "brightness": colour.brightness,
    "contrast": colour.contrast,
    "saturation": colour.saturation,
    "hue": colour.hue,
    "sharpness": colour.sharpness,
    "posterize": pointwise.posterize,
    "solarize": pointwise.solarize,
    "invert": pointwise.invert,
    "autocontrast": pointwise.autocontrast,
    "equalize": pointwise.equalize,
}
MOVEMENTS = ("shear_x", "shear_y", "translate_x", "translate_y", "rotate")
NUMBERS = {name: number for number, name in enumerate([*LEVELS, "move"])}


def kernels(moves: Sequence[OpSpec], height: int, width: int, device: torch.device = CPU) -> list[Kernel]:
    """Return the kernels in the order of `NUMBERS`; the last one, `move`, takes an index into `moves` as strength.

    The table of `move` is made on `device` right away: state made in a kernel's call would become part of a compiled
    graph.
    """
    matrices = [matrix(*move, height, width) for move in moves or [OpSpec("rotate", 0.0)]]
    return [*LEVELS.values(), _Move(SourceTable(matrices, height, width, device))]


class _Move:
    # A class, not a closure: kernels are pickled with the augmentation when worker processes start.
    def __init__(self, table: SourceTable) -> None:
        self._table = table

    def __call__(self, images: Tensor, strength: Tensor) -> Tensor:
        return self._table(images, strength.long())


def apply_grouped(images: Tensor, plan: OpPlan, kernels: Sequence[Kernel]) -> Tensor:
    """Apply a plan to images [N, 3, H, W], which stay unchanged: sort them by operation, give each kernel one slice."""
    if not plan.operations.size:
        return images
    order = np.arange(len(images))
    for numbers, strengths in zip(plan.operations.T, plan.strengths.T, strict=True):
        # Sort the images, which are in the order of the previous step, by this step's operation.
        sort = np.argsort(numbers[order], kind="stable")
        order = order[sort]
        images = images.index_select(0, _to_device_of(images, sort))
        strength = _to_device_of(images, strengths[order])
        ends = np.bincount(numbers, minlength=len(kernels)).cumsum().tolist()
        for kernel, start, end in zip(kernels, [0, *ends], ends, strict=False):
            if start < end and kernel is not identity:
                images[start:end] = kernel(images[start:end], strength[start:end])
    # Restore the original order.
    return images.index_select(0, _to_device_of(images, np.argsort(order)))


def apply_masked(
    images: Tensor, operations: Tensor, strengths: Tensor, kernels: Sequence[Kernel], steps: Sequence[Sequence[int]]
) -> Tensor:
    """Apply a plan whose tensors are on the device, without synchronizing with it.

    Args:
        images: [N, 3, H, W]; stay unchanged.
        operations: int64 [N, S].
        strengths: float32 [N, S].
        kernels: by number.
        steps: for each of the S steps, the numbers of the kernels that can be drawn in it.
    """
    for step, numbers in enumerate(steps):
        drawn, strength = operations[:, step], strengths[:, step]
        output = images
        for number in numbers:
            if kernels[number] is not identity:
                mask = drawn == number
                changed = kernels[number](images, strength * mask)  # 0 is a valid strength of every kernel
                output = torch.where(mask.view(-1, 1, 1, 1), changed, output)
        images = output
    return images


def _to_device_of(images: Tensor, array: NDArray[np.generic]) -> Tensor:
    return to_device(torch.from_numpy(array), images.device)
