"""The worst mistakes on the test set: a sprite of the images, and what was answered.

`mistakes.png` has the plain images at their own size, in rows of 8 from the top left on, white where the last row has
none; `mistakes.json` is {`tile`: pixels a side, `columns`: 8, `mistakes`: [the fields of a `Mistake`, ...]}.
"""

import io
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wrnexp import metrics
from wrnexp.records import write_atomic, write_json
from wrnexp.report.media.folder import MISTAKES, place

COLUMNS, MOST = 8, 64

Gather = Callable[[NDArray[np.int64]], NDArray[np.uint8]]  # positions to images [B, S, S, 3]


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


def worst(
    logits: NDArray[np.floating], labels: NDArray[np.int64], names: Sequence[str], most: int = MOST
) -> list[Mistake]:
    """Return the wrong answers with the largest loss of the true class, the worst first.

    Args:
        logits: [N, classes].
        labels: class indices [N].
        names: of the classes.
        most: how many at most.
    """
    logged = metrics.log_softmax(logits)
    answered = logits.argmax(1)
    loss = -logged[np.arange(len(labels)), labels]
    wrong = np.flatnonzero(answered != labels)
    chosen = wrong[np.argsort(-loss[wrong], kind="stable")][:most]
    return [
        Mistake(
            index=int(at),
            true=names[labels[at]],
            predicted=names[answered[at]],
            p_true=float(np.exp(-loss[at])),
            p_predicted=float(np.exp(logged[at, answered[at]])),
            loss=float(loss[at]),
        )
        for at in chosen
    ]


def draw_mistakes(folder: Path, found: Sequence[Mistake], gather: Gather) -> None:
    """Write `mistakes.png` and `mistakes.json` into a run's `media/`, each atomically; earlier ones go where none are.

    Args:
        folder: of the run.
        found: the mistakes, the worst first.
        gather: returns the test images at such positions.
    """
    sprite, words = place(folder, MISTAKES), place(folder, MISTAKES).with_suffix(".json")
    if not found:
        sprite.unlink(missing_ok=True)
        words.unlink(missing_ok=True)
        return
    tiles = gather(np.array([mistake.index for mistake in found]))
    write_atomic(sprite, _packed(_sheet(tiles)))
    told = {"tile": tiles.shape[1], "columns": COLUMNS, "mistakes": [asdict(mistake) for mistake in found]}
    write_json(words, told)


def read_mistakes(folder: Path) -> list[dict[str, Any]]:
    """Return the mistakes that lie in a run's `media/`, the worst first.

    Returns:
        The entries of `mistakes.json`, each with its `tile`, uint8 [S, S, 3].

    Raises:
        FileNotFoundError: there are none.
        ValueError: the two files do not go together, or are damaged.
    """
    from PIL import Image, UnidentifiedImageError

    words = place(folder, MISTAKES).with_suffix(".json")
    told = json.loads(words.read_text())
    try:
        with Image.open(place(folder, MISTAKES)) as sprite:
            sheet = np.asarray(sprite.convert("RGB"))
    except UnidentifiedImageError as error:
        raise ValueError(f"{place(folder, MISTAKES)} is not a picture") from error
    side, columns, mistakes = told["tile"], told["columns"], told["mistakes"]
    if sheet.shape[:2] != (-(-len(mistakes) // columns) * side, columns * side):
        raise ValueError(f"{words} tells of {len(mistakes)} images of {side} pixels, the sprite beside it has others")
    return [mistake | {"tile": _tile(sheet, at, side, columns)} for at, mistake in enumerate(mistakes)]


def _sheet(tiles: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return images [N, S, S, 3] side by side in rows of 8, uint8 [rows * S, 8 * S, 3]."""
    side, rows = tiles.shape[1], -(-len(tiles) // COLUMNS)
    filled = np.full((rows * COLUMNS, side, side, 3), 255, np.uint8)
    filled[: len(tiles)] = tiles
    return filled.reshape(rows, COLUMNS, side, side, 3).swapaxes(1, 2).reshape(rows * side, COLUMNS * side, 3)


def _tile(sheet: NDArray[np.uint8], at: int, side: int, columns: int) -> NDArray[np.uint8]:
    top, left = at // columns * side, at % columns * side
    return sheet[top : top + side, left : left + side].copy()


def _packed(pixels: NDArray[np.uint8]) -> bytes:
    from PIL import Image

    packed = io.BytesIO()
    Image.fromarray(pixels).save(packed, "PNG", optimize=True)
    return packed.getvalue()
