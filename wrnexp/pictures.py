"""Temporary."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Picture:
    """A picture."""

    name: str
    path: Path
    caption: str


@dataclass(frozen=True)
class Mistake:
    """A mistake."""

    index: int
    true: str
    predicted: str
    p_true: float
    p_predicted: float
    loss: float
    tile: NDArray[np.uint8]


def pictures(folder: Path) -> list[Picture]:
    """Return pictures."""
    return [Picture(f"media/{path.stem}", path, path.stem) for path in sorted((folder / "media").glob("*.png"))]


def read_mistakes(folder: Path) -> list[Mistake]:
    """Return mistakes."""
    return []
