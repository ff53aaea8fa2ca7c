"""CIFAR-10-C and CIFAR-100-C: the test images under common corruptions, in five severities.

Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations", 2019
(arXiv 1903.12261). A folder holds one array per corruption, uint8 [5 N, 32, 32, 3], severity 1 first, and labels.npy
[5 N]; N is 10,000 in the published files. Nothing is downloaded.
"""

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
# The benchmark's mean error is over 15 corruptions; the 4 extra ones are for validation.
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
        folder: contains the arrays.
        names: of the corruptions in the folder, in the paper's order.
        labels: of the images of one severity, int64 [N].
    """

    folder: Path
    names: tuple[str, ...]
    labels: NDArray[np.int64]

    def images(self, name: str, severity: int) -> ImageSet:
        """Return the images of a corruption at a severity from 1 to 5, mapped into memory.

        Raises:
            UserError: the array is damaged, or its shape or dtype is not the published one.
        """
        path, count = self.folder / f"{name}.npy", len(self.labels)
        array, shape = _map_array(path), [SEVERITIES * len(self.labels), SIDE, SIDE, 3]
        if list(array.shape) != shape or array.dtype != np.uint8:
            raise UserError(
                f"{path} is {array.dtype} {list(array.shape)}; expected uint8 {shape}, because labels.npy has "
                f"{SEVERITIES * count} labels"
            )
        first = (severity - 1) * count
        return ImageSet(path, np.arange(first, first + count, dtype=np.int64), self.labels)


def find_corrupted(name: str, root: Path | None, cache: Path, classes: int) -> Corrupted:
    """Return the corrupted test images of a data set.

    Args:
        name: of the data set.
        root: the data root; searched first if it is a folder, else the folder that contains it.
        cache: wrnexp's cache folder, searched next.
        classes: number of classes; labels are below it.

    Raises:
        UserError: the data set has no corrupted test images, they are in neither folder, or labels.npy is invalid.
    """
    if name not in FOLDERS:
        raise UserError(f"there are corrupted test images for {' and '.join(FOLDERS)}, not for {name}")
    parents = [cache] if root is None else [root.parent if root.is_file() else root, cache]
    candidates = [parent / FOLDERS[name] for parent in parents]
    folder = next((candidate for candidate in candidates if (candidate / "labels.npy").is_file()), None)
    if folder is None:
        looked = " or ".join(map(str, candidates))
        raise UserError(f"no {FOLDERS[name]} with labels.npy and one .npy per corruption: looked for it at {looked}")
    names = tuple(corruption for corruption in (*BENCHMARK, *EXTRA) if (folder / f"{corruption}.npy").is_file())
    if not names:
        raise UserError(f"{folder} has labels.npy, but none of the corruptions' arrays, such as {BENCHMARK[0]}.npy")
    return Corrupted(folder, names, _labels(folder / "labels.npy", classes))


def _labels(path: Path, classes: int) -> NDArray[np.int64]:
    """Return the labels of one severity."""
    array = _map_array(path)
    if array.ndim != 1 or not len(array) or len(array) % SEVERITIES:
        raise UserError(
            f"{path} has the shape {list(array.shape)}; expected [5 N], N images at {SEVERITIES} severities"
        )
    by_severity = array.reshape(SEVERITIES, -1)
    if (by_severity != by_severity[0]).any() or by_severity.min() < 0 or by_severity.max() >= classes:
        raise UserError(f"{path}: the labels are not 0 to {classes - 1}, the same for every severity")
    labels: NDArray[np.int64] = by_severity[0].astype(np.int64)
    return labels


def _map_array(path: Path) -> NDArray[Any]:
    try:
        # Not np.load: its error for a file that is not an array suggests to unpickle it.
        array: NDArray[Any] = np.lib.format.open_memmap(path, mode="r")
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{path} cannot be read ({reason(error)})") from error
    return array
