"""Operations on the levels of each channel: posterize, solarize, invert, autocontrast, equalize.

Like all operations here they take images [N, 3, H, W], uint8 or float in 0..1, of any device, each with a strength of
its own, and return new ones. On uint8 they equal torchvision's functional operations exactly. They read nothing
back from the device. On a CPU comparisons of bytes and choices by them are slow in torch and arithmetic is fast, which
is why there is so much of the latter.
"""

import torch
from torch import Tensor

LEVELS = 256


def invert(images: Tensor) -> Tensor:
    """Return the negative."""
    return bound(images) - images


def posterize(images: Tensor, bits: Tensor) -> Tensor:
    """Keep the `bits` highest bits of each level; `bits` [N] holds whole numbers from 0 to 8."""
    whole = bits.to(torch.int32).view(-1, 1, 1, 1)
    if images.is_floating_point():
        levels = (1 << whole).to(images.dtype)
        return torch.minimum((images * levels).floor_(), levels - 1).div_(levels)
    kept = ((LEVELS - 1) << (8 - whole)) & (LEVELS - 1)
    return images & kept.to(torch.uint8)


def solarize(images: Tensor, threshold: Tensor) -> Tensor:
    """Invert the levels at or above a threshold; `threshold` [N] is a share of the highest level, in 0..1."""
    threshold = threshold.view(-1, 1, 1, 1)
    if images.is_floating_point():
        return torch.where(images >= threshold, 1 - images, images)
    limit = (threshold * (LEVELS - 1)).ceil().to(torch.uint8)
    above = torch.maximum(images, limit).eq_(images)  # 1 or 0, as bytes: Inductor of torch 2.11 casts no bits of a bool
    return above.neg_().bitwise_xor_(images)  # x ^ 255 is 255 - x


def autocontrast(images: Tensor) -> Tensor:
    """Stretch each channel to the whole range; a channel of one level stays as it is."""
    levels = levels_of(images)
    low, high = levels.amin((2, 3), keepdim=True), levels.amax((2, 3), keepdim=True)
    flat = (low == high).to(levels.dtype)
    scale = (high - low).mul_(1.0 / bound(images))
    return as_levels(levels.sub_(low * (1 - flat)).div_(scale + flat), images)


def equalize(images: Tensor) -> Tensor:
    """Give the levels of each channel equal shares of its pixels, as far as whole levels allow.

    Float images are brought to 256 levels first.
    """
    if images.is_floating_point():
        return equalize((images * (LEVELS - 0.001)).to(torch.uint8)).to(images.dtype).div_(LEVELS - 1)
    channels = images.flatten(0, 1).flatten(1)
    start = torch.arange(len(channels), dtype=torch.int32, device=images.device)[:, None] * LEVELS
    place = (channels.to(torch.int32) + start).flatten()
    counts = torch.zeros(len(channels) * LEVELS, dtype=torch.int32, device=images.device)
    counts.index_add_(0, place, torch.ones((), dtype=torch.int32, device=images.device).expand(len(place)))
    table = _equal_shares(counts.view(-1, LEVELS)).to(torch.uint8)
    return table.flatten().index_select(0, place).view_as(images)


def _equal_shares(counts: Tensor) -> Tensor:
    """Return the new level of each level, float32 [M, 256], from the pixels of each level, int32 [M, 256].

    A level's new place is the number of pixels below it, in steps of a 255th of all pixels but those of the highest
    level that occurs; rounded to nearest. A channel where such a step is below one pixel stays as it is.
    """
    upto = counts.cumsum(1, dtype=torch.int32)
    lower = torch.where(upto < upto[:, -1:], upto, 0).amax(1, keepdim=True)  # all pixels but those of the highest level
    step = torch.div(lower, LEVELS - 1, rounding_mode="floor")
    # Quotients of small whole numbers: in float32 their floor is exact, and ten times as fast. The half keeps them from
    # whole numbers, for compiled for a GPU a division is off by up to two units in the last place.
    shifted = (upto - counts + step // 2 + 0.5).div_(step.clamp(min=1)).floor_().clamp_(0, LEVELS - 1)
    same = torch.arange(LEVELS, dtype=torch.float32, device=counts.device)
    return torch.where(step > 0, shifted, same)


def bound(images: Tensor) -> int:
    """Return the highest level: 255 of uint8, 1 of float images."""
    return 1 if images.is_floating_point() else LEVELS - 1


def levels_of(images: Tensor) -> Tensor:
    """Return a float copy, contiguous."""
    kind = images.dtype if images.is_floating_point() else torch.float32
    return torch.empty(images.shape, dtype=kind, device=images.device).copy_(images)


def as_levels(values: Tensor, like: Tensor) -> Tensor:
    """Clamp float values to the range of the images `like` and cut them to its type; `values` is used up."""
    values = values.clamp_(0, bound(like))
    return values if like.is_floating_point() else cut(values)


def cut(values: Tensor) -> Tensor:
    """Return float values from 0 to below 256 as uint8, what follows the point cut off."""
    return values.to(torch.int16).to(torch.uint8)  # the direct cast takes five times as long on a CPU
