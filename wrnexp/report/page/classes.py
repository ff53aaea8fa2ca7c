"""Class names of a data set and its test images, from the cache."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wrnexp.process.terminal import warn
from wrnexp.runs.cache import cache_folder
from wrnexp.runs.digests import bytes_digest
from wrnexp.runs.files import read_regular
from wrnexp.runs.record import DataInfo
from wrnexp.runs.strict_json import loads

# CIFAR-100's superclasses and their classes, from https://www.cs.toronto.edu/~kriz/cifar.html. Labels number the 100
# class names in alphabetical order.
CIFAR100 = {
    "aquatic mammals": "beaver dolphin otter seal whale",
    "fish": "aquarium_fish flatfish ray shark trout",
    "flowers": "orchid poppy rose sunflower tulip",
    "food containers": "bottle bowl can cup plate",
    "fruit and vegetables": "apple mushroom orange pear sweet_pepper",
    "household electrical devices": "clock keyboard lamp telephone television",
    "household furniture": "bed chair couch table wardrobe",
    "insects": "bee beetle butterfly caterpillar cockroach",
    "large carnivores": "bear leopard lion tiger wolf",
    "large man-made outdoor things": "bridge castle house road skyscraper",
    "large natural outdoor scenes": "cloud forest mountain plain sea",
    "large omnivores and herbivores": "camel cattle chimpanzee elephant kangaroo",
    "medium-sized mammals": "fox porcupine possum raccoon skunk",
    "non-insect invertebrates": "crab lobster snail spider worm",
    "people": "baby boy girl man woman",
    "reptiles": "crocodile dinosaur lizard snake turtle",
    "small mammals": "hamster mouse rabbit shrew squirrel",
    "trees": "maple_tree oak_tree palm_tree pine_tree willow_tree",
    "vehicles 1": "bicycle bus motorcycle pickup_truck train",
    "vehicles 2": "lawn_mower rocket streetcar tank tractor",
}
CIFAR10 = "airplane automobile bird cat deer dog frog horse ship truck"


@dataclass(frozen=True)
class Classes:
    """The classes of a data set.

    Attributes:
        names: by label; `class 7` and the like if the names are unknown.
        superclasses: their names; empty if there are none.
        groups: index of each class's superclass, `[classes]`; empty if there are none.
        stored: the data set's folder in the cache, or None.
    """

    names: list[str]
    superclasses: list[str]
    groups: NDArray[np.int64]
    stored: Path | None


def classes(data: DataInfo | None, count: int) -> Classes:
    """Return the classes of a data set; names are those published, else those in the record, else in the cache."""
    none = np.empty(0, np.int64)
    stored = _stored(data) if data else None
    if data and data.name == "cifar100" and count == 100:
        of_class = {name: group for group, names in enumerate(CIFAR100.values()) for name in names.split()}
        names = sorted(of_class)
        return Classes(_spaced(names), [*CIFAR100], np.array([of_class[name] for name in names]), stored)
    if data and data.name == "cifar10" and count == 10:
        return Classes(CIFAR10.split(), [], none, stored)
    names = data.signature.classes if data and data.signature else _names(stored) if stored else []
    names = _spaced(names) if len(names) == count else [f"class {label}" for label in range(count)]
    return Classes(names, [], none, stored)


def thumbnails(stored: Path, images: Sequence[int], labels: NDArray[np.int64]) -> list[str]:
    """Return test images as `data:` URLs of PNGs; empty if they are unreadable or their labels differ from `labels`.

    Files that do not match their digests cause a warning on stderr; files without digests, from earlier versions, are
    skipped.

    Args:
        stored: the data set's folder in the cache.
        images: indices in canonical order.
        labels: labels of all test images in the runs' predictions.
    """
    try:
        digests = _meta(stored)["sha256"]
        if not np.array_equal(_array(stored / "test_labels.npy", digests), labels):
            return []
        pixels = _array(stored / "test.npy", digests)
        return [_data_url(pixels[index]) for index in images]
    except (OSError, ValueError, IndexError, KeyError, TypeError):
        return []


def _stored(data: DataInfo) -> Path | None:
    for meta in sorted((cache_folder() / "store").glob("*/meta.json")):
        if not meta.parent.name.startswith(f"{data.name}-"):
            continue
        try:
            digest = _meta(meta.parent)["digest"]
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if data.digest and digest == data.digest:
            return meta.parent
    return None


def _names(stored: Path) -> list[str]:
    try:
        return [str(name) for name in _meta(stored)["classes"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _meta(stored: Path) -> Any:
    return loads(read_regular(stored / "meta.json"))


def _array(path: Path, digests: Mapping[str, str]) -> NDArray[Any]:
    """Read an array of the store; if it is damaged, warn and raise a ValueError."""
    data = read_regular(path)
    if bytes_digest(data) != digests[path.name]:
        warn(f"{path} is damaged, and the page shows no images: remove {path.parent}, and training creates it again")
        raise ValueError(f"{path} is damaged")
    array: NDArray[Any] = np.load(io.BytesIO(data))
    return array


def _spaced(names: Sequence[str]) -> list[str]:
    return [name.replace("_", " ") for name in names]


def _data_url(pixels: NDArray[np.uint8]) -> str:
    """Return an image, uint8 `[H, W, 3]` or `[3, H, W]`, as a `data:` URL of a PNG."""
    from PIL import Image

    channels_last = pixels.transpose(1, 2, 0) if pixels.shape[0] == 3 else pixels
    png = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(channels_last)).save(png, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(png.getvalue()).decode()}"
