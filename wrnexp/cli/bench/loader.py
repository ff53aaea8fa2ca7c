"""`wrnexp bench loader`: images/s of whole pipelines, from the store on disk to batches on the device.

Each of our loaders (worker processes that augment batches; the resident one) against torch's DataLoader with
torchvision's transforms on PIL images and the same number of processes, over an epoch each, processes started before.
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wrnexp.cli.bench import Figure, compared, positive
from wrnexp.cli.bench.recipes import RECIPES, dataset, recipe

if TYPE_CHECKING:
    from wrnexp.data import Dataset, ResidentLoader, TrainLoader
    from wrnexp.engine import Hardware


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    """Add the benchmark."""
    parser = subparsers.add_parser("loader", help="images/s of whole pipelines, against torchvision's transforms")
    parser.add_argument("--recipe", choices=sorted(RECIPES), action="append", help="(default: base and light)")
    parser.add_argument("--batch", type=positive, default=512, help="images in a batch (default: 512)")
    parser.add_argument("--workers", type=positive, default=2, help="processes of each loader (default: 2)")
    parser.add_argument("--images", type=positive, default=40960, help="images in an epoch of ours (default: 40960)")
    parser.add_argument(
        "--reference-images", type=positive, default=4096, help="images in an epoch of the reference (default: 4096)"
    )
    parser.add_argument("--rounds", type=positive, default=3, help="pairs to measure (default: 3)")
    parser.add_argument("--device", default="auto", help="as trainer.device (default: auto)")
    return parser


def measure(args: argparse.Namespace) -> list[Figure]:
    """Return a figure for each recipe and loader."""
    from wrnexp.allocation import keep_freed_memory
    from wrnexp.engine import Hardware

    keep_freed_memory()
    hardware = Hardware.settle(args.device)
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs = (dataset(Path(folder), count) for count in (args.images, args.reference_images))
        return [
            figure
            for name in args.recipe or ["base", "light"]
            for figure in _compare(name, ours, theirs, args, hardware)
        ]


def _compare(
    name: str, ours: "Dataset", theirs: "Dataset", args: argparse.Namespace, hardware: "Hardware"
) -> list[Figure]:
    from wrnexp.data import ResidentLoader, TrainLoader

    common: dict[str, Any] = {
        "device": hardware.device, "compile": hardware.compile, "accumulate": 1, "seed": 0, "drop_last": False,
        "batch_size": args.batch, "workers": args.workers, "prefetch_factor": 2, "persistent_workers": True,
        "pin_memory": True,
    }  # fmt: skip
    reference = TrainLoader(theirs, recipe(name), backend="torchvision", **common)
    loaders: dict[str, TrainLoader | ResidentLoader] = {
        f"{args.workers} workers": TrainLoader(ours, recipe(name), **common),
        "resident": ResidentLoader(ours, recipe(name), **common),
    }
    figures = []
    for kind, loader in loaders.items():
        mine, other = _Epochs(loader, args.images, hardware), _Epochs(reference, args.reference_images, hardware)
        mine(), other()  # warm up: processes, tables, compilers
        figures.append(compared(f"{name}, {kind}, batch {args.batch}", "images/s", mine, other, args.rounds))
        loader.close()
    reference.close()
    return figures


class _Epochs:
    """One epoch after another of a loader."""

    def __init__(self, loader: "TrainLoader | ResidentLoader", images: int, hardware: "Hardware") -> None:
        self._loader, self._images, self._hardware = loader, images, hardware
        self._epoch = 0

    def __call__(self) -> float:
        """Go through the next epoch and return its images/s."""
        self._epoch += 1
        self._hardware.synchronize()
        start = time.perf_counter()
        for _ in self._loader.epoch(self._epoch):
            pass
        self._hardware.synchronize()
        return self._images / (time.perf_counter() - start)
