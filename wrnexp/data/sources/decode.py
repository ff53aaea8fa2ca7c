"""Decode image files."""

from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from wrnexp.data.content import SIDE
from wrnexp.data.messages import reason
from wrnexp.errors import UserError

if TYPE_CHECKING:
    from PIL.Image import Image


def decode(file: Path | IO[bytes], where: str, *, resize: bool = False, side: int = SIDE) -> NDArray[np.uint8]:
    """Read one image as RGB, uint8 [side, side, 3]; grey is copied to all channels, alpha is dropped.

    Args:
        file: a path or an open file.
        where: its source, for error messages.
        resize: resize an image of another size (bilinear) instead of raising.
        side: height and width in pixels.

    Raises:
        UserError: the file cannot be read as an image, or has another size.
    """
    return decode_sized(file, where, resize=resize, side=side)[0]


def decode_sized(
    file: Path | IO[bytes], where: str, *, resize: bool, side: int
) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    """Read one image as `decode` does; also return its original width and height."""
    from PIL import Image

    try:
        with Image.open(file) as image:
            return np.asarray(_fit(_rgb(image, where), where, side, resize=resize)), image.size
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UserError(f"{where} cannot be read as an image ({reason(error)})") from error


def _rgb(image: "Image", where: str) -> "Image":
    if image.format == "EPS":  # regardless of the file name: Pillow would run it with Ghostscript
        raise UserError(f"{where} cannot be read as an image (it is PostScript, a program); save it as PNG")
    if image.mode.startswith(("I", "F")):  # Pillow would clip the values at 255 instead of scaling them
        raise UserError(f"{where} has more than 8 bits per channel; save it with 8")
    if image.mode == "P" and "transparency" in image.info:  # Pillow warns about direct conversion to RGB
        image = image.convert("RGBA")
    return image.convert("RGB")


def _fit(image: "Image", where: str, side: int, *, resize: bool) -> "Image":
    from PIL.Image import Resampling

    if image.size == (side, side):
        return image
    if not resize:
        width, height = image.size
        raise UserError(f"{where} is {width}x{height}, not {side}x{side}; data.resize=true resizes images")
    return image.resize((side, side), Resampling.BILINEAR)
