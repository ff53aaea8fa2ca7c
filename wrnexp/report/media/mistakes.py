"""The worst mistakes on the test set: a sprite of the images, and the predictions as JSON.

`wrnexp.runs.media` documents the file formats and reads them.
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
    """Return the `most` misclassified images with the largest loss, in descending order, from logits [N, classes]."""
    log_probabilities = metrics.log_softmax(logits)
    predicted = logits.argmax(1)
    loss = -log_probabilities[np.arange(len(labels)), labels]
    misclassified = np.flatnonzero(predicted != labels)
    indices = misclassified[np.argsort(-loss[misclassified], kind="stable")][:most]
    return [
        Mistake(
            index=int(index),
            true=names[labels[index]],
            predicted=names[predicted[index]],
            p_true=float(np.exp(-loss[index])),
            p_predicted=float(np.exp(log_probabilities[index, predicted[index]])),
            loss=float(loss[index]),
        )
        for index in indices
    ]


def draw_mistakes(folder: Path, mistakes: Sequence[Mistake], gather: Gather) -> None:
    """Write `mistakes.png` and `mistakes.json` into `folder/media/`, each atomically; delete both if there are none.

    `gather` returns the test images at the given positions.
    """
    sprite, json_path = media_path(folder, MISTAKES), media_path(folder, MISTAKES).with_suffix(".json")
    if not mistakes:
        sprite.unlink(missing_ok=True)
        json_path.unlink(missing_ok=True)
        return
    tiles = gather(np.array([mistake.index for mistake in mistakes]))
    write_json(
        json_path,
        {"tile": tiles.shape[1], "columns": COLUMNS, "mistakes": [asdict(mistake) for mistake in mistakes]},
    )
    write_atomic(sprite, _png(_sheet(tiles)))


def _sheet(tiles: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Arrange images [N, S, S, 3] in rows of 8 on white, uint8 [rows * S, 8 * S, 3]."""
    side, rows = tiles.shape[1], -(-len(tiles) // COLUMNS)
    filled = np.full((rows * COLUMNS, side, side, 3), 255, np.uint8)
    filled[: len(tiles)] = tiles
    return filled.reshape(rows, COLUMNS, side, side, 3).swapaxes(1, 2).reshape(rows * side, COLUMNS * side, 3)


def _png(pixels: NDArray[np.uint8]) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
