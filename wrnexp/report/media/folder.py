"""What lies in a run's folder `media/`."""

from dataclasses import dataclass
from pathlib import Path

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


def place(folder: Path, name: str) -> Path:
    """Return where the picture of this name lies in a run's folder."""
    return folder / FOLDER / f"{name}.png"


def pictures(folder: Path) -> list[Picture]:
    """Return the pictures that lie in a run's folder, always in the same order."""
    found = [Picture(f"{FOLDER}/{name}", place(folder, name), caption) for name, caption in CAPTIONS.items()]
    return [picture for picture in found if picture.path.is_file()]
