"""`wrnexp bench augment`: images/s of every recipe's augmentation on one core, and on a GPU.

Ours is the batched form, from stored bytes [N, 32, 32, 3] to what a network is given, each image with draws of its own.
The reference is torchvision's transforms, one PIL image after another; where kornia is installed a second line compares
with that, which draws one set of operations for a whole batch. On a GPU a further line has the same recipe as
`loader=resident` runs it, compiled, on bytes that live on the device; its reference is ours on the CPU, so the ratio is
the number of cores that it stands in for. The seconds of its compilation are a figure of their own.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from wrnexp.cli.bench import Figure, positive
from wrnexp.cli.bench.pace import Effort, Side, add_quick, count, timed
from wrnexp.cli.bench.recipes import CLASSES, MEAN, QUICK_RECIPES, RECIPES, SIDE, STD, pictures, recipe

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from wrnexp.engine import Hardware

Once = Callable[[int], Any]  # augments the images once, for the given epoch


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    """Add the benchmark."""
    parser = subparsers.add_parser(
        "augment", help="images/s a core and on a GPU of every recipe, against torchvision and kornia"
    )
    parser.add_argument(
        "--recipe", choices=sorted(RECIPES), action="append", help="(default: all, with --quick base and light)"
    )
    parser.add_argument("--batch", type=positive, default=512, help="images in a batch (default: 512)")
    parser.add_argument("--rounds", type=positive, help="pairs to measure (default: 7)")
    parser.add_argument("--repeat", type=positive, help="batches of ours in a round (default: 4)")
    parser.add_argument("--threads", type=positive, default=1, help="threads of torch (default: 1)")
    parser.add_argument("--device", default="auto", help="as trainer.device (default: auto)")
    add_quick(parser)
    return parser


def measure(args: argparse.Namespace) -> Iterator[Figure]:
    """Yield a figure for each recipe and reference, and on a GPU those of the device."""
    import torch

    from wrnexp.engine import Hardware
    from wrnexp.process.malloc import keep_freed_memory

    hardware = Hardware.settle(args.device)
    before = torch.get_num_threads()
    torch.set_num_threads(args.threads)
    keep_freed_memory()
    try:
        with hardware.settings():
            for name in args.recipe or (QUICK_RECIPES if args.quick else RECIPES):
                yield from _compare(name, pictures(args.batch), args, hardware)
    finally:
        torch.set_num_threads(before)


def _compare(
    name: str, images: "NDArray[np.uint8]", args: argparse.Namespace, hardware: "Hardware"
) -> Iterator[Figure]:
    repeat = count(args.repeat, 4, args)
    effort = Effort(count(args.rounds, 7, args), repeat, count(None, 1, args))
    title, ours = f"{name}, batch {len(images)}", _side(_batched(name, images), len(images))
    references = {"torchvision": _per_image, **({"kornia": _kornia} if find_spec("kornia") else {})}
    for other, reference in references.items():
        theirs = _side(reference(name, images), len(images))
        yield effort.compare(f"{title}, against {other}", "images/s", ours, theirs)
    if hardware.device.type == "cpu":
        return
    title = f"{title}, on {hardware.device.type}"
    resident = _resident(name, images, hardware)
    start = time.perf_counter()
    resident(0)
    hardware.synchronize()
    if hardware.compile:
        yield Figure(f"{title}, compilation", time.perf_counter() - start, "s")
    device = _side(resident, len(images), hardware.synchronize)
    yield effort.compare(f"{title}, against the CPU", "images/s", device, ours)


def _side(once: Once, images: int, synchronize: Callable[[], object] = lambda: None) -> Side:
    def work(epochs: int) -> None:
        for epoch in range(epochs):
            once(epoch)

    return timed(work, images, synchronize)


def _batched(name: str, images: "NDArray[np.uint8]") -> Once:
    import numpy as np
    import torch

    augment = recipe(name).batched(SIDE, MEAN, STD, CLASSES, 0)
    labels = torch.zeros(len(images), dtype=torch.int64)

    def once(epoch: int) -> Any:
        planar = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
        return augment.finish(augment.pixels(planar, epoch, 0), labels, epoch, 0)

    return once


def _resident(name: str, images: "NDArray[np.uint8]", hardware: "Hardware") -> Once:
    """The same, on bytes that live on the device."""
    import numpy as np
    import torch

    augment = recipe(name).batched(SIDE, MEAN, STD, CLASSES, 0)
    if hardware.compile:
        augment.compile()
    planar = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))).to(hardware.device)
    labels = torch.zeros(len(images), dtype=torch.int64, device=hardware.device)
    return lambda epoch: augment.finish(augment.pixels(planar, epoch, 0), labels, epoch, 0)


def _per_image(name: str, images: "NDArray[np.uint8]") -> Once:
    import torch
    from PIL import Image

    transform = recipe(name).per_image(SIDE, MEAN, STD)
    return lambda epoch: torch.stack([transform(Image.fromarray(image)) for image in images])


def _kornia(name: str, images: "NDArray[np.uint8]") -> Once:
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

    def once(epoch: int) -> "Tensor":
        batch = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
        for step in steps:
            batch = step(batch)
        return batch

    return once
