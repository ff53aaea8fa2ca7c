"""`wrnexp bench loader`: images/s of whole pipelines, from the store on disk to batches on the device.

Each of our loaders (worker processes that augment batches; the resident one) against torch's DataLoader with
torchvision's transforms on PIL images and the same number of processes, over an epoch each, processes started before.
Where the resident loader's augmentation is compiled, the seconds to its first batch are a figure of their own.
"""

import argparse
import itertools
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wrnexp.cli.bench import Figure, positive
from wrnexp.cli.bench.pace import Effort, Side, add_quick, count, timed
from wrnexp.cli.bench.recipes import QUICK_RECIPES, RECIPES, dataset, recipe
from wrnexp.runs.provenance import usable_cores

if TYPE_CHECKING:
    from wrnexp.data import Dataset, ResidentLoader, TrainLoader
    from wrnexp.engine import Hardware


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    """Add the benchmark."""
    parser = subparsers.add_parser("loader", help="images/s of whole pipelines, against torchvision's transforms")
    parser.add_argument("--recipe", choices=sorted(RECIPES), action="append", help="(default: base and light)")
    parser.add_argument("--batch", type=positive, default=512, help="images in a batch (default: 512)")
    parser.add_argument(
        "--workers", type=positive, help="processes of each loader (default: 2, on a GPU one less than there are cores)"
    )
    parser.add_argument("--images", type=positive, default=40960, help="images in an epoch of ours (default: 40960)")
    parser.add_argument(
        "--reference-images", type=positive, default=4096, help="images in an epoch of the reference (default: 4096)"
    )
    parser.add_argument("--rounds", type=positive, help="pairs to measure (default: 3)")
    parser.add_argument("--device", default="auto", help="as trainer.device (default: auto)")
    add_quick(parser)
    return parser


def measure(args: argparse.Namespace) -> Iterator[Figure]:
    """Yield a figure for each recipe and loader."""
    from wrnexp.engine import Hardware
    from wrnexp.process.malloc import keep_freed_memory

    keep_freed_memory()
    hardware = Hardware.settle(args.device)
    with tempfile.TemporaryDirectory() as folder, hardware.settings():
        ours, theirs = (dataset(Path(folder), images) for images in (args.images, args.reference_images))
        for name in args.recipe or QUICK_RECIPES:
            yield from _compare(name, ours, theirs, args, hardware)


def _compare(
    name: str, ours: "Dataset", theirs: "Dataset", args: argparse.Namespace, hardware: "Hardware"
) -> Iterator[Figure]:
    from wrnexp.data import ResidentLoader, TrainLoader

    workers = args.workers or (max(1, usable_cores() - 1) if hardware.device.type == "cuda" else 2)
    common: dict[str, Any] = {
        "device": hardware.device, "compile": hardware.compile, "accumulate": 1, "seed": 0, "drop_last": False,
        "batch_size": args.batch, "workers": workers, "prefetch_factor": 2, "persistent_workers": True,
        "pin_memory": True,
    }  # fmt: skip
    effort = Effort(count(args.rounds, 3, args), 1, 1)
    reference = TrainLoader(theirs, recipe(name), backend="torchvision", **common)
    other = _epochs(reference, args.reference_images, hardware)
    loaders: dict[str, TrainLoader | ResidentLoader] = {
        f"{workers} workers": TrainLoader(ours, recipe(name), **common),
        "resident": ResidentLoader(ours, recipe(name), **common),
    }
    for kind, loader in loaders.items():
        title = f"{name}, {kind}, batch {args.batch}"
        if isinstance(loader, ResidentLoader) and hardware.compile:
            start = time.perf_counter()
            loader.warm_up()
            yield Figure(f"{title}, compilation", time.perf_counter() - start, "s")
        yield effort.compare(title, "images/s", _epochs(loader, args.images, hardware), other)
        loader.close()
    reference.close()


def _epochs(loader: "TrainLoader | ResidentLoader", images: int, hardware: "Hardware") -> Side:
    """Return the side that goes through whole epochs, each another one."""
    numbers = itertools.count(1)

    def work(epochs: int) -> None:
        for epoch in itertools.islice(numbers, epochs):
            for _ in loader.epoch(epoch):
                pass

    return timed(work, images, hardware.synchronize)
