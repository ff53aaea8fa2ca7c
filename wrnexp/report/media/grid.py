"""A grid of augmented training images with their targets.

Drawn with Pillow, because importing matplotlib before the first step costs half a second and memory.
"""

import io
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from wrnexp.runs.record import Signature, write_atomic

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont, ImageFont

    Font = FreeTypeFont | ImageFont

COLUMNS, TILES = 8, 64
TILE = 128  # pixels: images are enlarged by a whole factor up to this width
GAP, MARGIN, LINE, HEADING = 10, 16, 16, 20
TEXT_SIZE = 13
MIN_SHARE = 0.005  # smaller shares of a mixed target are not named
INK, GREY = "#222222", "#777777"


def draw_grid(
    path: Path, images: NDArray[np.floating], targets: NDArray[Any], signature: Signature, title: str
) -> None:
    """Draw images in rows of 8 below the title and write them as PNG, atomically.

    Args:
        images: float [N, 3, S, S], normalized by the signature's mean and standard deviation; N >= 1.
        targets: class indices [N], or class probabilities [N, classes], of which the two largest are named.
    """
    from PIL import Image, ImageDraw

    tiles = pixels(images, signature.mean, signature.std)
    tile_captions = [captions(target, signature.classes) for target in targets]
    side = tiles.shape[1] * max(1, TILE // tiles.shape[1])
    across, down = side + GAP, side + GAP + LINE * max(map(len, tile_captions))
    rows, columns = -(-len(tiles) // COLUMNS), min(COLUMNS, len(tiles))
    size = (2 * MARGIN - GAP + columns * across, 2 * MARGIN + HEADING + rows * down - GAP)
    sheet = Image.new("RGB", size, "white")
    pen, font = ImageDraw.Draw(sheet), _font()
    pen.text((MARGIN, MARGIN - 6), _shortened(title, font, size[0] - 2 * MARGIN), fill=INK, font=font)
    for index, (tile, lines) in enumerate(zip(tiles, tile_captions, strict=True)):
        x, y = MARGIN + index % COLUMNS * across, MARGIN + HEADING + index // COLUMNS * down
        sheet.paste(Image.fromarray(tile).resize((side, side), Image.Resampling.NEAREST), (x, y))
        for row, line in enumerate(lines):
            position = (x, y + side + 2 + row * LINE)
            pen.text(position, _shortened(line, font, side), fill=GREY if row else INK, font=font)
    png = io.BytesIO()
    sheet.save(png, "PNG")
    write_atomic(path, png.getvalue())


def pixels(images: NDArray[np.floating], mean: Sequence[float], std: Sequence[float]) -> NDArray[np.uint8]:
    """Undo the normalization of images [N, 3, H, W]; return uint8 [N, H, W, 3], clipped to 0..255."""
    levels = images.transpose(0, 2, 3, 1).astype(np.float64) * np.asarray(std) + np.asarray(mean)
    rounded: NDArray[np.uint8] = np.rint(255 * levels).clip(0, 255).astype(np.uint8)
    return rounded


def captions(target: NDArray[Any], names: Sequence[str]) -> list[str]:
    """Return the lines below a tile: the class, or the one or two largest shares of a mixed target."""
    if target.ndim == 0:
        return [_spaced(names[int(target)])]
    largest = [int(index) for index in np.argsort(-target, kind="stable")[:2] if target[index] >= MIN_SHARE]
    if len(largest) == 1:
        return [_spaced(names[largest[0]])]
    return [f"{target[index]:.0%} {_spaced(names[index])}" for index in largest]


def _spaced(name: str) -> str:
    return name.replace("_", " ")


def _font() -> "Font":
    """Return matplotlib's font, as in the other pictures, or Pillow's if matplotlib is not installed."""
    from PIL import ImageFont

    package = Path(getattr(find_spec("matplotlib"), "origin", None) or "")  # does not import matplotlib
    try:
        return ImageFont.truetype(package.parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf", TEXT_SIZE)
    except OSError:
        return ImageFont.load_default(TEXT_SIZE)


def _shortened(text: str, font: "Font", width: int) -> str:
    """Truncate a text to `width` pixels, with an ellipsis."""
    shortened = text
    while shortened and font.getlength(shortened) > width:
        text = text[:-1]
        shortened = text.rstrip() + "\N{HORIZONTAL ELLIPSIS}"
    return shortened
