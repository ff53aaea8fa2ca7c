"""Operations that blend an image with a degenerate one (brightness, contrast, saturation, sharpness), and hue shift.

A factor f [N] gives f * image + (1 - f) * degenerate, clipped to the range; f above 1 exaggerates. Inputs are those of
`pointwise`. On uint8, brightness equals torchvision's exactly, the others within one level.
"""

import torch
from torch import Tensor

from wrnexp.augment.pointwise import float_levels, to_dtype_of, truncate

GREY = (0.2989, 0.587, 0.114)  # ITU-R BT.601 luma, as torchvision rounds it
TO_LEVELS = 255.999 / 255  # truncation then gives each level an equal share, as torchvision's conversion does


def brightness(images: Tensor, factor: Tensor) -> Tensor:
    """Blend with black."""
    levels = float_levels(images)
    return to_dtype_of(images, levels.mul_(_per_image(factor, levels)))


def contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Blend with the mean of the grey image."""
    levels = float_levels(images)
    return _blend(levels, _grey(levels, images).mean((2, 3), keepdim=True), factor, images)


def saturation(images: Tensor, factor: Tensor) -> Tensor:
    """Blend with the grey image."""
    levels = float_levels(images)
    return _blend(levels, _grey(levels, images), factor, images)


def sharpness(images: Tensor, factor: Tensor) -> Tensor:
    """Blend with the smoothed image (3x3 kernel, centre 5, others 1, over 13); border pixels stay unchanged."""
    levels = float_levels(images)
    inner = levels[:, :, 1:-1, 1:-1]
    rows = (levels[:, :, :-2] + levels[:, :, 1:-1]).add_(levels[:, :, 2:])
    smooth = (rows[..., :-2] + rows[..., 1:-1]).add_(rows[..., 2:])
    smooth.add_(inner, alpha=4).div_(13)
    if not images.is_floating_point():
        smooth.round_()
    inner.add_(smooth.sub_(inner).mul_(1 - _per_image(factor, levels)))
    return to_dtype_of(images, levels)


def hue(images: Tensor, turn: Tensor) -> Tensor:
    """Shift the hue by `turn` [N], a fraction of the full circle in [-0.5, 0.5].

    HSV to RGB with the hue H in sixths of the circle: red is low + chroma * q(H - 3), green is
    high - chroma * q(H - 2) and blue high - chroma * q(H - 4), where q(x) is |x| - 1 clipped to 0..1.
    """
    planes = float_levels(images.transpose(0, 1))  # [3, N, H, W]: the arithmetic below is on single channels
    red, green, blue = planes.unbind(0)
    high = torch.maximum(red, green)
    torch.maximum(high, blue, out=high)
    low = torch.minimum(red, green)
    torch.minimum(low, blue, out=low)
    chroma = high - low
    sixths = _sixths(red, green, blue, high, chroma).add_(6 * turn.view(-1, 1, 1))
    sixths.sub_((sixths / 6).floor_(), alpha=6)
    # q(x) = clip(|x|, 1, 2) - 1: the -1 is folded into the base (low - chroma, high + chroma).
    for channel, base, centre, sign in (
        (red, low.sub_(chroma), 3, 1),
        (green, high.add_(chroma), 2, -1),
        (blue, high, 4, -1),
    ):
        distance = (sixths - centre).abs_().clamp_(1, 2)
        torch.addcmul(base, chroma, distance, value=sign, out=channel)
    if not images.is_floating_point():
        planes = truncate(planes.mul_(TO_LEVELS))  # already within the range
    return planes.transpose(0, 1).contiguous()


def _sixths(red: Tensor, green: Tensor, blue: Tensor, high: Tensor, chroma: Tensor) -> Tensor:
    """Return the hue in sixths of the circle, in [-1, 5]; 0 for grey pixels.

    Assumes that blue is the highest channel, then corrects where it is green, then where it is red. Selection is a
    product with 0 or 1 in float: exact for whole levels, and faster than `where` on a CPU.
    """
    scaled = (red - green).add_(chroma, alpha=4)
    selected = torch.empty_like(high)
    scaled.addcmul_((blue - red).add_(chroma, alpha=2).sub_(scaled), torch.eq(green, high, out=selected))
    scaled.addcmul_((green - blue).sub_(scaled), torch.eq(red, high, out=selected))
    return scaled.div_(chroma.clamp(min=torch.finfo(chroma.dtype).tiny))


def _per_image(factor: Tensor, levels: Tensor) -> Tensor:
    return factor.view(-1, 1, 1, 1).to(levels.dtype)


def _grey(levels: Tensor, images: Tensor) -> Tensor:
    """Return the grey image [N, 1, H, W], floored to whole levels for uint8 images."""
    red, green, blue = levels.unbind(1)
    grey = (red * GREY[0]).add_(green, alpha=GREY[1]).add_(blue, alpha=GREY[2])[:, None]
    return grey if images.is_floating_point() else grey.floor_()


def _blend(levels: Tensor, degenerate: Tensor, factor: Tensor, images: Tensor) -> Tensor:
    weight = _per_image(factor, levels)
    return to_dtype_of(images, levels.mul_(weight).add_(degenerate.mul_(1 - weight)))
