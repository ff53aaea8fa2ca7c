"""Operations that move pixels: each is a gather, for every pixel of the result takes one of the image or stays black.

A `Sources` table names for each of several movements where every pixel comes from; an image picks a row of it. So
rotations, shears and translations of any strengths are one gather over a whole batch.
"""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from wrnexp.tensors import to_device

# Rows of the inverse affine matrix: a pixel (x, y) of the result, counted from the image's centre with y downwards,
# comes from (a x + b y + c, d x + e y + f).
Matrix = tuple[tuple[float, float, float], tuple[float, float, float]]

CPU = torch.device("cpu")


def rotation(degrees: float) -> Matrix:
    """Return the matrix that turns an image counterclockwise about its centre."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return (cos, -sin, 0.0), (sin, cos, 0.0)


def shear_x(level: float, height: int) -> Matrix:
    """Return the matrix that moves a row `level` times its distance from the top edge to the left."""
    return (1.0, level, level * height / 2), (0.0, 1.0, 0.0)


def shear_y(level: float, width: int) -> Matrix:
    """Return the matrix that moves a column `level` times its distance from the left edge upwards."""
    return (1.0, 0.0, 0.0), (level, 1.0, level * width / 2)


def translation(right: int, down: int) -> Matrix:
    """Return the matrix that moves an image by whole pixels."""
    return (1.0, 0.0, -float(right)), (0.0, 1.0, -float(down))


class Sources:
    """Where pixels come from, for several movements of images of one size.

    Attributes:
        index: int64 [M, H * W], the pixel of the image that a pixel of the result takes.
        inside: uint8 [M, 1, H * W], 0 where the result is black and `index` says nothing.
    """

    def __init__(self, matrices: Sequence[Matrix], height: int, width: int, device: torch.device = CPU) -> None:
        """Take the pixel whose centre is nearest to where the matrix leads.

        The arithmetic is that of `torch.nn.functional.grid_sample`, mode nearest, so which of two equally near pixels
        is taken is the same too: the table is made by sampling an image that holds the numbers of its pixels. That is
        done on the CPU, for every device alike.
        """
        numbers = torch.arange(1, height * width + 1, dtype=torch.float32).view(1, 1, height, width)
        found = [F.grid_sample(numbers, _grid(one, height, width), "nearest", align_corners=False) for one in matrices]
        table = torch.cat(found).view(len(found), -1).round().long()
        self.index = to_device((table - 1).clamp_(min=0), device)
        self.inside = to_device((table > 0).to(torch.uint8)[:, None], device)

    def __call__(self, images: Tensor, rows: Tensor) -> Tensor:
        """Move each image.

        Args:
            images: [N, C, H, W] of any type.
            rows: int64 [N], the row of the table for each image.

        Returns:
            A tensor like `images`.
        """
        index, inside = self.index.index_select(0, rows), self.inside.index_select(0, rows)
        flat = images.flatten(2)
        moved = flat.gather(2, index[:, None].expand_as(flat))
        return moved.mul_(inside).view_as(images)


def crop_and_flip(
    images: Tensor, top: Tensor, left: Tensor, flip: Tensor, padding: int, mode: Literal["constant", "reflect"]
) -> Tensor:
    """Crop each padded image back to its size at an offset of its own, then flip it or not.

    A row of the result is a run of neighbours in a padded row, or in that of the mirrored image: one copy.

    Args:
        images: [N, C, H, W] of any type.
        top: int64 [N], 0 to 2 * padding, rows of the padded image above the crop.
        left: int64 [N], likewise columns.
        flip: int64 [N], 1 to mirror left and right, else 0.
        padding: pixels added on each side before the crop.
        mode: `constant` pads with 0; `reflect` mirrors the image without repeating its edge.
    """
    count, channels, height, width = images.shape
    tall, wide = height + 2 * padding, width + 2 * padding
    padded = images.new_zeros(2, count, channels, tall, wide)
    inner = padded[..., padding : padding + height, padding : padding + width]
    inner[0].copy_(images)
    inner[1].copy_(images.flip(-1))
    if mode == "reflect":
        _reflect_borders(padded, padding)
    left = left + flip * (2 * padding - 2 * left)  # of the mirrored image columns are counted from the other side
    image = (flip * count + torch.arange(count, device=images.device)) * channels
    plane = image[:, None] + torch.arange(channels, device=images.device)
    row = (plane * tall + top[:, None])[:, :, None] + torch.arange(height, device=images.device)
    start = (row * wide + left[:, None, None]).flatten()
    runs = padded.flatten().as_strided((padded.numel() - width + 1, width), (1, 1))
    return runs.index_select(0, start).view_as(images)


def _reflect_borders(padded: Tensor, padding: int) -> None:
    """Fill the borders of [..., H + 2 * padding, W + 2 * padding] with the image mirrored at its edges."""
    height, width = padded.shape[-2:]
    for out in range(padding):  # rows first, then whole columns
        mirrored = 2 * padding - out
        padded[..., out, :] = padded[..., mirrored, :]
        padded[..., height - 1 - out, :] = padded[..., height - 1 - mirrored, :]
    for out in range(padding):
        mirrored = 2 * padding - out
        padded[..., out] = padded[..., mirrored]
        padded[..., width - 1 - out] = padded[..., width - 1 - mirrored]


def _grid(matrix: Matrix, height: int, width: int) -> Tensor:
    """Return where each pixel of the result looks, float32 [1, H, W, 2], the image's edges at -1 and 1."""
    x = torch.linspace((1.0 - width) * 0.5, (width - 1.0) * 0.5, width)
    y = torch.linspace((1.0 - height) * 0.5, (height - 1.0) * 0.5, height)
    points = torch.stack([x.expand(height, -1), y[:, None].expand(-1, width), torch.ones(height, width)], -1)
    scaled = torch.tensor(matrix, dtype=torch.float32).T / torch.tensor([0.5 * width, 0.5 * height])
    return (points.view(1, -1, 3) @ scaled[None]).view(1, height, width, 2)
