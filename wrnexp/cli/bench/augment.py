"""`wrnexp bench augment`: images/s of every recipe's augmentation on one core.

Ours is the batched form, from stored bytes [N, 32, 32, 3] to what a network is given, each image with draws of its own.
The reference is torchvision's transforms, one PIL image after another; where kornia is installed a second line compares
with that, which draws one set of operations for a whole batch.
"""

import argparse
import time
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from wrnexp.cli.bench import Figure, compared, positive
from wrnexp.cli.bench.recipes import CLASSES, MEAN, RECIPES, SIDE, STD, pictures, recipe

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

Side = Callable[[int], Any]  # augments the images once, for the given epoch


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    """Add the benchmark."""
    parser = subparsers.add_parser("augment", help="images/s a core of every recipe, against torchvision and kornia")
    parser.add_argument("--batch", type=positive, default=512, help="images in a batch (default: 512)")
    parser.add_argument("--rounds", type=positive, default=7, help="pairs to measure (default: 7)")
    parser.add_argument("--repeat", type=positive, default=4, help="batches of ours in a round (default: 4)")
    parser.add_argument("--threads", type=positive, default=1, help="threads of torch (default: 1)")
    return parser


def measure(args: argparse.Namespace) -> list[Figure]:
    """Return a figure for each recipe and reference."""
    import torch

    from wrnexp.allocation import keep_freed_memory

    before = torch.get_num_threads()
    torch.set_num_threads(args.threads)
    keep_freed_memory()
    try:
        return [figure for name in RECIPES for figure in _compare(name, pictures(args.batch), args)]
    finally:
        torch.set_num_threads(before)


def _compare(name: str, images: "NDArray[np.uint8]", args: argparse.Namespace) -> list[Figure]:
    ours = partial(_speed, _batched(name, images), len(images), args.repeat)
    references = {"torchvision": partial(_speed, _per_image(name, images), len(images), 1)}
    if find_spec("kornia"):
        references["kornia"] = partial(_speed, _kornia(name, images), len(images), 1)
    figures = []
    for other, theirs in references.items():
        ours(), theirs()  # warm up: tables, imports
        what = f"{name}, batch {len(images)}, against {other}"
        figures.append(compared(what, "images/s", ours, theirs, args.rounds))
    return figures


def _speed(side: Side, images: int, repeat: int) -> float:
    start = time.perf_counter()
    for epoch in range(repeat):
        side(epoch)
    return images * repeat / (time.perf_counter() - start)


def _batched(name: str, images: "NDArray[np.uint8]") -> Side:
    import numpy as np
    import torch

    augment = recipe(name).batched(SIDE, MEAN, STD, CLASSES, 0)
    labels = torch.zeros(len(images), dtype=torch.int64)

    def side(epoch: int) -> Any:
        planar = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
        return augment.finish(augment.pixels(planar, epoch, 0), labels, epoch, 0)

    return side


def _per_image(name: str, images: "NDArray[np.uint8]") -> Side:
    import torch
    from PIL import Image

    transform = recipe(name).per_image(SIDE, MEAN, STD)
    return lambda epoch: torch.stack([transform(Image.fromarray(image)) for image in images])


def _kornia(name: str, images: "NDArray[np.uint8]") -> Side:
    """The same recipe as kornia writes it: on float batches."""
    import kornia.augmentation as K
    import torch
    from kornia.augmentation import auto

    chosen = RECIPES[name]
    policies: dict[str, Callable[[], Any]] = {
        "autoaugment": lambda: auto.AutoAugment("cifar10"),
        "randaugment": lambda: auto.RandAugment(n=chosen["num_ops"], m=chosen["magnitude"]),
        "trivialaugment": auto.TrivialAugment,
    }
    steps = [
        K.RandomCrop((SIDE, SIDE), padding=chosen["padding"]),
        K.RandomHorizontalFlip(chosen["flip"]),
        *([policies[chosen["policy"]]()] if chosen["policy"] in policies else []),
        *([K.ColorJitter(**chosen["jitter"], p=1.0)] if any(chosen["jitter"].values()) else []),
        K.Normalize(torch.tensor(MEAN), torch.tensor(STD)),
        *([K.RandomErasing(p=chosen["erasing"])] if chosen["erasing"] else []),
    ]

    def side(epoch: int) -> "Tensor":
        batch = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
        for step in steps:
            batch = step(batch)
        return batch

    return side
