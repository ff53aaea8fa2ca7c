"""Image operations and how a batch of drawn operations is applied.

An `OpPlan` names an operation and a strength for each image and step. `apply_grouped` (for CPUs) runs each operation on
the images that drew it; `apply_masked` (for GPUs and compilers) runs every operation on all images and selects what was
drawn, so that no shape depends on a draw. Both give the same images bit for bit.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wrnexp.augment import colour, pointwise
from wrnexp.augment.geometry import CPU, Matrix, Sources, rotation, shear_x, shear_y, translation
from wrnexp.tensors import to_device

Kernel = Callable[[Tensor, Tensor], Tensor]  # images [N, 3, H, W] and strengths [N] to images


class OpSpec(NamedTuple):
    """An operation with its strength.

    The strength is: the signed level of `shear_x` and `shear_y`, whole pixels of `translate_x` and `translate_y`,
    degrees of `rotate`; the factor of `brightness`, `saturation`, `contrast` and `sharpness`; a share of a full turn
    for `hue`; the bits of `posterize`; the threshold of `solarize` in 0..1. The others have none.
    """

    operation: str
    strength: float = 0.0


class OpPlan(NamedTuple):
    """What is done to each image: `operations` int64 [N, S], numbers of kernels, and `strengths` float32 [N, S]."""

    operations: NDArray[np.int64]
    strengths: NDArray[np.float32]


def identity(images: Tensor, strength: Tensor) -> Tensor:
    """Return the images."""
    return images


def _invert(images: Tensor, strength: Tensor) -> Tensor:
    return pointwise.invert(images)


def _autocontrast(images: Tensor, strength: Tensor) -> Tensor:
    return pointwise.autocontrast(images)


def _equalize(images: Tensor, strength: Tensor) -> Tensor:
    return pointwise.equalize(images)


LEVELS: dict[str, Kernel] = {
    "identity": identity,
    "brightness": colour.brightness,
    "contrast": colour.contrast,
    "saturation": colour.saturation,
    "hue": colour.hue,
    "sharpness": colour.sharpness,
    "posterize": pointwise.posterize,
    "solarize": pointwise.solarize,
    "invert": _invert,
    "autocontrast": _autocontrast,
    "equalize": _equalize,
}
MOVEMENTS = ("shear_x", "shear_y", "translate_x", "translate_y", "rotate")
NUMBERS = {name: number for number, name in enumerate([*LEVELS, "move"])}


def kernels(moves: Sequence[OpSpec], height: int, width: int, device: torch.device = CPU) -> list[Kernel]:
    """Return the kernels in the order of `NUMBERS`; the last, `move`, takes the index of one of `moves` as strength.

    Args:
        moves: movements that images can draw.
        height: of the images in pixels.
        width: likewise.
        device: of the images. The table of `move` is made there now: a kernel makes no state when it is called, for
            that would become part of a compiled graph.
    """
    matrices = [_matrix(move, height, width) for move in moves or [OpSpec("rotate", 0.0)]]
    return [*LEVELS.values(), _Move(Sources(matrices, height, width, device))]


class _Move:
    """The kernel of all operations that move pixels, for images on the device of its table."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources

    def __call__(self, images: Tensor, strength: Tensor) -> Tensor:
        return self._sources(images, strength.long())


def _matrix(move: OpSpec, height: int, width: int) -> Matrix:
    match move.operation:
        case "shear_x":
            return shear_x(move.strength, height)
        case "shear_y":
            return shear_y(move.strength, width)
        case "translate_x":
            return translation(int(move.strength), 0)
        case "translate_y":
            return translation(0, int(move.strength))
        case _:
            return rotation(move.strength)


def apply_grouped(images: Tensor, plan: OpPlan, kernels: Sequence[Kernel]) -> Tensor:
    """Carry out a plan on the host's terms: images are sorted by what they drew and each kernel gets a slice.

    Args:
        images: [N, 3, H, W]; left as they are.
        plan: of these images.
        kernels: by number.
    """
    if not plan.operations.size:
        return images
    order = np.arange(len(images))
    for drawn, strengths in zip(plan.operations.T, plan.strengths.T, strict=True):
        sort = np.argsort(drawn[order], kind="stable")
        order = order[sort]
        images = images.index_select(0, _on(sort, images))
        strength = _on(strengths[order], images)
        ends = np.bincount(drawn, minlength=len(kernels)).cumsum().tolist()
        for kernel, start, end in zip(kernels, [0, *ends], ends, strict=False):
            if start < end and kernel is not identity:
                images[start:end] = kernel(images[start:end], strength[start:end])
    return images.index_select(0, _on(np.argsort(order), images))


def apply_masked(
    images: Tensor, operations: Tensor, strengths: Tensor, kernels: Sequence[Kernel], steps: Sequence[Sequence[int]]
) -> Tensor:
    """Carry out a plan whose tensors are on the device, without reading any of it back.

    Args:
        images: [N, 3, H, W]; left as they are.
        operations: int64 [N, S].
        strengths: float32 [N, S].
        kernels: by number.
        steps: for each of the S steps the numbers of the kernels that can be drawn in it.
    """
    for step, numbers in enumerate(steps):
        drawn, strength = operations[:, step], strengths[:, step]
        result = images
        for number in numbers:
            if kernels[number] is not identity:
                chosen = drawn == number
                changed = kernels[number](images, strength * chosen)  # 0 is harmless to every kernel
                result = torch.where(chosen.view(-1, 1, 1, 1), changed, result)
        images = result
    return images


def _on(values: NDArray[np.generic], like: Tensor) -> Tensor:
    return to_device(torch.from_numpy(values), like.device)
