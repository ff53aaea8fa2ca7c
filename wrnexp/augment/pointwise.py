"""Operations on the levels of each channel: posterize, solarize, invert, autocontrast, equalize.

They take images [N, 3, H, W], uint8 or float in 0..1, on any device, with one strength per image, and return new ones;
the operations without a strength ignore it. On uint8 they equal torchvision's functional operations exactly. None
synchronizes with the device. Selections are written as arithmetic where possible: on a CPU, torch is slow at comparing
bytes and at `where`.
"""

import torch
from torch import Tensor

LEVELS = 256


def invert(images: Tensor, strength: Tensor | None = None) -> Tensor:
    """Return the negative."""
    return max_level(images) - images


def posterize(images: Tensor, bits: Tensor) -> Tensor:
    """Keep the `bits` highest bits of each level; `bits` [N] holds whole numbers from 0 to 8."""
    whole = bits.to(torch.int32).view(-1, 1, 1, 1)
    if images.is_floating_point():
        levels = (1 << whole).to(images.dtype)
        return torch.minimum((images * levels).floor_(), levels - 1).div_(levels)
    mask = ((LEVELS - 1) << (8 - whole)) & (LEVELS - 1)
    return images & mask.to(torch.uint8)


def solarize(images: Tensor, threshold: Tensor) -> Tensor:
    """Invert the levels at or above a threshold; `threshold` [N] is a fraction of the highest level, in 0..1."""
    threshold = threshold.view(-1, 1, 1, 1)
    if images.is_floating_point():
        return torch.where(images >= threshold, 1 - images, images)
    limit = (threshold * (LEVELS - 1)).ceil().to(torch.uint8)
    above = torch.maximum(images, limit).eq_(images)  # 0 or 1 as uint8: Inductor of torch 2.11 cannot bitcast a bool
    return above.neg_().bitwise_xor_(images)  # x ^ 255 is 255 - x


def autocontrast(images: Tensor, strength: Tensor | None = None) -> Tensor:
    """Stretch each channel to the full range; a channel of one level stays unchanged."""
    levels = float_levels(images)
    low, high = levels.amin((2, 3), keepdim=True), levels.amax((2, 3), keepdim=True)
    flat = (low == high).to(levels.dtype)
    scale = (high - low).mul_(1.0 / max_level(images))
    return to_dtype_of(images, levels.sub_(low * (1 - flat)).div_(scale + flat))


def equalize(images: Tensor, strength: Tensor | None = None) -> Tensor:
    """Equalize the histogram of each channel; float images are quantized to 256 levels first."""
    if images.is_floating_point():
        return equalize((images * (LEVELS - 0.001)).to(torch.uint8)).to(images.dtype).div_(LEVELS - 1)
    channels = images.flatten(0, 1).flatten(1)
    start = torch.arange(len(channels), dtype=torch.int32, device=images.device)[:, None] * LEVELS
    bins = (channels.to(torch.int32) + start).flatten()  # one histogram per channel, all in one vector
    counts = torch.zeros(len(channels) * LEVELS, dtype=torch.int32, device=images.device)
    counts.index_add_(0, bins, torch.ones((), dtype=torch.int32, device=images.device).expand(len(bins)))
    table = _equalized_levels(counts.view(-1, LEVELS)).to(torch.uint8)
    return table.flatten().index_select(0, bins).view_as(images)


def _equalized_levels(counts: Tensor) -> Tensor:
    """Return the new level of each level, float32 [M, 256], from histograms, int32 [M, 256].

    The new level is the number of pixels below the old one, divided by a step and rounded to nearest. The step is 1/255
    of all pixels except those of the highest level that occurs. If it is below one pixel the channel stays unchanged.
    """
    upto = counts.cumsum(1, dtype=torch.int32)
    below_highest = torch.where(upto < upto[:, -1:], upto, 0).amax(1, keepdim=True)
    step = torch.div(below_highest, LEVELS - 1, rounding_mode="floor")
    # The floor of a quotient of small integers is exact in float32, and ten times as fast. The 0.5 keeps quotients away
    # from integers: a division compiled for a GPU is off by up to two units in the last place.
    equalized = (upto - counts + step // 2 + 0.5).div_(step.clamp(min=1)).floor_().clamp_(0, LEVELS - 1)
    unchanged = torch.arange(LEVELS, dtype=torch.float32, device=counts.device)
    return torch.where(step > 0, equalized, unchanged)


def max_level(images: Tensor) -> int:
    """Return the highest level: 255 for uint8, 1 for float images."""
    return 1 if images.is_floating_point() else LEVELS - 1


def float_levels(images: Tensor) -> Tensor:
    """Return a contiguous float copy with the same range: 0..255 from uint8, 0..1 from float."""
    dtype = images.dtype if images.is_floating_point() else torch.float32
    return torch.empty(images.shape, dtype=dtype, device=images.device).copy_(images)


def to_dtype_of(images: Tensor, levels: Tensor) -> Tensor:
    """Clamp float levels to the range of `images` and convert them to its dtype; overwrites `levels`."""
    levels = levels.clamp_(0, max_level(images))
    return levels if images.is_floating_point() else truncate(levels)


def truncate(levels: Tensor) -> Tensor:
    """Truncate float levels in [0, 256) to uint8."""
    return levels.to(torch.int16).to(torch.uint8)  # the direct cast takes five times as long on a CPU
