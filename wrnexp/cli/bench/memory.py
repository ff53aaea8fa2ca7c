"""`wrnexp bench memory`: what trainer.memory_budget saves, and what it costs.

For each budget: the activations that a forward pass keeps for the backward pass, the peak of a step above what is held
between steps, and images/s, each budget in turn with budget 1. A GPU's allocator counts by itself; on a CPU memory is
measured in a fresh process for each budget. Where the step is compiled, the seconds of that are figures of their own.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

from wrnexp.cli.bench import Figure, positive
from wrnexp.cli.bench.pace import Effort, Side, add_quick, count, timed
from wrnexp.cli.bench.training import CLASSES, NETS, batch_size, compilation, sgd, synthetic_batch

if TYPE_CHECKING:
    from wrnexp.engine import Hardware
    from wrnexp.engine.step import Batch, TrainStep

BUDGETS = (1.0, 0.8, 0.5, 0.25)
QUICK_BUDGETS = (1.0, 0.8)
MIB = 2**20


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    """Add the benchmark."""
    parser = subparsers.add_parser("memory", help="what trainer.memory_budget saves and costs", description=__doc__)
    parser.add_argument("--model", choices=sorted(NETS), default="light", help="the net (default: light, WRN-16-8)")
    parser.add_argument("--batch", type=positive, help="images in a batch (default: 64, on a GPU its recipe's)")
    parser.add_argument("--rounds", type=positive, help="pairs to time (default: 3)")
    parser.add_argument("--steps", type=positive, help="steps a side in a pair (default: 1, on a GPU 20)")
    parser.add_argument("--device", default="auto", help="as trainer.device (default: auto)")
    add_quick(parser)
    return parser


def measure(args: argparse.Namespace) -> Iterator[Figure]:
    """Yield for each budget what is kept, the peak where the platform tells it, and images/s; references: budget 1."""
    from wrnexp.engine import Hardware

    hardware = Hardware.settle(args.device)
    batch = synthetic_batch(batch_size(args.model, args.batch, hardware), hardware)
    steps = count(args.steps, 20 if hardware.device.type == "cuda" else 1, args)
    effort = Effort(count(args.rounds, 3, args), steps, steps)
    sizes: dict[str, float] = {}  # of budget 1, in MiB
    speeds: list[float] = []  # likewise
    with hardware.settings():
        for budget in QUICK_BUDGETS if args.quick else BUDGETS:
            step = _training_step(args.model, hardware, budget)
            yield from compilation(f"budget {budget:g}", step, batch)
            for what, size in _memory(args, budget, step, batch).items():
                yield _size(f"{what}, budget {budget:g}", size / MIB, sizes.setdefault(what, size / MIB), budget)
            side = _speed(step, batch)
            if budget == 1:
                whole = side
                continue
            yield (figure := effort.compare(f"speed, budget {budget:g}", "images/s", side, whole))
            speeds += [figure.reference or 0]
    yield Figure("speed, budget 1", statistics.median(speeds), "images/s")


def _size(name: str, size: float, whole: float, budget: float) -> Figure:
    return (
        Figure(name, size, "MiB") if budget == 1 else Figure(name, size, "MiB", whole, size / whole if whole else None)
    )


def _memory(args: argparse.Namespace, budget: float, step: "TrainStep", batch: "Batch") -> dict[str, float]:
    """Return what `probe` finds: on a GPU with the step at hand, which is compiled, else in a fresh process."""
    if step.hardware.device.type != "cpu":
        return probe(step, batch)
    return _in_a_fresh_process(args.model, len(batch[1]), args.device, budget)


def _in_a_fresh_process(net: str, images: int, device: str, budget: float) -> dict[str, float]:
    """Return what `probe` finds in a process that has held nothing else.

    There glibc gives every large block back as soon as it is free; kept blocks would hide what a step takes.
    """
    code = f"from wrnexp.cli.bench.memory import main; main({net!r}, {images}, {device!r}, {budget})"
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main(net: str, images: int, device: str, budget: float) -> None:
    """Print what `probe` finds as a line of JSON."""
    from wrnexp.engine import Hardware

    hardware = Hardware.settle(device)
    with hardware.settings():
        print(json.dumps(probe(_training_step(net, hardware, budget), synthetic_batch(images, hardware))))


def probe(step: "TrainStep", batch: "Batch") -> dict[str, float]:
    """Return the bytes of activations kept an image, and the bytes that a second step adds at its peak.

    The second figure counts the allocator's bytes on a GPU and the process's resident ones on a CPU, and is missing
    where the platform does not tell.
    """
    from wrnexp.engine.memory import saved_for_backward
    from wrnexp.engine.meters import Meters

    hardware, count, meters = step.hardware, len(batch[1]), Meters(step.hardware.device)
    step([batch], [count], 0.1, meters)
    hardware.synchronize()
    hardware.reset_peak_memory()
    rest = hardware.peak_memory()
    step([batch], [count], 0.1, meters)
    hardware.synchronize()
    peak = hardware.peak_memory()
    images, _ = hardware.batch(*batch)
    with hardware.autocast():
        saved = saved_for_backward(step.model, step.forward, images)
    figures = {"saved for the backward pass, an image": saved.activations / count}
    return figures if rest is None or peak is None else figures | {"peak of a step above rest": peak - rest}


def _training_step(net: str, hardware: "Hardware", budget: float) -> "TrainStep":
    from wrnexp.engine.step import TrainStep
    from wrnexp.models import WideResNet
    from wrnexp.optim import averaged

    depth, width, dropout, stem_dropout, _ = NETS[net]
    model = WideResNet(depth, width, dropout, stem_dropout, num_classes=CLASSES)
    return TrainStep(model, sgd(clip_norm=0.5), partial(averaged, decay=None), hardware, budget)


def _speed(step: "TrainStep", batch: "Batch") -> Side:
    from wrnexp.engine.meters import Meters

    images, meters = len(batch[1]), Meters(step.hardware.device)

    def work(steps: int) -> None:
        for _ in range(steps):
            step([batch], [images], 0.1, meters)

    return timed(work, images, step.hardware.synchronize)
