"""The pictures of a run as they lie in its folder `media/`, for those who show them; `wrnexp.report.media` draws them.

`mistakes.png` has the plain test images at their own size, in rows of 8 from the top left on, white where the last row
has none; `mistakes.json` is {`tile`: pixels a side, `columns`: 8, `mistakes`: [the fields of a `Mistake`, ...]}.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wrnexp.runs.files import read_regular
from wrnexp.runs.strict_json import loads

FOLDER = "media"
AUGMENTED, MISTAKES, CONFUSION, RELIABILITY = "augmented", "mistakes", "confusion", "reliability"
CAPTIONS = {
    AUGMENTED: "The first training images of epoch 1 as the network sees them, augmented.",
    MISTAKES: "The worst mistakes on the test set, by the loss of the true class; the worst is at the top left.",
    CONFUSION: "Confusion of the test answers, rows normalised by true class or superclass.",
    RELIABILITY: "Accuracy of the test answers against the confidence they are given with.",
}


@dataclass(frozen=True)
class Picture:
    """A picture of a run: its name for sinks, for instance `media/confusion`, the PNG file, and a sentence on it."""

    name: str
    path: Path
    caption: str


def media_path(folder: Path, name: str) -> Path:
    """Return where the picture of this name lies in a run's folder."""
    return folder / FOLDER / f"{name}.png"


def pictures(folder: Path) -> list[Picture]:
    """Return the pictures that lie in a run's folder, always in the same order; a damaged one is passed over."""
    found = [Picture(f"{FOLDER}/{name}", media_path(folder, name), caption) for name, caption in CAPTIONS.items()]
    return [picture for picture in found if _readable(picture, folder)]


def _readable(picture: Picture, folder: Path) -> bool:
    try:
        if not picture.path.is_file():
            return False
        from PIL import Image

        if picture.path.stem == MISTAKES:
            read_mistakes(folder)
        with Image.open(picture.path, formats=["PNG"]) as image:
            image.verify()
    except Exception:  # Pillow raises many kinds for a damaged PNG, or cannot be imported: no sink shall fail for that
        return False
    return True


@dataclass(frozen=True)
class Mistake:
    """A test image that is answered wrong.

    Attributes:
        index: its row in predictions.npz, which is in canonical order.
        true: the name of its class.
        predicted: the name of the class answered.
        p_true: the probability given to its class, 0..1.
        p_predicted: the one given to the class answered.
        loss: -log p_true, in nats.
    """

    index: int
    true: str
    predicted: str
    p_true: float
    p_predicted: float
    loss: float


def read_mistakes(folder: Path) -> list[dict[str, Any]]:
    """Return the mistakes that lie in a run's `media/`, the worst first.

    Returns:
        The entries of `mistakes.json`, each with its `tile`, uint8 [S, S, 3].

    Raises:
        FileNotFoundError: there are none.
        ValueError: the two files do not go together, or are damaged.
    """
    from PIL import Image, UnidentifiedImageError

    words = media_path(folder, MISTAKES).with_suffix(".json")
    told = loads(read_regular(words))
    try:
        with Image.open(media_path(folder, MISTAKES), formats=["PNG"]) as sprite:
            sheet = np.asarray(sprite.convert("RGB"))
    except UnidentifiedImageError as error:
        raise ValueError(f"{media_path(folder, MISTAKES)} is not a picture") from error
    side, columns, mistakes = told["tile"], told["columns"], told["mistakes"]
    if sheet.shape[:2] != (-(-len(mistakes) // columns) * side, columns * side):
        raise ValueError(f"{words} tells of {len(mistakes)} images of {side} pixels, the sprite beside it has others")
    return [mistake | {"tile": _tile(sheet, at, side, columns)} for at, mistake in enumerate(mistakes)]


def _tile(sheet: NDArray[np.uint8], at: int, side: int, columns: int) -> NDArray[np.uint8]:
    top, left = at // columns * side, at % columns * side
    return sheet[top : top + side, left : left + side].copy()
