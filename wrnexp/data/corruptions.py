"""CIFAR-10-C and CIFAR-100-C: the test images under common corruptions, in five severities each.

Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations", 2019
(arXiv 1903.12261). A folder holds one array a corruption, uint8 [5 N, 32, 32, 3], the images of severity 1 first, and
labels.npy [5 N]; N is 10,000 as published. Nothing is downloaded.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wrnexp.data.content import SIDE
from wrnexp.data.images import ImageSet
from wrnexp.data.messages import reason
from wrnexp.errors import UserError

SEVERITIES = 5
# The 15 that the benchmark's mean error is over, and the 4 that its authors keep for choosing methods.
BENCHMARK = (
    "gaussian_noise", "shot_noise", "impulse_noise", "defocus_blur", "glass_blur", "motion_blur", "zoom_blur", "snow",
    "frost", "fog", "brightness", "contrast", "elastic_transform", "pixelate", "jpeg_compression",
)  # fmt: skip
EXTRA = ("speckle_noise", "gaussian_blur", "spatter", "saturate")
FOLDERS = {"cifar100": "CIFAR-100-C", "cifar10": "CIFAR-10-C"}


@dataclass(frozen=True, eq=False)
class Corrupted:
    """Corrupted copies of a data set's test images.

    Attributes:
        folder: where the arrays lie.
        names: the corruptions that are there, in the paper's order.
        labels: of the images of one severity, int64 [N].
    """

    folder: Path
    names: tuple[str, ...]
    labels: NDArray[np.int64]

    def images(self, name: str, severity: int) -> ImageSet:
        """Return the images of a corruption at a severity from 1 to 5; they are mapped into memory, not read.

        Raises:
            UserError: the array is damaged, or not of the published form.
        """
        path, count = self.folder / f"{name}.npy", len(self.labels)
        found = _mapped(path)
        if found.shape != (SEVERITIES * count, SIDE, SIDE, 3) or found.dtype != np.uint8:
            raise UserError(
                f"{path} is {found.dtype} {list(found.shape)}; right is uint8 {[SEVERITIES * count, SIDE, SIDE, 3]}, "
                f"as labels.npy has {SEVERITIES * count} labels"
            )
        first = (severity - 1) * count
        return ImageSet(path, np.arange(first, first + count, dtype=np.int64), self.labels)


def find_corrupted(name: str, root: Path | None, cache: Path, classes: int) -> Corrupted:
    """Return the corrupted test images of a data set.

    Args:
        name: of the data set.
        root: where its files are: the folder lies in it, or beside it where it is a file; None is nowhere.
        cache: wrnexp's cache folder, which is looked into afterwards.
        classes: labels are below this.

    Raises:
        UserError: there is none for this data set, it lies in none of these places, or its labels are not right.
    """
    if name not in FOLDERS:
        raise UserError(f"there are corrupted test images for {' and '.join(FOLDERS)}, not for {name}")
    places = _places(FOLDERS[name], root, cache)
    folder = next((place for place in places if (place / "labels.npy").is_file()), None)
    if folder is None:
        looked = " or ".join(map(str, places))
        raise UserError(f"no {FOLDERS[name]} with labels.npy and one .npy a corruption: looked for it at {looked}")
    names = tuple(one for one in (*BENCHMARK, *EXTRA) if (folder / f"{one}.npy").is_file())
    if not names:
        raise UserError(f"{folder} has labels.npy, but none of the corruptions' arrays, such as {BENCHMARK[0]}.npy")
    return Corrupted(folder, names, _labels(folder / "labels.npy", classes))


def _places(name: str, root: Path | None, cache: Path) -> Sequence[Path]:
    if root is None:
        return [cache / name]
    return [(root.parent if root.is_file() else root) / name, cache / name]


def _labels(path: Path, classes: int) -> NDArray[np.int64]:
    """Return the labels of one severity."""
    found = _mapped(path)
    if found.ndim != 1 or not len(found) or len(found) % SEVERITIES:
        raise UserError(
            f"{path} has the shape {list(found.shape)}; right is [5 N], N images at {SEVERITIES} severities"
        )
    by_severity = found.reshape(SEVERITIES, -1)
    if (by_severity != by_severity[0]).any() or by_severity.min() < 0 or by_severity.max() >= classes:
        raise UserError(f"{path}: the labels are not 0 to {classes - 1}, the same for every severity")
    labels: NDArray[np.int64] = by_severity[0].astype(np.int64)
    return labels


def _mapped(path: Path) -> NDArray[Any]:
    try:
        # np.load would advise to unpickle what is no array.
        found: NDArray[Any] = np.lib.format.open_memmap(path, mode="r")
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{path} cannot be read ({reason(error)})") from error
    return found
