"""Image files to pixels."""

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
    """Read one image as RGB, uint8 [side, side, 3]; grey is spread over the channels, alpha is left out.

    Args:
        file: a path or an open file.
        where: what it is, for messages.
        resize: bring another size to that of the data set, bilinear; without it another size is an error.
        side: pixels a side.

    Raises:
        UserError: the file cannot be read as an image, or has another size.
    """
    return decode_sized(file, where, resize=resize, side=side)[0]


def decode_sized(
    file: Path | IO[bytes], where: str, *, resize: bool, side: int
) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    """Read one image as `decode` does; also return its own width and height.

    Raises:
        UserError: as for `decode`.
    """
    from PIL import Image

    try:
        with Image.open(file) as image:
            return np.asarray(_fit(_rgb(image, where), where, side, resize=resize)), image.size
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UserError(f"{where} cannot be read as an image ({reason(error)})") from error


def _rgb(image: "Image", where: str) -> "Image":
    if image.format == "EPS":  # whatever its name: Pillow would let Ghostscript run it
        raise UserError(f"{where} cannot be read as an image (it is PostScript, a program); save it as PNG")
    if image.mode.startswith(("I", "F")):  # Pillow would clip the values to 255, not scale them
        raise UserError(f"{where} has more than 8 bits a channel; save it with 8")
    if image.mode == "P" and "transparency" in image.info:  # Pillow warns of the direct way
        image = image.convert("RGBA")
    return image.convert("RGB")


def _fit(image: "Image", where: str, side: int, *, resize: bool) -> "Image":
    from PIL.Image import Resampling

    if image.size == (side, side):
        return image
    if not resize:
        width, height = image.size
        raise UserError(f"{where} is {width}x{height}, not {side}x{side}; data.resize=true brings images to that size")
    return image.resize((side, side), Resampling.BILINEAR)
