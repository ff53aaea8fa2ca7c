"""Selects the pictures of a run, and draws them before the first step and after training."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wrnexp.process.terminal import harmless
from wrnexp.report.media.confusion import confusion, draw_confusion
from wrnexp.report.media.grid import TILES, draw_grid
from wrnexp.report.media.mistakes import Gather, draw_mistakes, worst
from wrnexp.report.media.reliability import draw_reliability
from wrnexp.report.page.classes import classes
from wrnexp.runs.media import AUGMENTED, CONFUSION, FOLDER, MISTAKES, RELIABILITY, media_path
from wrnexp.runs.record import Record
from wrnexp.stats import metrics

Logits = NDArray[np.floating]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Switches:
    """The pictures to draw; `augmented` is a grid of augmented training images."""

    augmented: bool = True
    mistakes: bool = True
    confusion: bool = True
    reliability: bool = True


@dataclass(frozen=True)
class Media(Switches):
    """Draws the pictures of a run; a picture that cannot be drawn is skipped with a warning."""

    def before(self, folder: Path, record: Record, loader: Any) -> None:
        """Draw the augmented images before the first step, unless an earlier process of the run has.

        `loader.preview(count)` returns float images [N, 3, S, S] and targets. A custom loader may lack this method;
        nothing is drawn then.
        """
        path = media_path(folder, AUGMENTED)
        with _guarded(AUGMENTED):
            if not self.augmented or not hasattr(loader, "preview") or path.is_file():
                return
            images, targets = map(np.asarray, loader.preview(TILES))
            assert record.data is not None
            assert record.data.signature is not None
            title = f"{_title(record)}: the first {len(images)} training images of epoch 1, as the network sees them"
            draw_grid(path, images, targets, record.data.signature, title)

    def after(self, folder: Path, record: Record, logits: Logits, labels: Labels, gather: Gather) -> None:
        """Draw the final predictions on the test set.

        Args:
            folder: the run's folder.
            record: the run's record.
            logits: [N, classes]; rounded to float16 as in predictions.npz.
            labels: class indices [N].
            gather: returns the test images at the given positions, uint8 [B, S, S, 3].
        """
        _draw(folder, record, logits, labels, gather, self)


def draw_answers(
    folder: Path,
    record: Record,
    logits: Logits,
    labels: Labels,
    images: NDArray[np.uint8] | None = None,
    switches: Switches = Switches(),
) -> None:
    """Draw the pictures of a run's test predictions into `folder/media/`, replacing existing ones.

    A picture that cannot be drawn is skipped with a warning on stderr.

    Args:
        folder: the parent of `media/`, which is created if missing.
        record: the run's record.
        logits: float16 [N, classes], as in `predictions.npz`.
        labels: class indices int64 [N].
        images: the test images, uint8 [N, S, S, 3]; without them mistakes are not drawn.
        switches: the pictures to draw.
    """
    _draw(folder, record, logits, labels, None if images is None else images.__getitem__, switches)


def _draw(
    folder: Path, record: Record, logits: Logits, labels: Labels, gather: Gather | None, switches: Switches
) -> None:
    selected: dict[str, Callable[[Path, Record, Logits, Labels], None]] = {
        **({MISTAKES: partial(_mistakes, gather=gather)} if switches.mistakes and gather else {}),
        **({CONFUSION: _confusion} if switches.confusion else {}),
        **({RELIABILITY: _reliability} if switches.reliability else {}),
    }
    for name, draw in selected.items():
        with _guarded(name):
            rounded = logits.astype(np.float16)  # as in predictions.npz
            if not np.isfinite(rounded).all():
                raise ValueError("the logits are not all finite")
            draw(folder, record, rounded, labels)


def _mistakes(folder: Path, record: Record, logits: Logits, labels: Labels, gather: Gather) -> None:
    names = classes(record.data, logits.shape[1]).names
    draw_mistakes(folder, worst(logits, labels, names), gather)


def _confusion(folder: Path, record: Record, logits: Logits, labels: Labels) -> None:
    matrix = confusion(record.data, logits, labels)
    if matrix is not None:
        draw_confusion(media_path(folder, CONFUSION), matrix, _title(record))


def _reliability(folder: Path, record: Record, logits: Logits, labels: Labels) -> None:
    draw_reliability(media_path(folder, RELIABILITY), metrics.reliability(logits, labels), _title(record))


def _title(record: Record) -> str:
    return f"{record.label}, seed {record.seed}"


def _guarded(name: str) -> AbstractContextManager[None]:
    """Turn an error into a warning: a picture must not fail the run."""
    return harmless(f"{FOLDER}/{name}.png was not drawn", "nothing else depends on it")
