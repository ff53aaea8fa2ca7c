"""Which pictures a run draws, and when."""

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
    """Which pictures are drawn.

    Attributes:
        augmented: a grid of augmented training images.
        mistakes: the worst mistakes on the test set.
        confusion: confusion among superclasses, or few classes.
        reliability: the reliability diagram.
    """

    augmented: bool = True
    mistakes: bool = True
    confusion: bool = True
    reliability: bool = True


@dataclass(frozen=True)
class Media(Switches):
    """Draws the pictures of a run as it goes; a picture that cannot be drawn is told of in a line and left out."""

    def before(self, folder: Path, record: Record, loader: Any) -> None:
        """Draw what is known before the first step, where no earlier process of the run has.

        Args:
            folder: of the run.
            record: with what the data set is.
            loader: of the training images. Its `preview(count)` returns float images [N, 3, S, S] and targets; without
                that method, as a loader of the user's own may be, nothing is drawn.
        """
        path = media_path(folder, AUGMENTED)
        with _guarded(AUGMENTED):
            if not self.augmented or not hasattr(loader, "preview") or path.is_file():
                return
            images, targets = (np.asarray(one) for one in loader.preview(TILES))
            assert record.data is not None
            assert record.data.signature is not None
            title = f"{_run(record)}: the first {len(images)} training images of epoch 1, as the network sees them"
            draw_grid(path, images, targets, record.data.signature, title)

    def after(self, folder: Path, record: Record, logits: Logits, labels: Labels, gather: Gather) -> None:
        """Draw the final answers on the test set.

        Args:
            folder: of the run.
            record: of the run.
            logits: of the test set [N, classes]; drawn as predictions.npz keeps them, in float16.
            labels: class indices [N].
            gather: returns the test images at such positions, uint8 [B, S, S, 3].
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
    """Draw the pictures of a run's test answers into its folder `media/`, in place of those that are there.

    A picture that cannot be drawn is told of in a line on stderr and left out.

    Args:
        folder: where `media/` is or shall be.
        record: of the run.
        logits: of the test set as `predictions.npz` keeps them, float16 [N, classes].
        labels: class indices int64 [N].
        images: the test images, uint8 [N, S, S, 3]; without them mistakes are not drawn.
        switches: which are drawn.
    """
    _draw(folder, record, logits, labels, None if images is None else images.__getitem__, switches)


def _draw(
    folder: Path, record: Record, logits: Logits, labels: Labels, gather: Gather | None, switches: Switches
) -> None:
    chosen: dict[str, Callable[[Path, Record, Logits, Labels], None]] = {
        **({MISTAKES: partial(_mistakes, gather=gather)} if switches.mistakes and gather else {}),
        **({CONFUSION: _confusion} if switches.confusion else {}),
        **({RELIABILITY: _reliability} if switches.reliability else {}),
    }
    for name, draw in chosen.items():
        with _guarded(name):
            answers = logits.astype(np.float16)  # as predictions.npz keeps them
            if not np.isfinite(answers).all():
                raise ValueError("the logits are not all finite")
            draw(folder, record, answers, labels)


def _mistakes(folder: Path, record: Record, logits: Logits, labels: Labels, gather: Gather) -> None:
    names = classes(record.data, logits.shape[1]).names
    draw_mistakes(folder, worst(logits, labels, names), gather)


def _confusion(folder: Path, record: Record, logits: Logits, labels: Labels) -> None:
    found = confusion(record.data, logits, labels)
    if found is not None:
        draw_confusion(media_path(folder, CONFUSION), found, _run(record))


def _reliability(folder: Path, record: Record, logits: Logits, labels: Labels) -> None:
    draw_reliability(media_path(folder, RELIABILITY), metrics.reliability(logits, labels), _run(record))


def _run(record: Record) -> str:
    return f"{record.label}, seed {record.seed}"


def _guarded(name: str) -> AbstractContextManager[None]:
    """Let no picture's failure end a run."""
    return harmless(f"{FOLDER}/{name}.png was not drawn", "nothing else depends on it")
