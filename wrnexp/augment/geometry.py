"""Operations that move pixels: rotation, shear, translation, crop and flip.

Every output pixel copies one input pixel (nearest neighbour) or is black. A `SourceTable` holds the source index of
each output pixel for several transforms, so transforms of any strength are one gather over a whole batch.
"""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from wrnexp.tensors import to_device

# Rows (a, b, c), (d, e, f) of the inverse affine matrix: output pixel (x, y), relative to the image's centre with y
# downwards, comes from (a x + b y + c, d x + e y + f).
Matrix = tuple[tuple[float, float, float], tuple[float, float, float]]

CPU = torch.device("cpu")


def matrix(operation: str, strength: float, height: int, width: int) -> Matrix:
    """Return the matrix of a shear, a translation by whole pixels, or a counterclockwise rotation in degrees.

    Shears keep the top or left edge and shift by `strength` times the distance from it, to the left or upwards.
    """
    match operation:
        case "shear_x":
            return (1.0, strength, strength * height / 2), (0.0, 1.0, 0.0)
        case "shear_y":
            return (1.0, 0.0, 0.0), (strength, 1.0, strength * width / 2)
        case "translate_x":
            return (1.0, 0.0, -strength), (0.0, 1.0, 0.0)
        case "translate_y":
            return (1.0, 0.0, 0.0), (0.0, 1.0, -strength)
        case _:
            cos, sin = math.cos(math.radians(strength)), math.sin(math.radians(strength))
            return (cos, -sin, 0.0), (sin, cos, 0.0)


class SourceTable:
    """The source of every output pixel, for M transforms of images of one size.

    Attributes:
        index: int64 [M, H * W], the input pixel that each output pixel copies.
        inside: uint8 [M, 1, H * W], 0 if the output pixel is black; its `index` is then meaningless.
    """

    def __init__(self, matrices: Sequence[Matrix], height: int, width: int, device: torch.device = CPU) -> None:
        # Sample an image of pixel numbers with `grid_sample`, as torchvision does, so that ties between two equally
        # near pixels are broken the same way. Always on the CPU: the table is then the same for every device.
        numbers = torch.arange(1, height * width + 1, dtype=torch.float32).view(1, 1, height, width)
        grids = [_grid(matrix, height, width) for matrix in matrices]
        sampled = [F.grid_sample(numbers, grid, "nearest", align_corners=False) for grid in grids]
        table = torch.cat(sampled).view(len(sampled), -1).round().long()
        self.index = to_device((table - 1).clamp_(min=0), device)
        self.inside = to_device((table > 0).to(torch.uint8)[:, None], device)

    def __call__(self, images: Tensor, rows: Tensor) -> Tensor:
        """Transform images [N, C, H, W] of any dtype, each by the table's row given in `rows`, int64 [N]."""
        index, inside = self.index.index_select(0, rows), self.inside.index_select(0, rows)
        flat = images.flatten(2)
        moved = flat.gather(2, index[:, None].expand_as(flat))
        return moved.mul_(inside).view_as(images)


def crop_and_flip(
    images: Tensor, y: Tensor, x: Tensor, flip: Tensor, padding: int, mode: Literal["constant", "reflect"]
) -> Tensor:
    """Crop each padded image back to its size at its own offset, then flip it horizontally if `flip` is 1.

    An output row is a contiguous part of a row of the padded image or of its mirror image, so it is one copy.

    Args:
        images: [N, C, H, W] of any dtype.
        y: int64 [N], 0 to 2 * padding, first row of the crop in the padded image.
        x: int64 [N], 0 to 2 * padding, first column of the crop in the padded image.
        flip: int64 [N], 0 or 1.
        padding: pixels added on each side before the crop.
        mode: `constant` pads with 0; `reflect` mirrors the image without repeating its edge.
    """
    count, channels, height, width = images.shape
    tall, wide = height + 2 * padding, width + 2 * padding
    padded = images.new_zeros(2, count, channels, tall, wide)
    inner = padded[..., padding : padding + height, padding : padding + width]
    inner[0].copy_(images)
    inner[1].copy_(images.flip(-1))
    if mode == "reflect" and padding:
        _reflect_borders(padded, padding)
    column = x + flip * (2 * padding - 2 * x)  # the mirror image counts columns from the other side
    image = (flip * count + torch.arange(count, device=images.device)) * channels
    plane = image[:, None] + torch.arange(channels, device=images.device)
    row = (plane * tall + y[:, None])[:, :, None] + torch.arange(height, device=images.device)
    start = (row * wide + column[:, None, None]).flatten()
    # A view of all windows of `width` elements: selecting rows of it copies contiguous memory.
    windows = padded.flatten().as_strided((padded.numel() - width + 1, width), (1, 1))
    return windows.index_select(0, start).view_as(images)


def _reflect_borders(padded: Tensor, padding: int) -> None:
    """Fill the borders of [..., H + 2 * padding, W + 2 * padding] with the image mirrored at its edges; padding > 0."""
    low, high = slice(padding + 1, 2 * padding + 1), slice(-2 * padding - 1, -padding - 1)
    padded[..., :padding, :] = padded[..., low, :].flip(-2)
    padded[..., -padding:, :] = padded[..., high, :].flip(-2)
    # Whole columns after the rows, which fills the corners.
    padded[..., :padding] = padded[..., low].flip(-1)
    padded[..., -padding:] = padded[..., high].flip(-1)


def _grid(matrix: Matrix, height: int, width: int) -> Tensor:
    """Return the source coordinates of each output pixel, float32 [1, H, W, 2]; the image's edges are at -1 and 1.

    The order of operations is torchvision's, so that coordinates round to the same pixels.
    """
    x = torch.linspace((1.0 - width) * 0.5, (width - 1.0) * 0.5, width)
    y = torch.linspace((1.0 - height) * 0.5, (height - 1.0) * 0.5, height)
    points = torch.stack([x.expand(height, -1), y[:, None].expand(-1, width), torch.ones(height, width)], -1)
    scaled = torch.tensor(matrix, dtype=torch.float32).T / torch.tensor([0.5 * width, 0.5 * height])
    return (points.view(1, -1, 3) @ scaled[None]).view(1, height, width, 2)
