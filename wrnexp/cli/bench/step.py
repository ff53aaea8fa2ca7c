"""`wrnexp bench step`: images/s of wrnexp's training step against a plain loop around the same net.

The plain side is what one writes first, see `plain`.
"""

import argparse
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from wrnexp.cli.bench import Figure, alternate, positive

if TYPE_CHECKING:
    from torch import Tensor

    from wrnexp.engine import Hardware

NETS = {"light": (16, 8, 0.25, 0.1), "base": (28, 10, 0.3, 0.0), "small": (10, 1, 0.0, 0.0)}
CLASSES = 100


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    """Add the benchmark."""
    parser = subparsers.add_parser("step", help="images/s of the training step, against a plain float32 loop")
    parser.add_argument("--model", choices=sorted(NETS), default="light", help="the net (default: light, WRN-16-8)")
    parser.add_argument("--batch", type=positive, default=64, help="images in a batch (default: 64)")
    parser.add_argument("--rounds", type=positive, default=3, help="pairs to measure (default: 3)")
    parser.add_argument("--steps", type=positive, default=1, help="steps a side in a pair (default: 1)")
    parser.add_argument("--device", default="auto", help="as trainer.device (default: auto)")
    return parser


def measure(args: argparse.Namespace) -> list[Figure]:
    """Return one figure: ours, the plain loop's, and the ratio."""
    import torch

    from wrnexp.cli.bench.plain import PlainWideResNet, plain_step
    from wrnexp.engine import Hardware

    hardware = Hardware.settle(args.device)
    images = torch.randn(args.batch, 3, 32, 32)
    labels = torch.randint(CLASSES, (args.batch,))
    ours = _ours(args.model, images, labels, hardware)
    net = PlainWideResNet(*NETS[args.model], num_classes=CLASSES).to(hardware.device)
    plain = plain_step(net, images.to(hardware.device), labels.to(hardware.device))
    sides = [partial(_speed, side, args, hardware.synchronize) for side in (ours, plain)]
    for side in sides:  # warm up: allocators, compilers
        side()
    value, reference, ratio = alternate(sides[0], sides[1], args.rounds)
    depth, width, *_ = NETS[args.model]
    kind = f"{hardware.device.type}, {hardware.precision}"
    return [Figure(f"WRN-{depth}-{width}, batch {args.batch} ({kind})", value, "images/s", reference, ratio)]


def _speed(step: Callable[[], object], args: argparse.Namespace, synchronize: Callable[[], None]) -> float:
    synchronize()
    start = time.perf_counter()
    for _ in range(args.steps):
        step()
    synchronize()
    return float(args.batch * args.steps / (time.perf_counter() - start))


def _ours(net: str, images: "Tensor", labels: "Tensor", hardware: "Hardware") -> Callable[[], object]:
    from wrnexp.engine.meters import Meters
    from wrnexp.engine.step import TrainStep
    from wrnexp.models import WideResNet
    from wrnexp.optim import Cosine, SGDRecipe, averaged

    recipe = SGDRecipe(
        epochs=100, lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4, decay_norm_and_bias=True,
        label_smoothing=0.1, accumulate=1, clip_norm=None, schedule=Cosine(),
    )  # fmt: skip
    step = TrainStep(WideResNet(*NETS[net], num_classes=CLASSES), recipe, partial(averaged, decay=None), hardware)
    meters = Meters(hardware.device)
    return lambda: step([(images, labels)], len(labels), 0.1, meters)
