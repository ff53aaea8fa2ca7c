"""Operations that mix an image with a plainer one (brightness, contrast, colour, sharpness), and the turn of its hue.

A factor f [N] gives f * image + (1 - f) * plain, cut to the range: 0 is the plain image, 1 the image, above 1
exaggerates. Inputs and promises as in `points`: on uint8 brightness equals torchvision's exactly, the others within one
level.
"""

import torch
from torch import Tensor

from wrnexp.augment.pointwise import as_levels, cut, levels_of

GREY = (0.2989, 0.587, 0.114)  # ITU-R BT.601 luma, as torchvision rounds it
TO_LEVELS = 255.999 / 255  # so that cutting to whole levels gives each an equal share, as torchvision's conversion does


def brightness(images: Tensor, factor: Tensor) -> Tensor:
    """Mix with black."""
    levels = levels_of(images)
    return as_levels(levels.mul_(_each(factor, levels)), images)


def contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Mix with the mean of the grey image."""
    levels = levels_of(images)
    return _mixed(levels, _grey(levels, images).mean((2, 3), keepdim=True), factor, images)


def saturation(images: Tensor, factor: Tensor) -> Tensor:
    """Mix with the grey image."""
    levels = levels_of(images)
    return _mixed(levels, _grey(levels, images), factor, images)


def sharpness(images: Tensor, factor: Tensor) -> Tensor:
    """Mix with the smoothed image (3x3, weight 5 in the middle, 1 around it); the border stays as it is."""
    levels = levels_of(images)
    inner = levels[:, :, 1:-1, 1:-1]
    rows = (levels[:, :, :-2] + levels[:, :, 1:-1]).add_(levels[:, :, 2:])
    smooth = (rows[..., :-2] + rows[..., 1:-1]).add_(rows[..., 2:])
    smooth.add_(inner, alpha=4).div_(13)
    if not images.is_floating_point():
        smooth.round_()
    inner.add_(smooth.sub_(inner).mul_(1 - _each(factor, levels)))
    return as_levels(levels, images)


def hue(images: Tensor, turn: Tensor) -> Tensor:
    """Turn the hue; `turn` [N] is a share of the full circle, in [-0.5, 0.5].

    In the HSV model, with the hue H in sixths of the circle, red is low + chroma * q(H - 3), green is
    high - chroma * q(H - 2) and blue high - chroma * q(H - 4), where q(x) is |x| - 1 cut to 0..1.
    """
    planes = levels_of(images.transpose(0, 1))  # [3, N, H, W]: what follows is all on single channels
    red, green, blue = planes.unbind(0)
    high = torch.maximum(red, green)
    torch.maximum(high, blue, out=high)
    low = torch.minimum(red, green)
    torch.minimum(low, blue, out=low)
    chroma = high - low
    sixths = _sixths(red, green, blue, high, chroma).add_(6 * turn.view(-1, 1, 1))
    sixths.sub_((sixths / 6).floor_(), alpha=6)
    # q(x) is |x| cut to 1..2, less 1: the 1 goes into what is added to or taken from.
    for channel, base, centre, sign in (
        (red, low.sub_(chroma), 3, 1),
        (green, high.add_(chroma), 2, -1),
        (blue, high, 4, -1),
    ):
        distance = (sixths - centre).abs_().clamp_(1, 2)
        torch.addcmul(base, chroma, distance, value=sign, out=channel)
    if not images.is_floating_point():
        planes = cut(planes.mul_(TO_LEVELS))  # between low and high as it is
    return planes.transpose(0, 1).contiguous()


def _sixths(red: Tensor, green: Tensor, blue: Tensor, high: Tensor, chroma: Tensor) -> Tensor:
    """Return the hue in sixths of the circle, in [-1, 5]; 0 where there is none.

    Written for blue as the highest channel, then put right where it is green, then where it is red. Choices are
    products with 0 or 1 in float, which are exact for whole levels and fast on a CPU.
    """
    scaled = (red - green).add_(chroma, alpha=4)
    chosen = torch.empty_like(high)
    scaled.addcmul_((blue - red).add_(chroma, alpha=2).sub_(scaled), torch.eq(green, high, out=chosen))
    scaled.addcmul_((green - blue).sub_(scaled), torch.eq(red, high, out=chosen))
    return scaled.div_(chroma.clamp(min=torch.finfo(chroma.dtype).tiny))


def _each(factor: Tensor, levels: Tensor) -> Tensor:
    return factor.view(-1, 1, 1, 1).to(levels.dtype)


def _grey(levels: Tensor, images: Tensor) -> Tensor:
    """Return the grey image [N, 1, H, W], in whole levels where the image's are."""
    red, green, blue = levels.unbind(1)
    grey = (red * GREY[0]).add_(green, alpha=GREY[1]).add_(blue, alpha=GREY[2])[:, None]
    return grey if images.is_floating_point() else grey.floor_()


def _mixed(levels: Tensor, plain: Tensor, factor: Tensor, images: Tensor) -> Tensor:
    share = _each(factor, levels)
    return as_levels(levels.mul_(share).add_(plain.mul_(1 - share)), images)
