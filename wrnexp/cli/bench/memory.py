"""`wrnexp bench memory`: what trainer.memory_budget saves, and what it costs.

For each budget: the activations that a forward pass keeps for the backward pass, the peak of a step above what the
process holds between steps, and images/s. Memory is measured in a fresh process a budget; speed in this one, each
budget in turn with budget 1.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from wrnexp.cli.bench import Figure, alternate, positive
from wrnexp.cli.bench.step import CLASSES, NETS

if TYPE_CHECKING:
    from torch import Tensor

    from wrnexp.engine import Hardware
    from wrnexp.engine.step import TrainStep

BUDGETS = (1.0, 0.8, 0.5, 0.25)
MIB = 2**20


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    """Add the benchmark."""
    parser = subparsers.add_parser("memory", help="what trainer.memory_budget saves and costs", description=__doc__)
    parser.add_argument("--model", choices=sorted(NETS), default="light", help="the net (default: light, WRN-16-8)")
    parser.add_argument("--batch", type=positive, default=64, help="images in a batch (default: 64)")
    parser.add_argument("--rounds", type=positive, default=3, help="pairs to time (default: 3)")
    parser.add_argument("--steps", type=positive, default=1, help="steps a side in a pair (default: 1)")
    parser.add_argument("--device", default="auto", help="as trainer.device (default: auto)")
    return parser


def measure(args: argparse.Namespace) -> list[Figure]:
    """Return for each budget what is kept, the peak where the platform tells it, and images/s; references: budget 1."""
    figures: list[Figure] = []
    memory = {budget: _in_a_fresh_process(args.model, args.batch, args.device, budget) for budget in BUDGETS}
    for what in ("saved for the backward pass, an image", "peak of a step above rest"):
        figures += _compared(what, {budget: found[what] for budget, found in memory.items() if what in found})
    return figures + _speeds(args)


def _compared(what: str, found: dict[float, float]) -> list[Figure]:
    """Return a figure a budget, in MiB, with budget 1's as the reference."""
    sizes = {budget: size / MIB for budget, size in found.items()}
    return [
        Figure(f"{what}, budget {budget:g}", size, "MiB")
        if budget == 1
        else Figure(f"{what}, budget {budget:g}", size, "MiB", sizes[1.0], size / sizes[1.0])
        for budget, size in sizes.items()
    ]


def _in_a_fresh_process(net: str, batch: int, device: str, budget: float) -> dict[str, float]:
    """Return what `probe` finds in a process that has held nothing else.

    There glibc gives every large block back as soon as it is free; kept blocks would hide what a step takes.
    """
    code = f"from wrnexp.cli.bench.memory import main; main({net!r}, {batch}, {device!r}, {budget})"
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main(net: str, batch: int, device: str, budget: float) -> None:
    """Print what `probe` finds as a line of JSON."""
    print(json.dumps(probe(net, batch, device, budget)))


def probe(net: str, batch: int, device: str, budget: float) -> dict[str, float]:
    """Return the bytes of activations kept an image, and the bytes that a second step adds at its peak.

    The second figure counts the allocator's bytes on a GPU and the process's resident ones on a CPU, and is missing
    where the platform does not tell.
    """
    from wrnexp.engine import Hardware
    from wrnexp.engine.memory import saved_for_backward
    from wrnexp.engine.meters import Meters

    hardware = Hardware.settle(device)
    step, batches, meters = _training_step(net, hardware, budget), [_batch(batch)], Meters(hardware.device)
    step(batches, [batch], 0.1, meters)
    hardware.synchronize()
    hardware.reset_peak_memory()
    rest = hardware.peak_memory()
    step(batches, [batch], 0.1, meters)
    hardware.synchronize()
    peak = hardware.peak_memory()
    images, _ = hardware.batch(*batches[0])
    with hardware.autocast():
        saved = saved_for_backward(step.model, step.forward, images)
    found = {"saved for the backward pass, an image": saved.activations / batch}
    return found if rest is None or peak is None else found | {"peak of a step above rest": peak - rest}


def _training_step(net: str, hardware: "Hardware", budget: float) -> "TrainStep":
    from wrnexp.engine.step import TrainStep
    from wrnexp.models import WideResNet
    from wrnexp.optim import Cosine, SGDRecipe, averaged

    recipe = SGDRecipe(
        epochs=1, lr=0.1, momentum=0.9, nesterov=True, weight_decay=1e-4, decay_norm_and_bias=True,
        label_smoothing=0.1, accumulate=1, clip_norm=0.5, schedule=Cosine(),
    )  # fmt: skip
    model = WideResNet(*NETS[net], num_classes=CLASSES)
    return TrainStep(model, recipe, partial(averaged, decay=None), hardware, budget)


def _batch(images: int) -> "tuple[Tensor, Tensor]":
    import torch

    return torch.randn(images, 3, 32, 32), torch.randint(CLASSES, (images,))


def _speeds(args: argparse.Namespace) -> list[Figure]:
    from wrnexp.engine import Hardware
    from wrnexp.engine.meters import Meters

    hardware = Hardware.settle(args.device)
    batches = [_batch(args.batch)]

    def side(budget: float) -> Callable[[], float]:
        step = _training_step(args.model, hardware, budget)
        one = partial(step, batches, [args.batch], 0.1, Meters(hardware.device))
        return lambda: args.batch * args.steps / _seconds(one, args.steps, hardware)

    whole = side(1.0)
    whole()  # warm up: allocators, compilers
    turns = {}
    for budget in BUDGETS[1:]:
        ours = side(budget)
        ours()
        turns[budget] = alternate(ours, whole, args.rounds)
    unit = "images/s"
    first = Figure("speed, budget 1", statistics.median(reference for _, reference, _ in turns.values()), unit)
    return [first, *(Figure(f"speed, budget {budget:g}", one[0], unit, *one[1:]) for budget, one in turns.items())]


def _seconds(step: Callable[[], object], steps: int, hardware: "Hardware") -> float:
    hardware.synchronize()
    start = time.perf_counter()
    for _ in range(steps):
        step()
    hardware.synchronize()
    return time.perf_counter() - start
