"""What the benchmarks of augmentation and loading share: the recipes of conf/augment, and images to change."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from wrnexp.augment import Augment
    from wrnexp.data import Dataset

MEAN, STD, CLASSES, SIDE = (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762), 100, 32

CROP: dict[str, Any] = {
    "padding": 4, "padding_mode": "constant", "flip": 0.5, "policy": "none", "num_ops": 2, "magnitude": 9,
    "jitter": {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0},
    "erasing": 0.0, "cutout": 0, "mixup": 0.0, "cutmix": 0.0,
}  # fmt: skip
# As in conf/augment; a test compares them.
RECIPES: dict[str, dict[str, Any]] = {
    "crop_flip": CROP,
    "base": CROP | {"policy": "autoaugment"},
    "light": CROP | {
        "policy": "randaugment", "erasing": 0.2,
        "jitter": {"brightness": 0.2, "contrast": 0.2, "saturation": 0.2, "hue": 0.1},
    },
    "trivialaugment": CROP | {"policy": "trivialaugment"},
}  # fmt: skip
QUICK_RECIPES = ("base", "light")


def recipe(name: str) -> "Augment":
    """Return one of `RECIPES`."""
    from wrnexp.augment import Augment

    return Augment(**RECIPES[name])


def pictures(count: int) -> "NDArray[np.uint8]":
    """Return smooth random pictures with some noise, uint8 [count, 32, 32, 3]."""
    import numpy as np

    rng = np.random.default_rng(0)
    coarse = rng.random((count, 4, 4, 3)).repeat(8, 1).repeat(8, 2)
    return ((0.8 * coarse + 0.2 * rng.random((count, SIDE, SIDE, 3))) * 255).astype(np.uint8)


def dataset(folder: Path, count: int) -> "Dataset":
    """Return a data set of `count` training images stored in `folder`."""
    import numpy as np

    from wrnexp.data import Dataset, ImageSet

    path = folder / f"{count}.npy"
    np.save(path, pictures(count))
    images = ImageSet(path, np.arange(count), np.arange(count) % CLASSES)
    classes = tuple(f"class {index}" for index in range(CLASSES))
    return Dataset("pictures", classes, None, images, None, images, {}, MEAN, STD, SIDE)
