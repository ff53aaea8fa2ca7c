"""A grid of training images as the network sees them, with their classes below.

Drawn by Pillow: matplotlib would take half a second and its memory before the first step.
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
TILE = 128  # pixels a side that images are enlarged to, by whole factors
GAP, MARGIN, LINE, HEADING = 10, 16, 16, 20
TEXT_SIZE = 13
LEAST = 0.005  # share of a mixed target that is told of
INK, GREY = "#222222", "#777777"


def draw_grid(
    path: Path, images: NDArray[np.floating], targets: NDArray[Any], signature: Signature, title: str
) -> None:
    """Draw images in rows of 8 and write them as PNG, atomically.

    Args:
        path: the file to write.
        images: float [N, 3, S, S], normalised by the signature's mean and deviation; N at least 1.
        targets: class indices [N], or class probabilities [N, classes], of which the two largest are named.
        signature: the classes' names, mean and deviation.
        title: what stands above the grid.
    """
    from PIL import Image, ImageDraw

    tiles = pixels(images, signature.mean, signature.std)
    said = [captions(target, signature.classes) for target in targets]
    side = tiles.shape[1] * max(1, TILE // tiles.shape[1])
    across, down = side + GAP, side + GAP + LINE * max(map(len, said))
    rows, columns = -(-len(tiles) // COLUMNS), min(COLUMNS, len(tiles))
    size = (2 * MARGIN - GAP + columns * across, 2 * MARGIN + HEADING + rows * down - GAP)
    sheet = Image.new("RGB", size, "white")
    pen, font = ImageDraw.Draw(sheet), _font()
    pen.text((MARGIN, MARGIN - 6), _shortened(title, font, size[0] - 2 * MARGIN), fill=INK, font=font)
    for index, (tile, text) in enumerate(zip(tiles, said, strict=True)):
        left, top = MARGIN + index % COLUMNS * across, MARGIN + HEADING + index // COLUMNS * down
        sheet.paste(Image.fromarray(tile).resize((side, side), Image.Resampling.NEAREST), (left, top))
        for row, line in enumerate(text):
            place = (left, top + side + 2 + row * LINE)
            pen.text(place, _shortened(line, font, side), fill=GREY if row else INK, font=font)
    packed = io.BytesIO()
    sheet.save(packed, "PNG")
    write_atomic(path, packed.getvalue())


def pixels(images: NDArray[np.floating], mean: Sequence[float], std: Sequence[float]) -> NDArray[np.uint8]:
    """Return normalised images [N, 3, H, W] as bytes [N, H, W, 3]; what lies outside of 0..255 is cut off."""
    levels = images.transpose(0, 2, 3, 1).astype(np.float64) * np.asarray(std) + np.asarray(mean)
    whole: NDArray[np.uint8] = np.rint(255 * levels).clip(0, 255).astype(np.uint8)
    return whole


def captions(target: NDArray[Any], names: Sequence[str]) -> list[str]:
    """Return the lines below a tile: the class, or the one or two largest shares of a mixed target."""
    if target.ndim == 0:
        return [_spaced(names[int(target)])]
    largest = np.argsort(-target, kind="stable")[:2]
    told = [int(index) for index in largest if target[index] >= LEAST]
    return [_spaced(names[told[0]])] if len(told) == 1 else [f"{target[at]:.0%} {_spaced(names[at])}" for at in told]


def _spaced(name: str) -> str:
    return name.replace("_", " ")


def _font() -> "Font":
    """Return the font of the other pictures, which lies in matplotlib's folder; Pillow's own where it does not."""
    from PIL import ImageFont

    package = Path(getattr(find_spec("matplotlib"), "origin", None) or "")  # imports nothing
    try:
        return ImageFont.truetype(package.parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf", TEXT_SIZE)
    except OSError:
        return ImageFont.load_default(TEXT_SIZE)


def _shortened(text: str, font: "Font", width: int) -> str:
    """Return a text that is at most `width` pixels wide: its head and an ellipsis where it is longer."""
    kept = text
    while kept and font.getlength(kept) > width:
        text = text[:-1]
        kept = text.rstrip() + "\N{HORIZONTAL ELLIPSIS}"
    return kept
