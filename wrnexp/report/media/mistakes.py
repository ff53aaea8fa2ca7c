"""The worst mistakes on the test set: a sprite of the images, and what was answered.

`wrnexp.runs.media` says how they are kept, and reads them.
"""

import io
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wrnexp.runs.media import MISTAKES, Mistake, media_path
from wrnexp.runs.record import write_atomic, write_json
from wrnexp.stats import metrics

COLUMNS, MOST = 8, 64

Gather = Callable[[NDArray[np.int64]], NDArray[np.uint8]]  # positions to images [B, S, S, 3]


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
    sprite, words = media_path(folder, MISTAKES), media_path(folder, MISTAKES).with_suffix(".json")
    if not found:
        sprite.unlink(missing_ok=True)
        words.unlink(missing_ok=True)
        return
    tiles = gather(np.array([mistake.index for mistake in found]))
    told = {"tile": tiles.shape[1], "columns": COLUMNS, "mistakes": [asdict(mistake) for mistake in found]}
    write_json(words, told)
    write_atomic(sprite, _packed(_sheet(tiles)))


def _sheet(tiles: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return images [N, S, S, 3] side by side in rows of 8, uint8 [rows * S, 8 * S, 3]."""
    side, rows = tiles.shape[1], -(-len(tiles) // COLUMNS)
    filled = np.full((rows * COLUMNS, side, side, 3), 255, np.uint8)
    filled[: len(tiles)] = tiles
    return filled.reshape(rows, COLUMNS, side, side, 3).swapaxes(1, 2).reshape(rows * side, COLUMNS * side, 3)


def _packed(pixels: NDArray[np.uint8]) -> bytes:
    from PIL import Image

    packed = io.BytesIO()
    Image.fromarray(pixels).save(packed, "PNG", optimize=True)
    return packed.getvalue()
